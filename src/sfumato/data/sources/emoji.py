"""The embedded data set: emoji in six designs, named in English and Russian.

One plain zip, made by `scripts/build_emoji.py`: `metadata.jsonl` first, then 64x64 RGBA
pictures as lossless WebP.  It is read with the standard library and Pillow.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from functools import lru_cache
from importlib.resources import files
from typing import Any

import numpy as np
from PIL import Image

from sfumato.data.colour_words import tells_colour, told
from sfumato.data.decode import fit
from sfumato.data.example import Example, Report
from sfumato.errors import SfumatoError

STYLES: dict[str, tuple[str, str]] = {
    "noto": ("noto style", "стиль ното"),
    "blob": ("blob style", "стиль блоб"),
    "fx": ("firefox style", "стиль файрфокс"),
    "3d": ("3d style", "3d стиль"),
    "color": ("gradient style", "градиентный стиль"),
    "flat": ("flat style", "плоский стиль"),
}
"""How each design is called in captions: (English, Russian)."""

COLOUR_VISITS = 4
"""Names that tell a colour are 4% of all, and without help their words are learned last."""

STORED = 64
"""Side of the pictures in the archive, in pixels."""

SPLITS = ("train", "held-out", "all")


class EmojiSource:
    """The embedded emoji; see `Source`.

    Attributes:
        dimensions: (width, height) of each picture as stored.

    Args:
        size: side in pixels; the pictures are 64 and are resampled for any other.
        channels: 4 premultiplied RGBA, 3 on white, 1 grey.
        split: "train", "held-out" ((style, thing) pairs kept for measuring composition;
            "test" means the same) or "all".

    Raises:
        SfumatoError: an unknown split, or an installation without the archive.
    """

    name = "emoji"
    # the label (the thing) is not all there is to say, so the set is not one of classes
    classes: tuple[str, ...] = ()

    def __init__(self, size: int = 64, channels: int = 4, split: str = "train") -> None:
        split = "held-out" if split == "test" else split
        if split not in SPLITS:
            raise SfumatoError(
                f"The emoji have no part {split!r}. Take one of: {', '.join(SPLITS)}."
            )
        self.size = size
        self.channels = channels
        self.split = split
        archive, rows = _archive()
        self._archive = archive
        self._rows = [
            row for row in rows if split == "all" or row["held_out"] == (split != "train")
        ]
        self.dimensions = [(STORED, STORED)] * len(self._rows)
        # pages of the empty array cost nothing until a picture is written to them
        self._pixels = np.empty((len(self._rows), channels, size, size), dtype=np.uint8)
        self._decoded = np.zeros(len(self._rows), dtype=bool)
        self._captions = [captions_of(row) for row in self._rows]

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Example:
        row = self._rows[index]
        if not self._decoded[index]:
            with Image.open(io.BytesIO(self._archive.read(row["file_name"]))) as image:
                self._pixels[index] = fit(image, self.size, self.channels)
            self._decoded[index] = True
        image_ = self._pixels[index]
        return Example(image_, self._captions[index], row["thing"], f"emoji/{row['file_name']}")

    def visits(self, index: int) -> int:
        """How often an epoch shows one picture: more often where its name tells a colour."""
        return COLOUR_VISITS if tells_colour(self._rows[index]["name_en"]) else 1

    def recolours(self, index: int) -> bool:
        """Whether a picture may come in another colour: not people, and not flags."""
        row = self._rows[index]
        return row["colour"] is not None and row["group"] not in ("people-body", "flags")

    def metadata(self, index: int) -> dict[str, Any]:
        """All that is known of one picture: style, thing, group, names and keywords."""
        return dict(self._rows[index])

    def report(self) -> Report:
        """Nothing: the archive is built and tested with the package."""
        return Report((), len(self))


def captions_of(row: dict[str, Any]) -> tuple[str, ...]:
    """Captions of one picture, lower-case: seven English, five Russian, and of its colour.

    Name alone, name and style, name with two keywords and style, keywords and style; what
    people type most stands there more than once.  A thing of one colour that its name does not
    tell has three more, so that colour words are learned from everything that is coloured.
    """
    english, russian = STYLES[row["style"]]
    return (
        *_captions(row, "en", english, names=2, styled=3),
        *_captions(row, "ru", russian, names=1, styled=2),
        *_coloured(row, english),
    )


def _coloured(row: dict[str, Any], style: str) -> tuple[str, ...]:
    colour, name = row["colour"], row["name_en"].lower()
    if colour is None or tells_colour(name):
        return ()
    return told(name, colour), told(f"{name}, {style}", colour), told(_name(row, "ru"), colour)


def _captions(
    row: dict[str, Any], language: str, style: str, names: int, styled: int
) -> tuple[str, ...]:
    name = _name(row, language)
    words = [word.lower().strip(" ,") for word in row[f"keywords_{language}"]]
    # a stable draw: pictures of one thing in several styles get different keywords
    words = sorted(
        {word for word in words if word and word != name},
        key=lambda word: hashlib.blake2b(f"{row['file_name']}/{word}".encode()).digest(),
    )
    first, second = words[:2], (words[2:4] if len(words) >= 4 else words[-2:]) or [name]
    return (
        *[name] * names,
        *[f"{name}, {style}"] * styled,
        ", ".join([name, *first, style]),
        ", ".join([*second, style]),
    )


def _name(row: dict[str, Any], language: str) -> str:
    # some Russian texts of the source hold a comma without its word
    return str(row[f"name_{language}"]).lower().replace(": , ", ": ")


@lru_cache(maxsize=1)
def _archive() -> tuple[zipfile.ZipFile, tuple[dict[str, Any], ...]]:
    try:
        content = files("sfumato").joinpath("resources/emoji.zip").read_bytes()
    except FileNotFoundError:
        raise SfumatoError(
            "The embedded emoji are missing from this installation. "
            "Install again, or build them with scripts/build_emoji.py."
        ) from None
    # in memory (28 MB): forked workers would otherwise share one file position
    archive = zipfile.ZipFile(io.BytesIO(content))
    rows = tuple(json.loads(line) for line in archive.read("metadata.jsonl").splitlines() if line)
    return archive, rows
