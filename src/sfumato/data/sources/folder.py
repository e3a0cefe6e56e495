"""A folder of pictures with captions or classes; broken files are named and replaced."""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from sfumato.cores import cores
from sfumato.data.decode import (
    UnreadablePicture,
    is_grey,
    is_transparent,
    may_be_transparent,
    open_picture,
    to_pixels,
)
from sfumato.data.example import Example, Problem, Report
from sfumato.data.scan import Scan, scan
from sfumato.errors import SfumatoError

if TYPE_CHECKING:
    from typing_extensions import Self

CACHE_LIMIT = 2 << 30
"""Decoded pictures are kept in memory up to this many bytes (2 GiB), else decoded on demand."""

_JUDGED = 64  # pictures decoded to learn whether alpha channels are really used
_CHUNK = 512
_T = TypeVar("_T")


class FolderSource:
    """A captioned folder or a folder of classes; see `Source`.

    Every picture is read once at the start.  One that cannot be read stays in the count, so
    that positions do not depend on it, and shows the next readable picture in order of name
    (after the last comes the first).

    Attributes:
        unreadable: reason for each index that cannot be read.
        dimensions: (width, height) of each picture as stored; (0, 0) where unreadable.
        parts: names of the parts that were joined, see `joined`; else empty.

    Args:
        root: the folder; a subfolder "train" (or "test", "val") is used where there is one.
        size: side in pixels.
        channels: 1, 3, 4 or None to judge by the pictures.
        split: "train" or "test".
        broken_share: share of unreadable pictures, in [0, 1], above which to give up.

    Raises:
        SfumatoError: no pictures, no such split, too many broken ones, a metadata file that
            cannot be used.
    """

    def __init__(
        self,
        root: Path,
        size: int = 64,
        channels: int | None = None,
        split: str = "train",
        broken_share: float = 0.5,
    ) -> None:
        self._begin(scan(root, split), root, size, channels, broken_share)

    @classmethod
    def of(
        cls, found: Scan, root: Path, size: int, channels: int | None, broken_share: float = 0.5
    ) -> Self:
        """A source over pictures that were found in another way than by `scan`."""
        source = cls.__new__(cls)
        source._begin(found, root, size, channels, broken_share)
        return source

    @classmethod
    def joined(cls, root: Path, parts: Mapping[str, FolderSource]) -> Self:
        """Several parts of a folder as one data set; a picture is named by its part first.

        Args:
            parts: name of the subfolder -> its pictures; of one size and number of channels.
        """
        whole = cls.__new__(cls)
        found = Scan(root, root.name)
        sources = list(parts.values())
        whole.unreadable, whole._why, whole.dimensions, whole.parts = {}, {}, [], tuple(parts)
        for part, source in parts.items():
            one, start = source._found, len(found.paths)
            found.paths += one.paths
            found.names += [f"{part}/{name}" for name in one.names]
            found.captions += one.captions
            found.labels += one.labels
            for said in one.remarks:
                # one about all of a part stays so
                origin = part if said.origin == one.name else f"{part}/{said.origin}"
                found.remarks.append(replace(said, origin=origin))
            whole.unreadable.update((start + i, why) for i, why in source.unreadable.items())
            whole._why.update((start + i, why) for i, why in source._why.items())
            whole.dimensions += source.dimensions
        if all(source.classes for source in sources):
            found.classes = tuple(sorted({label for one in sources for label in one.classes}))
        whole.name, whole.classes, whole._found = found.name, found.classes, found
        whole.size, whole.channels = sources[0].size, sources[0].channels
        pixels = [source._pixels for source in sources if source._pixels is not None]
        whole._pixels = np.concatenate(pixels) if len(pixels) == len(sources) else None
        return whole

    def _begin(
        self, found: Scan, root: Path, size: int, channels: int | None, broken_share: float
    ) -> None:
        self.name = found.name
        self.parts: tuple[str, ...] = ()
        self.size = size
        self.classes = found.classes
        self._why: dict[int, UnreadablePicture] = dict(found.refused)
        self.unreadable: dict[int, str] = {index: str(why) for index, why in self._why.items()}
        self.dimensions: list[tuple[int, int]] = [(0, 0)] * len(found.paths)
        self._found = found
        self.channels = channels or self._judge_channels()
        self._pixels = self._read_all()
        self._demand_enough(root, broken_share)

    def __len__(self) -> int:
        return len(self._found.paths)

    def __getitem__(self, index: int) -> Example:
        if not -len(self) <= index < len(self):
            raise IndexError(f"picture {index} of {len(self)}")
        index %= len(self)
        for _ in range(len(self)):
            if index not in self.unreadable:
                try:
                    return self._example(index)
                except UnreadablePicture as error:  # it was there when the folder was scanned
                    self.unreadable[index] = f"{error} (when it was scanned, it could be read)"
            index = (index + 1) % len(self)
        raise SfumatoError(f"No picture in {self._found.root} can be read. Give another folder.")

    def report(self) -> Report:
        """Unreadable pictures, odd captions, refused paths."""
        names = self._found.names
        broken = []
        for index, reason in sorted(self.unreadable.items()):
            why = self._why.get(index, UnreadablePicture(reason))
            if str(why) != reason:  # told in another way since
                why = UnreadablePicture(reason)
            broken.append(Problem(names[index], reason, True, kind=why.kind, values=why.values))
        return Report((*broken, *self._found.remarks), len(self))

    def _example(self, index: int) -> Example:
        if self._pixels is not None:
            image = self._pixels[index]
        else:
            image = self._decode(index)
        found = self._found
        return Example(image, found.captions[index], found.labels[index], found.names[index])

    def _stored(self, index: int) -> Path | bytes:
        """Where the picture is, or its file's content; may raise `UnreadablePicture`."""
        return self._found.paths[index]

    def _looked_at(self) -> Sequence[int]:
        """The pictures whose headers decide how many channels there are."""
        return range(len(self))

    def _decode(self, index: int) -> np.ndarray:
        with open_picture(self._stored(index)) as image:
            self.dimensions[index] = image.size
            return to_pixels(image, self.size, self.channels)

    def _judge_channels(self) -> int:
        def look(index: int) -> tuple[bool, bool] | None:
            with open_picture(self._stored(index)) as image:
                return is_grey(image), may_be_transparent(image)

        def see_through(index: int) -> bool:
            with open_picture(self._stored(index)) as image:
                return is_transparent(image)

        looked = self._each(look, "looking", self._looked_at())
        seen = {i: flags for i, flags in looked if flags is not None}
        candidates = [index for index, (_, transparent) in seen.items() if transparent]
        step = max(1, len(candidates) // _JUDGED)
        judged = [flag for _, flag in self._each(see_through, "looking", candidates[::step])]
        share = sum(flag is True for flag in judged) / max(1, len(judged))
        if share * len(candidates) > 0.5 * len(seen):
            return 4
        return 1 if seen and all(grey for grey, _ in seen.values()) else 3

    def _read_all(self) -> np.ndarray | None:
        shape = (len(self), self.channels, self.size, self.size)
        cache = np.zeros(shape, dtype=np.uint8) if math.prod(shape) <= CACHE_LIMIT else None

        def read(index: int) -> None:
            pixels = self._decode(index)
            if cache is not None:
                cache[index] = pixels

        for _ in self._each(read, "reading"):
            pass
        return cache

    def _each(
        self, work: Callable[[int], _T], what: str, chosen: Sequence[int] | None = None
    ) -> list[tuple[int, _T | None]]:
        """Do something with every readable picture, on several threads, noting what breaks."""
        from tqdm import tqdm

        def guarded(index: int) -> _T | UnreadablePicture:
            try:
                return work(index)
            except UnreadablePicture as error:
                return error

        chosen = range(len(self)) if chosen is None else chosen
        todo = [index for index in chosen if index not in self.unreadable]
        results: list[tuple[int, _T | None]] = []
        workers = min(4, cores())  # Pillow decodes outside Python's lock
        with (
            warnings.catch_warnings(),
            ThreadPoolExecutor(workers) as pool,
            # shown only on a terminal and only when it takes longer than a second
            tqdm(total=len(todo), desc=what, unit=" pictures", delay=1.0, disable=None,
                 file=sys.stderr, leave=False) as bar,
        ):  # fmt: skip
            warnings.simplefilter("ignore")  # Pillow's remarks on metadata that is not used
            for start in range(0, len(todo), _CHUNK):
                chunk = todo[start : start + _CHUNK]
                for index, result in zip(chunk, pool.map(guarded, chunk), strict=True):
                    if isinstance(result, UnreadablePicture):
                        self.unreadable[index], self._why[index] = str(result), result
                        results.append((index, None))
                    else:
                        results.append((index, result))
                bar.update(len(chunk))
        return results

    def _demand_enough(self, root: Path, broken_share: float) -> None:
        broken, total = len(self.unreadable), len(self)
        if broken <= broken_share * total and (broken < total or broken_share >= 1):
            return
        first = min(self.unreadable)
        raise SfumatoError(
            f"{broken} of {total} pictures in {root} cannot be read, more than the allowed share "
            f"of {broken_share:.0%} (the first: {self._found.names[first]}: "
            f"{self.unreadable[first]}). Mend or remove them; "
            f'"sfumato data check {root}" lists them all.'
        )


__all__ = ["CACHE_LIMIT", "FolderSource", "Scan"]
