"""How much signal and how much noise a picture holds at time t.

A schedule is a pure function ``t -> (alpha, sigma)`` with t in [0, 1], 0 = data, 1 = noise, and
``x_t = alpha x_0 + sigma eps``.  Everything else about it follows from the log signal-to-noise
ratio ``log_snr = 2 log(alpha / sigma)``.  All schedules here are frozen, strictly monotone and
computed in float64.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import torch
from torch import Tensor

TimeLike = Tensor | float


def as_time(t: TimeLike) -> Tensor:
    """Time as a float64 tensor.

    Raises:
        ValueError: if any time lies outside [0, 1].
    """
    time = torch.as_tensor(t, dtype=torch.float64)
    if not bool(((time >= 0) & (time <= 1)).all()):  # this way round NaN is refused too
        raise ValueError(f"time must lie in [0, 1], 0 = data and 1 = noise, not {t}")
    return time


class Schedule(ABC):
    """t -> (alpha, sigma), with its log-SNR and the inverse of that."""

    @abstractmethod
    def __call__(self, t: TimeLike) -> tuple[Tensor, Tensor]:
        """Signal level alpha and noise level sigma (same shape as t, float64)."""

    @abstractmethod
    def time_of(self, log_snr: Tensor) -> Tensor:
        """The time at which the log-SNR is reached, held inside [0, 1]."""

    @abstractmethod
    def levels_of(self, log_snr: Tensor) -> tuple[Tensor, Tensor]:
        """(alpha, sigma) of this family at any log-SNR, also outside the range of times."""

    def log_snr(self, t: TimeLike) -> Tensor:
        """2 log(alpha / sigma): +inf at t = 0, falling with t."""
        alpha, sigma = self(t)
        return 2 * (alpha.log() - sigma.log())

    @property
    def common(self) -> Schedule:
        """By which times are spaced: itself, or what the levels of a pyramid have in common."""
        return self

    def shifted(self, side_ratio: float, power: float = 1.0) -> Schedule:
        """The schedule for pictures ``side_ratio`` times as wide: SNR(t) / side_ratio^power.

        Large pictures keep their coarse shapes through more noise, because neighbouring pixels
        repeat each other; the shift restores the difficulty (Hoogeboom 2023, 2301.11093;
        Matryoshka diffusion, 2310.15111).  For the flow schedule this is the resolution shift
        t' = a t / (1 + (a - 1) t) with a = side_ratio^(power / 2) (2403.03206, eq. 23).
        """
        if not side_ratio > 0:
            raise ValueError(f"side_ratio must be positive, not {side_ratio}")
        return Shifted(self, power * math.log(side_ratio))


@dataclass(frozen=True)
class Flow(Schedule):
    """alpha = 1 - t, sigma = t: the straight path of flow matching and rectified flow.

    Source: Lipman 2210.02747; Liu 2209.03003.
    """

    def __call__(self, t: TimeLike) -> tuple[Tensor, Tensor]:
        time = as_time(t)
        return 1 - time, time

    def time_of(self, log_snr: Tensor) -> Tensor:
        return torch.sigmoid(-log_snr.double() / 2)

    def levels_of(self, log_snr: Tensor) -> tuple[Tensor, Tensor]:
        half = log_snr.double() / 2
        return torch.sigmoid(half), torch.sigmoid(-half)


class VariancePreserving(Schedule):
    """alpha^2 + sigma^2 = 1: data of unit variance keep unit variance at every time."""

    def levels_of(self, log_snr: Tensor) -> tuple[Tensor, Tensor]:
        value = log_snr.double()
        return torch.sigmoid(value).sqrt(), torch.sigmoid(-value).sqrt()


@dataclass(frozen=True)
class Betas(VariancePreserving):
    """A discrete chain of noising steps, abar_k = prod (1 - beta_i), read at t = k / T.

    Between the steps log(abar) is interpolated linearly, which makes every real t usable and
    leaves the chain itself exact.

    Args:
        betas: variance added by each of the T steps, each in (0, 1).  Use `linear_betas`,
            `cosine` or `scaled_linear_betas`.
    Source: Ho 2020, 2006.11239, eq. 4.
    """

    betas: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.betas or not all(0 < beta < 1 for beta in self.betas):
            raise ValueError("betas must be a non-empty sequence of numbers inside (0, 1)")

    def __call__(self, t: TimeLike) -> tuple[Tensor, Tensor]:
        position = as_time(t) * len(self.betas)
        table = _log_abar(self.betas).to(position.device)
        below = position.floor().clamp(max=len(self.betas) - 1).long()
        log_abar = torch.lerp(table[below], table[below + 1], position - below)
        return (log_abar / 2).exp(), (-torch.expm1(log_abar)).sqrt()

    def time_of(self, log_snr: Tensor) -> Tensor:
        log_abar = torch.nn.functional.logsigmoid(log_snr.double())
        table = _log_abar(self.betas).to(log_abar.device)
        above = torch.searchsorted(-table, -log_abar).clamp(1, len(self.betas))
        left, right = table[above - 1], table[above]
        position = (above - 1) + (log_abar - left) / (right - left)
        return (position / len(self.betas)).clamp(0, 1)


@lru_cache(maxsize=16)
def _log_abar(betas: tuple[float, ...]) -> Tensor:
    """log(abar) at k = 0 .. T, float64."""
    steps = torch.log1p(-torch.tensor(betas, dtype=torch.float64))
    return torch.cat([torch.zeros(1, dtype=torch.float64), steps.cumsum(0)])


def linear_betas(steps: int = 1000, beta_min: float = 1e-4, beta_max: float = 0.02) -> Betas:
    """DDPM's linear betas for a chain of any length.

    Both ends are scaled by 1000 / steps, so that a short chain also ends in noise: without it
    T = 100 leaves 60% of the signal (improved DDPM's reference scaling, 2102.09672).  Betas are
    held below 0.999.

    Raises:
        ValueError: for fewer than 2 steps (as for the other chains below).
    """
    scale = 1000 / _chain_length(steps)
    betas = torch.linspace(beta_min * scale, beta_max * scale, steps, dtype=torch.float64)
    return Betas(tuple(betas.clamp(max=0.999).tolist()))


def scaled_linear_betas(steps: int = 1000) -> Betas:
    """Stable Diffusion's betas: linear in the square root, from 0.00085 to 0.012 (2112.10752)."""
    scale = 1000 / _chain_length(steps)
    root = torch.linspace(0.00085**0.5, 0.012**0.5, steps, dtype=torch.float64)
    return Betas(tuple((root**2 * scale).clamp(max=0.999).tolist()))


def cosine(steps: int = 1000, offset: float = 0.008) -> Betas:
    """abar = f(t) / f(0), f = cos^2((t + s) / (1 + s) pi / 2), betas held below 0.999.

    Source: Nichol & Dhariwal 2021, 2102.09672, eq. 17.
    """
    t = torch.arange(_chain_length(steps) + 1, dtype=torch.float64) / steps
    f = torch.cos((t + offset) / (1 + offset) * math.pi / 2) ** 2
    return Betas(tuple((1 - f[1:] / f[:-1]).clamp(max=0.999).tolist()))


def _chain_length(steps: int) -> int:
    """A chain of one step would have a first beta but no last one, and never reach noise."""
    if steps < 2:
        raise ValueError(f"a chain of betas needs at least 2 steps, not {steps}")
    return steps


@dataclass(frozen=True)
class Shifted(Schedule):
    """Another schedule with ``amount`` taken off its log-SNR at every time."""

    base: Schedule
    amount: float

    def __call__(self, t: TimeLike) -> tuple[Tensor, Tensor]:
        return self.base.levels_of(self.base.log_snr(t) - self.amount)

    def log_snr(self, t: TimeLike) -> Tensor:
        return self.base.log_snr(t) - self.amount

    def time_of(self, log_snr: Tensor) -> Tensor:
        return self.base.time_of(log_snr.double() + self.amount)

    def levels_of(self, log_snr: Tensor) -> tuple[Tensor, Tensor]:
        return self.base.levels_of(log_snr)


class Chain(Protocol):
    """The number of steps T -> betas."""

    def __call__(self, steps: int = 1000) -> Betas: ...


CHAINS: dict[str, Chain] = {
    "linear": linear_betas,
    "cosine": cosine,
    "scaled-linear": scaled_linear_betas,
}

SCHEDULES: dict[str, Callable[[], Schedule]] = {"flow": Flow, **CHAINS}
"""By name; chains at 1000 steps."""
