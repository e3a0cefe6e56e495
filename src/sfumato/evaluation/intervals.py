"""How sure a measured number is: percentile bootstrap intervals, drawn from a seed.

Pictures of one thing succeed and fail together.  Where the same thing was drawn more than once,
whole things are resampled and not pictures: as independent ones, they would promise too much.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from sfumato.diffusion.randomness import seed_of

TIMES = 400
"""Resamples: enough for the ends of a 95% interval to move by a few percent of its width."""

LEVEL = 0.95
_NORMAL = 1.959964  # quantile of the normal distribution for that level


@dataclass(frozen=True)
class Measured:
    """A number and its 95% interval.

    The interval holds the true value of a mean or a share of many samples about 95 times in 100.
    That of a biased estimate, as the Frechet distance of finite sets is, surrounds the biased
    value: how far the estimate would move with other samples.

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
    statistic: Callable[[np.ndarray], float],
    count: int,
    seed: int,
    *purpose: str | int,
    together: Sequence[object] | None = None,
) -> Measured:
    """An estimate and its interval by resampling ``count`` samples with replacement.

    Args:
        statistic: chosen indices (n,) -> number.
        count: how many samples there are, at least 1.
        seed, purpose: of the resampling.
        together: (count,) samples with the same entry are drawn or left out together (the cluster
            bootstrap, Davison & Hinkley 1997, section 3.8); None for independent samples.
    """
    draw = generator(seed, "bootstrap", *purpose)
    clusters = _clusters(together) if together is not None else None
    if clusters is not None and len(clusters) < 2:
        clusters = None  # nothing to draw from

    def again() -> np.ndarray:
        if clusters is None:
            return draw.integers(0, count, count)
        return np.concatenate([clusters[i] for i in draw.integers(0, len(clusters), len(clusters))])

    resampled = np.array([statistic(again()) for _ in range(TIMES)])
    return interval(statistic(np.arange(count)), resampled, count)


def _clusters(together: Sequence[object]) -> list[np.ndarray]:
    found: dict[object, list[int]] = {}
    for index, name in enumerate(together):
        found.setdefault(name, []).append(index)
    return [np.array(members) for members in found.values()]


def mean(
    values: np.ndarray, seed: int, *purpose: str | int, together: Sequence[object] | None = None
) -> Measured:
    """The mean of (N,) values, N at least 1, with its interval; see `bootstrap`."""
    values = np.asarray(values, dtype=np.float64)

    def statistic(chosen: np.ndarray) -> float:
        return float(values[chosen].mean())

    return bootstrap(statistic, len(values), seed, *purpose, together=together)


def share(flags: np.ndarray) -> Measured:
    """The share of (N,) independent flags that hold, N at least 1, with Wilson's interval (1927).

    Unlike resampling it says something where all or none of them hold: 0 of 414 is not known to
    be nothing, but at most 0.9%.  Halves count as half a flag.
    """
    flags = np.asarray(flags, dtype=np.float64)
    count, value, square = len(flags), float(flags.mean()), _NORMAL**2
    middle = (value + square / (2 * count)) / (1 + square / count)
    spread = value * (1 - value) / count + square / (4 * count**2)
    half = _NORMAL * float(np.sqrt(spread)) / (1 + square / count)
    low = middle - half if value > 0 else 0.0  # exactly, whatever the rounding
    high = middle + half if value < 1 else 1.0
    return Measured(value, low, high, count)


def ratio(
    above: np.ndarray,
    below: np.ndarray,
    seed: int,
    *purpose: str | int,
    together: Sequence[object] | None = None,
) -> Measured:
    """mean(above) / mean(below) of paired values (N,); pairs are resampled together.

    NaN where ``below`` is all zero.
    """
    above, below = np.asarray(above, dtype=np.float64), np.asarray(below, dtype=np.float64)

    def statistic(chosen: np.ndarray) -> float:
        whole = float(below[chosen].mean())
        return float(above[chosen].mean()) / whole if whole else float("nan")

    return bootstrap(statistic, len(above), seed, *purpose, together=together)
