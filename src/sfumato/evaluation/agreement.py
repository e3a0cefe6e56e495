"""Does the picture show what the prompt says?  A judge's ranks, beside those of real pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sfumato.evaluation.intervals import generator, mean, ratio

TOPS = (1, 5)
MANY = 50
"""Labels from which on the first five guesses are the headline; among ten they prove little."""

_SHUFFLES = 20


def ranks(scores: np.ndarray, own: np.ndarray) -> np.ndarray:
    """How many labels the judge finds at least as likely as the asked one, (N,); 0 is best.

    Args:
        scores: (N, L), larger is likelier.
        own: (N,) column of each picture's asked label.

    A tie counts against the picture: a judge that scores everything alike gives no points.
    """
    asked = np.take_along_axis(scores, own[:, None], axis=1)
    return (scores >= asked).sum(1) - 1


def headline(labels: int) -> str:
    """Which share is quoted: "top5", or "top1" where there are few labels."""
    return "top5" if labels >= MANY else "top1"


def columns(labels: Sequence[str], existing: Sequence[str | None]) -> np.ndarray:
    """Places of the judge's labels that occur in a data set, (L,)."""
    there = set(existing)
    return np.array([i for i, label in enumerate(labels) if label in there], dtype=np.int64)


def own_columns(
    labels: Sequence[str], chosen: np.ndarray, asked: Sequence[str | None]
) -> np.ndarray:
    """For each picture the place of its asked label among the chosen ones, -1 if not there."""
    place = {labels[column]: i for i, column in enumerate(chosen)}
    return np.array([-1 if one is None else place.get(one, -1) for one in asked], dtype=np.int64)


def agreement(
    made: np.ndarray,
    real: np.ndarray,
    seed: int,
    *purpose: str | int,
    things: Sequence[object] | None = None,
) -> dict[str, Any]:
    """Top-1 and top-5 shares of samples, of the real pictures of the same things, and the ratio.

    Args:
        made: ranks (N,) of the samples.
        real: ranks (N,) of the real pictures with the same labels, in the same order.
        seed, purpose: of the resampling.
        things: (N,) what each shows; those of one thing are resampled together.
    Returns:
        {"count", "top1": {value, low, high, count, "real", "ratio": {...}}, "top5": ...}, and
        "things", how many, where they are given.
    """
    found: dict[str, Any] = {"count": len(made)}
    if things is not None:
        found["things"] = len(set(things))
    for top in TOPS:
        hits, ceiling = made < top, real < top
        share = ratio(hits, ceiling, seed, *purpose, "ratio", top, together=things)
        found[f"top{top}"] = {
            **mean(hits, seed, *purpose, top, together=things).to_dict(),
            "real": float(ceiling.mean()),
            "ratio": share.to_dict(),
        }
    return found


def chance(scores: np.ndarray, own: np.ndarray, seed: int) -> dict[str, float]:
    """Top-1 and top-5 shares when the prompts are shuffled among the samples."""
    found = {f"top{top}": 0.0 for top in TOPS}
    for number in range(_SHUFFLES):
        shuffled = own[generator(seed, "shuffle", number).permutation(len(own))]
        rank = ranks(scores, shuffled)
        for top in TOPS:
            found[f"top{top}"] += float((rank < top).mean()) / _SHUFFLES
    return found


def by(
    names: Sequence[str],
    made: np.ndarray,
    real: np.ndarray,
    seed: int,
    things: Sequence[object] | None = None,
    least: int = 10,
) -> dict[str, dict[str, Any]]:
    """`agreement` of each group of pictures that has at least ``least`` members, by name."""
    found: dict[str, dict[str, Any]] = {}
    for name in sorted(set(names)):
        rows = [i for i, own in enumerate(names) if own == name]
        if len(rows) >= least:
            shown = [things[i] for i in rows] if things is not None else None
            found[name] = agreement(made[rows], real[rows], seed, "by", name, things=shown)
    return found
