"""WebDataset tars as a `Source`: any sample at any time, nothing unpacked.

Positions in the training's order are numbers (`sfumato.data.order`), so several processes that
read the same tars share every epoch exactly: no shard belongs to one of them.
"""

from __future__ import annotations

import glob
import re
from array import array
from collections.abc import Sequence
from itertools import islice, product
from pathlib import Path, PurePosixPath

import numpy as np

from sfumato.data.captions import named_by
from sfumato.data.decode import UnreadablePicture, unreadable
from sfumato.data.example import Problem
from sfumato.data.scan import Scan, holds_pictures
from sfumato.data.sources.columns import class_order
from sfumato.data.sources.folder import CACHE_LIMIT, FolderSource
from sfumato.data.sources.tar_index import LARGEST_PICTURE, Sample, index_of
from sfumato.errors import SfumatoError

_PARTS = {"train": r"train(ing)?", "test": r"test|val(id(ation)?)?"}
_BRACES = re.compile(r"\{([^{}]*)\}")
_MOST = 100_000  # names that braces may stand for
_LOOKED_AT = 1000  # headers read to learn how many channels there are


class LargeSource(FolderSource):
    """A source of perhaps millions of pictures: what does not fit is not read at the start."""

    def _looked_at(self) -> Sequence[int]:
        return range(0, len(self), max(1, len(self) // _LOOKED_AT))

    def _read_all(self) -> np.ndarray | None:
        fits = len(self) * self.channels * self.size**2 <= CACHE_LIMIT
        return super()._read_all() if fits else None


class ShardSource(LargeSource):
    """Samples of tars: key.jpg (.png, .webp, ...) with key.txt, key.json or key.cls; see `Source`.

    Pictures are decoded at the start and kept while they fit into memory (as a folder's are),
    else at each visit.  What cannot be read is replaced by the next readable sample.

    Args:
        tars: the files, in order.
        name: what to call the data set.
        size: side in pixels.
        channels: 1, 3, 4 or None to judge by up to 1,000 of the pictures.
        broken_share: share of unreadable pictures above which to give up.
        limit: use only so many samples from the start.
        classes: names known beforehand, in order; others that occur come after them.
        remarks: known beforehand, for the report.

    Raises:
        SfumatoError: not tars, no pictures in them, or too many broken ones.
    """

    def __init__(
        self,
        tars: Sequence[Path],
        name: str,
        size: int = 64,
        channels: int | None = None,
        broken_share: float = 0.5,
        limit: int | None = None,
        classes: Sequence[str] = (),
        remarks: Sequence[Problem] = (),
    ) -> None:
        found = Scan(tars[0].parent, name, remarks=list(remarks))
        self._tars = list(tars)
        # tar, offset, size of each: tuples would take twelve times the memory
        self._places = array("q"), array("q"), array("q")
        samples: list[Sample] = []
        for number, tar in enumerate(tars):
            if limit is not None and len(samples) >= limit:
                break
            index = index_of(tar)
            found.remarks += [Problem(f"{tar.name}/{m}", why) for m, why in index.remarks]
            for sample in islice(index.samples, None if limit is None else limit - len(samples)):
                samples.append(sample)
                found.paths.append(tar)
                for place, value in zip(
                    self._places, (number, sample.offset, sample.size), strict=True
                ):
                    place.append(value)
                found.names.append(f"{tar.name}/{sample.key}{sample.ending}")
        if not samples:
            raise SfumatoError(
                f"{name} holds no pictures. A WebDataset tar has key.jpg (.png, .webp) with "
                "key.txt, key.json or key.cls."
            )
        self._say(samples, found, classes)
        self._begin(found, tars[0].parent, size, channels, broken_share)

    def _say(self, samples: list[Sample], found: Scan, classes: Sequence[str]) -> None:
        found.labels = [sample.label for sample in samples]
        if not any(sample.captions for sample in samples) and all(found.labels):
            found.classes = class_order((label for label in found.labels if label), classes)
            found.captions = [(label,) for label in found.labels if label]
            return
        bare = 0
        for sample in samples:
            captions = sample.captions or ((sample.label,) if sample.label else ())
            if not captions:
                bare += 1
                captions = (named_by(PurePosixPath(sample.key), found.name)[0],)
            found.captions.append(captions)
        if bare:
            reason = f"{bare} samples have no caption; the words of their keys are taken"
            found.remarks.append(Problem(found.name, reason, topic="caption missing"))

    def _stored(self, index: int) -> bytes:
        number, offset, size = (place[index] for place in self._places)
        if size > LARGEST_PICTURE:
            raise UnreadablePicture(f"too large: {size} bytes, the limit is {LARGEST_PICTURE}")
        try:
            # opened anew each time (20 microseconds): threads and forked processes share nothing
            with self._tars[number].open("rb") as file:
                file.seek(offset)
                content = file.read(size)
        except OSError as error:
            raise unreadable("unopened", why=str(error.strerror or error)) from None
        if len(content) != size:
            raise UnreadablePicture("its tar has become shorter")
        return content


def shard_source(
    data: str | Path,
    size: int | None = None,
    channels: int | None = None,
    split: str = "train",
    broken_share: float = 0.5,
    limit: int | None = None,
) -> ShardSource:
    """Open tars by a file, a folder, a pattern (``shards/*.tar``) or braces (``{000..012}``).

    Args:
        data: which tars.
        size: side in pixels; default 64.
        channels, broken_share, limit: see `ShardSource`.
        split: "train" or "test"; told by the tars' names or folders where any of them says
            train, test or val, else all are for training.

    Raises:
        SfumatoError: there are no such tars.
    """
    tars = tars_of(data)
    base = Path(data)
    root = base if base.is_dir() else None
    train = _part(tars, root, "train")
    # a file that is named is what is wanted, whatever its name says
    part = tars if base.is_file() and split == "train" else _part(tars, root, split)
    if not part:
        raise SfumatoError(f"{data} has no {split} part: no tar's name says so.")
    classes: tuple[str, ...] = ()
    if split == "test" and not any(sample.captions for sample in index_of(part[0]).samples):
        # class number k is the same in both parts
        labels = (sample.label for tar in train for sample in index_of(tar).samples)
        classes = class_order(label for label in labels if label)
    name = base.resolve().name if base.exists() else _BRACES.sub("", base.stem).strip("-_*")
    name = name or "shards"
    return ShardSource(part, name, size or 64, channels, broken_share, limit, classes)


def tars_of(data: str | Path) -> list[Path]:
    """The tars that a file, folder, pattern or brace notation means, in order.

    Raises:
        SfumatoError: none, one of them is missing, or the braces stand for too many.
    """
    path = Path(data).expanduser()
    if path.is_dir():
        tars = sorted(tar for tar in path.rglob("*.tar") if tar.is_file())
    elif path.is_file():
        tars = [path]
    else:
        tars = []
        for name in expanded(str(path)):
            found = sorted(glob.glob(name)) if re.search(r"[*?\[]", name) else [name]
            tars += [Path(one) for one in found]
    missing = next((tar for tar in tars if not tar.is_file()), None)
    if missing is not None:
        raise SfumatoError(f"There is no file {missing}, though {data} names it.")
    if not tars:
        raise SfumatoError(f"No tar file matches {data}. Give a folder of tars or a pattern.")
    return tars


def expanded(pattern: str) -> list[str]:
    """Brace notation as a list of names: ``a-{000..002}.tar``, ``{train,test}.tar``.

    Raises:
        SfumatoError: it stands for more than 100,000 names.
    """
    parts = _BRACES.split(pattern)  # text, inside, text, inside, ..., text
    choices: list[list[str]] = [[text] for text in parts]
    total = 1
    for place in range(1, len(parts), 2):
        inside = parts[place]
        if bounds := re.fullmatch(r"(\d+)\.\.(\d+)", inside):
            first, last = int(bounds[1]), int(bounds[2])
            if last - first >= _MOST:
                raise _too_many(pattern)
            width = len(bounds[1])
            choices[place] = [f"{number:0{width}d}" for number in range(first, last + 1)]
        elif "," in inside:
            choices[place] = inside.split(",")
        else:
            choices[place] = ["{" + inside + "}"]
        total *= len(choices[place])
    if total > _MOST:
        raise _too_many(pattern)
    return ["".join(choice) for choice in product(*choices)]


def looks_like_shards(root: Path) -> bool:
    """Whether a folder (or its train, test or val) holds tars and no pictures."""
    try:
        inside = [root, *(path for path in root.iterdir() if path.is_dir())]
        tars = any(next(folder.glob("*.tar"), None) for folder in inside)
    except OSError:
        return False
    return tars and not holds_pictures(root)


def _too_many(pattern: str) -> SfumatoError:
    return SfumatoError(f"{pattern} stands for more than {_MOST:,} names. Narrow it.")


def _part(tars: list[Path], root: Path | None, split: str) -> list[Path]:
    if split not in _PARTS:
        raise SfumatoError(f"Tars have no part {split!r}. Take train or test.")
    said: dict[str, list[Path]] = {name: [] for name in _PARTS}
    for tar in tars:
        inside = tar.relative_to(root).as_posix() if root else tar.name
        for name, pattern in _PARTS.items():
            if re.search(rf"(^|[\W_])({pattern})([\W_\d]|$)", inside.lower()):
                said[name].append(tar)
                break
    if not any(said.values()):
        return tars if split == "train" else []
    return said[split]
