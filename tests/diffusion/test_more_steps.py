"""More steps never make it worse: every sampler on a pyramid whose answer is known exactly."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from sfumato.diffusion import (
    SAMPLERS,
    Flow,
    LevelSchedule,
    Pyramid,
    cosine,
    grid,
    linear_betas,
    sample,
    start,
)

SIDE, PICTURES = 4, 4000
STEPS = (10, 25, 50, 100, 250)
CHANCE = 0.06  # of the covariance of so many pictures, see the last test


def smooth_pictures(levels: int) -> tuple[Pyramid, Tensor, Tensor]:
    """The law of packed pyramids of smooth Gaussian pictures: mean (N,) and covariance (N, N)."""
    pyramid = Pyramid.halving(SIDE, levels)
    at = torch.cartesian_prod(*[torch.arange(SIDE, dtype=torch.float64)] * 2)
    picture = 0.25 * torch.exp(-torch.cdist(at, at).square() / 2)
    pixels = torch.eye(SIDE**2, dtype=torch.float64).reshape(SIDE**2, 1, SIDE, SIDE)
    # (N, pixels): the levels are means of the picture's pixels
    pack = pyramid.of(pixels)[:, 0].T.contiguous()
    mean = torch.where(at[:, 0] < SIDE / 2, 0.4, -0.2)
    return pyramid, pack @ mean.double(), pack @ picture @ pack.T


class Exact:
    """E[x_0 | x_t] of all levels from all levels, which no level knows alone."""

    def __init__(self, schedule: LevelSchedule, mean: Tensor, covariance: Tensor) -> None:
        self.schedule, self.mean, self.covariance = schedule, mean, covariance

    def calls(self, t: float) -> int:
        return 1

    def __call__(self, x_t: Tensor, t: float, condition: object = None) -> Tensor:
        alpha, sigma = (level.flatten() for level in self.schedule(t))
        seen = alpha[:, None] * self.covariance * alpha + torch.diag(sigma**2)
        gain = torch.linalg.solve(seen, alpha[:, None] * self.covariance)
        return self.mean + (x_t.double() - alpha * self.mean) @ gain


def errors(levels: int, base: str, sampler: str) -> list[float]:
    """How far the law of the pictures is from the true one, for each number of steps."""
    pyramid, mean, covariance = smooth_pictures(levels)
    family = {"flow": Flow(), "cosine": cosine(), "linear": linear_betas()}[base]
    exact = Exact(LevelSchedule(family, pyramid.sides), mean, covariance)
    begin = start((PICTURES, sum(pyramid.lengths)), [0], 3)  # a channel is a picture
    found = []
    for steps in STEPS:
        *_, step = sample(exact, begin, grid(steps, family, "log-snr"), SAMPLERS[sampler])
        made = step.x[0].double()
        shift = (made.mean(0) - mean).norm() / covariance.diag().sum().sqrt()
        spread = (made.T.cov() - covariance).norm() / covariance.norm()
        found.append(float(torch.maximum(shift, spread)))
    return found


@pytest.mark.parametrize(("levels", "base"), [(1, "linear"), (2, "cosine"), (3, "flow")])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_more_steps_never_make_it_worse(sampler: str, levels: int, base: str) -> None:
    """Ten steps are 0.05 to 0.6 away, 250 no further than chance."""
    found = errors(levels, base, sampler)
    assert found[-1] < CHANCE, found
    for fewer, more in itertools.combinations(found, 2):
        assert more < fewer + 0.005, found


def test_what_chance_makes_of_so_many_true_pictures() -> None:
    for levels in (1, 2, 3):
        _, mean, covariance = smooth_pictures(levels)
        root = torch.linalg.cholesky(covariance + 1e-9 * torch.eye(len(mean), dtype=torch.float64))
        generator = torch.Generator().manual_seed(0)
        draws = torch.randn(PICTURES, len(mean), dtype=torch.float64, generator=generator)
        made = mean + draws @ root.T
        spread = float((made.T.cov() - covariance).norm() / covariance.norm())
        assert CHANCE / 4 < spread < CHANCE
