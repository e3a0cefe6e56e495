"""Perfect networks, and the families of schedules that every law is checked on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from sfumato.diffusion import (
    Denoises,
    Flow,
    Schedule,
    cosine,
    linear_betas,
    scaled_linear_betas,
)

FAMILIES: dict[str, Schedule] = {
    "flow": Flow(),
    "linear": linear_betas(),
    "cosine": cosine(),
    "scaled-linear": scaled_linear_betas(),
    "short-linear": linear_betas(50),
    "shifted-flow": Flow().shifted(4, 1.0),
    "shifted-cosine": cosine().shifted(4, 2.0),
    "twice-shifted-linear": linear_betas().shifted(2, 2.0).shifted(0.5, 1.0),
}

ANSWERS: dict[str, Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]] = {
    "x0": lambda x0, eps, alpha, sigma: x0,
    "eps": lambda x0, eps, alpha, sigma: eps,
    "v": lambda x0, eps, alpha, sigma: alpha * eps - sigma * x0,
    "flow": lambda x0, eps, alpha, sigma: eps - x0,
}
"""What each kind of network is asked for, from the papers, in (B, 1, 1, 1) levels."""


class PerfectNetwork:
    """Turns an exact denoiser into a network of one kind: undoes the input scaling, reads the
    time from 0..1000, guesses, and answers in the kind's own terms.  It notes what it was given.
    """

    def __init__(self, oracle: Denoises, kind: str, data_std: float = 1.0) -> None:
        self.oracle, self.kind, self.data_std = oracle, kind, data_std
        self.seen: list[tuple[Tensor, Tensor, Any]] = []

    def __call__(self, x: Tensor, time: Tensor, condition: Any) -> Tensor:
        self.seen.append((x, time, condition))
        t = (time.double() / 1000).clamp(0, 1)
        alpha, sigma = (level.reshape(-1, 1, 1, 1) for level in self.oracle.schedule(t))
        x_t = x.double() * (alpha**2 * self.data_std**2 + sigma**2).sqrt()
        x0 = self.oracle(x_t, t)
        return ANSWERS[self.kind](x0, (x_t - alpha * x0) / sigma, alpha, sigma).float()
