"""Which example each global sample of a training shows.

Position is arithmetic: sample i stands at place i % length of epoch i // length, and every
epoch has its own permutation, a function of (seed, epoch).  There is no iterator to save, so
a resumed run or a different number of processes sees exactly the same examples (mistakes 8
and 9 of `docs/mistakes.md`).
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from sfumato.data.example import Source
from sfumato.diffusion.randomness import seed_of


def visits_of(source: Source) -> tuple[int, ...]:
    """The positions of an epoch, for a source that wants some of them visited several times.

    Such a source has a method ``visits(index) -> int``.  Empty where every one comes once.
    """
    often = getattr(source, "visits", None)
    if often is None:
        return ()
    return tuple(place for place in range(len(source)) for _ in range(often(place)))


def indices(seed: int, start: int, count: int, length: int) -> list[int]:
    """The examples shown to the global samples start .. start + count - 1.

    Args:
        seed: the training's seed.
        start: global index of the first sample, counted from the start of the training, >= 0.
        count: how many samples, >= 0; may span several epochs.
        length: number of examples in the data set, >= 1.

    Returns:
        ``count`` numbers in [0, length).  Over each epoch every example comes exactly once.

    Raises:
        ValueError: a length below 1, or a negative start or count.
    """
    if length < 1 or start < 0 or count < 0:
        raise ValueError(f"no order for start={start}, count={count}, length={length}")
    shown: list[int] = []
    position, end = start, start + count
    while position < end:
        epoch, place = divmod(position, length)
        taken = min(end - position, length - place)
        shown += _permutation(seed, epoch, length)[place : place + taken].tolist()
        position += taken
    return shown


@lru_cache(maxsize=4)  # a batch touches one epoch or two; the rest is for interleaved readers
def _permutation(seed: int, epoch: int, length: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed_of(seed, "order", epoch))
    return torch.randperm(length, generator=generator)
