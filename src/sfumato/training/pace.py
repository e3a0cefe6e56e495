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
        self.done = False

    def rate(self, images_seen: int) -> float:
        """Images a second, once, after the step with which it is known; otherwise 0."""
        if self.done:
            return 0.0
        self._steps += 1
        now = time.monotonic()
        if self._steps == 2:
            self._begin, self._seen = now, images_seen
        if self._steps < self.STEPS or now - self._begin < self.seconds:
            return 0.0
        self.done = True
        return (images_seen - self._seen) / max(now - self._begin, 1e-9)


class Clock:
    """The rate, again and again, for a run that is told minutes instead of images.

    While the learning rate is constant the end may move without a trace in the training, so
    the plan follows the machine's real pace until the last ``decay_fraction`` of the time,
    where the rate begins to fall and the number of images is settled.

    Args:
        end: the moment (`time.monotonic`) at which the training should be over.
        decay_fraction: of the time that remains from now on.
        images_seen: before the first step.
    """

    EVERY = 0.01  # of the time, between two plans

    def __init__(self, end: float, decay_fraction: float, images_seen: int) -> None:
        self.end = end
        self._begin, self._before = time.monotonic(), images_seen
        span = max(0.0, end - self._begin)
        self._settles, self._every = end - decay_fraction * span, self.EVERY * span
        self._last = self._begin
        self.settled = False

    @property
    def over(self) -> bool:
        """Whether the time is up."""
        return time.monotonic() >= self.end

    def left(self) -> float:
        """Seconds that training may still take, at least 1; a little is kept for the end."""
        return max(1.0, 0.97 * (self.end - time.monotonic()))

    def rate(self, images_seen: int) -> float:
        """Images a second so far, saving and sampling included; 0 when no new plan is due."""
        now = time.monotonic()
        if self.settled or now - self._last < self._every:
            return 0.0
        self._last, self.settled = now, now >= self._settles
        return (images_seen - self._before) / (now - self._begin)
