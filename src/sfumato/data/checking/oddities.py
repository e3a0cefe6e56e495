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
_MARKUP = re.compile(
    r"</?(a|abbr|b|blockquote|br|body|center|code|div|em|figure|font|h[1-6]|head|hr|html|i|iframe"
    r"|img|li|ol|p|pre|script|small|span|strong|style|sub|sup|table|tbody|td|th|tr|u|ul)"
    r"(\s[^<>=]*=[^<>]*)?\s*/?>|&([a-z]{2,8}|#\d{2,6});",
    re.IGNORECASE,
)
_ADDRESS = re.compile(r"\b(https?|ftp)://\S|\bwww\.\w|[\w.+-]@[\w-]+\.[a-z]{2,}", re.IGNORECASE)
# Latin without phonetic signs, the Cyrillic of today, punctuation, common symbols, emoji
_WRITTEN = re.compile(
    r"[ -~\u00a0-\u017f\u0218-\u021b\u0401-\u045f\u0490\u0491\u2010-\u203a\u20ac\u2116\u2122"
    r"\u2600-\u27bf\ufe0f\U0001f300-\U0001faff]+"
)


def oddity(caption: str) -> tuple[str, dict[str, Any]] | None:
    """What is odd about one caption: (kind, values), see `sfumato.data.findings`; else None.

    Only punctuation, HTML ("<p>", "&amp;"), an address, a file's name ("IMG_1234"), letters decoded
    in the wrong encoding, or more words than `LONGEST`.
    """
    shown = caption if len(caption) <= _SHOWN else caption[: _SHOWN - 1] + "…"
    if not any(sign.isalnum() or unicodedata.category(sign) == "So" for sign in caption):
        return "punctuation", {"caption": repr(shown)}
    for kind, signs in (("markup", _MARKUP), ("address", _ADDRESS)):
        if signs.search(caption):
            return kind, {"caption": repr(shown)}
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

    Short real words in capitals are valid UTF-8 too ("Её", "SKRÅ’S"), so a repair is accepted only
    if it gives signs that captions are written in (`_WRITTEN`), and if the text before it is one
    that nobody writes (`_unwritten`).  Text in any other state comes back as it is.
    """
    if caption.isascii():
        return caption
    for encoding in ("cp1251", "cp1252"):
        try:
            meant = _bytes(caption, encoding).decode("utf-8")
        except (UnicodeEncodeError, UnicodeDecodeError):
            continue
        if not _unwritten(caption, meant):
            continue
        # composed and without what a text file may hold beside its text
        meant = " ".join(unicodedata.normalize("NFC", meant).split())
        if _WRITTEN.fullmatch(meant) and meant.isprintable():
            return meant
    return caption


def _unwritten(wrong: str, meant: str) -> bool:
    """Whether a sign that became several stands where no writer puts such signs.

    Args:
        wrong: the caption; each of its signs is one byte of ``meant`` in UTF-8.
    """
    place, joined = 0, False
    for sign in meant:
        width = len(sign.encode())
        first, second = wrong[place], wrong[place + 1 : place + 2]
        before, after = wrong[place - 1 : place] if place else "", wrong[place + width :][:1]
        if width > 2:  # of these, _WRITTEN takes only dashes, quotes and emoji: "â€™", "ðŸ˜€"
            return True
        if width == 2:
            # a capital inside a small word, or pair after pair: "fÃ©", "Р°Р±"
            if before.islower() or (joined and before not in "ЎҐЁЄІЇ"):
                return True
            alone = not second.isupper() and (not before.isupper() or after.islower())
            if first in "ÂÃ" and second not in "…‘’“”–—»" and alone:  # "Â°", "Ã©cole", "DÃ©cor"
                return True
        joined = width == 2
        place += width
    return False


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
