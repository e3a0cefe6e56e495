"""What to draw: prompts by (style, thing), by class or by caption, in an order fixed by a seed.

The first n wishes of a longer list are those of a shorter one: a report with more samples
contains the samples of the report with fewer, and finds them where they were kept.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sfumato.evaluation.intervals import generator
from sfumato.evaluation.reality import Reality


@dataclass(frozen=True)
class Wanted:
    """One picture to draw.

    Attributes:
        prompt: what is asked for.
        number: which noise: global sample index under the evaluation's seed.
        place: of the real picture with this prompt, in `Reality`; -1 where there is none.
    """

    prompt: str
    number: int
    place: int = -1


COLOURED: dict[str, tuple[str, ...]] = {
    "red": ("heart", "circle", "square", "apple", "book", "car", "balloon"),
    "orange": ("heart", "circle", "square", "book", "fish"),
    "yellow": ("heart", "circle", "cat with tears of joy", "star", "flower", "car"),
    "green": ("heart", "circle", "square", "apple", "book", "leaf", "frog"),
    "blue": ("heart", "circle", "square", "book", "car", "bird", "butterfly"),
    "purple": ("heart", "circle", "square", "flower", "book"),
    "pink": ("heart", "flower", "pig", "dress"),
    "brown": ("heart", "circle", "square", "bear"),
    "black": ("heart", "circle", "cat"),
    "white": ("heart", "circle"),
}
"""Fifty prompts of a colour and a thing; two thirds of them are names in the embedded data."""

OTHERS: dict[str, tuple[str, ...]] = {
    "red": ("cup", "hat", "house", "chair", "key"),
    "orange": ("cat", "shirt", "bell", "umbrella", "cup"),
    "yellow": ("bird", "hat", "fish", "house", "key"),
    "green": ("dog", "car", "hat", "bell", "shirt"),
    "blue": ("dog", "cup", "apple", "fish", "flower"),
    "purple": ("car", "cat", "star", "bird", "umbrella"),
    "pink": ("star", "house", "cup", "hat", "bird"),
    "brown": ("dog", "book", "cup", "hat", "house"),
    "black": ("hat", "dog", "star", "book", "car"),
    "white": ("cat", "star", "dog", "shirt", "bird"),
}
"""Fifty others, none of them a name in the embedded data.  Written down before anything was drawn;
for reporting, never to choose or to mend a model by."""

PLAIN = ("cat with tears of joy",)
"""Things whose names say their colour: nothing stands before them."""

FIXED = (
    "red heart", "grinning face, noto style", "cat with tears of joy", "green apple",
    "rocket, 3d style", "castle, flat style", "fire", "rainbow", "tiger face, blob style",
    "birthday cake", "bicycle", "sun with face", "blue book", "soccer ball, gradient style",
    "house with garden", "penguin, firefox style", "красное сердце", "улыбающееся лицо",
    "кошка", "торт, 3d стиль", "ракета, плоский стиль", "дерево", "собака, стиль ното", "пицца",
)  # fmt: skip
"""Prompts of the gallery for models that know English and Russian: written down once, and
whatever comes out first is shown."""


def colour_wishes(others: bool = False) -> list[tuple[str, Wanted]]:
    """(colour, wish) for the fifty prompts of `COLOURED`, or of `OTHERS`."""
    lists = OTHERS if others else COLOURED
    pairs = [(colour, thing) for colour, things in lists.items() for thing in things]
    prompts = [thing if thing in PLAIN else f"{colour} {thing}" for colour, thing in pairs]
    return [
        (colour, Wanted(prompt, number))
        for number, ((colour, _), prompt) in enumerate(zip(pairs, prompts, strict=True))
    ]


def gallery_wishes(reality: Reality) -> list[Wanted]:
    """The first pictures of fixed prompts: `FIXED`, the classes, or the first captions."""
    if reality.kind == "pairs":
        return [Wanted(prompt, 0) for prompt in FIXED]
    return [Wanted(prompt, 0) for prompt in sorted(set(reality.prompts["own"]))[:24]]


def wishes(
    reality: Reality, among: np.ndarray, count: int, seed: int, purpose: str, language: str
) -> list[Wanted]:
    """Wishes for ``count`` of the real pictures at the places ``among``, drawn by the seed.

    Each is asked for once before any is asked for twice; wish i has the noise number i,
    whatever the language, so that languages differ by their words alone.
    """
    found: list[Wanted] = []
    turn = 0
    while len(found) < count and len(among):
        for place in among[generator(seed, "plan", purpose, turn).permutation(len(among))]:
            prompt = reality.prompts[language][place]
            found.append(Wanted(prompt, len(found), int(place)))
        turn += 1
    return found[:count]


def swapped(wanted: list[Wanted], labels: tuple[str | None, ...]) -> list[Wanted]:
    """Every wish with the words of another one and its own noise.

    The other is the next in the list that shows something else, so that a swap always changes
    what is asked for (where the list holds more than one thing).
    """
    found = []
    for i, wish in enumerate(wanted):
        others = [*wanted[i + 1 :], *wanted[:i]]
        other = next(
            (
                one
                for one in others
                if one.prompt != wish.prompt
                and (labels[one.place] is None or labels[one.place] != labels[wish.place])
            ),
            wish,
        )
        found.append(Wanted(other.prompt, wish.number, other.place))
    return found
