"""The parts of an evaluation that look at samples drawn with the model's own settings."""

from __future__ import annotations

from typing import Any

import numpy as np

from sfumato.evaluation.agreement import agreement, by, chance, headline
from sfumato.evaluation.alpha import clean_share
from sfumato.evaluation.bench import Bench, LeftOut, Part, Seen, places_of, shown
from sfumato.evaluation.copies import closest, guard, pixels
from sfumato.evaluation.distances import nearest, nearest_other
from sfumato.evaluation.distribution import compare
from sfumato.evaluation.intervals import bootstrap, generator, mean
from sfumato.evaluation.plan import Wanted, colour_wishes, gallery_wishes
from sfumato.pictures.colours import shows

LEAST = 16
"""Samples without which a part says nothing."""

TRAINING = 10_000  # training pictures whose pixels a sample is compared with, at most


def gallery(bench: Bench) -> Part:
    """The first pictures of fixed prompts."""
    wanted = gallery_wishes(bench.reality)
    images = bench.draw("gallery", wanted)
    if not len(images):
        raise LeftOut("report.left.time")
    prompts = [wish.prompt for wish in wanted]
    pictures = [shown(image, prompt) for prompt, image in zip(prompts, images, strict=False)]
    return {"numbers": {"prompts": prompts[: len(images)]}, "pictures": {"first": pictures}}


def prompts_followed(bench: Bench) -> Part:
    """Agreement of prompt and picture: held-in, held-out, both languages, by style and group."""
    if bench.ranked < 2:
        raise LeftOut("report.left.labels")
    wanted, images = bench.held_in()
    if len(images) < LEAST:
        raise LeftOut("report.left.time")
    seen, places = bench.seen("held-in"), places_of(wanted)
    numbers: dict[str, Any] = {
        "labels": bench.ranked,
        "headline": headline(bench.ranked),
        "held-in": _agreement(bench, seen, places, "held-in"),
        "unknown": int((~seen.known).sum()),
    }
    known, reality = np.flatnonzero(seen.known), bench.reality
    own = bench.own_of(places[known])
    scores = bench.scores_of(images[known])
    numbers["chance"] = chance(scores, own, bench.seed)
    for name, of in (("styles", reality.styles), ("groups", reality.groups)):
        named = [of[place] for place in places[known]]
        if len(set(named)) > 1:
            made, real = seen.ranks[known], bench.real_ranks(places[known])
            numbers[name] = by(named, made, real, bench.seed)
    unseen, more = bench.held_out()
    if len(more) >= LEAST:
        numbers["held-out"] = _agreement(
            bench, bench.seen("held-out"), places_of(unseen), "held-out"
        )
    _second_language(bench, numbers)
    _apart(bench, numbers)
    return {"numbers": numbers, "pictures": {"worst": _worst(bench, wanted, images, seen)}}


def _agreement(bench: Bench, seen: Seen, places: np.ndarray, purpose: str) -> dict[str, Any]:
    known = seen.known
    real = bench.real_ranks(places[known])
    return agreement(seen.ranks[known], real, bench.seed, purpose)


def _second_language(bench: Bench, numbers: dict[str, Any]) -> None:
    """The same pairs with the same noise in Russian, half of them held in, half held out."""
    others = [one for one in bench.reality.prompts if one != bench.reality.language]
    if not others:
        bench.budget.drop("second language")
        return
    drawn = {"held-in": bench.held_in()[0], "held-out": bench.held_out()[0]}
    most = sum(map(len, drawn.values()))
    count = bench.count("second language", bench.studio.cost(), most)
    for part, wanted in drawn.items():
        share = min(len(wanted), count // (2 if drawn["held-out"] else 1))
        words = bench.reality.prompts[others[0]]
        asked = [Wanted(words[w.place], w.number, w.place) for w in wanted[:share]]
        images = bench.draw("second language", asked)
        if len(images) < LEAST:
            continue
        places = places_of(asked[: len(images)])
        seen, first = bench.look(images, places), bench.seen(part)
        found = _agreement(bench, seen, places, f"{part} {others[0]}")
        known = seen.known
        # both languages of the same pair and noise: resampled together
        one = first.ranks[: len(images)][known] < 5
        other = seen.ranks[known] < 5
        found["loss"] = mean(one.astype(float) - other, bench.seed, "loss", part).to_dict()
        found["language"] = others[0]
        numbers[f"{part} second language"] = found


def _apart(bench: Bench, numbers: dict[str, Any]) -> None:
    reality = bench.reality
    among = np.flatnonzero(reality.apart & ~reality.held_out)
    if not len(among):
        bench.budget.drop("apart")
        return
    count = bench.count("apart", bench.studio.cost(), 64)
    wanted = bench.wishes("apart", among, count, reality.language)
    images = bench.draw("apart", wanted)
    places = places_of(wanted[: len(images)])
    if len(images) < LEAST:
        return
    seen = bench.look(images, places)
    if seen.known.sum() >= LEAST:
        numbers["apart"] = _agreement(bench, seen, places, "apart")


def _worst(bench: Bench, wanted: list[Wanted], images: np.ndarray, seen: Seen) -> list[Part]:
    order = np.argsort(np.where(seen.known, seen.own, np.inf), kind="stable")
    return [
        shown(
            images[i],
            wanted[i].prompt,
            f"#{int(seen.ranks[i]) + 1}",
            real=bench.reality.images[wanted[i].place],
        )
        for i in order[:12]
        if seen.known[i]
    ]


def distances(bench: Bench) -> Part:
    """Samples against the real pictures, as sets."""
    _, images = bench.held_in()
    home = bench.reality.home
    if len(images) < LEAST or len(home) < 2 * LEAST:
        raise LeftOut("report.left.time")
    seen = bench.seen("held-in")
    return {"numbers": compare(seen.features, bench.real[home], bench.seed)}


def copied(bench: Bench) -> Part:
    """The copy guard, in the judge's features and in pixels; see `copies`."""
    reality = bench.reality
    wanted, images = bench.held_out() if reality.kind == "pairs" else bench.held_in()
    part = "held-out" if reality.kind == "pairs" else "held-in"
    if len(images) < LEAST:
        raise LeftOut("report.left.time")
    places, training = places_of(wanted), reality.training
    training = np.sort(generator(bench.seed, "copies").permutation(training)[:TRAINING])
    honest = reality.unseen if len(reality.unseen) else training
    more = reality.images[:0] if reality.recoloured is None else reality.recoloured
    learned = np.concatenate([reality.images[training], more])
    numbers: dict[str, Any] = {"of": part, "training pictures": len(learned)}
    numbers["recoloured"] = len(more)
    pictures: dict[str, list[Part]] = {}
    looked = bench.features(more) if len(more) else bench.real[:0]
    features = np.concatenate([bench.real[training], looked])
    for name, made, real, known in (
        ("features", bench.seen(part).features, bench.real, features),
        ("pixels", pixels(images), pixels(reality.images), pixels(learned)),
    ):
        order, distance, near = closest(made, known)
        if len(reality.unseen):
            base, _ = nearest(real[honest], known)
            mine = {int(place): float(base[i]) for i, place in enumerate(honest)}
            own = np.array([mine[place] for place in places.tolist()])
        else:
            base, own = nearest_other(real[training]), None
        numbers[name] = guard(distance, base, bench.seed, own)
        pictures[name] = [
            shown(
                images[i],
                wanted[i].prompt,
                f"{distance[i]:.3g}",
                real=learned[near[i]],
            )
            for i in order[:8]
        ]
    numbers["honest"] = "held-out" if len(reality.unseen) else "training"
    return {"numbers": numbers, "pictures": pictures}


def transparency(bench: Bench) -> Part:
    """Whether alpha is clean away from edges, beside real pictures."""
    if bench.studio.model.channels != 4:
        raise LeftOut("report.left.alpha")
    wanted, images = bench.held_in()
    if not len(images):
        raise LeftOut("report.left.time")
    clean = clean_share(images)
    if not np.isfinite(clean).any():
        raise LeftOut("report.left.edges")
    real = clean_share(bench.reality.images[places_of(wanted)])
    numbers = {
        **mean(clean[np.isfinite(clean)], bench.seed, "alpha").to_dict(),
        "real": float(np.nanmean(real)),
    }
    pictures = [shown(image, wish.prompt) for wish, image in zip(wanted, images[:8], strict=False)]
    return {"numbers": numbers, "pictures": {"first": pictures}}


def colours_right(bench: Bench) -> Part:
    """Whether prompts of a colour and a thing come out in that colour."""
    if bench.reality.kind != "pairs" or bench.studio.model.channels < 3:
        raise LeftOut("report.left.colours")
    asked = colour_wishes()
    # whole rounds of the fifty; a part of one is drawn across all colours
    count = bench.count("colours", bench.studio.cost(), 4 * len(asked), len(asked))
    count = count // len(asked) * len(asked) or min(count, len(asked))
    wanted = [
        (colour, Wanted(wish.prompt, wish.number + turn * len(asked)))
        for turn in range(4)
        for i in generator(0, "colours").permutation(len(asked))
        for colour, wish in [asked[i]]
    ][:count]
    images = bench.draw("colours", [wish for _, wish in wanted])
    if len(images) < LEAST:
        raise LeftOut("report.left.time")
    wanted = wanted[: len(images)]
    colours = [colour for colour, _ in wanted]
    right = np.array([shows(i, c) for i, c in zip(images, colours, strict=True)], dtype=float)
    # chance: the same pictures asked for another prompt's colour
    mixed = generator(bench.seed, "colours").permutation(len(colours))
    other = [shows(image, colours[i]) for image, i in zip(images, mixed, strict=True)]
    per = {name: float(right[[c == name for c in colours]].mean()) for name in sorted(set(colours))}
    prompts = [wish.prompt for _, wish in wanted]
    # pictures of one prompt succeed and fail together: prompts are resampled, not pictures
    names = sorted(set(prompts))
    share = np.array([right[[p == name for p in prompts]].mean() for name in names])
    numbers = {
        **bootstrap(lambda chosen: float(share[chosen].mean()), len(share), bench.seed).to_dict(),
        "pictures": len(images),
        "chance": float(np.mean(other)),
        "real": _real_colours(bench),
        "colours": per,
    }
    wrong = [i for i in range(len(images)) if not right[i]]
    return {
        "numbers": numbers,
        "pictures": {
            "first": [shown(images[i], prompts[i], _mark(right[i])) for i in range(16)],
            "wrong": [shown(images[i], prompts[i]) for i in wrong[:12]],
        },
    }


def _mark(right: float) -> str:
    return "✓" if right else "✗"


def _real_colours(bench: Bench) -> float | None:
    """How the rule judges real pictures of the same names."""
    asked = {wish.prompt: colour for colour, wish in colour_wishes()}
    names = [prompt.rpartition(",")[0] for prompt in bench.reality.prompts["en"]]
    found = [
        shows(bench.reality.images[i], asked[name]) for i, name in enumerate(names) if name in asked
    ]
    return float(np.mean(found)) if found else None
