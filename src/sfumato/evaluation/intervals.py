"""How sure a measured number is: percentile bootstrap intervals, drawn from a seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sfumato.diffusion.randomness import seed_of

TIMES = 400
"""Resamples: enough for the ends of a 95% interval to move by a few percent of its width."""

LEVEL = 0.95


@dataclass(frozen=True)
class Measured:
    """A number and the interval that holds its true value 95 times in 100.

    Attributes:
        value: the estimate from all samples.  low, high: ends of the interval.
        count: samples it rests on.
    """

    value: float
    low: float
    high: float
    count: int

    def to_dict(self) -> dict[str, float | int]:
        """The same in types that JSON knows."""
        return {"value": self.value, "low": self.low, "high": self.high, "count": self.count}


def generator(seed: int, *purpose: str | int) -> np.random.Generator:
    """Numpy's random numbers for one purpose; see `randomness.seed_of`."""
    return np.random.default_rng(seed_of(seed, *purpose))


def interval(value: float, resampled: np.ndarray, count: int, centred: bool = False) -> Measured:
    """An estimate with the percentile interval of its bootstrap resamples (Efron 1979).

    Args:
        value: the estimate.
        resampled: (T,) the same statistic of resampled data; what is not finite is left out.
        count: samples the estimate rests on.
        centred: move the interval by the resamples' own bias.  A resampled set holds doubles
            and looks less varied than it is, which shifts a distance between sets upwards.
    """
    finite = resampled[np.isfinite(resampled)]
    if not finite.size:
        return Measured(float(value), float("nan"), float("nan"), count)
    low, high = np.quantile(finite, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    shift = float(value) - float(finite.mean()) if centred else 0.0
    return Measured(float(value), float(low + shift), float(high + shift), count)


def bootstrap(
    statistic: Callable[[np.ndarray], float], count: int, seed: int, *purpose: str | int
) -> Measured:
    """An estimate and its interval by resampling ``count`` samples with replacement.

    Args:
        statistic: chosen indices (n,) -> number.
        count: how many samples there are, at least 1.
        seed, purpose: of the resampling.
    """
    draw = generator(seed, "bootstrap", *purpose)
    resampled = np.array([statistic(draw.integers(0, count, count)) for _ in range(TIMES)])
    return interval(statistic(np.arange(count)), resampled, count)


def mean(values: np.ndarray, seed: int, *purpose: str | int) -> Measured:
    """The mean of (N,) values, N at least 1, with its interval."""
    values = np.asarray(values, dtype=np.float64)
    return bootstrap(lambda chosen: float(values[chosen].mean()), len(values), seed, *purpose)


def ratio(above: np.ndarray, below: np.ndarray, seed: int, *purpose: str | int) -> Measured:
    """mean(above) / mean(below) of paired values (N,); pairs are resampled together.

    NaN where ``below`` is all zero.
    """
    above, below = np.asarray(above, dtype=np.float64), np.asarray(below, dtype=np.float64)

    def statistic(chosen: np.ndarray) -> float:
        whole = float(below[chosen].mean())
        return float(above[chosen].mean()) / whole if whole else float("nan")

    return bootstrap(statistic, len(above), seed, *purpose)
