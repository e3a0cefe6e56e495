"""Pyramids: one picture at several resolutions, all noised and denoised together.

A pyramid of sides s_1 > s_2 > ... > s_R is one *packed* tensor (B, C, N), N = sum s_r^2: its
levels one after the other, the highest resolution first.  Everything that samplers, targets and
losses do to a picture they do number by number, so a packed pyramid walks through them as it is;
what differs between the levels - alpha, sigma and the log-SNR - comes with one number for every
place in the pack.

Source: Matryoshka diffusion, 2310.15111, section 3: every level has its own independent noise
(drawn for the whole pack, which comes to the same), all levels share one t.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from sfumato.diffusion.schedule import Schedule, TimeLike
from sfumato.diffusion.target import like


@dataclass(frozen=True)
class Pyramid:
    """How the levels lie in a packed pyramid.

    Args:
        sides: of the levels in pixels, highest resolution first; each divides the first.
    Raises:
        ValueError: without a level, or for sides that do not fall or do not divide the first.
    """

    sides: tuple[int, ...]

    def __post_init__(self) -> None:
        falling = all(a > b for a, b in zip(self.sides, self.sides[1:], strict=False))
        if not self.sides or not falling or self.sides[-1] < 1:
            raise ValueError(f"the sides of a pyramid must fall and be positive, not {self.sides}")
        if any(self.sides[0] % side for side in self.sides):
            raise ValueError(f"every side must divide the first, not {self.sides}")

    @classmethod
    def halving(cls, side: int, levels: int) -> Pyramid:
        """side, side / 2, side / 4, ...

        Raises:
            ValueError: if side is no multiple of 2^(levels - 1), or levels < 1.
        """
        if levels < 1 or side % 2 ** (levels - 1):
            raise ValueError(f"a side of {side} cannot be halved to {levels} levels")
        return cls(tuple(side // 2**r for r in range(levels)))

    @property
    def lengths(self) -> tuple[int, ...]:
        """Numbers a channel that each level takes in the pack."""
        return tuple(side**2 for side in self.sides)

    def pack(self, levels: Sequence[Tensor]) -> Tensor:
        """Levels (B, C, s_r, s_r), highest resolution first -> (B, C, N).

        Raises:
            ValueError: for levels of other sides.
        """
        found = [tuple(level.shape[-2:]) for level in levels]
        if found != [(side, side) for side in self.sides]:
            raise ValueError(f"expected levels of the sides {self.sides}, not {found}")
        return torch.cat([level.flatten(2) for level in levels], -1)

    def unpack(self, x: Tensor) -> tuple[Tensor, ...]:
        """(B, C, N) -> the levels (B, C, s_r, s_r), highest resolution first; views of x."""
        parts = x.split(self.lengths, -1)
        return tuple(
            part.unflatten(-1, (side, side)) for part, side in zip(parts, self.sides, strict=True)
        )

    def of(self, picture: Tensor) -> Tensor:
        """Pictures (B, C, s_1, s_1) and their average-pooled smaller versions, packed."""
        top = self.sides[0]
        return self.pack([F.avg_pool2d(picture, top // side) for side in self.sides])


def spread(numbers: Tensor, lengths: Sequence[int]) -> Tensor:
    """One number a level, (R,) or (B, R) -> (1, 1, N) or (B, 1, N), to go with a packed pyramid."""
    repeats = torch.tensor(lengths, device=numbers.device)
    numbers = numbers.reshape(-1, numbers.shape[-1])
    return numbers.repeat_interleave(repeats, -1, output_size=sum(lengths))[:, None]


def level_by_level(
    measure: Callable[..., Tensor], lengths: Sequence[int], *pictures: Tensor
) -> Tensor:
    """What `measure` says of each level, in a shape that goes with the pictures.

    Args:
        measure: pictures -> one number a picture, (B,).
        lengths: of the levels of packed pyramids; empty: an ordinary picture is its one level.
        pictures: (B, C, H, W) or packed (B, C, N), all of one shape.
    """
    if not lengths:
        return like(measure(*pictures), pictures[0])
    levels = zip(*(picture.split(tuple(lengths), -1) for picture in pictures), strict=True)
    return spread(torch.stack([measure(*level) for level in levels], -1), lengths)


@dataclass(frozen=True)
class LevelSchedule(Schedule):
    """The levels of a pyramid, each with its own alpha and sigma at one common time.

    SNR_r(t) = SNR(t) / s_r^power, s_r the ratio of level r's side to the *lowest* level's
    (2310.15111, section 3.4).  The lowest level therefore has exactly the schedule ``base``,
    which a network trained at that side alone has seen.

    For t of shape () the levels come as (1, 1, N), for (B,) as (B, 1, N): one number for every
    place in the pack.

    Args:
        base: of the lowest level.
        sides: of the levels, highest resolution first, as in `Pyramid`.
        power: 1 up to sides of 256, 2 for 1024 (in the paper); 0 gives all levels the base.
    """

    base: Schedule
    sides: tuple[int, ...]
    power: float = 1.0

    @property
    def pyramid(self) -> Pyramid:
        """The packing that the levels of this schedule fit."""
        return Pyramid(self.sides)

    @property
    def common(self) -> Schedule:
        return self.base

    def over(self, base: Schedule) -> LevelSchedule:
        """The same levels on another base.

        Raises:
            ValueError: for a schedule of levels that differ in sides or power.
        """
        if not isinstance(base, LevelSchedule):
            return replace(self, base=base)
        if (base.sides, base.power) != (self.sides, self.power):
            raise ValueError(f"levels of {base.sides} cannot take the place of {self.sides}")
        return base

    def shifted(self, side_ratio: float, power: float = 1.0) -> LevelSchedule:
        return replace(self, base=self.base.shifted(side_ratio, power))

    def of_level(self, level: int) -> Schedule:
        """The schedule of one level; 0 is the highest resolution."""
        ratio = self.sides[level] / self.sides[-1]
        return self.base if ratio == 1 else self.base.shifted(ratio, self.power)

    def __call__(self, t: TimeLike) -> tuple[Tensor, Tensor]:
        both = [self.of_level(r)(t) for r in range(len(self.sides))]
        alpha, sigma = (torch.stack(levels, -1) for levels in zip(*both, strict=True))
        lengths = self.pyramid.lengths
        return spread(alpha, lengths), spread(sigma, lengths)

    def log_snr(self, t: TimeLike) -> Tensor:
        levels = [self.of_level(r).log_snr(t) for r in range(len(self.sides))]
        return spread(torch.stack(levels, -1), self.pyramid.lengths)

    def time_of(self, log_snr: Tensor) -> Tensor:
        """The base's time of a log-SNR of the lowest level."""
        return self.base.time_of(log_snr)

    def levels_of(self, log_snr: Tensor) -> tuple[Tensor, Tensor]:
        return self.base.levels_of(log_snr)
