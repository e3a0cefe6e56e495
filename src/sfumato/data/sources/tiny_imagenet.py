"""Tiny ImageNet: 200 classes of 500 training and 50 validation pictures, 64x64.

::

    wnids.txt                          the 200 classes as WordNet numbers
    words.txt                          WordNet number, tab, names separated by commas
    train/<wnid>/images/*.JPEG
    val/images/*.JPEG, val/val_annotations.txt    file, tab, wnid, tab, box

The test part has no labels in public; "test" means the validation pictures.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from sfumato.data.captions import decode_text
from sfumato.data.example import Problem
from sfumato.data.places import found_in, required
from sfumato.data.scan import EXTENSIONS, Scan
from sfumato.data.sources.folder import FolderSource
from sfumato.errors import SfumatoError

_WNID = re.compile(r"n\d{8}")
_LONGEST_TEXT = 64 << 20  # words.txt has 2.6 MB
_INSIDE = "tiny-imagenet-200"


def tiny_imagenet(
    size: int | None = None,
    channels: int | None = None,
    split: str = "train",
    broken_share: float = 0.5,
    root: Path | None = None,
) -> FolderSource:
    """Tiny ImageNet; its class names are the captions.

    Args:
        size: side in pixels; default 64, as stored.
        channels: 1, 3 or 4; default 3 (the grey pictures are made RGB).
        split: "train" or "test" (the validation pictures).
        broken_share: share of unreadable pictures above which to give up.
        root: the folder; by default looked for, see `sfumato.data.places`.

    Raises:
        SfumatoError: it is not there, or lacks its lists or pictures.
    """
    cure = "Fetch it (sfumato data fetch tiny-imagenet) or unpack tiny-imagenet-200 there."
    root = root or required("tiny-imagenet", looks_like_tiny_imagenet, cure)
    return FolderSource.of(scan_tiny(root, split), root, size or 64, channels or 3, broken_share)


def find_tiny_imagenet() -> Path | None:
    """The folder with Tiny ImageNet, see `sfumato.data.places`."""
    return found_in("tiny-imagenet", looks_like_tiny_imagenet)


def looks_like_tiny_imagenet(root: Path) -> bool:
    """Whether the folder (or tiny-imagenet-200 inside it) has its lists and its parts."""
    return _folder(root) is not None


def scan_tiny(root: Path, split: str) -> Scan:
    """The pictures of one part, in order of class and name.

    Raises:
        SfumatoError: no such part, missing or senseless lists, no pictures.
    """
    if split not in ("train", "test"):
        raise SfumatoError(f"Tiny ImageNet has no part {split!r}. Take train or test.")
    folder = _folder(root)
    if folder is None:
        raise SfumatoError(f"{root} has no wnids.txt and words.txt. Unpack the whole archive.")
    folder = folder.resolve()
    result = Scan(folder, "tiny-imagenet")
    names = class_names(folder)
    result.classes = tuple(names.values())
    if split == "train":
        _train(folder, names, result)
    else:
        _validation(folder, names, result)
    if not result.names:
        part = "train/<wnid>/images" if split == "train" else "val/images"
        raise SfumatoError(f"{folder} has no pictures in {part}. Unpack the whole archive.")
    result.refuse_links()
    return result


def class_names(folder: Path) -> dict[str, str]:
    """WordNet number -> the first of its names, or all where two classes share the first.

    Raises:
        SfumatoError: a list cannot be read or is no such list.
    """
    wnids = [line.strip() for line in _text(folder / "wnids.txt").splitlines() if line.strip()]
    wrong = next((wnid for wnid in wnids if not _WNID.fullmatch(wnid)), None)
    if wrong is not None or not wnids:
        raise SfumatoError(
            f"{folder / 'wnids.txt'} should hold WordNet numbers such as n01443537, not "
            f"{(wrong or 'nothing')[:40]!r}. Take another copy of it."
        )
    wanted = set(wnids)
    all_names: dict[str, str] = {}
    for line in _text(folder / "words.txt").splitlines():
        wnid, _, names = line.partition("\t")
        if wnid in wanted and names.strip():
            all_names[wnid] = " ".join(names.split())
    first = {wnid: all_names.get(wnid, wnid).split(",")[0].strip() for wnid in wnids}
    shared = Counter(first.values())
    told = {w: all_names.get(w, w) if shared[name] > 1 else name for w, name in first.items()}
    twice = Counter(told.values())
    return {w: f"{name} ({w})" if twice[name] > 1 else name for w, name in told.items()}


def _train(folder: Path, names: dict[str, str], result: Scan) -> None:
    for wnid in sorted(names):
        images = folder / "train" / wnid / "images"
        found = _pictures(images)
        if not found:
            result.remarks.append(Problem(f"train/{wnid}", "has no pictures"))
        for path in found:
            _add(result, path, f"train/{wnid}/images/{path.name}", names[wnid])


def _validation(folder: Path, names: dict[str, str], result: Scan) -> None:
    images = folder / "val" / "images"
    there = {path.name: path for path in _pictures(images)}
    said: dict[str, str] = {}
    for number, line in enumerate(_text(folder / "val/val_annotations.txt").splitlines(), 1):
        cells = line.split("\t")
        file, wnid = cells[0].strip(), cells[1].strip() if len(cells) > 1 else ""
        if file in there and wnid in names:
            said[file] = names[wnid]
        elif line.strip():
            reason = f"line {number} names {file[:80]!r} of class {wnid[:20]!r}; skipped"
            result.remarks.append(Problem("val/val_annotations.txt", reason))
    for name in sorted(there):
        if name in said:
            _add(result, there[name], f"val/images/{name}", said[name])
        else:
            result.remarks.append(Problem(f"val/images/{name}", "has no annotation; left out"))


def _add(result: Scan, path: Path, name: str, label: str) -> None:
    result.paths.append(path)
    result.names.append(name)
    result.captions.append((label,))
    result.labels.append(label)


def _pictures(folder: Path) -> list[Path]:
    # a JPEG on a file system without letter case may be .jpeg
    if not folder.is_dir():
        return []
    inside = (path for path in folder.iterdir() if not path.name.startswith("."))
    return sorted(path for path in inside if path.suffix.lower() in EXTENSIONS)


def _folder(root: Path) -> Path | None:
    for folder in (root, root / _INSIDE):
        lists = all((folder / name).is_file() for name in ("wnids.txt", "words.txt"))
        if lists and any((folder / part).is_dir() for part in ("train", "val")):
            return folder
    return None


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return decode_text(file.read(_LONGEST_TEXT))[0]
    except OSError as error:
        raise SfumatoError(
            f"{path} cannot be read ({error.strerror}). Unpack the whole archive."
        ) from None
