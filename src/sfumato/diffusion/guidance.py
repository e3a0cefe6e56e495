"""Guidance: denoisers that wrap a denoiser and sharpen or bound its guess.

The guidance scale w follows Imagen, Stable Diffusion and diffusers:
``x0 = u + w (c - u)``, so **w = 1 is no guidance** and costs one network call, w = 0 is the
unconditional guess.  (Ho & Salimans' own w, 2207.12598, is ours minus 1.)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sfumato.diffusion.denoiser import Denoises
from sfumato.diffusion.pyramid import level_by_level
from sfumato.diffusion.schedule import Schedule
from sfumato.diffusion.target import like


@dataclass(frozen=True)
class Guided:
    """Classifier-free guidance (2207.12598) on the clean-picture guess.

    Args:
        denoiser: what is guided.
        null: the learned empty condition, or a negative prompt's, of the batch's size; must
            offer ``condition.joined(null)``, the batch of both.
        scale: w.
        interval: guide only at times strictly inside (low, high); elsewhere the conditional
            guess alone is used, which saves calls and diversity (2404.07724).
        rescale: phi in [0, 1]; pulls the guess's standard deviation back to the conditional
            one's, in x_0-space (2305.08891, eqs. 15-16; 0.7 there).
        lengths: of the levels of a packed pyramid, which are rescaled one by one; empty for
            ordinary pictures.
    Raises:
        ValueError: for a scale that is not finite, an empty interval or phi outside [0, 1].
    """

    denoiser: Denoises
    null: Any
    scale: float
    interval: tuple[float, float] = (0.0, 1.0)
    rescale: float = 0.0
    lengths: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        low, high = self.interval
        if not (math.isfinite(self.scale) and low < high and 0 <= self.rescale <= 1):
            raise ValueError(
                "guidance needs a finite scale, an interval (low, high) with low < high and a "
                f"rescale in [0, 1], not {self.scale}, {self.interval} and {self.rescale}"
            )

    @property
    def schedule(self) -> Schedule:
        return self.denoiser.schedule

    def _active(self, t: Tensor) -> Tensor:
        """Which times are guided, bool, shape of t; an interval up to 0 or 1 includes it."""
        low, high = self.interval
        inside = ((t > low) | (low <= 0)) & ((t < high) | (high >= 1))
        return inside & (self.scale != 1)

    def calls(self, t: Tensor) -> int:
        return self.denoiser.calls(t) * (2 if bool(self._active(t).any()) else 1)

    def __call__(self, x_t: Tensor, t: Tensor, condition: Any = None) -> Tensor:
        t = torch.as_tensor(t, dtype=torch.float64)
        active = self._active(t)
        if not bool(active.any()):
            return self.denoiser(x_t, t, condition)
        both_t = torch.cat([t, t]) if t.ndim else t
        both = self.denoiser(torch.cat([x_t, x_t]), both_t, condition.joined(self.null))
        conditional, unconditional = both.chunk(2)
        guess = unconditional + self.scale * (conditional - unconditional)
        if self.rescale:
            ratio = level_by_level(_spreads, self.lengths, conditional, guess)
            guess = guess * (self.rescale * ratio + (1 - self.rescale))
        return torch.where(like(active, guess) > 0, guess, conditional)


def _spreads(conditional: Tensor, guess: Tensor) -> Tensor:
    """The ratio of their standard deviations, picture by picture."""
    return conditional.flatten(1).std(1) / guess.flatten(1).std(1).clamp(min=1e-8)


@dataclass(frozen=True)
class Thresholded:
    """Keeps the guess in the range of pictures; only for denoisers of pixels, not of latents.

    Args:
        denoiser: what is bounded.
        quantile: None clips to [-1, 1] (static).  A number such as 0.995 is Imagen's dynamic
            thresholding (2205.11487, section 2.3): per picture s = that quantile of |x0|, at
            least 1; clip to [-s, s] and divide by s.
        lengths: of the levels of a packed pyramid, which have their own s; empty for ordinary
            pictures.
    Raises:
        ValueError: for a quantile outside [0, 1].
    """

    denoiser: Denoises
    quantile: float | None = None
    lengths: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.quantile is not None and not 0 <= self.quantile <= 1:
            raise ValueError(f"quantile must lie in [0, 1], not {self.quantile}")

    @property
    def schedule(self) -> Schedule:
        return self.denoiser.schedule

    def calls(self, t: Tensor) -> int:
        return self.denoiser.calls(t)

    def __call__(self, x_t: Tensor, t: Tensor, condition: Any = None) -> Tensor:
        guess = self.denoiser(x_t, t, condition)
        if self.quantile is None:
            return guess.clamp(-1, 1)
        bound = level_by_level(self._bounds, self.lengths, guess)
        return guess.clamp(-bound, bound) / bound

    def _bounds(self, guess: Tensor) -> Tensor:
        """s of dynamic thresholding, picture by picture."""
        assert self.quantile is not None
        return guess.flatten(1).abs().quantile(self.quantile, dim=1).clamp(min=1)
