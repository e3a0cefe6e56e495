"""Random numbers that belong to a sample, not to a batch.

Every draw is a pure function of (seed, purpose, global index of the sample).  Batch size,
gradient accumulation and the number of processes therefore change nothing: two ranks with
half the batch draw what one rank with the whole batch draws, and a resumed run goes on with
the numbers it would have drawn (mistakes 8 and 9 of `docs/mistakes.md`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

_GOLDEN = 0x9E3779B97F4A7C15  # 2^64 / golden ratio, odd: consecutive multiples spread evenly
_MASK = (1 << 64) - 1


def seed_of(seed: int, *purpose: str | int) -> int:
    """A stable 63-bit seed for one purpose, the same on every machine and Python version.

    Args:
        seed: the user's seed, any integer.
        purpose: what the numbers are for, for example ``("noise", 17)``.
    """
    # JSON keeps ("a", "b"), ("a/b",) and 1, "1" apart; default=int admits numpy's integers
    text = json.dumps([seed, *purpose], default=int)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


def as_indices(indices: Iterable[int] | Tensor) -> list[int]:
    """Global sample indices as Python integers, from a tensor, a range or a list."""
    return indices.tolist() if isinstance(indices, Tensor) else [int(i) for i in indices]


def normal(
    shape: Sequence[int], indices: Iterable[int] | Tensor, seed: int, *purpose: str | int
) -> Tensor:
    """Standard normal noise (B, *shape) float32 on the CPU, one generator a sample.

    PyTorch's CPU generator reads 32 bits of its seed.  The multiplier is odd, so they are
    different for any 2^32 consecutive samples, which hashing each index could not promise.
    """
    key = seed_of(seed, *purpose)
    generator = torch.Generator()
    wanted = as_indices(indices)
    noise = torch.empty(len(wanted), *shape)
    for row, index in zip(noise, wanted, strict=True):
        generator.manual_seed((key + index * _GOLDEN) & _MASK)
        row.normal_(generator=generator)
    return noise


def uniform(indices: Iterable[int] | Tensor, seed: int, *purpose: str | int) -> Tensor:
    """Independent uniform numbers (B,) float64 in [0, 1), one for each sample."""
    key = seed_of(seed, *purpose)
    return torch.tensor(
        [(_mix(key + i * _GOLDEN) >> 11) / 2.0**53 for i in as_indices(indices)],
        dtype=torch.float64,
    )


def stratified(indices: Iterable[int] | Tensor, seed: int, *purpose: str | int) -> Tensor:
    """Uniform numbers (B,) float64 in [0, 1) that fill the interval evenly.

    Sample i gets frac(u + i / golden ratio), u drawn from the seed: any run of n consecutive
    indices leaves no gap of 2 / n, so a batch covers all noise levels however it is divided
    (stratification as in k-diffusion and VDM, 2107.00630 appendix I.1, without needing to
    know the batch).
    """
    key = _mix(seed_of(seed, *purpose))  # all 64 bits random: u covers the whole interval
    # 53 bits are kept, so that the quotient is below 1 after rounding to float64
    return torch.tensor(
        [(((key + i * _GOLDEN) & _MASK) >> 11) / 2.0**53 for i in as_indices(indices)],
        dtype=torch.float64,
    )


def _mix(value: int) -> int:
    """SplitMix64's finaliser: consecutive integers to independent 64-bit words."""
    value &= _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return (value ^ (value >> 31)) & _MASK
