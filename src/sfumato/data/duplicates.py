"""Pictures that look alike: copies at another size or quality, or a little brighter.

Two steps.  A difference hash (does it get brighter to the right? downwards?) of 144 bits finds
candidates: at most `DISTANCE` bits apart.  A small colour copy of both confirms them: after taking
the difference of brightness away, no place may differ by more than `PLACE`.

Measured on 212 cut-outs of photographs and textures, against a copy of each: saved as JPEG of
quality 40, 99% are found; at half the size, all; 10% brighter, 99%; as JPEG of quality 15, 70%;
with 3% cut off one side, a quarter.  A watermark or a cut-out makes a picture another one here.
None of the 22,000 pairs of different cut-outs was taken for a copy.

Not every pair is compared.  Two hashes that differ in at most 11 bits agree wholly in at least one
of 12 bands of 12 bits, so only pictures that share a band meet; where very many share one, each
meets its nearest in the order of the remaining bits.  60,000 pictures take about `_COMPARISONS`
comparisons at most, whatever they show; in a data set of very many similar pictures some pairs are
missed.  A picture that already has another standing for it is not compared again, so frames of one
scene cost less than different pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image

DISTANCE = 11
"""Bits of 144 in which the hashes of two similar pictures may differ."""

SHIFT, PLACE, SHARE = 24.0, 24.0, 0.25
"""Confirmation, in levels of 255 on a copy of 16x16: the difference of the mean colours, the
largest difference of one place beyond it, and the root mean square of these differences as a
share of the pictures' own contrast (at least 8 levels)."""

_SIDE, _COPY, _RISE = 9, 16, 2.0  # a rise of two levels or less is noise
_BANDS = 12
_COMPARISONS = 24_000_000
_SHORTEST = 32  # fewest neighbours that each picture meets in a band
_SET_BITS = np.array([number.bit_count() for number in range(1 << 16)], dtype=np.uint8)


def signature(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What a picture is compared by: (hash of 144 booleans, uint8 copy of (C, 16, 16)).

    Args:
        image: uint8 (C, H, W), see `Example`; what is transparent counts as middle grey.
    """
    planes = image.astype(np.float32)
    light = planes[:3].mean(axis=0)
    if len(planes) == 4:
        light += (255 - planes[3]) * 0.5
    small = _reduced(light, _SIDE)
    rises = ((small[:, 1:] - small[:, :-1]).T, small[1:] - small[:-1])
    bits = np.concatenate([(rise > _RISE).ravel() for rise in rises])
    copy = np.stack([_reduced(plane, _COPY) for plane in planes])
    return bits, np.rint(copy).astype(np.uint8)


def similar_groups(
    bits: np.ndarray,
    copies: np.ndarray,
    order: Sequence[int] | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> list[list[int]]:
    """Groups of similar pictures.

    Every member is similar to the first of its group, so a chain of small changes does not grow
    into one group, and no two firsts were found similar.

    Args:
        bits: (N, 144) booleans.
        copies: (N, C, 16, 16) uint8.
        order: all N positions; the earlier one stands for those similar to it.  Default 0 ... N-1.
        progress: called now and then, with the phase "comparing".

    Returns:
        Groups of at least two positions, in the order of their firsts.
    """
    if len(bits) < 2:
        return []
    bands = _Bands(bits)
    free = np.ones(len(bits), dtype=bool)  # neither a member of a group nor a first
    groups = []
    for done, first in enumerate(range(len(bits)) if order is None else order):
        if progress and not done % 500:
            progress("comparing", done, len(bits))
        if not free[first]:
            continue
        free[first] = False
        members = _similar_to(first, bands.near(first, free), copies)
        if len(members):
            free[members] = False
            groups.append([first, *members.tolist()])
    return groups


def similar_pairs(bits: np.ndarray, copies: np.ndarray) -> list[tuple[int, int]]:
    """Pairs (a, b), a < b, of similar pictures, for small sets; see `similar_groups`."""
    if len(bits) < 2:
        return []
    bands = _Bands(bits)
    later = np.ones(len(bits), dtype=bool)
    found: list[tuple[int, int]] = []
    for one in range(len(bits)):
        later[one] = False
        others = _similar_to(one, bands.near(one, later), copies)
        found += [(one, other) for other in others.tolist()]
    return found


class _Bands:
    """Hashes in the order of each band, to find those that are near one of them.

    Args:
        bits: (N, 144) booleans.
    """

    def __init__(self, bits: np.ndarray) -> None:
        count, length = len(bits), bits.shape[1] // _BANDS
        self._words = np.packbits(bits, axis=1).view(np.uint16)
        self._orders = np.empty((_BANDS, count), dtype=np.int32)
        self._low, self._high = np.empty_like(self._orders), np.empty_like(self._orders)
        reach = max(_SHORTEST, _COMPARISONS // (_BANDS * count))
        places = np.arange(count)
        for band in range(_BANDS):
            # this band first, then the bits after it, so that similar pictures stand together
            turned = np.packbits(np.roll(bits, -band * length, axis=1), axis=1)
            order = np.lexsort(turned.T[::-1])
            head = turned[order, 0].astype(np.uint16) << 4 | turned[order, 1] >> 4
            low, high = (np.searchsorted(head, head, side) for side in ("left", "right"))
            self._orders[band] = order
            self._low[band, order] = np.maximum(low, places - reach)
            self._high[band, order] = np.minimum(high, places + reach + 1)

    def near(self, index: int, wanted: np.ndarray) -> np.ndarray:
        """Positions, in order, of the wanted ones that differ in at most `DISTANCE` bits."""
        low, high = self._low[:, index], self._high[:, index]
        (shared,) = np.nonzero(high - low > 1)  # bands that it is not alone in
        if not len(shared):
            return np.empty(0, dtype=np.int32)
        found = np.concatenate([self._orders[band, low[band] : high[band]] for band in shared])
        found = np.unique(found[wanted[found]])
        apart = _SET_BITS[self._words[found] ^ self._words[index]].sum(axis=1)
        near: np.ndarray = found[apart <= DISTANCE]
        return near


def _similar_to(one: int, others: np.ndarray, copies: np.ndarray) -> np.ndarray:
    """Those of the others that really look like this one."""
    alike: np.ndarray = others[_confirmed(copies, np.full(len(others), one), others)]
    return alike


def _confirmed(copies: np.ndarray, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Which pairs really look alike: booleans."""
    alike = np.zeros(len(one), dtype=bool)
    for start in range(0, len(one), 4096):
        part = slice(start, start + 4096)
        a, b = copies[one[part]].astype(np.float32), copies[other[part]].astype(np.float32)
        change = a - b
        shift = change.mean(axis=(2, 3), keepdims=True)
        rest = change - shift
        contrast = np.minimum(a.std(axis=(2, 3)).mean(axis=1), b.std(axis=(2, 3)).mean(axis=1))
        alike[part] = (
            (np.abs(shift).max(axis=(1, 2, 3)) <= SHIFT)
            & (np.abs(rest).max(axis=(1, 2, 3)) <= PLACE)
            & (np.sqrt((rest**2).mean(axis=(1, 2, 3))) <= SHARE * np.maximum(8.0, contrast))
        )
    return alike


def _reduced(plane: np.ndarray, side: int) -> np.ndarray:
    small = Image.fromarray(plane).resize((side, side), Image.Resampling.BOX)
    return np.asarray(small)
