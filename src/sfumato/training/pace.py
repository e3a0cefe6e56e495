"""How fast a training goes: measured once for the forecast, and all the time for people."""

from __future__ import annotations

import time


class Pace:
    """Images a second over about the last ten seconds."""

    def __init__(self) -> None:
        self._marks: list[tuple[float, int]] = [(time.monotonic(), 0)]

    def after(self, images: int) -> float:
        """Take note of so many more images; returns the rate."""
        now = time.monotonic()
        self._marks.append((now, self._marks[-1][1] + images))
        while len(self._marks) > 2 and now - self._marks[1][0] > 10:
            self._marks.pop(0)
        (begin, before), (end, seen) = self._marks[0], self._marks[-1]
        return (seen - before) / max(end - begin, 1e-9)


class Probe:
    """The rate of the first seconds, without the first steps, which warm up.

    Args:
        seconds: how long to measure.
    """

    STEPS = 5  # at least so many, however long they take

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._steps = 0
        self._begin = self._seen = 0.0
        self._done = False

    def rate(self, images_seen: int) -> float:
        """Images a second, once, after the step with which it is known; otherwise 0."""
        if self._done:
            return 0.0
        self._steps += 1
        now = time.monotonic()
        if self._steps == 2:
            self._begin, self._seen = now, images_seen
        if self._steps < self.STEPS or now - self._begin < self.seconds:
            return 0.0
        self._done = True
        return (images_seen - self._seen) / max(now - self._begin, 1e-9)
