"""Words for colours in captions, English and Russian."""

from __future__ import annotations

import re

COLOURS = {
    "red": "красного", "orange": "оранжевого", "yellow": "жёлтого", "green": "зелёного",
    "blue": "синего", "purple": "фиолетового", "pink": "розового", "brown": "коричневого",
    "black": "чёрного", "grey": "серого", "white": "белого",
}  # fmt: skip
"""Colours a picture may be called by: English, and the Russian genitive, which fits any gender."""

# what short stems must end in, so that a dove (голубь) is not blue
_ADJECTIVE = "(ый|ий|ой|ая|яя|ое|ее|ые|ие|ого|его|ых|их|ую|юю|ым|им|ом|ем|ому|ему|ыми|ими|ей)"
_RUSSIAN = re.compile(
    r"\b((красн|оранжев|ж[её]лт|фиолетов|розов|коричнев|ч[её]рн)\w+"
    rf"|(син|сер|бел|голуб|зел[её]н){_ADJECTIVE}\b)"
)
_ARTICLE = re.compile(r"(an?|the)\s+", re.IGNORECASE)


def tells_colour(caption: str) -> bool:
    """Whether one of the words of a caption is a colour's, in English or Russian."""
    low = caption.lower()
    words = re.findall(r"[a-z]+", low)
    return not COLOURS.keys().isdisjoint(words) or "gray" in words or bool(_RUSSIAN.search(low))


def told(caption: str, colour: str) -> str:
    """The caption with the colour said: ``a blue duck``, ``утка, синего цвета``."""
    caption = caption.strip()
    if re.search("[а-яё]", caption.lower()):
        words = caption.rstrip(".!…")
        return f"{words}, {COLOURS[colour]} цвета{caption[len(words) :]}"
    article = _ARTICLE.match(caption)
    if article is None:
        return f"{colour} {caption}"
    first = article[1] if article[1].lower() == "the" else article[1][0]
    n = "n" if first in "aA" and colour[0] in "aeiou" else ""
    return f"{first}{n} {colour} {caption[article.end() :]}"
