"""The part of an evaluation that looks for copies; see `copies` for what is compared.

Two draws are looked at.  Pairs that were kept from training ask whether new pictures are taken
from old ones; there the honest distances of real held-out pictures are the measure.  Pairs that
were trained on ask how much is known by heart; a small model with few pictures knows much.

Beside both stands what a copier would score: training pictures, sent through the model's own
autoencoder.  Without it nobody could tell a model that does not copy from a measure that does not
see.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from sfumato.data.decode import fit
from sfumato.evaluation.bench import Bench, LeftOut, Part, places_of, shown
from sfumato.evaluation.copies import closest, guard, pixels
from sfumato.evaluation.distances import nearest, nearest_other
from sfumato.evaluation.intervals import generator, mean
from sfumato.evaluation.parts import LEAST
from sfumato.model import TextToImage
from sfumato.pictures.tensors import to_numbers

TRAINING = 10_000  # training pictures whose pixels a sample is compared with, at most
COPIES = 512  # training pictures that the copier draws, at most


def copied(bench: Bench) -> Part:
    """The copy guard, in the judge's features and in pixels."""
    reality = bench.reality
    main = "held-out" if reality.kind == "pairs" else "held-in"
    wanted, images = bench.held_out() if main == "held-out" else bench.held_in()
    if len(images) < LEAST:
        raise LeftOut("report.left.time")
    draw = generator(bench.seed, "copies")
    training = np.sort(draw.permutation(reality.training)[:TRAINING])
    honest = reality.unseen if len(reality.unseen) else training
    more = reality.images[:0] if reality.recoloured is None else reality.recoloured
    learned = np.concatenate([reality.images[training], more])
    copies = by_heart(bench.studio.model, learned[draw.permutation(len(learned))[:COPIES]])
    numbers: dict[str, Any] = {
        "of": main,
        "training pictures": len(learned),
        "recoloured": len(more),
        "copier pictures": len(copies),
        "honest": "held-out" if len(reality.unseen) else "training",
    }
    looked = bench.features(more) if len(more) else bench.real[:0]
    things = _shown(bench, places_of(wanted), honest)
    pictures: dict[str, list[Part]] = {}
    seen_pairs: dict[str, Any] = {}
    for name, real, known, made, copier in (
        (
            "features",
            bench.real,
            np.concatenate([bench.real[training], looked]),
            bench.seen(main).features,
            bench.features(copies),
        ),
        ("pixels", pixels(reality.images), pixels(learned), pixels(images), pixels(copies)),
    ):
        if len(reality.unseen):
            base, _ = nearest(real[honest], known)
        else:
            base = nearest_other(known)[: len(training)]
        own = None
        if main == "held-out":
            mine = dict(zip(honest.tolist(), base.tolist(), strict=True))
            own = np.array([mine[place] for place in places_of(wanted).tolist()])
        order, distance, near = closest(made, known)
        by_copier = guard(closest(copier, known)[1], base, bench.seed)
        numbers[name] = {**guard(distance, base, bench.seed, own, things), "copier": by_copier}
        pictures[name] = [
            shown(images[i], wanted[i].prompt, f"{distance[i]:.3g}", real=learned[near[i]])
            for i in order[:8]
        ]
        if main == "held-out":
            seen_pairs[name] = _seen_pairs(bench, name, training, known, base, honest)
    if seen_pairs and all(seen_pairs.values()):
        numbers["held-in"] = seen_pairs
    return {"numbers": numbers, "pictures": pictures}


def _shown(
    bench: Bench, asked: np.ndarray, honest: np.ndarray
) -> tuple[list[str | None], list[str | None]] | None:
    ours, theirs = bench.things(asked), bench.things(honest)
    return None if ours is None or theirs is None else (ours, theirs)


def _seen_pairs(
    bench: Bench,
    name: str,
    training: np.ndarray,
    known: np.ndarray,
    base: np.ndarray,
    honest: np.ndarray,
) -> dict[str, Any]:
    """The same for samples of pairs that were trained on; empty where there are too few.

    "asked one": how often the nearest training picture is the very one that was asked for.
    """
    wanted, images = bench.held_in()
    if len(images) < LEAST:
        return {}
    made = bench.seen("held-in").features if name == "features" else pixels(images)
    _, distance, near = closest(made, known)
    places = np.append(training, np.full(len(known) - len(training), -1))
    asked = places_of(wanted[: len(images)])
    things = _shown(bench, asked, honest)
    same = mean(places[near] == asked, bench.seed, "asked", together=things and things[0])
    return {**guard(distance, base, bench.seed, None, things), "asked one": same.to_dict()}


def by_heart(model: TextToImage, images: np.ndarray) -> np.ndarray:
    """What a model that knew these pictures by heart would draw.

    Args:
        images: uint8 (N, C, H, W), premultiplied.
    Returns:
        The same where the model works on pixels; what its autoencoder gives back otherwise.
    """
    if model.autoencoder is None:
        return images
    found = [images[:0]]
    with torch.no_grad():
        for first in range(0, len(images), 64):
            part = to_numbers(images[first : first + 64])
            latents = model.autoencoder.encode(part.to(model.device))
            drawn = model.pictures(latents)
            found.append(np.stack([fit(p, model.size, model.channels) for p in drawn]))
    return np.concatenate(found)
