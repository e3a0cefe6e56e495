"""The parts of an evaluation that change one thing: words, guidance scale, number of steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sfumato.evaluation.agreement import headline
from sfumato.evaluation.bench import Bench, LeftOut, Part, places_of, shown
from sfumato.evaluation.distances import frechet, kernel, kernel_resampled
from sfumato.evaluation.intervals import generator, interval, mean, share
from sfumato.evaluation.parts import LEAST
from sfumato.evaluation.plan import swapped
from sfumato.evaluation.speed import MANY, REPEATS, speed_of

SCALES = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0)
STEPS = (4, 5, 8, 10, 16, 20, 50, 100)
MOST = 256  # pictures a setting: curves need fewer than headlines
FEWEST = 32  # below this a curve shows chance
_REFERENCES = 2048  # real pictures a curve's distances are measured against
_START_UP = 12.0  # seconds that a fresh process and loading may take


def words_swapped(bench: Bench) -> Part:
    """The same noise with another prompt: how much do words decide?"""
    wanted, images = bench.held_in()
    count = min(len(images), bench.count("swapped", bench.studio.cost(), MOST))
    if count < LEAST:
        raise LeftOut("report.left.time")
    first = wanted[:count]
    asked = swapped(first, bench.reality.labels)
    others = bench.draw("swapped", asked)
    count = len(others)
    if count < LEAST:
        raise LeftOut("report.left.time")
    mine, theirs = places_of(first[:count]), places_of(asked[:count])
    made = images[:count]
    closer = _closer(bench, made, others, mine, theirs)
    real = bench.reality.images
    numbers = {
        "count": count,
        "own prompt": share(closer).to_dict(),
        "pixel difference": mean(_difference(made, others), bench.seed, "difference").to_dict(),
        "real difference": float(_difference(real[mine], real[theirs]).mean()),
    }
    pictures = [
        shown(made[i], f"{first[i].prompt} → {asked[i].prompt}", other=others[i])
        for i in range(min(8, count))
    ]
    return {"numbers": numbers, "pictures": {"first": pictures}}


def _closer(
    bench: Bench, made: np.ndarray, others: np.ndarray, mine: np.ndarray, theirs: np.ndarray
) -> np.ndarray:
    """(N,) whether the picture fits its own prompt better than the swapped picture does.

    By the judge's score of the asked label, or by the distance to the real picture where
    pictures have no labels; a tie is half a point.
    """
    known = (bench.own_of(mine) >= 0) if bench.ranked > 1 else np.zeros(len(mine), dtype=bool)
    if known.any():
        own = bench.look(made[known], mine[known]).own
        other = bench.look(others[known], mine[known]).own
    else:
        real = bench.real[mine]
        own = -np.linalg.norm(bench.look(made, mine).features - real, axis=1)
        other = -np.linalg.norm(bench.look(others, theirs).features - real, axis=1)
    return (own > other) + 0.5 * (own == other)


def _difference(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Mean absolute difference of 8-bit pictures, (N,), 1 is black against white."""
    apart = np.abs(one.astype(np.int16) - other.astype(np.int16))
    return apart.mean((1, 2, 3)) / 255


def guidance_curve(bench: Bench) -> Part:
    """Agreement and distance by guidance scale."""
    scale = bench.studio.model.defaults["guidance_scale"]
    settings = [("guidance_scale", w) for w in SCALES]
    return _curve(bench, "guidance", settings, default=scale)


def steps_curve(bench: Bench) -> Part:
    """Agreement and distance by number of sampling steps."""
    steps = bench.studio.model.defaults["steps"]
    return _curve(bench, "steps", [("steps", n) for n in STEPS], default=steps)


def _curve(bench: Bench, part: str, settings: Sequence[tuple[str, float]], default: float) -> Part:
    wanted, images = bench.held_in()
    # the model's own setting has been drawn already
    paid = [{name: value} for name, value in settings if value != default]
    cost = sum(bench.studio.cost(**_typed(one)) for one in paid)
    count = min(len(images), bench.count(part, max(1, cost), MOST, FEWEST))
    if count < FEWEST:
        raise LeftOut("report.left.time")
    asked = wanted[:count]
    places = places_of(asked)
    draw = generator(bench.seed, "curve")
    home = np.sort(draw.permutation(bench.reality.home)[:_REFERENCES])
    real = bench.real[home]
    points: list[dict[str, Any]] = []
    rows: list[Part] = []
    for name, value in settings:
        made = (
            images[:count] if value == default else bench.draw(part, asked, **_typed({name: value}))
        )
        if len(made) < count:  # time is up: a point of fewer pictures could not be compared
            break
        points.append({"at": value, **_point(bench, made, places, real)})
        rows += [shown(made[i], asked[i].prompt, f"{value:g}") for i in range(min(6, count))]
    if not points:
        raise LeftOut("report.left.time")
    shown_first = headline(bench.ranked)
    ceiling = bench.real_ranks(places)
    numbers: dict[str, Any] = {
        "count": count,
        "default": default,
        "headline": shown_first,
        "points": points,
    }
    if (ceiling >= 0).sum() >= LEAST:
        known = ceiling[ceiling >= 0]
        numbers["real"] = {f"top{top}": float((known < top).mean()) for top in (1, 5)}
    if len(points) < len(settings):
        numbers["missing"] = [value for _, value in settings[len(points) :]]
    return {"numbers": numbers, "pictures": {"rows": rows}}


def _typed(setting: dict[str, float]) -> dict[str, Any]:
    return {k: int(v) if k == "steps" else float(v) for k, v in setting.items()}


def _point(bench: Bench, made: np.ndarray, places: np.ndarray, real: np.ndarray) -> dict[str, Any]:
    seen = bench.look(made, places)
    value = kernel(seen.features, real)
    resampled = kernel_resampled(seen.features, real, 50, bench.seed)
    found: dict[str, Any] = {
        "kernel": interval(value, resampled, len(made), centred=True).to_dict(),
        "frechet": frechet(seen.features, real),
    }
    if seen.known.sum() >= LEAST:
        for top in (1, 5):
            hits = seen.ranks[seen.known] < top
            found[f"top{top}"] = mean(hits, bench.seed, "curve").to_dict()
    return found


def speed(bench: Bench, model: str) -> Part:
    """Seconds and memory in a fresh process; see `speed`.

    Args:
        model: the model's folder, empty for the embedded one.
    """
    bench.budget.drop("speed")
    rate = bench.studio.rate.seconds or 0.0
    expected = _START_UP + rate * bench.studio.cost() * (1 + MANY) * (REPEATS + 1)
    if expected > bench.budget.left / 2:
        raise LeftOut("report.left.time")
    bench.progress("speed", 0, 1)
    prompt = bench.reality.prompts[bench.reality.language][bench.reality.home[0]]
    device = str(bench.studio.model.device)
    found = speed_of(model, device, prompt, timeout=max(60.0, 3 * expected))
    bench.progress("speed", 1, 1)
    if found is None:
        raise LeftOut("report.left.time")
    return {"numbers": found}
