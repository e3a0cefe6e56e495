"""The benchmark of more steps: what it calls worse, and what it does not."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from benchmark_modules import benchmarks
from PIL import Image
from pretend_judge import PretendJudge
from scipy.ndimage import gaussian_filter

(more_steps,) = benchmarks("more_steps")

SIDE, COUNT = 32, 24


def textures(blur: float, seed: int = 0) -> np.ndarray:
    """Clouds (N, 3, H, W) of mean 0.5, the smoother the larger the blur."""
    noise = np.random.default_rng(seed).normal(size=(COUNT, 3, SIDE, SIDE))
    smooth = gaussian_filter(noise, (0, 0, blur, blur), mode="wrap")
    return np.clip(0.5 + 0.15 * smooth / smooth.std(), 0, 1)


def judged(
    make: Callable[[int], np.ndarray],
    samplers: list[str],
    right: tuple[str, ...] = ("heun", "dpm++2m"),
) -> list[more_steps.Row]:
    """Rows of a model whose samplers make ``make(steps)``, but those named are always right."""

    def generate(prompts: list[str], *, steps: int, sampler: str, **_: Any) -> list[Image.Image]:
        made = textures(1.5) if sampler in right else make(steps)
        as_bytes = (255 * np.clip(made, 0, 1)).round().astype(np.uint8)
        return [Image.fromarray(one) for one in as_bytes.transpose(0, 2, 3, 1)]

    model = SimpleNamespace(size=SIDE, channels=3, generate=generate)
    real = (255 * textures(1.5, seed=1)).astype(np.uint8)
    return more_steps.measured(model, ["x"] * COUNT, PretendJudge(), real, samplers)


def test_a_walk_from_smoother_pictures_to_the_solution_loses_nothing():
    rows = judged(lambda steps: textures(1.5 + 10 / steps), ["euler", "ddpm", "heun"])
    correlations = [row.values["correlation"] for row in rows if row.sampler == "euler"]
    assert correlations[0] - correlations[-1] > 0.02  # which a rule of correlation alone calls loss
    assert more_steps.worse(rows) == []


@pytest.mark.parametrize("sampler", ["euler", "ddpm"])
def test_noise_that_grows_with_the_steps_is_a_loss(sampler):
    grain = np.random.default_rng(2).normal(size=(COUNT, 3, SIDE, SIDE))
    rows = judged(lambda steps: textures(1.5) + grain * steps / 5000, [sampler])
    assert any(f"{sampler}, 10 to 250 steps: noise" in line for line in more_steps.worse(rows))


def test_leaving_the_solution_is_a_loss_where_the_sampler_adds_no_noise():
    def make(steps: int) -> np.ndarray:
        return textures(1.5) + 0.02 * (steps > 100)

    assert any(
        "100 to 250 steps: difference" in x for x in more_steps.worse(judged(make, ["ddim"]))
    )
    assert not any("difference" in x for x in more_steps.worse(judged(make, ["ddpm"])))


def test_leaving_the_real_pictures_is_a_loss():
    def make(steps: int) -> np.ndarray:
        return textures(1.5) * (1 - steps / 500)  # ever darker

    assert any("10 to 250 steps: kernel" in x for x in more_steps.worse(judged(make, ["ddpm"])))


def test_a_change_that_resampling_explains_is_no_loss():
    def make(steps: int) -> np.ndarray:
        return textures(1.5, seed=steps)  # other pictures of the same law

    assert not any("kernel" in x for x in more_steps.worse(judged(make, ["ddpm"])))


@pytest.mark.parametrize("right", [(), ("heun",), ("dpm++2m",)])
def test_without_samplers_that_agree_there_is_no_verdict(right):
    grain = np.random.default_rng(2).normal(size=(COUNT, 3, SIDE, SIDE))
    with pytest.raises(SystemExit, match="no solution: .*share"):
        judged(lambda steps: textures(1.5) + grain * steps / 5000, ["euler"], right)


def test_a_chance_that_one_walk_has_is_not_one_of_all_pictures():
    """Every prompt draws from noise of its own: else a dark walk would darken the whole row."""

    def generate(
        prompts: list[str],
        *,
        steps: int,
        sampler: str,
        numbers: Iterable[int] | None = None,
        **_: Any,
    ) -> list[Image.Image]:
        walks = list(numbers) if numbers is not None else [0] * len(prompts)
        luck = [np.random.default_rng((steps, walk)).uniform(0.2, 1) for walk in walks]
        made = textures(1.5) * (1 if sampler != "ddpm" else np.array(luck)[:, None, None, None])
        as_bytes = (255 * made).round().astype(np.uint8)
        return [Image.fromarray(one) for one in as_bytes.transpose(0, 2, 3, 1)]

    model = SimpleNamespace(size=SIDE, channels=3, generate=generate)
    real = (255 * textures(1.5, seed=1)).astype(np.uint8)
    rows = more_steps.measured(model, ["x"] * COUNT, PretendJudge(), real, ["ddpm"])
    assert more_steps.worse(rows) == []
