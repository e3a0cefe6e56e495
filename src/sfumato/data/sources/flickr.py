"""Flickr30k (and Flickr8k): photographs with five captions each.

Two layouts are handed round: ``Images/*.jpg`` with ``captions.txt`` (``image,caption``, commas
inside quotes) and ``flickr30k_images/*.jpg`` with ``results.csv`` (``image_name| comment_number|
comment``, one row of which lacks its second bar).  The parts are split by picture, so that no
picture is in both with different captions.
"""

from __future__ import annotations

import hashlib
import io
import re
from pathlib import Path

from sfumato.data.captions import clean_captions, decode_text
from sfumato.data.example import Problem
from sfumato.data.places import found_in, required
from sfumato.data.scan import EXTENSIONS, Scan
from sfumato.data.sources.folder import FolderSource
from sfumato.errors import SfumatoError

TEST_SHARE = 1 / 32
"""Share of the pictures kept for testing: about 1,000 of Flickr30k, as is customary."""

_TABLES = ("captions.txt", "results.csv")
_FOLDERS = ("Images", "images", "flickr30k_images", "flickr30k-images", "Flicker8k_Dataset")
_LONGEST_TEXT = 1 << 28
_BARRED, _COMMAS = "image_name|", ("image,caption", "image_name,caption")
# a.jpg,"a caption, ""quoted"", as it should be"
_QUOTED = re.compile(r'(?:"((?:[^"]|"")*)"|([^",]*))\s*,\s*"((?:[^"]|"")*)"')
# "4   A dog runs across the grass ." where "4| A dog ..." was meant
_TORN = re.compile(r"\s*(\d+)\s+(.+)")


def flickr30k(
    size: int | None = None,
    channels: int | None = None,
    split: str = "train",
    broken_share: float = 0.5,
    root: Path | None = None,
) -> FolderSource:
    """Flickr30k with all captions of each picture; one of them is drawn at each visit.

    Args:
        size: side in pixels; default 64; the centre square of each photograph is taken.
        channels: 1, 3 or 4; default 3.
        split: "train" or "test"; by a hash of the picture's name, so it never changes.
        broken_share: share of unreadable pictures above which to give up.
        root: the folder; by default looked for, see `sfumato.data.places`.

    Raises:
        SfumatoError: it is not there, or its table of captions cannot be used.
    """
    cure = (
        "Its makers give it away on request only: put Images/*.jpg and captions.txt (or "
        "flickr30k_images/*.jpg and results.csv) there; sfumato data fetch flickr30k tells more."
    )
    root = root or required("flickr30k", looks_like_flickr, cure)
    return FolderSource.of(scan_flickr(root, split), root, size or 64, channels or 3, broken_share)


def find_flickr() -> Path | None:
    """The folder with Flickr30k, see `sfumato.data.places`."""
    return found_in("flickr30k", looks_like_flickr)


def looks_like_flickr(root: Path) -> bool:
    """Whether the folder has the table of captions and the folder of photographs."""
    return _table(root) is not None and _images(root) is not None


def has_flickr_captions(root: Path) -> bool:
    """Whether it also begins as such a table does, not as anybody's own captions.txt."""
    table = _table(root) if looks_like_flickr(root) else None
    try:
        with table.open("rb") if table else io.BytesIO() as file:
            head = _head(decode_text(file.read(1000))[0])
    except OSError:
        return False
    return head.startswith(_BARRED) or head in _COMMAS


def scan_flickr(root: Path, split: str) -> Scan:
    """The pictures of one part that have captions, in order of name.

    Raises:
        SfumatoError: no such part, no pictures in it, or an unusable table.
    """
    if split not in ("train", "test"):
        raise SfumatoError(f"Flickr30k has no part {split!r}. Take train or test.")
    table, images = _table(root), _images(root)
    if table is None or images is None:
        raise SfumatoError(
            f"{root} has no captions.txt or results.csv beside a folder of pictures "
            f"({', '.join(_FOLDERS[:3])}). Put both there."
        )
    images = images.resolve()
    result = Scan(images, "flickr30k")
    captions = read_captions(table, result.remarks)
    there = {p.name: p for p in sorted(images.iterdir()) if p.suffix.lower() in EXTENSIONS}
    for name in captions:
        if name not in there:
            reason = f"names {name[:80]!r}, which is not there or no picture; skipped"
            result.remarks.append(Problem(table.name, reason))
    for name, path in there.items():
        if is_test(name) != (split == "test"):
            continue
        texts = captions.get(name)
        if not texts:
            reason = "has no caption; left out"
            result.remarks.append(Problem(name, reason, topic="caption missing"))
            continue
        result.paths.append(path)
        result.names.append(name)
        result.captions.append(texts)
        result.labels.append(None)
    result.refuse_links()
    if not result.names:
        raise SfumatoError(
            f"{images} holds no picture of the {split} part that {table.name} names. "
            "Put the pictures and their table of captions together."
        )
    return result


def is_test(name: str) -> bool:
    """Whether a picture belongs to the test part: a function of its name alone."""
    digest = hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return int.from_bytes(digest, "big") < TEST_SHARE * 2**64


def read_captions(table: Path, remarks: list[Problem]) -> dict[str, tuple[str, ...]]:
    """Captions by picture, in the table's order; ``remarks`` gains the rows that are odd.

    Raises:
        SfumatoError: not readable, or without the header of either form.
    """
    try:
        with table.open("rb") as file:
            text, _ = decode_text(file.read(_LONGEST_TEXT))
    except OSError as error:
        raise SfumatoError(f"{table} cannot be read ({error.strerror}). Mend it.") from None
    # the header decides, not the file's name: both names carry both forms
    head = _head(text)
    if head.startswith(_BARRED):
        rows = _barred(text)
    elif head in _COMMAS:
        rows = _comma(text)
    else:
        raise SfumatoError(
            f"{table} begins with {head[:60]!r}, not with image,caption or "
            "image_name|comment_number|comment. Take another copy of it."
        )
    found: dict[str, list[str]] = {}
    for number, name, caption in rows:
        texts = clean_captions(caption)
        if name and texts:
            found.setdefault(name, []).extend(texts)
        else:
            remarks.append(Problem(table.name, f"row {number} has no picture or no caption"))
    return {name: tuple(texts) for name, texts in found.items()}


def _barred(text: str) -> list[tuple[int, str, str]]:
    rows = []
    for number, line in enumerate(text.split("\n")[1:], start=2):
        if not line.strip():
            continue
        cells = line.rstrip("\r").split("|", 2)
        caption = cells[2] if len(cells) == 3 else ""
        if len(cells) == 2 and (torn := _TORN.fullmatch(cells[1])):
            caption = torn[2]
        rows.append((number, cells[0].strip(), caption))
    return rows


def _comma(text: str) -> list[tuple[int, str, str]]:
    rows = []
    for number, line in enumerate(text.split("\n")[1:], start=2):
        if not line.strip():
            continue
        if quoted := _QUOTED.fullmatch(line.strip()):
            cells = [cell.replace('""', '"') for cell in (quoted[1] or quoted[2], quoted[3])]
        else:  # nobody quoted its commas, or a quote is never closed: still one caption
            cells = line.split(",", 1)
            odd = line.count('"') % 2 == 1
            cells = [cell.strip(' \t\r"' if odd else None) for cell in cells]
        rows.append((number, cells[0].strip(), cells[1] if len(cells) > 1 else ""))
    return rows


def _head(text: str) -> str:
    return text.split("\n", 1)[0].strip().lower().replace(" ", "").replace('"', "")


def _table(root: Path) -> Path | None:
    places = (root, *(root / name for name in _FOLDERS))
    tables = (place / name for place in places for name in _TABLES)
    return next((table for table in tables if table.is_file()), None)


def _images(root: Path) -> Path | None:
    for name in _FOLDERS:
        # one archive that is handed round has the folder twice, one inside the other
        for folder in (root / name / name, root / name):
            if folder.is_dir():
                return folder
    return None
