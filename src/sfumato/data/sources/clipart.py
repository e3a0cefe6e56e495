"""Open Clip Art Library 0.18 as Debian packages it: thousands of drawings in the public domain.

`openclipart-svg` has drawings with titles and keywords; they are drawn once, at 256 pixels, and
kept as tars (`sfumato.data.sources.stream`).  `openclipart-png` has pictures without any words but
their names.  Icon themes, series of geometric shapes, blank, doubled and very wide ones are left
out.  What is drawn decides the part, so that a picture under two names never is in both.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from sfumato.cores import cores
from sfumato.data.captions import clean_captions, named_by
from sfumato.data.decode import UnreadablePicture, open_picture
from sfumato.data.example import Problem
from sfumato.data.places import found_in, required
from sfumato.data.scan import EXTENSIONS, Scan
from sfumato.data.sources.flickr import is_test
from sfumato.data.sources.folder import FolderSource
from sfumato.data.sources.stream import Streamed, materialise, note, stored
from sfumato.data.sources.svg import LARGEST, About, Draughtsman, about, demand_renderer
from sfumato.errors import SfumatoError

DEBIAN_FOLDER = Path("/usr/share/openclipart")
WIDEST = 3.0
"""Pictures more than so many times as wide as high (or as high as wide) are left out."""

_PIPELINE = 2  # raise when the stored pictures or captions change
Drawing = tuple[str, bytes, tuple[str, ...]]
"""Name, document, captions."""

_SERIES = {"theme", "geometry", "gradients", "lemon_theme_icon", "magick"}
_EMPTY = {"hash", "unsorted", "special", "icons", "signs_and_symbols", "miscellany", "mapsym"}
_COMMON = 3  # a title on more drawings than that is the collection's


def clipart(
    size: int | None = None,
    channels: int | None = None,
    split: str = "train",
    broken_share: float = 0.5,
    root: Path | None = None,
) -> FolderSource:
    """The clip art.

    Args:
        size: side in pixels; default 64, at most 256 is worth while.
        channels: 1, 3 or 4; default 4.
        split: "train" or "test", by a hash of the pixels (one of 32 is for testing).
        broken_share: share of unreadable pictures above which to give up.
        root: the folder; by default looked for, see `sfumato.data.places`.

    Raises:
        SfumatoError: it is not there, or has drawings and there is no renderer.
    """
    if split not in ("train", "test"):
        raise SfumatoError(f"The clip art has no part {split!r}. Take train or test.")
    cure = "Install a Debian package (apt install openclipart-svg) or unpack it there."
    root = root or required("clipart", looks_like_clipart, cure, [DEBIAN_FOLDER])
    drawings, pictures = _part(root, "svg", (".svg",)), _part(root, "png", EXTENSIONS)
    if drawings and pictures:
        try:
            demand_renderer()
        except SfumatoError:
            drawings = None
    if drawings:
        folder = _drawn(drawings, split)
        return stored(folder, "clipart", size, channels or 4, broken_share)
    if pictures is None:
        raise SfumatoError(f"{root} holds neither drawings nor pictures. {cure}")
    found = _scan_pictures(pictures, split)
    return FolderSource.of(found, root, size or 64, channels or 4, broken_share)


def find_clipart() -> Path | None:
    """The folder with the clip art: its data folder or Debian's."""
    return found_in("clipart", looks_like_clipart, [DEBIAN_FOLDER])


def looks_like_clipart(root: Path) -> bool:
    """Whether the folder is laid out as Debian's, or holds drawings and no other pictures."""
    if _holds(root / "svg", (".svg",)):
        return True
    if root.name in ("openclipart", "clipart") and _holds(root / "png", (".png",)):
        return True
    return _holds(root, (".svg",)) and not _holds(root, EXTENSIONS)


def read_drawings(folder: Path, notes: dict[str, Any]) -> list[Drawing]:
    """The drawings worth drawing: (name, document, captions), in order of name.

    Links, series, doubled files and what `sfumato.data.sources.svg.about` refuses are left out;
    ``notes`` gains the refusals, see `sfumato.data.sources.stream.note`.
    """
    kept: list[tuple[str, bytes, About]] = []
    seen: set[bytes] = set()
    titles: Counter[str] = Counter()
    for name in _files(folder, (".svg",)):
        try:
            with (folder / name).open("rb") as file:
                document = file.read(LARGEST + 1)
            said = about(document)
        except (OSError, UnreadablePicture) as error:
            note(notes, name, f"{error}; left out")
            continue
        titles[said.title] += 1
        digest = hashlib.blake2b(document, digest_size=16).digest()
        if digest not in seen and not _of_a_series(name, said):
            seen.add(digest)
            kept.append((name, document, said))
    return [
        (name, document, captions_of(name, said, titles[said.title] > _COMMON))
        for name, document, said in kept
    ]


def captions_of(name: str, said: About, common: bool = False) -> tuple[str, ...]:
    """Captions of a drawing: its title; title and keywords; keywords alone.

    Args:
        name: of its file, used where the title says nothing.
        said: its title and keywords.
        common: the title is that of a whole collection.
    """
    title = re.sub(r"^clip ?art by [^-]*-\s*", "", said.title, flags=re.IGNORECASE)
    title = re.sub(r"[\s_-]*\d+$", "", title.strip().removesuffix(".svg"))
    title = " ".join(re.split(r"[\s_]+", title)).strip(" -")
    if common or not re.search(r"[^\W\d_]", title):
        title = named_by(PurePosixPath(name), "picture")[0]
    words = [
        re.sub(r"[_\s]+", " ", word).strip()
        for word in said.keywords
        if word.lower() not in _EMPTY and re.search(r"[^\W\d_]", word)
    ]
    words = [word for word in dict.fromkeys(words) if word.lower() != title.lower()][:5]
    both = [title, ", ".join([title, *words[:3]]), ", ".join(words)] if words else [title]
    return clean_captions([caption.lower() for caption in both])


def _drawn(folder: Path, split: str) -> Path:
    files = _files(folder, (".svg",))
    newest = max((folder / name).lstat().st_mtime_ns for name in files)
    identity = {
        "clipart": str(folder.resolve()), "files": len(files), "newest": newest, "part": split,
        "pipeline": _PIPELINE,
    }  # fmt: skip

    notes: dict[str, Any] = {}

    def samples(start: int) -> Iterator[Streamed]:
        notes["remarks"] = []  # all are looked at again, wherever it goes on
        drawings = read_drawings(folder, notes)
        return islice(_draw_all(drawings, split, notes), start, None)

    demand_renderer()
    return materialise("clipart", identity, samples, notes=notes)


def _draw_all(drawings: list[Drawing], split: str, notes: dict[str, Any]) -> Iterator[Streamed]:
    seen: set[str] = set()
    with Draughtsman() as draughtsman:
        for name, document, captions in drawings:
            try:
                png = draughtsman.draw(document)
                digest, fault = _looked_at(png)
            except UnreadablePicture as error:
                note(notes, name, f"{error}; left out")
                continue
            if is_test(digest) != (split == "test"):
                continue
            fault = fault or ("is drawn like another one" if digest in seen else "")
            seen.add(digest)
            if fault:
                note(notes, name, f"{fault}; left out")
            else:
                yield Streamed(png, captions)


def _looked_at(picture: Path | bytes) -> tuple[str, str]:
    """A hash of the pixels, and why the picture is not worth while, if so."""
    with open_picture(picture) as image:
        width, height = image.size
        try:
            pixels = np.asarray(image.convert("RGBA"))
        except Exception as error:  # broken data make decoders raise almost anything
            raise UnreadablePicture(f"its pixels are broken or cut off ({error})") from None
    digest = hashlib.blake2b(pixels.tobytes(), digest_size=16).hexdigest()
    if max(width, height) > WIDEST * min(width, height):
        return digest, "is very wide or high"
    return digest, "is blank" if _blank(pixels) else ""


def _blank(pixels: np.ndarray) -> bool:
    """Nothing drawn, or all of one colour and opaque."""
    alpha = pixels[..., 3]
    flat = pixels[..., :3].reshape(-1, 3).std(axis=0).max() < 1
    return bool((alpha > 16).mean() < 0.002 or (flat and alpha.min() > 250))


def _scan_pictures(folder: Path, split: str) -> Scan:
    result = Scan(folder.resolve(), "clipart")
    names = [name for name in _files(folder, EXTENSIONS) if not _of_a_series(name, About())]

    def look(name: str) -> tuple[str, str]:
        try:
            return _looked_at(folder / name)
        except UnreadablePicture:
            return name, ""  # the source will tell

    seen: set[str] = set()
    with ThreadPoolExecutor(min(4, cores())) as pool:
        looked = list(pool.map(look, names))
    for name, (digest, fault) in zip(names, looked, strict=True):
        if is_test(digest) != (split == "test"):
            continue
        fault = fault or ("looks like another one" if digest in seen else "")
        seen.add(digest)
        if fault:
            result.remarks.append(Problem(name, f"{fault}; left out"))
            continue
        path = PurePosixPath(name)
        words = named_by(path, "picture")[0]
        around = path.parent.name.replace("_", " ")
        result.paths.append(folder / name)
        result.names.append(name)
        result.captions.append((words, f"{words}, {around}") if around else (words,))
        result.labels.append(None)
    if not result.names:
        raise SfumatoError(f"{folder} holds no picture of the {split} part. Give another folder.")
    reason = "pictures without titles; the words of the file names are taken"
    result.remarks.append(Problem(result.name, reason, topic="caption missing"))
    return result


def _of_a_series(name: str, said: About) -> bool:
    theme = any(part.endswith("theme") for part in PurePosixPath(name).parts[:-1])
    return theme or name.startswith("shapes/stars/") or not _SERIES.isdisjoint(said.keywords)


def _part(root: Path, kind: str, endings: tuple[str, ...]) -> Path | None:
    """The folder, ``root/kind`` or ``root`` itself, that has such files."""
    return next((place for place in (root / kind, root) if _holds(place, endings)), None)


def _holds(folder: Path, endings: tuple[str, ...]) -> bool:
    """Whether such files lie in the folder, at most two levels down."""
    for pattern in ("*", "*/*", "*/*/*"):
        files = (p for p in islice(folder.glob(pattern), 5000) if p.suffix.lower() in endings)
        if any(path.is_file() for path in files):
            return True
    return False


def _files(folder: Path, endings: tuple[str, ...]) -> list[str]:
    """Names relative to the folder, sorted; links and hidden files left out."""
    found = []
    for where, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            path = Path(where) / name
            wanted = path.suffix.lower() in endings and not name.startswith(".")
            if wanted and path.is_file() and not path.is_symlink():
                found.append(path.relative_to(folder).as_posix())
    return sorted(found)
