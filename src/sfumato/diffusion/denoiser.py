"""A denoiser says what the clean picture looks like: (x_t, t, condition) -> x0_hat.

Samplers, guidance and oracles know nothing but this one call.  The learned denoiser owns what
belongs to the network it wraps: the schedule and target it was trained with, the scaling of its
input, and the scale of its time embedding.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from sfumato.diffusion.pyramid import LevelSchedule
from sfumato.diffusion.schedule import Schedule
from sfumato.diffusion.target import Target, like

TIME_SCALE = 1000.0
"""Sinusoidal embeddings have wavelengths made for 0..1000, time runs over 0..1."""


class Denoises(Protocol):
    """Anything a sampler can walk with.

    Attributes:
        schedule: t -> (alpha, sigma) of the x_t it expects.
    """

    @property
    def schedule(self) -> Schedule:
        """Of the x_t that it expects."""

    def calls(self, t: Tensor) -> int:
        """Network evaluations a picture that one call at time t costs."""

    def __call__(self, x_t: Tensor, t: Tensor, condition: Any = None) -> Tensor: ...


@dataclass(frozen=True)
class Denoiser:
    """Network + schedule + target -> x0_hat.

    Args:
        network: ``(x (B, C, H, W), time (B,), condition) -> y (B, C, H, W)``; packed pyramids
            (B, C, N) where the schedule is one of levels (see `pyramid`).
        trained_schedule: the schedule under which the network saw its noisy pictures.
        target: what y means.
        data_std: standard deviation of the clean data; the network's input is divided by
            sqrt(alpha^2 data_std^2 + sigma^2) so that it has unit variance at every time (the
            c_in of EDM, 2206.00364, table 1).
        walking_schedule: the schedule of the x_t it is given; by default the trained one.  Any
            other works after training too: x_t is brought to the trained schedule's time of
            equal signal-to-noise ratio and rescaled, which changes nothing in the picture.
    """

    network: Callable[[Tensor, Tensor, Any], Tensor]
    trained_schedule: Schedule
    target: Target
    data_std: float = 1.0
    walking_schedule: Schedule | None = None

    @property
    def schedule(self) -> Schedule:
        return self.walking_schedule or self.trained_schedule

    def calls(self, t: Tensor) -> int:
        return 1

    def walking(self, schedule: Schedule) -> Denoiser:
        """The same denoiser for pictures noised by another schedule.

        Of a pyramid's denoiser the levels stay, and the schedule becomes that of the lowest one.
        """
        if isinstance(self.trained_schedule, LevelSchedule):
            schedule = self.trained_schedule.over(schedule)
        return replace(self, walking_schedule=schedule)

    def output(self, x_t: Tensor, t: Tensor, condition: Any = None) -> Tensor:
        """The network's raw answer y at x_t of the *trained* schedule; t is () or (B,)."""
        t = torch.as_tensor(t, dtype=torch.float64)
        alpha, sigma = self.trained_schedule(t)
        c_in = (alpha**2 * self.data_std**2 + sigma**2).rsqrt()
        time = (t * TIME_SCALE).to(x_t.device, torch.float32).expand(len(x_t))
        return self.network(like(c_in, x_t) * x_t, time, condition)

    def __call__(self, x_t: Tensor, t: Tensor, condition: Any = None) -> Tensor:
        """x0_hat (B, C, H, W) in float32 from x_t (B, C, H, W) at time t () or (B,)."""
        t = torch.as_tensor(t, dtype=torch.float64)
        if self.walking_schedule is not None:
            t, x_t = self._to_trained(x_t, t)
        alpha, sigma = self.trained_schedule(t)
        y = self.output(x_t, t, condition).float()
        return self.target.recover_x0(y, x_t, alpha, sigma)

    def _to_trained(self, x_t: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        assert self.walking_schedule is not None
        alpha, sigma = self.walking_schedule(t)
        # one time fits all levels of a pyramid: they are shifted alike in both schedules
        log_snr = self.walking_schedule.common.log_snr(t)
        trained_t = self.trained_schedule.common.time_of(log_snr)
        trained_alpha, trained_sigma = self.trained_schedule(trained_t)
        # the norm of (alpha, sigma) never vanishes, unlike either of them
        ratio = torch.hypot(trained_alpha, trained_sigma) / torch.hypot(alpha, sigma)
        return trained_t, like(ratio, x_t) * x_t
