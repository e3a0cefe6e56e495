"""The part of an evaluation that asks for things in colours.

Two lists of fifty prompts: those that the work on a model may look at, and others that were
written down before anything was drawn and are for reporting only.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sfumato.evaluation.bench import Bench, LeftOut, Part, shown
from sfumato.evaluation.intervals import generator, mean
from sfumato.evaluation.parts import LEAST
from sfumato.evaluation.plan import Wanted, colour_wishes
from sfumato.pictures.colours import shows

TURNS = 4
"""Pictures of each prompt, at most."""


def colours_right(bench: Bench) -> Part:
    """Whether prompts of a colour and a thing come out in that colour."""
    if bench.reality.kind != "pairs" or bench.studio.model.channels < 3:
        raise LeftOut("report.left.colours")
    numbers, pictures = _asked(bench, "colours", colour_wishes())
    numbers["real"] = _real_colours(bench)
    try:
        numbers["other pairs"], _ = _asked(bench, "other colours", colour_wishes(others=True))
    except LeftOut:
        bench.budget.drop("other colours")
    return {"numbers": numbers, "pictures": pictures}


def _asked(
    bench: Bench, purpose: str, asked: list[tuple[str, Wanted]]
) -> tuple[dict[str, Any], dict[str, list[Part]]]:
    # whole rounds of the fifty; a part of one is drawn across all colours
    count = bench.count(purpose, bench.studio.cost(), TURNS * len(asked), len(asked))
    count = count // len(asked) * len(asked) or min(count, len(asked))
    wanted = [
        (colour, Wanted(wish.prompt, wish.number + turn * len(asked)))
        for turn in range(TURNS)
        for i in generator(0, "colours").permutation(len(asked))
        for colour, wish in [asked[i]]
    ][:count]
    images = bench.draw(purpose, [wish for _, wish in wanted])
    if len(images) < LEAST:
        raise LeftOut("report.left.time")
    wanted = wanted[: len(images)]
    colours = [colour for colour, _ in wanted]
    right = np.array([shows(i, c) for i, c in zip(images, colours, strict=True)], dtype=float)
    # chance: the same pictures asked for another prompt's colour
    mixed = generator(bench.seed, "colours").permutation(len(colours))
    other = [shows(image, colours[i]) for image, i in zip(images, mixed, strict=True)]
    prompts = [wish.prompt for _, wish in wanted]
    numbers = {
        # pictures of one prompt succeed and fail together
        **mean(right, bench.seed, purpose, together=prompts).to_dict(),
        "pictures": len(images),
        "chance": float(np.mean(other)),
        "colours": {
            name: float(right[[c == name for c in colours]].mean()) for name in sorted(set(colours))
        },
    }
    wrong = [i for i in range(len(images)) if not right[i]]
    pictures = {
        "first": [shown(images[i], prompts[i], "✓" if right[i] else "✗") for i in range(LEAST)],
        "wrong": [shown(images[i], prompts[i]) for i in wrong[:12]],
    }
    return numbers, pictures


def _real_colours(bench: Bench) -> float | None:
    """How the rule judges real pictures of the same names."""
    asked = {wish.prompt: colour for colour, wish in colour_wishes()}
    names = [prompt.rpartition(",")[0] for prompt in bench.reality.prompts["en"]]
    found = [
        shows(bench.reality.images[i], asked[name]) for i, name in enumerate(names) if name in asked
    ]
    return float(np.mean(found)) if found else None
