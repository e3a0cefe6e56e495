"""Grids of times: n + 1 strictly decreasing float64 numbers, the first 1, the last 0."""

from __future__ import annotations

import torch
from torch import Tensor

from sfumato.diffusion.schedule import Schedule

LOG_SNR_RANGE = (-10.0, 10.0)
"""Beyond these the picture is pure noise or clean to less than a grey level."""


def grid(
    steps: int,
    schedule: Schedule,
    spacing: str = "uniform",
    rho: float = 7.0,
    clean: float = LOG_SNR_RANGE[1],
) -> Tensor:
    """The times at which a sampler with ``steps`` steps stands.

    Args:
        steps: n >= 1; there are n + 1 times.
        schedule: needed by the spacings that look at the noise level; of a pyramid, that of the
            lowest level.
        spacing: "uniform" in t; "log-snr": uniform in log-SNR; "karras": sigma/alpha spaced by
            the power law of EDM (2206.00364, eq. 5).
        rho: Karras's exponent.
        clean: log-SNR, of the last time before 0, of the spacings that look at the noise level.
    Raises:
        ValueError: for steps < 1, rho <= 0, an unknown spacing, or a ``clean`` that is noisier
            than the start.
    """
    if steps < 1:
        raise ValueError(f"a sampler needs at least 1 step, not {steps}")
    if not rho > 0:
        raise ValueError(f"rho must be positive, not {rho}")
    schedule = schedule.common
    if spacing == "uniform":
        inner = torch.linspace(1, 0, steps + 1, dtype=torch.float64)[:-1]
    elif spacing in ("log-snr", "karras"):
        noisy = schedule.log_snr(1.0).clamp(min=LOG_SNR_RANGE[0])
        if not clean > noisy:
            raise ValueError(f"a walk from a log-SNR of {float(noisy):g} cannot end at {clean:g}")
        last = torch.tensor(clean, dtype=torch.float64)
        share = torch.linspace(0, 1, steps, dtype=torch.float64)  # one step: only the 0
        if spacing == "log-snr":
            log_snr = torch.lerp(noisy, last, share)
        else:  # sigma/alpha = exp(-log_snr / 2)
            ends = (-noisy / 2 / rho).exp(), (-last / 2 / rho).exp()
            log_snr = -2 * rho * torch.lerp(*ends, share).log()
        inner = schedule.time_of(log_snr)
        inner[0] = 1.0  # the walk starts in pure noise, which may lie beyond the range
    else:
        raise ValueError(f"unknown spacing {spacing!r}: take 'uniform', 'log-snr' or 'karras'")
    return torch.cat([inner, torch.zeros(1, dtype=torch.float64)])
