"""Training a judge on real pictures: a discriminant, and with many pictures learning from there."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from sfumato.data.example import Source
from sfumato.diffusion.randomness import seed_of, uniform
from sfumato.errors import SfumatoError
from sfumato.evaluation.discriminant import class_means, discriminant, prototypes_of
from sfumato.evaluation.framing import canvas_for, framed, frames_of
from sfumato.evaluation.judge import About, Judge
from sfumato.evaluation.recognizer import Recognizer
from sfumato.evaluation.things import things_of
from sfumato.evaluation.variations import vary

Progress = Callable[[str, float], None]

HELD_OUT = 0.05
"""Share of the pictures that measure the judge and do not train it."""

MANY = 20
"""Pictures a label from which on learning helps.  With the three drawings a thing of the
evaluation art it learns the designers instead: recognition of others' art fell from 0.67 to
0.63 (top-1, six minutes), so there the discriminant stands."""

_MEMORY = 512 << 20  # bytes of pictures that are kept; of larger sets a part is taken
_INSTANCES = 4096  # pictures at most that are each a class of their own
_SOLVED = 12_000  # pictures that the discriminant is solved on
_PROTOTYPES = 8
_VARIATIONS = 2
_SHRINK = 0.6
_BATCH = 128
_RATE = 1e-3


@dataclass(frozen=True)
class Pictures:
    """Labelled pictures in memory: pixels uint8 (N, C, S, S), class numbers (N,), label names."""

    pixels: Tensor
    numbers: Tensor
    labels: tuple[str, ...]
    kind: str

    def part(self, chosen: Sequence[int]) -> Pictures:
        index = torch.tensor(chosen, dtype=torch.long)
        return Pictures(self.pixels[index], self.numbers[index], self.labels, self.kind)

    def batches(self, size: int = 256) -> Iterator[slice]:
        return (slice(start, start + size) for start in range(0, len(self.numbers), size))


@dataclass(frozen=True)
class FoundStrokes:
    """What `recognizer.Strokes` finds in pictures: at which positions, of which class numbers,
    in the pictures (n, width) and in each of their variations."""

    positions: Tensor
    numbers: Tensor
    plain: Tensor
    varied: tuple[Tensor, ...]


def train_judge(
    source: Source, minutes: float, seed: int = 0, progress: Progress | None = None
) -> Judge:
    """Train a judge on a source's pictures.

    It recognises the examples' labels, or captions that pictures share (`things.things_of`).  In
    a source without either every picture is a class of its own (told apart from the others in
    all its variations), so that there are features all the same.  The discriminant takes the
    time it takes, about 8 ms a picture; only with `MANY` pictures a label does learning fill the
    minutes, and how far it gets depends on the machine.

    The accuracy is measured on held-out pictures.  Where nothing is learned, the discriminant is
    then solved anew with them.

    Args:
        source: at least two labels or two pictures.
        minutes: of wall time at most, the discriminant's aside.
        seed: of the held-out draw, the variations and the weights.
        progress: told what is being done ("reading", "solving", "learning") and its share done.

    Raises:
        SfumatoError: nothing to tell apart, or a picture that cannot be read.
    """
    end = time.monotonic() + 60 * minutes
    tell = progress or (lambda phase, share: None)
    every = _read(source, seed, tell)
    instances = every.kind == "instances"
    aside = [] if instances else held_out(every.numbers.tolist(), seed)
    kept = sorted(set(range(len(every.numbers))) - set(aside))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(seed, "judge weights"))
        network = _network(every)
    found = _strokes(network, every, kept, seed, tell)
    solve(network, found, kept)
    learns = len(kept) >= MANY * len(every.labels)
    seen = _learn(network, every.part(kept), seed, end, tell) if learns else 0
    accuracy = _measured(network, every if instances else every.part(aside), seed)
    if aside and not learns:
        solve(network, found, range(len(every.numbers)))
    about = About(
        name=f"judge of {source.name}",
        kind=every.kind,
        labels=every.labels,
        side=source.size,
        channels=source.channels,
        canvas=network.canvas,
        prototypes=network.prototypes.shape[1],
        accuracy=accuracy,
        training={"seed": seed, "minutes": minutes, "pictures": len(every.numbers), "seen": seen},
    )
    return Judge(about, network)


def _read(source: Source, seed: int, tell: Progress) -> Pictures:
    """All pictures, or a part in which every label has its share."""
    examples = (source[i] for i in range(len(source)))
    said = [(example.label, example.captions, example.origin) for example in examples]
    things = things_of([label for label, _, _ in said], [texts for _, texts, _ in said])
    kind = "instances" if None in things else "labels"
    names = [origin for _, _, origin in said]
    if kind == "labels":
        names = [thing or "" for thing in things]
    limit = max(1, _MEMORY // (source.channels * source.size**2))
    chosen = shares(names, min(limit, _INSTANCES) if kind == "instances" else limit, seed)
    labels = tuple(sorted({names[i] for i in chosen}))
    if len(labels) < 2:
        raise SfumatoError(
            f"{source.name} shows only one thing, so there is nothing to tell apart. "
            "Give pictures of at least two things."
        )
    number = {label: k for k, label in enumerate(labels)}
    pixels = np.empty((len(chosen), source.channels, source.size, source.size), dtype=np.uint8)
    for row, i in enumerate(chosen):
        pixels[row] = source[i].image
        if row % 256 == 0:
            tell("reading", row / len(chosen))
    numbers = torch.tensor([number[names[i]] for i in chosen])
    return Pictures(torch.from_numpy(pixels), numbers, labels, kind)


def shares(names: Sequence[str], limit: int, seed: int) -> list[int]:
    """At most `limit` positions in rising order, a first one of each name before any second."""
    if len(names) <= limit:
        return list(range(len(names)))
    drawn = uniform(range(len(names)), seed, "judge pictures").argsort().tolist()
    before: Counter[str] = Counter()
    ranks = []
    for i in drawn:
        ranks.append((before[names[i]], i))
        before[names[i]] += 1
    ranks.sort(key=lambda pair: pair[0])  # stable: in drawn order within a rank
    return sorted(i for _, i in ranks[:limit])


def held_out(numbers: Sequence[int], seed: int) -> list[int]:
    """Positions that measure: about `HELD_OUT` of all, while two others of their class remain."""
    left = Counter(numbers)
    chosen = []
    for i, chance in enumerate(uniform(range(len(numbers)), seed, "judge held out").tolist()):
        if chance < HELD_OUT and left[numbers[i]] > 2:
            left[numbers[i]] -= 1
            chosen.append(i)
    return chosen


def _generator(seed: int, *purpose: str | int) -> torch.Generator:
    return torch.Generator().manual_seed(seed_of(seed, "judge", *purpose) & 0xFFFFFFFF)


def _network(pictures: Pictures) -> Recognizer:
    most = int(torch.bincount(pictures.numbers).max())
    channels, side = pictures.pixels.shape[1:3]
    each = min(_PROTOTYPES, most)
    return Recognizer(channels, len(pictures.labels), each, canvas_for(side))


@torch.no_grad()
def _strokes(
    network: Recognizer, pictures: Pictures, kept: Sequence[int], seed: int, tell: Progress
) -> FoundStrokes:
    """What the fixed layers find in the pictures (of very many: in a part of the kept ones)."""
    positions, limit = list(range(len(pictures.numbers))), max(_SOLVED, len(pictures.labels))
    if len(positions) > limit:
        names = [str(number) for number in pictures.numbers[list(kept)].tolist()]
        positions = [kept[k] for k in shares(names, limit, seed)]
    few = pictures.part(positions)
    plain: list[Tensor] = []
    varied: list[list[Tensor]] = [[] for _ in range(_VARIATIONS)]
    generator = _generator(seed, "solving")
    for rows in few.batches():
        pixels = few.pixels[rows].float() / 255
        plain.append(network.strokes(framed(pixels, network.canvas)))
        frames = frames_of(pixels)
        for version in varied:
            version.append(network.strokes(vary(pixels, frames, network.canvas, generator)))
        tell("solving", rows.start / len(positions))
    versions = tuple(torch.cat(version) for version in varied)
    return FoundStrokes(torch.tensor(positions), few.numbers, torch.cat(plain), versions)


@torch.no_grad()
def solve(network: Recognizer, found: FoundStrokes, allowed: Sequence[int]) -> None:
    """Set projection and prototypes from the pictures at the allowed positions."""
    rows = torch.isin(found.positions, torch.tensor(allowed))
    numbers = found.numbers[rows]
    own = found.plain[rows]
    # the pictures themselves count as much as their variations
    every = torch.cat([own] * len(found.varied) + [version[rows] for version in found.varied])
    labels = numbers.repeat(2 * len(found.varied))
    network.mean.copy_(class_means(every, labels).mean(0))
    network.spread.copy_(every.std(0).clamp(min=0.02))
    directions = network.projection.shape[1]
    network.projection.copy_(discriminant(every, labels, directions, shrink=_SHRINK))
    placed = (own - network.mean) @ network.projection
    prototypes = prototypes_of(placed, numbers, network.prototypes.shape[1])
    network.prototypes.copy_(F.normalize(prototypes, dim=2))


def _learn(network: Recognizer, pictures: Pictures, seed: int, end: float, tell: Progress) -> int:
    """Learn from ever new variations until `end` (monotonic seconds); returns how many."""
    begin, seen, step = time.monotonic(), 0, 0
    if begin >= end:
        return 0
    optimizer = torch.optim.AdamW(network.parameters(), _RATE, weight_decay=0.01)
    frames = torch.cat([frames_of(pictures.pixels[s].float() / 255) for s in pictures.batches()])
    size = min(_BATCH, len(pictures.numbers))
    order: list[int] = []
    while (now := time.monotonic()) < end:
        share = (now - begin) / (end - begin)
        tell("learning", share)
        if len(order) < size:
            shuffled = torch.randperm(len(frames), generator=_generator(seed, "order", step))
            order = shuffled.tolist()
        rows = torch.tensor(order[:size])
        order = order[size:]
        for group in optimizer.param_groups:
            group["lr"] = _RATE * min((step + 1) / 50, math.cos(share * math.pi / 2))
        pixels = pictures.pixels[rows].float() / 255
        generator = _generator(seed, "learning", step)
        _, logits = network(vary(pixels, frames[rows], network.canvas, generator))
        loss = F.cross_entropy(logits, pictures.numbers[rows], label_smoothing=0.1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        step += 1
        seen += size
    return seen


@torch.no_grad()
def _measured(network: Recognizer, pictures: Pictures, seed: int) -> dict[str, float]:
    """Shares of pictures whose label is the first, or among the first five."""
    network.eval()
    generator = _generator(seed, "measuring")
    first = five = 0
    for rows in pictures.batches():
        pixels = pictures.pixels[rows].float() / 255
        if pictures.kind == "instances":
            placed = vary(pixels, frames_of(pixels), network.canvas, generator)
        else:
            placed = framed(pixels, network.canvas)
        _, logits = network.judged(placed)
        best = logits.topk(min(5, logits.shape[1])).indices == pictures.numbers[rows, None]
        first += int(best[:, 0].sum())
        five += int(best.any(1).sum())
    count = len(pictures.numbers)
    return {"top1": first / max(1, count), "top5": five / max(1, count), "count": count}
