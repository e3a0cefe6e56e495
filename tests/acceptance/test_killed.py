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

OFTEN = {"save_every_minutes": 1e-9, "log_every_images": 40, "sample_every_images": 48}
FEW = {"training": {"images": 80, **OFTEN}, "latent": {"use": True}}
PIXELS = {"training": {"images": 200, **OFTEN}}
LATENTS = {**PIXELS, "latent": {"use": True, "images": 96}}
UNET = {**PIXELS, "network": {"name": "patch-unet"}}


def size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


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
    ("changes", "steps", "kills"),
    [
        pytest.param(FEW, 3 + 10, 3, id="few"),
        pytest.param(PIXELS, 25, 20, id="pixels", marks=pytest.mark.slow),
        pytest.param(LATENTS, 6 + 25, 20, id="latents", marks=pytest.mark.slow),
        pytest.param(UNET, 25, 6, id="u-net", marks=pytest.mark.slow),
    ],
)
def test_kill_9_at_random_moments_changes_nothing(
    data: Path,
    tmp_path: Path,
    start: Callable[..., BaseProcess],
    changes: dict[str, Any],
    steps: int,
    kills: int,
) -> None:
    curves = kills > 3  # a kill while they are drawn counts too, but takes its time

    def run(name: str) -> BaseProcess:
        out, lines = tmp_path / name, tmp_path / f"{name}.diary"
        return start(worker.train, data, out, changes, lines, curves)

    begin = time.monotonic()
    whole = run("whole")
    whole.join(120)
    seconds = time.monotonic() - begin
    assert whole.exitcode == 0

    moments = random.Random(kills)
    lines = tmp_path / "cut.diary"
    for _ in range(kills):
        process = run("cut")
        if moments.random() < 0.5:  # in the midst of training, saving or drawing
            enough = size(lines) + moments.randint(1, 600)
            while size(lines) < enough and process.is_alive():
                time.sleep(0.003)
            time.sleep(moments.uniform(0, 0.1))
        else:  # at any moment, mostly while it prepares itself
            time.sleep(moments.uniform(0, seconds / kills))
        assert process.exitcode is None, "it was to be killed before its end"
        process.kill()
        process.join()
    last = run("cut")
    last.join(120)
    assert last.exitcode == 0

    one, other = tmp_path / "whole", tmp_path / "cut"
    latents = (one / "latents.safetensors").exists()
    for folder in ("", "autoencoder") if latents else ("",):
        assert same_bits(kept(one / folder), kept(other / folder))
        states = [checkpoint.load_latest(p / folder).state for p in (one, other)]  # type: ignore[union-attr]
        for fact in ("images_seen", "optimizer", "rate_scale", "bad_steps"):
            assert states[0][fact] == states[1][fact]
        assert states[0]["images_seen"] > 0
    told = diary(tmp_path / "whole.diary")
    assert len(told) == steps
    assert diary(tmp_path / "cut.diary") == told
    for file in ("recipe.toml", "tokenizer.json", "model/model.safetensors", "data.json"):
        assert (one / file).read_bytes() == (other / file).read_bytes(), file
    torn = (".partial", ".replaced", ".part", ".new")
    assert not [path for path in other.rglob("*") if path.name.endswith(torn)]
