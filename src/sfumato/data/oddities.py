"""Captions that a person would not have written, and the repair of wrongly decoded ones."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Any

LONGEST = 24
"""A caption of more words and signs than this surely loses its end: the model reads so many tokens
by default, and each word or sign is at least one."""

_SHOWN = 60  # characters of a caption that are quoted
_WORDS = re.compile(r"\w+|[^\w\s]")
_PICTURE = re.compile(r".*\.(png|jpe?g|webp|gif|bmp|tiff?|heic)", re.IGNORECASE)
# what cameras, telephones and programs call a picture: a word of theirs and a number
_NUMBERED = re.compile(
    r"(img|image|dsc|dscf|dscn|pxl|mvimg|photo|pic|picture|screenshot|scan|untitled|frame|p)"
    r"[\s_\-()]*\d[\d\s_\-.()a-f]*",
    re.IGNORECASE,
)


def oddity(caption: str) -> tuple[str, dict[str, Any]] | None:
    """What is odd about one caption: (kind, values), see `sfumato.data.findings`; else None.

    Only punctuation, a file's name ("IMG_1234"), letters decoded in the wrong encoding, or more
    words than `LONGEST`.
    """
    shown = caption if len(caption) <= _SHOWN else caption[: _SHOWN - 1] + "…"
    if not any(sign.isalnum() or unicodedata.category(sign) == "So" for sign in caption):
        return "punctuation", {"caption": repr(shown)}
    if _PICTURE.fullmatch(caption) or _NUMBERED.fullmatch(caption):
        return "file_name", {"caption": repr(shown)}
    meant = mended(caption)
    if meant != caption:
        return "mojibake", {"caption": repr(shown), "meant": repr(meant[:_SHOWN])}
    if "\N{REPLACEMENT CHARACTER}" in caption:
        return "garbled", {"caption": repr(shown)}
    words = len(_WORDS.findall(caption))
    if words > LONGEST:
        return "long", {"count": words, "limit": LONGEST, "caption": repr(shown)}
    return None


def mended(caption: str) -> str:
    """UTF-8 that was read as cp1251 or cp1252 ("РєРѕС‚", "cafÃ©") as it was meant.

    Text in any other state comes back as it is: what these encodings make of real words is
    practically never valid UTF-8.
    """
    if caption.isascii():
        return caption
    for encoding in ("cp1251", "cp1252"):
        try:
            meant = _bytes(caption, encoding).decode("utf-8")
        except (UnicodeEncodeError, UnicodeDecodeError):
            continue
        # composed and without what a text file may hold beside its text
        meant = " ".join(unicodedata.normalize("NFC", meant).split())
        if meant and meant.isprintable():
            return meant
    return caption


def _bytes(text: str, encoding: str) -> bytes:
    """Encode, the few undefined bytes of the encoding as what browsers make of them."""
    parts = []
    for sign in text:
        try:
            parts.append(sign.encode(encoding))
        except UnicodeEncodeError:
            if not 0x80 <= ord(sign) <= 0x9F:
                raise
            parts.append(bytes([ord(sign)]))
    return b"".join(parts)


def commonest(captions: Iterable[tuple[str, ...]]) -> tuple[str, int, int]:
    """The caption that most pictures share: (caption, pictures that have it, pictures)."""
    counts: dict[str, int] = {}
    total = 0
    for texts in captions:
        total += 1
        for text in set(texts):
            counts[text] = counts.get(text, 0) + 1
    if not counts:
        return "", 0, total
    best = max(counts, key=lambda text: (counts[text], text))
    return best, counts[best], total
