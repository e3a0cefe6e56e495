"""Two processes with half the batch each take the steps of one with the whole."""

from __future__ import annotations

import json
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
import torch
import worker
from tiny import kept

import sfumato
from sfumato.training.recipe import load_recipe

ADAMW = {"training": {"optimizer": "adamw"}}
MUON = {"training": {"optimizer": "muon"}}
LATENTS = {**ADAMW, "latent": {"use": True}}
PARTS = {"training": {"optimizer": "adamw", "micro_batch": 2}}


def diary(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize(
    ("changes", "tolerance"),
    [
        pytest.param(ADAMW, 2e-5, id="adamw"),
        pytest.param(PARTS, 2e-5, id="micro-batches"),
        pytest.param(LATENTS, 1e-3, id="latents"),
        pytest.param(MUON, 2e-5, id="muon"),
    ],
)
def test_half_the_batch_each_is_the_same_training(
    data: Path,
    tmp_path: Path,
    start: Callable[..., BaseProcess],
    together: Callable[..., None],
    changes: dict[str, Any],
    tolerance: float,
) -> None:
    """Mistake 8: order, captions, times and noise belong to the global sample."""
    alone = start(worker.train, data, tmp_path / "one", changes, tmp_path / "one.diary")
    alone.join(120)
    assert alone.exitcode == 0
    together(worker.train_together, data, tmp_path / "two", changes, tmp_path / "two.diary")

    steps = diary(tmp_path / "one.diary")
    assert len(steps) == 10 + 3 * ("latent" in changes)
    for rank in range(2):
        theirs = diary(tmp_path / f"two.{rank}")
        for mine, other in zip(steps, theirs, strict=True):
            for exact in ("phase", "images", "shown", "t"):
                assert mine[exact] == other[exact]
            assert other["loss"] == pytest.approx(mine["loss"], rel=50 * tolerance)
    one, two = kept(tmp_path / "one"), kept(tmp_path / "two")
    assert one.keys() == two.keys()
    for name in one:
        if name.startswith(("weights/", "ema/")):
            torch.testing.assert_close(two[name], one[name], rtol=0, atol=tolerance, msg=name)
    picture, other = (
        sfumato.load(tmp_path / name).generate("a red square")[0] for name in ("one", "two")
    )
    pixels = [
        torch.frombuffer(bytearray(p.tobytes()), dtype=torch.uint8).int() for p in (picture, other)
    ]
    assert int((pixels[0] - pixels[1]).abs().max()) <= 4


def test_a_sick_sample_of_one_process_stops_the_step_of_both(
    tmp_path: Path, together: Callable[..., None]
) -> None:
    together(worker.skip_together, tmp_path / "run", tmp_path / "seen")
    found = [json.loads((tmp_path / f"seen.{rank}").read_text()) for rank in range(2)]
    assert found[0] == found[1]
    assert found[0]["notes"] == [0, 1, 0, 0]
    assert found[0]["stood still"] == [True, False, False]
    assert found[0]["loss"] == [8] * 4


def test_ctrl_c_to_one_process_stops_all_at_the_same_step(
    data: Path, tmp_path: Path, together: Callable[..., None]
) -> None:
    together(worker.stop_one, data, tmp_path / "run", tmp_path / "seen")
    found = [json.loads((tmp_path / f"seen.{rank}").read_text()) for rank in range(2)]
    assert found == [[True, 32], [True, 32]]
    together(worker.stop_one, data, tmp_path / "run", tmp_path / "seen")
    found = [json.loads((tmp_path / f"seen.{rank}").read_text()) for rank in range(2)]
    assert found == [[True, 64], [True, 64]]


def test_minutes_are_the_same_number_of_images_for_all(
    data: Path, tmp_path: Path, together: Callable[..., None]
) -> None:
    changes = {
        "training": {"images": None, "minutes": 0.05},
        "latent": {"use": True, "images": 10**6},
    }
    together(worker.train_together, data, tmp_path / "run", changes, tmp_path / "diary")
    one, two = (diary(tmp_path / f"diary.{rank}") for rank in range(2))
    assert [step["images"] for step in one] == [step["images"] for step in two]
    planned = load_recipe(tmp_path / "run" / "recipe.toml")
    assert one[-1]["images"] == planned.training.images
    assert (tmp_path / "run" / "model" / "manifest.json").exists()
