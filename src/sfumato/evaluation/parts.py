"""The parts of an evaluation that look at samples drawn with the model's own settings."""

from __future__ import annotations

from typing import Any

import numpy as np

from sfumato.evaluation.agreement import agreement, by, chance, headline
from sfumato.evaluation.alpha import clean_share
from sfumato.evaluation.bench import Bench, LeftOut, Part, Seen, places_of, shown
from sfumato.evaluation.distribution import compare
from sfumato.evaluation.intervals import mean
from sfumato.evaluation.plan import Wanted, gallery_wishes

LEAST = 16
"""Samples without which a part says nothing."""
WORST = 12
"""Samples shown that the judge recognises least."""


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
    if not seen.known.any():
        raise LeftOut("report.left.labels")
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
            numbers[name] = by(named, made, real, bench.seed, bench.things(places[known]))
    unseen, more = bench.held_out()
    if len(more) >= LEAST and bench.seen("held-out").known.any():
        seen_out, places_out = bench.seen("held-out"), places_of(unseen)
        numbers["held-out"] = _agreement(bench, seen_out, places_out, "held-out")
        _by_style(bench, numbers, seen_out, places_out)
    _second_language(bench, numbers)
    _apart(bench, numbers)
    order = _worst_first(seen)
    numbers["worst"] = [{"prompt": wanted[i].prompt, "number": wanted[i].number} for i in order]
    worst = [_beside(bench, wanted[i], images[i], seen.ranks[i]) for i in order]
    return {"numbers": numbers, "pictures": {"worst": worst}}


def _agreement(bench: Bench, seen: Seen, places: np.ndarray, purpose: str) -> dict[str, Any]:
    known = places[seen.known]
    real, made = bench.real_ranks(known), seen.ranks[seen.known]
    return agreement(made, real, bench.seed, purpose, things=bench.things(known))


def _by_style(bench: Bench, numbers: dict[str, Any], seen: Seen, places: np.ndarray) -> None:
    known = places[seen.known]
    styles = [bench.reality.styles[place] for place in known.tolist()]
    if len(set(styles)) > 1:
        made, real = seen.ranks[seen.known], bench.real_ranks(known)
        found = by(styles, made, real, bench.seed, bench.things(known))
        numbers["held-out styles"] = found


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
        if not seen.known.any():
            continue
        found = _agreement(bench, seen, places, f"{part} {others[0]}")
        known = seen.known
        # both languages of the same pair and noise: resampled together
        one = first.ranks[: len(images)][known] < 5
        lost = one.astype(float) - (seen.ranks[known] < 5)
        things = bench.things(places[known])
        found["loss"] = mean(lost, bench.seed, "loss", part, together=things).to_dict()
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


def _worst_first(seen: Seen) -> list[int]:
    """The samples that the judge finds least like what was asked, the worst first."""
    order = np.argsort(np.where(seen.known, seen.own, np.inf), kind="stable")
    return [int(i) for i in order[:WORST] if seen.known[i]]


def _beside(bench: Bench, wish: Wanted, image: np.ndarray, rank: int) -> Part:
    real = bench.reality.images[wish.place]
    return shown(image, wish.prompt, f"#{int(rank) + 1}", real=real)


def distances(bench: Bench) -> Part:
    """Samples against the real pictures, as sets."""
    _, images = bench.held_in()
    home = bench.reality.home
    if len(images) < LEAST or len(home) < 2 * LEAST:
        raise LeftOut("report.left.time")
    seen = bench.seen("held-in")
    return {"numbers": compare(seen.features, bench.real[home], bench.seed)}


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
