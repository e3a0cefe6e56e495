"""Which columns of a table hold the picture, the text and the class, and how to name others."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from sfumato.data.captions import clean_captions
from sfumato.errors import SfumatoError

IMAGE_COLUMNS = ("image", "img", "jpg", "jpeg", "png", "webp", "picture", "photo")
TEXT_COLUMNS = ("text", "caption", "captions", "txt", "prompt", "sentences", "description")
LABEL_COLUMNS = ("label", "labels", "class", "fine_label", "cls")


@dataclass(frozen=True)
class Columns:
    """What to take from each row.

    Attributes:
        image: name of the column of pictures.
        text: of captions, or None.
        label: of classes, or None.
        names: the classes' names by number; empty where the column holds names itself.
    """

    image: str
    text: str | None
    label: str | None
    names: tuple[str, ...] = ()

    def said(self, row: Mapping[str, Any]) -> tuple[tuple[str, ...], str | None]:
        """(captions, label) of a row; a number without a name is its own name."""
        captions = clean_captions(row.get(self.text)) if self.text else ()
        value = row.get(self.label) if self.label else None
        if isinstance(value, bool) or not isinstance(value, int | str):
            return captions, None
        if isinstance(value, int) and self.names:
            # -1 is how "unknown" is written
            return captions, self.names[value] if 0 <= value < len(self.names) else None
        return captions, " ".join(str(value).split()) or None


def choose(
    where: str,
    present: Iterable[str],
    pictures: Iterable[str],
    image: str | None,
    text: str | None,
    names_of: Mapping[str, tuple[str, ...]],
) -> Columns:
    """The columns that were named, or the usual ones.

    Args:
        where: the table, for people.
        present: all columns.
        pictures: those whose type says that they hold pictures.
        image, text: named by the user, or None.
        names_of: class names by column, where the table's schema has them.

    Raises:
        SfumatoError: there is no column of pictures, or a named one is missing.
    """
    present, pictures = list(present), list(pictures)
    for named in (image, text):
        if named is not None and named not in present:
            raise SfumatoError(f"{where} has no column {named!r}. It has: {', '.join(present)}.")
    usual = [name for name in IMAGE_COLUMNS if name in pictures]
    taken = image or next(iter([*usual, *pictures]), None)
    if taken is None:
        raise SfumatoError(
            f"{where} has no column of pictures (values of bytes and path). It has: "
            f"{', '.join(present)}. Name one with ?image=COLUMN."
        )
    text = text or next((name for name in TEXT_COLUMNS if name in present and name != taken), None)
    candidates = [*(name for name in names_of if name in LABEL_COLUMNS), *LABEL_COLUMNS, *names_of]
    label = next(
        (name for name in candidates if name in present and name not in (taken, text)), None
    )
    return Columns(taken, text, label, names_of.get(label or "", ()))


def class_order(labels: Iterable[str], first: Iterable[str] = ()) -> tuple[str, ...]:
    """Classes in the one order that all readers use: numbers by value, then by spelling.

    Args:
        labels: those that occur, in any order and number.
        first: names that are known to come first, in their own order.
    """
    known = tuple(dict.fromkeys(first))
    others = set(labels).difference(known)

    def place(text: str) -> tuple[int, int, str]:
        number = text.isdecimal() and len(text) < 100  # Python refuses to read very long ones
        return (0, int(text), text) if number else (1, 0, text)

    return known + tuple(sorted(others, key=place))


def content_of(value: Any) -> bytes:
    """The encoded picture in a cell, empty where there is none.

    A cell may name a file instead of holding it; such a name is the table's author's and could
    be any file of this machine, so it is not followed.
    """
    if isinstance(value, Mapping):
        value = value.get("bytes")
    return bytes(value) if isinstance(value, bytes | bytearray | memoryview) else b""


def options_of(text: str, known: tuple[str, ...]) -> dict[str, str]:
    """``a=1&b`` as {"a": "1", "b": ""}.

    Raises:
        SfumatoError: an option that is not known.
    """
    options = dict(parse_qsl(text, keep_blank_values=True))
    for name in options:
        if name not in known:
            raise SfumatoError(f"There is no option {name!r}. Known are: {', '.join(known)}.")
    return options


def number_of(options: dict[str, str], name: str) -> int | None:
    """An option as a whole number of 1 or more, None where it is not given.

    Raises:
        SfumatoError: it is something else.
    """
    if name not in options:
        return None
    if not re.fullmatch(r"[1-9]\d{0,11}", options[name]):
        raise SfumatoError(f"{name}={options[name]} is no number of 1 or more. Write {name}=1000.")
    return int(options[name])
