"""How many pictures each part of an evaluation may draw, by what the time allows.

The parts stand in the order of their importance.  Each gets its share of the time that is
left when its turn comes, so what one part saves the later ones inherit.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from sfumato.evaluation.samples import AT_ONCE, Rate

#: part -> its share of the time spent on drawing, in order of importance
SHARES = {
    "held-in": 0.30,
    "held-out": 0.16,
    "colours": 0.05,
    "other colours": 0.04,
    "second language": 0.11,
    "apart": 0.02,
    "speed": 0.06,
    "swapped": 0.06,
    "guidance": 0.11,
    "steps": 0.11,
}

_RESERVE = 0.08  # of the whole time, for measuring and for writing the report


class Budget:
    """The clock of one evaluation.

    Args:
        minutes: what the whole may take; infinite for "as long as it takes".
        clock: seconds that only grow.
    """

    def __init__(self, minutes: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.begin = clock()
        self.end = self.begin + 60 * minutes * (1 - _RESERVE)
        self._waiting = dict(SHARES)

    @property
    def left(self) -> float:
        """Seconds until drawing must be over, at least 0."""
        return max(0.0, self.end - self._clock())

    def allot(self, part: str) -> float:
        """Seconds for a part whose turn has come."""
        share = self._waiting.pop(part, SHARES[part])
        return self.left * share / (share + sum(self._waiting.values()))

    def drop(self, part: str) -> None:
        """A part will not take place: the others inherit its time."""
        self._waiting.pop(part, None)

    def count(
        self, part: str, rate: Rate, evaluations: int, most: int, least: int = AT_ONCE
    ) -> int:
        """Pictures a part can draw: whole batches, 0 where fewer than ``least`` fit.

        A part whose share is too small for ``least`` may take from the less important parts
        after it what is missing: one whole part says more than two halves.

        Args:
            part: one of `SHARES`, asked for once.
            rate: how fast the machine draws.
            evaluations: network evaluations that one picture of this part takes, all its
                settings together.
            most: more are of no use.
            least: fewer say nothing.
        """
        seconds = self.allot(part)
        if rate.seconds is None:
            return min(AT_ONCE, most)
        if seconds == float("inf"):
            return most
        each = rate.seconds * evaluations
        planned = int(seconds / (each * AT_ONCE)) * AT_ONCE
        if planned < least:
            planned = least if least * each <= self.left else 0
        return min(planned, most)
