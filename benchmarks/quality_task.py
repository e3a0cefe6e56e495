"""What every contender of the quality benchmark is given, and what it must be able to do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from torch import Tensor


@dataclass(frozen=True)
class Task:
    """What a contender is given.

    Attributes:
        data: file with "pictures" uint8 (N, 1, 28, 28) and "labels" (N,).
        folder: its own, for the state.
        classes: names of the labels.
    """

    data: Path
    folder: Path
    classes: tuple[str, ...]
    seed: int
    threads: int
    bf16: bool


class Contender(Protocol):
    """Attributes: images seen in all; restored: those of the state it began with."""

    images: int
    restored: int
    parameters: int

    def step(self, share: float) -> float:
        """Train on one batch; ``share`` of the time is over.  Returns the loss."""

    def save(self) -> None: ...

    def draw(self, labels: list[int], seed: int) -> Tensor:
        """Pictures uint8 (N, 1, 28, 28) of these classes by the averaged weights."""
