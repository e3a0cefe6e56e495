"""Training survives `kill -9` at any moment, to the last bit."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
import worker
from tiny import kept, same_bits

from sfumato.training import checkpoint

SAVED_OFTEN = {
    # after every step, and without curves, which would take most of the time
    "training": {
        "images": 200, "save_every_minutes": 1e-9, "log_every_images": 10_000,
        "sample_every_images": 48,
    }
}  # fmt: skip
LATENTS = {**SAVED_OFTEN, "latent": {"use": True, "images": 96}}
UNET = {**SAVED_OFTEN, "network": {"name": "patch-unet"}}


def diary(path: Path) -> dict[tuple[str, int], Any]:
    """What each step showed and reached; a step taken twice must have been the same twice."""
    steps: dict[tuple[str, int], Any] = {}
    for line in path.read_text().splitlines():
        try:
            step = json.loads(line)
        except ValueError:
            continue  # the kill came within the line
        place = (step.pop("phase"), step.pop("images"))
        assert steps.setdefault(place, step) == step, place
    return steps


@pytest.mark.parametrize(
    ("changes", "kills"),
    [
        pytest.param(LATENTS, 3, id="latents-3"),
        pytest.param(SAVED_OFTEN, 20, id="pixels-20", marks=pytest.mark.slow),
        pytest.param(LATENTS, 20, id="latents-20", marks=pytest.mark.slow),
        pytest.param(UNET, 20, id="u-net-20", marks=pytest.mark.slow),
    ],
)
def test_kill_9_at_random_moments_changes_nothing(
    data: Path,
    tmp_path: Path,
    start: Callable[..., BaseProcess],
    changes: dict[str, Any],
    kills: int,
) -> None:
    def run(name: str) -> BaseProcess:
        return start(worker.train, data, tmp_path / name, changes, tmp_path / f"{name}.diary")

    whole = run("warm")  # the server imports, the disk's cache fills
    whole.join(120)
    begin = time.monotonic()
    whole = run("whole")
    whole.join(120)
    seconds = time.monotonic() - begin
    assert whole.exitcode == 0

    moments = random.Random(kills)
    killed = 0
    for _ in range(10 * kills):
        process = run("cut")
        process.join(moments.uniform(0, 1.6 * seconds / kills) if killed < kills else 120)
        if process.exitcode == 0:
            break
        assert process.exitcode is None, "it ended by itself, with an error"
        process.kill()
        process.join()
        killed += 1
    assert process.exitcode == 0
    assert killed >= 0.7 * kills

    one, other = tmp_path / "whole", tmp_path / "cut"
    for folder in ("", "autoencoder")[: 1 + (changes is LATENTS)]:
        assert same_bits(kept(one / folder), kept(other / folder))
        states = [checkpoint.load_latest(p / folder).state for p in (one, other)]  # type: ignore[union-attr]
        for fact in ("images_seen", "optimizer", "rate_scale", "bad_steps"):
            assert states[0][fact] == states[1][fact]
    steps = diary(tmp_path / "whole.diary")
    assert len(steps) == 25 + 6 * (changes is LATENTS)
    assert diary(tmp_path / "cut.diary") == steps
    for file in ("recipe.toml", "tokenizer.json", "model/model.safetensors", "data.json"):
        assert (one / file).read_bytes() == (other / file).read_bytes(), file
    left = [path.name for path in other.rglob("*") if path.name.endswith((".partial", ".replaced"))]
    assert not left
