"""How long, how much memory, how much disk: said before the training, graded after it."""

from __future__ import annotations

from dataclasses import dataclass

from sfumato.locale import translate
from sfumato.training.machine import bf16_pays, peak_memory, threads_allowed
from sfumato.training.units import human_bytes, human_time

__all__ = ["Forecast", "Grade", "bf16_pays", "forecast", "peak_memory", "threads_allowed"]

DISK_SLACK = 1.02  # headers, JSON, logs


@dataclass(frozen=True)
class Forecast:
    """A run in numbers: wall seconds, peak memory and disk in bytes, images a second.

    The same form holds the forecast and, at the end, the truth.
    """

    seconds: float
    memory_bytes: int
    disk_bytes: int
    images_per_second: float

    @property
    def sentence(self) -> str:
        """For people: '24 min at 74 images/s, up to 0.9 GB of memory and 310 MB of disk.'"""
        return translate(
            "forecast.sentence",
            time=_time(self.seconds),
            rate=_rate(self.images_per_second),
            memory=_bytes(self.memory_bytes),
            disk=_bytes(self.disk_bytes),
        )

    def grade(self, truth: Forecast) -> Grade:
        """Compare with what really happened."""
        return Grade(forecast=self, truth=truth)


@dataclass(frozen=True)
class Grade:
    """Forecast against truth; a ratio above 1 means that more was needed than said."""

    forecast: Forecast
    truth: Forecast

    @property
    def ratios(self) -> dict[str, float]:
        """Truth divided by forecast for each quantity (NaN where nothing was forecast)."""
        return {
            name: _ratio(getattr(self.truth, name), getattr(self.forecast, name))
            for name in ("seconds", "memory_bytes", "disk_bytes", "images_per_second")
        }

    @property
    def sentence(self) -> str:
        """For people: each quantity as it was, and how far from the forecast."""
        said, ratios = self.truth, self.ratios
        return translate(
            "forecast.grade",
            time=_time(said.seconds),
            time_off=_off(ratios["seconds"]),
            rate=_rate(said.images_per_second),
            rate_off=_off(ratios["images_per_second"]),
            memory=_bytes(said.memory_bytes),
            memory_off=_off(ratios["memory_bytes"]),
            disk=_bytes(said.disk_bytes),
            disk_off=_off(ratios["disk_bytes"]),
        )


def forecast(
    *,
    images: int,
    images_per_second: float,
    peak_bytes: int,
    checkpoint_bytes: int,
    checkpoints: int,
    later_bytes: int = 0,
    other_disk_bytes: int = 0,
    fixed_seconds: float = 0.0,
    overhead: float = 0.03,
) -> Forecast:
    """Extrapolate from a short probe.

    ``images``: still to be seen; ``images_per_second``: measured by the probe, without its first
    step; ``peak_bytes``: the process' peak after the probe (:func:`peak_memory`), and
    ``later_bytes`` what is only allocated afterwards (buffers while saving, samples);
    ``checkpoint_bytes``: one checkpoint; ``checkpoints``: how many lie there at one time at the
    most; ``other_disk_bytes``: caches, samples, curves; ``fixed_seconds``: work outside the counted
    images; ``overhead``: share of time for samples and saving.

    Raises ValueError if the probe measured no rate.
    """
    if not images_per_second > 0:
        raise ValueError(f"images_per_second must be positive, not {images_per_second}")
    return Forecast(
        seconds=fixed_seconds + images / images_per_second * (1 + overhead),
        memory_bytes=peak_bytes + later_bytes,
        disk_bytes=int(checkpoint_bytes * checkpoints * DISK_SLACK) + other_disk_bytes,
        images_per_second=images_per_second,
    )


def _ratio(truth: float, said: float) -> float:
    return truth / said if said else float("nan")


def _off(ratio: float) -> str:
    return translate("forecast.none") if ratio != ratio else f"{ratio - 1:+.0%}"


def _time(seconds: float) -> str:
    return human_time(seconds, translate("unit.time"))


def _bytes(size: float) -> str:
    return human_bytes(size, translate("unit.bytes"))


def _rate(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"
