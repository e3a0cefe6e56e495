"""A training that ends when its loss is low enough."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
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
    assert (out / "model" / "manifest.json").is_file()
    assert trained(data, out, resume=True) == [], "finished"


@pytest.fixture(scope="module")
def steady(data: Path, tmp_path_factory: pytest.TempPathFactory) -> list[float]:
    """The lines of the log of a run without an end."""
    out = tmp_path_factory.mktemp("steady") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Journal, "draw", lambda _: None)
        trained(data, out, images=160)
    return [line["loss"] for line in lines(out)]


@pytest.mark.parametrize("cut", [24, 32, 40])
def test_stopped_and_resumed_it_ends_where_it_would_have_ended(
    data: Path, tmp_path: Path, steady: list[float], cut: int
) -> None:
    """Also where it is stopped in the middle of a line, or at the very step that was the last."""
    aim = 1.0001 * min(steady[:2])
    run = Run(data, tmp_path / "run", recipe=recipe(), training={"images": 160, "target_loss": aim})
    end = trained(data, tmp_path / "whole", images=160, target_loss=aim)[-1].images_seen
    walk = run.steps()
    for step in walk:
        if step.images_seen >= min(cut, end):
            break
    walk.close()  # type: ignore[attr-defined]
    rest = trained(data, tmp_path / "run", resume=True)
    assert (rest[-1] if rest else step).images_seen == end
    assert (tmp_path / "run" / "model" / "manifest.json").is_file()


def test_the_limit_stays_where_the_aim_was_met_before_it(
    data: Path, tmp_path: Path, steady: list[float]
) -> None:
    out = tmp_path / "run"
    assert trained(data, out, images=160, target_loss=1e9)[-1].images_seen == 16
    assert load_recipe(out / "recipe.toml").training.images == 160
    again = Run(data, out, resume=True)
    assert list(again.steps()) == [] and again.reached
    # a lower aim is another one, and 0 is none
    first = next(i for i, loss in enumerate(steady[1:], 2) if loss <= 1.0001 * min(steady[1:]))
    more = trained(data, out, resume=True, target_loss=1.0001 * min(steady[1:]))
    assert more[-1].images_seen == 16 * first
    whole = trained(data, out, resume=True, target_loss=0.0)
    assert (whole or more)[-1].images_seen == 160
    assert [line["loss"] for line in lines(out)] == pytest.approx(steady, rel=1e-4)


def test_only_the_network_has_an_aim(data: Path, tmp_path: Path) -> None:
    asked = recipe(latent={"use": True, "images": 40}, training={"target_loss": 1e9})
    steps = list(Run(data, tmp_path / "run", recipe=asked).steps())
    assert max(s.images_seen for s in steps if s.phase == "autoencoder") >= 40
    assert max(s.images_seen for s in steps if s.phase == "diffusion") == 16


def heard(goal: Goal, *losses: float) -> bool:
    """Steps of eight pictures."""
    for number, loss in enumerate(losses, 1):
        goal.hear(torch.full((8,), loss), 8 * number)
    return goal.reached


def test_one_lucky_step_is_not_enough() -> None:
    assert not heard(Goal(1.0, 32), 0.1, 2.0, 2.0, 2.0)
    assert not heard(Goal(1.0, 32), 0.1, 0.1, 0.1)
    assert heard(Goal(1.0, 32), 0.1, 2.0, 0.1, 0.1)
    assert not heard(Goal(1.0, 16), *[float("nan")] * 4)
    assert heard(Goal(1.0, 16), float("nan"), 0.1, 0.1, 0.1)
    assert not heard(Goal(None, 8), 1e-9) and not heard(Goal(0.0, 8), 1e-9)


@given(
    st.lists(st.floats(0.1, 3) | st.just(float("nan")), min_size=8, max_size=8), st.integers(0, 8)
)
def test_what_a_checkpoint_keeps_is_enough(losses: list[float], cut: int) -> None:
    whole, first, second = Goal(1.0, 24), Goal(1.0, 24), Goal(1.0, 24)
    for number, loss in enumerate(losses, 1):
        if number == cut + 1:
            second.restore(json.loads(json.dumps(first.state, allow_nan=False)))
        for goal in (whole, second if number > cut else first):
            goal.hear(torch.full((8,), loss), 8 * number)
    if cut < 8:
        assert (second.reached, second.state) == (whole.reached, whole.state)
