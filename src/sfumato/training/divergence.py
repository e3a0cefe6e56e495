"""Whether a training has come apart: its loss at the end against that of its beginning."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

from torch import Tensor

BEGINNING = 8  # images, at least one step; later ones may be spoilt already
END = 8  # steps
WORSE = 10.0
"""By so much a loss does not rise by chance: it begins with a network that answers nothing."""


@dataclass(frozen=True)
class Divergence:
    """Which training of a run came apart, and its mean loss at both ends (NaN: not finite)."""

    phase: str
    first: float
    last: float


class Watch:
    """Listens to the losses of one training.

    Args:
        phase: its name.
    """

    def __init__(self, phase: str) -> None:
        self.phase = phase
        self._first: list[float] = []
        self._last: deque[float] = deque(maxlen=END)

    def heard(self, loss: Tensor) -> None:
        """Take in the losses of a step (B,)."""
        if len(self._first) < BEGINNING:
            self._first += loss.tolist()
        self._last.append(float(loss.mean()))

    @property
    def verdict(self) -> Divergence | None:
        """None for a training that holds together, or has not begun.

        A step that is not finite is skipped by the trainer; nothing is wrong while others are.
        """
        if not self._last:
            return None
        first, last = _mean(self._first), _mean(self._last)
        if last <= WORSE * first or (math.isnan(first) and not math.isnan(last)):
            return None
        return Divergence(self.phase, first, last)


def _mean(values: list[float] | deque[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    return sum(finite) / len(finite) if finite else math.nan
