"""The loss at which a training has learned enough."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor


class Goal:
    """Listens to the losses of a training for one that is low enough.

    Single steps say little, so what counts is the mean between two lines of the log, the number
    that the log and loss.png show.

    Args:
        aim: the loss to come down to; None or 0 is never reached.
        every: images between two lines of the log.
    Attributes:
        reached: whether a line was low enough.
    """

    def __init__(self, aim: float | None, every: int) -> None:
        self.aim, self.every = aim or 0.0, every
        self.reached = False
        self._sum, self._count = 0.0, 0
        self._lowest: float | None = None

    def hear(self, loss: Tensor, images_seen: int) -> None:
        """Take in the losses of a step (B,), after which so many images have been seen."""
        batch = len(loss)
        self._sum, self._count = self._sum + float(loss.sum()), self._count + batch
        if images_seen // self.every == (images_seen - batch) // self.every:
            return
        mean = self._sum / self._count
        self._sum, self._count = 0.0, 0
        if mean <= self.aim:
            self.reached, self._lowest = True, mean

    @property
    def state(self) -> dict[str, Any]:
        """What a checkpoint has to keep, in types that JSON knows."""
        # a loss that is not finite would make the line not finite too, and JSON knows no such
        kept = [self._sum, self._count] if self._sum - self._sum == 0 else [None, self._count]
        return {"line": kept, "reached": self._lowest}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where a checkpoint was; another aim than that time's may be reached or not."""
        total, self._count = state["line"]
        self._sum = float("nan") if total is None else total
        self._lowest = state["reached"]
        self.reached = self._lowest is not None and self._lowest <= self.aim
