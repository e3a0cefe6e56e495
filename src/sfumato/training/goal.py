"""The loss at which a training has learned enough."""

from __future__ import annotations

from torch import Tensor


class Goal:
    """Listens to the losses of a training for one that is low enough.

    Single steps say little, so what counts is the mean between two lines of the log, the number
    that the log and loss.png show.  A part of it, as after resuming, does not count.

    Args:
        loss: to come down to; None is never reached.
        every: images between two lines of the log.
    """

    def __init__(self, loss: float | None, every: int) -> None:
        self.loss, self.every = loss, every
        self._sum, self._count = 0.0, 0

    def reached(self, loss: Tensor, images_seen: int) -> bool:
        """Take in the losses of a step (B,), after which so many images have been seen."""
        if self.loss is None:
            return False
        batch = len(loss)
        self._sum, self._count = self._sum + float(loss.sum()), self._count + batch
        if images_seen // self.every == (images_seen - batch) // self.every:
            return False
        whole = self._count > self.every - batch
        mean = self._sum / self._count
        self._sum, self._count = 0.0, 0
        return whole and mean <= self.loss
