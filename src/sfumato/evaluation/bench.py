"""What all parts of an evaluation share: model, real pictures, judge, clock and store."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from PIL import Image

from sfumato.evaluation.agreement import columns, own_columns, ranks
from sfumato.evaluation.budget import Budget
from sfumato.evaluation.plan import Wanted, wishes
from sfumato.evaluation.reality import Reality
from sfumato.evaluation.samples import AT_ONCE, Studio, straight
from sfumato.evaluation.store import Store

Progress = Callable[[str, int, int], None]
"""Told (phase, done, total) as the work goes on."""

LOOK = 256  # pictures shown to the judge at once
MOST = 2048  # samples of one kind drawn at most where nobody asks for a number

Part = dict[str, Any]
"""One finished part: {"numbers": {...}, "pictures": {name: [shown, ...]}}, all of it JSON."""


class LeftOut(Exception):
    """A part that cannot or need not take place; says why by the key of a message."""


class Judging(Protocol):
    """What an evaluation needs of a judge; see `judge.Judge`."""

    @property
    def name(self) -> str: ...
    @property
    def hash(self) -> str: ...
    @property
    def labels(self) -> tuple[str, ...]: ...
    @property
    def accuracy(self) -> dict[str, float]: ...
    def features(self, images: np.ndarray) -> np.ndarray: ...
    def scores(self, images: np.ndarray) -> np.ndarray: ...


@dataclass(frozen=True, eq=False)
class Seen:
    """What a judge says of pictures, in their order.

    Attributes:
        features: (N, D) float32.
        ranks: (N,) place of the asked label among the labels of the data set, 0 the best; -1
            where the judge does not know what was asked.
        own: (N,) log-probability of the asked label, NaN where it is not known.
    """

    features: np.ndarray
    ranks: np.ndarray
    own: np.ndarray

    @property
    def known(self) -> np.ndarray:
        """(N,) which of them the judge can rank."""
        return self.ranks >= 0


class Bench:
    """One evaluation's tools.

    Args:
        studio: draws.  reality: the real pictures.  judge: looks at both.
        store: keeps.  budget: the clock.
        seed: of plan, noise and resampling.
        samples: held-in pictures to draw; None for what the time allows.
        progress: is told what goes on.
    """

    def __init__(
        self,
        studio: Studio,
        reality: Reality,
        judge: Judging,
        store: Store,
        budget: Budget,
        seed: int = 0,
        samples: int | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.studio, self.reality, self.judge = studio, reality, judge
        self.store, self.budget, self.seed, self.samples = store, budget, seed, samples
        self.progress: Progress = progress or (lambda phase, done, total: None)
        self._columns = columns(judge.labels, reality.labels)
        self._own = own_columns(judge.labels, self._columns, reality.labels)
        self._real: np.ndarray | None = None
        self._ranks: dict[int, int] = {}
        self._drawn: dict[str, tuple[list[Wanted], np.ndarray]] = {}
        self._seen: dict[str, Seen] = {}

    @property
    def ranked(self) -> int:
        """Labels that the judge knows and the data set has."""
        return len(self._columns)

    @property
    def real(self) -> np.ndarray:
        """Features (N, D) of all real pictures; kept on the disk for any report on them."""
        if self._real is None:
            key = f"{self.judge.hash} {self.reality.digest}"
            kept = self.store.arrays("real", key)
            if kept is None:
                kept = {"features": self.features(self.reality.images)}
                self.store.keep("real", kept, key)
            self._real = kept["features"]
        return self._real

    def real_ranks(self, places: np.ndarray) -> np.ndarray:
        """`Seen.ranks` of real pictures, each looked at once."""
        new = np.array(sorted(set(places.tolist()) - self._ranks.keys()), dtype=np.int64)
        if len(new):
            ranked, _ = self._ranked(self.reality.images[new], new)
            self._ranks |= dict(zip(new.tolist(), ranked.tolist(), strict=True))
        return np.array([self._ranks[place] for place in places.tolist()], dtype=np.int64)

    def features(self, images: np.ndarray) -> np.ndarray:
        """Features (N, D) of pictures uint8 (N, C, H, W), with progress."""
        found = []
        for first in range(0, len(images), LOOK):
            found.append(self.judge.features(images[first : first + LOOK]))
            self.progress("looking", min(first + LOOK, len(images)), len(images))
        return np.concatenate(found)

    def look(self, images: np.ndarray, places: np.ndarray) -> Seen:
        """Show pictures to the judge.

        Args:
            images: uint8 (N, C, H, W).
            places: (N,) of the real pictures that they should resemble.
        """
        return Seen(self.features(images), *self._ranked(images, places))

    def scores_of(self, images: np.ndarray) -> np.ndarray:
        """The judge's scores (N, L) among the labels that the data set has."""
        found = [
            self.judge.scores(images[first : first + LOOK])[:, self._columns]
            for first in range(0, len(images), LOOK)
        ]
        return np.concatenate(found)

    def _ranked(self, images: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        own = self.own_of(places)
        if self.ranked < 2:
            return np.full(len(own), -1), np.full(len(own), np.nan)
        scores, safe = self.scores_of(images), np.maximum(own, 0)
        likely = np.take_along_axis(scores, safe[:, None], axis=1)[:, 0]
        known = own >= 0
        return np.where(known, ranks(scores, safe), -1), np.where(known, likely, np.nan)

    def own_of(self, places: np.ndarray) -> np.ndarray:
        """Column in `scores_of` of what the real pictures show, -1 where it is not known."""
        return self._own[places]

    def things(self, places: np.ndarray) -> list[str | None] | None:
        """What the real pictures show, where designs of one thing succeed and fail together.

        None for classes: they are all there are, and no draw of any.
        """
        if self.reality.kind != "pairs":
            return None
        return [self.reality.labels[place] for place in places.tolist()]

    def wishes(self, part: str, among: np.ndarray, count: int, language: str) -> list[Wanted]:
        """See `plan.wishes`; "held-in" and so on name the draw."""
        return wishes(self.reality, among, count, self.seed, part, language)

    def count(self, part: str, evaluations: int, most: int, least: int = AT_ONCE) -> int:
        """How many pictures a part draws: decided once, by the clock; see `Budget.count`."""
        found = self.store.counts.get(part)
        if found is not None:
            self.budget.drop(part)
            return found
        if self.studio.rate.seconds is None:  # everything so far had been kept
            self.studio.probe(self.reality.prompts[self.reality.language][0])
        planned = self.budget.count(part, self.studio.rate, evaluations, most, least)
        return self.store.decide(part, planned) if planned else 0

    def draw(self, part: str, wanted: list[Wanted], **settings: Any) -> np.ndarray:
        """Draw under the clock, showing progress; may come back shorter."""
        done = 0

        def step(count: int) -> None:
            nonlocal done
            done += count
            self.progress(part, done, len(wanted))

        return self.studio.draw(wanted, deadline=self.budget.end, progress=step, **settings)

    def held_in(self) -> tuple[list[Wanted], np.ndarray]:
        """The samples of headlines: prompts of `Reality.home`."""
        if "held-in" not in self._drawn:
            count = self.samples
            if count is None:
                count = self.count("held-in", self.studio.cost(), MOST)
            self.budget.drop("held-in")
            wanted = self.wishes("held-in", self.reality.home, count, self.reality.language)
            self._keep("held-in", wanted)
        return self._drawn["held-in"]

    def held_out(self) -> tuple[list[Wanted], np.ndarray]:
        """Samples of pairs that were never shown together; none where no pairs are known."""
        if "held-out" not in self._drawn:
            unseen = self.reality.unseen
            most = len(unseen) if self.samples is None else min(self.samples, len(unseen))
            if self.reality.kind != "pairs":
                self.budget.drop("held-out")
                most = 0
            count = self.count("held-out", self.studio.cost(), most) if most else 0
            wanted = self.wishes("held-out", unseen, count, self.reality.language)
            self._keep("held-out", wanted)
        return self._drawn["held-out"]

    def seen(self, part: str) -> Seen:
        """The judge's view of a draw that has taken place."""
        if part not in self._seen:
            wanted, images = self._drawn[part]
            places = np.array([wish.place for wish in wanted], dtype=np.int64)
            self._seen[part] = self.look(images, places)
        return self._seen[part]

    def _keep(self, part: str, wanted: list[Wanted]) -> None:
        images = self.draw(part, wanted)
        self._drawn[part] = wanted[: len(images)], images


def places_of(wanted: list[Wanted]) -> np.ndarray:
    """Where the real pictures of the wishes are, (N,)."""
    return np.array([wish.place for wish in wanted], dtype=np.int64)


def shown(image: np.ndarray, title: str = "", note: str = "", **beside: np.ndarray) -> Part:
    """A picture (C, H, W) for a report, others beside it under their names."""
    found: Part = {"src": uri(straight(image)), "title": title, "note": note}
    found |= {name: uri(straight(other)) for name, other in beside.items()}
    return found


def uri(picture: Image.Image) -> str:
    """A picture as a data URI (PNG)."""
    file = io.BytesIO()
    picture.save(file, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
