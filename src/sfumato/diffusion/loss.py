"""The training loss: which times are drawn, what each is worth, and the error per picture."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Literal

import torch
from torch import Tensor

from sfumato.diffusion.denoiser import Denoiser
from sfumato.diffusion.randomness import as_indices, normal, stratified
from sfumato.diffusion.target import TARGETS, Target, like

TimeLaw = Literal["uniform", "logit-normal"]
WeightLaw = Literal["uniform", "min-snr", "velocity"]


def times(
    indices: Iterable[int] | Tensor,
    seed: int,
    law: TimeLaw = "uniform",
    mean: float = 0.0,
    std: float = 1.0,
) -> Tensor:
    """Training times t (B,) float64 in (0, 1), one for each global sample index.

    Stratified: any run of consecutive samples covers the law evenly (see
    `randomness.stratified`).

    Args:
        law: "uniform", or "logit-normal": t = sigmoid(N(mean, std^2)) (2403.03206, eq. 19).
    Raises:
        ValueError: for an unknown law, or std <= 0 where it is used.
    """
    u = stratified(indices, seed, "time").clamp(1e-6, 1 - 1e-6)
    # one by one: a vectorised sigmoid rounds by the place in the batch, and times must not
    found = [time_at(share, law, mean, std) for share in u.tolist()]
    return torch.tensor(found, dtype=torch.float64)


def time_at(share: float, law: TimeLaw = "uniform", mean: float = 0.0, std: float = 1.0) -> float:
    """The time below which a share, 0 < share < 1, of the training times lies.

    Raises:
        ValueError: as `times`.
    """
    if law == "uniform":
        return share
    if law == "logit-normal":
        return 1 / (1 + math.exp(-NormalDist(mean, std).inv_cdf(share)))
    raise ValueError(f"unknown law of times {law!r}: take 'uniform' or 'logit-normal'")


def weight(
    target: Target,
    alpha: Tensor,
    sigma: Tensor,
    law: WeightLaw = "uniform",
    gamma: float = 5.0,
    time_min: float = 0.05,
) -> Tensor:
    """The worth of a sample's squared error, shaped as alpha, measured in the target's own space.

    "uniform" is 1.  "min-snr" is min(SNR, gamma) in x_0-space (Hang 2023, 2303.09556): for eps
    it becomes min(SNR, gamma) / SNR, for v min(SNR, gamma) / (SNR + 1).  "velocity" counts
    every target's error as an error of the flow velocity: 1 / t^2 for x_0 on the flow schedule,
    with t held above ``time_min`` (2511.13720).  The last two follow from one number, the
    target's `error_scale`.

    Raises:
        ValueError: for an unknown law.
    """
    if law == "uniform":
        return torch.ones_like(alpha)
    if law == "min-snr":
        snr = (alpha / sigma) ** 2
        return snr.clamp(max=gamma) * target.error_scale(alpha, sigma) ** 2
    if law == "velocity":
        to_velocity = TARGETS["flow"].error_scale(alpha, sigma).clamp(min=time_min)
        return (target.error_scale(alpha, sigma) / to_velocity) ** 2
    raise ValueError(f"unknown weight {law!r}: take 'uniform', 'min-snr' or 'velocity'")


@dataclass(frozen=True)
class DiffusionLoss:
    """Weighted squared error of the network's answer, one number a picture, never reduced.

    Args:
        denoiser: the learned denoiser (network, trained schedule and target).
        times, time_mean, time_std: the law of training times.
        weight, gamma: the law of weights.
        seed: of times and noise.
        lengths: of the levels of a packed pyramid; empty: an ordinary picture is its one level.
        level_weights: what each level's mean squared error counts, highest resolution first;
            empty: all the same.  The loss is the weighted mean over the levels (2310.15111).
    Raises:
        ValueError: unless there is one positive weight a level.
    """

    denoiser: Denoiser
    times: TimeLaw = "uniform"
    time_mean: float = 0.0
    time_std: float = 1.0
    weight: WeightLaw = "uniform"
    gamma: float = 5.0
    seed: int = 0
    lengths: tuple[int, ...] = ()
    level_weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        weights, levels = self.level_weights, len(self.lengths) or 1
        if weights and (len(weights) != levels or not all(0 < w < math.inf for w in weights)):
            raise ValueError(f"{levels} levels need as many positive weights, not {weights}")

    def __call__(
        self, x0: Tensor, indices: Iterable[int] | Tensor, condition: Any = None
    ) -> tuple[Tensor, Tensor]:
        """(loss (B,), t (B,)) for clean pictures x0 (B, C, H, W) with global sample indices.

        Raises:
            ValueError: if there is not exactly one index a picture.
        """
        indices = as_indices(indices)  # read twice below, and a generator can be read only once
        if len(indices) != len(x0):
            raise ValueError(f"{len(x0)} pictures need as many indices, not {len(indices)}")
        t = times(indices, self.seed, self.times, self.time_mean, self.time_std)
        eps = normal(x0.shape[1:], indices, self.seed, "noise").to(x0)
        return self.at(x0, eps, t, condition), t

    def at(self, x0: Tensor, eps: Tensor, t: Tensor, condition: Any = None) -> Tensor:
        """The loss (B,) at given noise and times, as validation on a fixed bank needs it."""
        target = self.denoiser.target
        alpha, sigma = self.denoiser.trained_schedule(t)
        x_t = like(alpha, x0) * x0 + like(sigma, x0) * eps
        error = self.denoiser.output(x_t, t, condition).float()
        error = error - target.target(x0, eps, alpha, sigma)
        worth = weight(target, alpha, sigma, self.weight, self.gamma).to(error)
        if not self.lengths:
            return worth * error.square().flatten(1).mean(1)
        weights = self.level_weights or (1.0,) * len(self.lengths)
        loss = torch.zeros(len(x0)).to(error)
        for share, one, level in zip(
            weights, worth.split(self.lengths, -1), error.split(self.lengths, -1), strict=True
        ):
            # the worth is the same at every place of a level
            loss = loss + share * one[:, 0, 0] * level.square().flatten(1).mean(1)
        return loss / sum(weights)
