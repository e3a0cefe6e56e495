"""A training that ends when its loss is low enough."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import recipe, squares

from sfumato.training.goal import Goal
from sfumato.training.journal import Journal
from sfumato.training.recipe import load_recipe
from sfumato.training.run import Run
from sfumato.training.trainer import TrainStep


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return squares(tmp_path_factory.mktemp("data") / "squares")


@pytest.fixture(autouse=True)
def no_curves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Journal, "draw", lambda _: None)


def trained(data: Path, out: Path, resume: bool = False, **training: Any) -> list[TrainStep]:
    asked = None if resume else recipe()
    return list(Run(data, out, recipe=asked, resume=resume, training=training).steps())


def lines(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("limit", [{"images": 1000}, {"images": None, "minutes": 5.0}])
def test_a_run_ends_with_the_first_line_of_the_log_that_is_low_enough(
    data: Path, tmp_path: Path, limit: dict[str, Any]
) -> None:
    # a rate that does not fall: the same steps, however long the run is meant to be
    steady = {"decay_fraction": 0.0, "warmup_images": 0}
    trained(data, tmp_path / "whole", images=160, **steady)
    losses = [line["loss"] for line in lines(tmp_path / "whole")]
    first = losses.index(min(losses))
    assert first > 0, "or nothing is seen to go on before"
    out = tmp_path / "run"
    steps = trained(data, out, target_loss=1.0001 * losses[first], **{**steady, **limit})
    assert [line["loss"] for line in lines(out)] == pytest.approx(losses[: first + 1], rel=1e-4)
    assert steps[-1].images_seen == steps[-1].total == lines(out)[-1]["images"]
    assert any("has come down to" in note for note in steps[-1].notes)
    assert load_recipe(out / "recipe.toml").training.images == steps[-1].images_seen
    assert (out / "model" / "manifest.json").is_file()
    assert trained(data, out, resume=True) == [], "finished"


def test_a_resumed_run_may_be_given_another_aim(data: Path, tmp_path: Path) -> None:
    first = trained(data, tmp_path / "run", target_loss=1e9)
    assert first[-1].images_seen == 16, "any loss will do, after one line of the log"
    more = trained(data, tmp_path / "run", resume=True, images=80, target_loss=1e-9)
    assert more[-1].images_seen == 80


def test_only_the_network_has_an_aim(data: Path, tmp_path: Path) -> None:
    asked = recipe(latent={"use": True, "images": 40}, training={"target_loss": 1e9})
    steps = list(Run(data, tmp_path / "run", recipe=asked).steps())
    seen = {
        phase: [s.images_seen for s in steps if s.phase == phase][-1]
        for phase in ("autoencoder", "diffusion")
    }
    assert seen["autoencoder"] >= 40 and seen["diffusion"] == 16


def test_one_lucky_step_or_a_part_of_a_line_is_not_enough() -> None:
    goal = Goal(1.0, 32)
    heard = [
        goal.reached(torch.full((8,), loss), seen)
        for seen, loss in [(8, 0.1), (16, 2.0), (24, 2.0), (32, 2.0)]
    ]
    assert not any(heard)
    # begun in the middle of a line: its rest is low, and does not count
    goal = Goal(1.0, 32)
    assert not goal.reached(torch.full((8,), 0.1), 64)
    assert [goal.reached(torch.full((8,), 0.1), seen) for seen in (72, 80, 88, 96)][-1]
    goal = Goal(1.0, 32)
    losses = torch.tensor([float("nan")] * 8)
    assert not any(goal.reached(losses, seen) for seen in (8, 16, 24, 32))
    assert not Goal(None, 8).reached(torch.zeros(8), 8)
