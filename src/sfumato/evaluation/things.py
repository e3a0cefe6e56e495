"""What pictures show, as far as anybody says: classes, or captions that pictures share."""

from __future__ import annotations

from collections.abc import Sequence

FEW = 3
"""Pictures a thing, on average, from which on captions are names of things.  Where nearly every
picture has words of its own, these tell pictures apart and not what they show."""


def things_of(
    labels: Sequence[str | None], captions: Sequence[tuple[str, ...]]
) -> tuple[str | None, ...]:
    """The thing that each picture shows, None where nobody says.

    Args:
        labels: of each picture.
        captions: of each picture, in any order.
    Returns:
        The labels; where no picture has one, the captions, if pictures share them (`FEW`).
    """
    if any(label is not None for label in labels):
        return tuple(labels)
    named = tuple(" | ".join(sorted(set(texts))) for texts in captions)
    shared = all(named) and 2 <= len(set(named)) <= len(named) / FEW
    return named if shared else (None,) * len(named)
