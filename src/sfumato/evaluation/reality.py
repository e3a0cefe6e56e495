"""The real pictures an evaluation compares with: pixels, prompts and what else is known."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from sfumato.data import Source, open_source
from sfumato.data.sources.emoji import STYLES, EmojiSource
from sfumato.errors import SfumatoError
from sfumato.evaluation.intervals import generator
from sfumato.evaluation.things import things_of
from sfumato.training.recoloured import Recoloured

MOST = 12_000
"""Pictures read of a part of a data set, at most; a fixed draw where there are more."""

LANGUAGES = ("en", "ru")
APART = ("flags",)
"""Groups that are reported apart and are left out of headlines: few words, much geometry."""


@dataclass(frozen=True, eq=False)
class Reality:
    """Real pictures of both parts of a data set, un-augmented; lists run in parallel.

    Attributes:
        name: of the data set.
        kind: "pairs" (emoji: style and thing known apart, some pairs held out), "test" (the
            data set has a part of its own for testing) or "whole" (all of it was trained on).
        images: uint8 (N, C, H, W).
        prompts: language ("en", "ru", or "own" where there is only one) -> a prompt a picture.
        labels: what each picture shows (`things.things_of`), None where nobody says.
        held_out: (N,) whether it was kept from training.
        groups, styles: empty strings where there are none.
        left: how many pictures were not read (see `MOST`).
        recoloured: uint8 (M, C, H, W), what the model learned from besides: training pictures
            in other colours (``data.recolour``).  None where there are none.
        digest: SHA-256 over pictures, prompts and labels, the recoloured ones left out.
    """

    name: str
    kind: str
    images: np.ndarray
    prompts: dict[str, tuple[str, ...]]
    labels: tuple[str | None, ...]
    held_out: np.ndarray
    groups: tuple[str, ...]
    styles: tuple[str, ...]
    left: int = 0
    recoloured: np.ndarray | None = None
    digest: str = field(default="")

    def __post_init__(self) -> None:
        if not self.digest:
            object.__setattr__(self, "digest", self._digest())

    @property
    def language(self) -> str:
        """The language of headlines."""
        return "en" if "en" in self.prompts else "own"

    @property
    def apart(self) -> np.ndarray:
        """(N,) which pictures belong to a group that is reported apart."""
        return np.array([group in APART for group in self.groups], dtype=bool)

    @property
    def training(self) -> np.ndarray:
        """Places of all pictures that were trained on."""
        return np.flatnonzero(~self.held_out)

    @property
    def home(self) -> np.ndarray:
        """Places of the pictures that headlines are about and samples are compared with.

        Emoji: the pairs that were trained on, without flags.  Elsewhere the part for testing,
        or everything where there is none.
        """
        wanted = self.held_out if self.kind == "test" else ~self.held_out
        return np.flatnonzero(wanted & ~self.apart)

    @property
    def unseen(self) -> np.ndarray:
        """Places of held-out pictures, groups apart left out."""
        return np.flatnonzero(self.held_out & ~self.apart)

    def _digest(self) -> str:
        digest = hashlib.sha256(np.ascontiguousarray(self.images).data)
        words = [self.prompts, self.labels, self.held_out.tolist()]
        digest.update(json.dumps(words, ensure_ascii=False).encode())
        return digest.hexdigest()


def read_reality(
    data: str,
    size: int,
    channels: int,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
    recolour: bool = False,
) -> Reality:
    """Read a data set in the form of a model's pictures.

    Args:
        data: what `open_source` understands.
        size, channels: of the model's pictures.
        seed: of the draw where there are more than `MOST` pictures.
        progress: called with (pictures read, pictures to read).
        recolour: whether the model was trained with ``data.recolour``.
    Raises:
        SfumatoError: from the data set.
    """
    if data == "emoji":
        found = _emoji(EmojiSource(size, channels, "all"), progress)
    else:
        parts = [open_source(data, size, channels)]
        with contextlib.suppress(SfumatoError):  # nothing was set aside
            parts.append(open_source(data, size, channels, split="test"))
        found = _plain(parts, seed, progress)
    if not recolour:
        return found
    whole = Recoloured(open_source(data, size, channels))
    drawn = generator(seed, "recoloured").permutation(len(whole) - len(whole.source))[:MOST]
    more = np.sort(drawn + len(whole.source)).tolist()
    return replace(found, recoloured=_pixels(whole, more, progress))


def style_prompt(row: dict[str, object], language: str) -> str:
    """Name and style of an emoji as its captions say them, for example "red heart, flat style"."""
    name = str(row[f"name_{language}"]).lower().replace(": , ", ": ")
    return f"{name}, {STYLES[str(row['style'])][LANGUAGES.index(language)]}"


def _emoji(source: EmojiSource, progress: Callable[[int, int], None] | None) -> Reality:
    rows = [source.metadata(i) for i in range(len(source))]
    return Reality(
        name=source.name,
        kind="pairs",
        images=_pixels(source, range(len(source)), progress),
        prompts={one: tuple(style_prompt(row, one) for row in rows) for one in LANGUAGES},
        labels=tuple(row["thing"] for row in rows),
        held_out=np.array([row["held_out"] for row in rows], dtype=bool),
        groups=tuple(row["group"] for row in rows),
        styles=tuple(row["style"] for row in rows),
    )


def _plain(parts: list[Source], seed: int, progress: Callable[[int, int], None] | None) -> Reality:
    chosen = [
        np.sort(generator(seed, "read", number).permutation(len(part))[:MOST])
        for number, part in enumerate(parts)
    ]
    examples = [part[int(i)] for part, places in zip(parts, chosen, strict=True) for i in places]
    classes = parts[0].classes
    prompts = tuple((e.label or "") if classes else e.captions[0] for e in examples)
    lengths = [len(places) for places in chosen]
    if progress:
        progress(len(examples), len(examples))
    return Reality(
        name=parts[0].name,
        kind="test" if len(parts) > 1 else "whole",
        images=np.stack([e.image for e in examples]),
        prompts={"own": prompts},
        labels=things_of([e.label for e in examples], [e.captions for e in examples]),
        held_out=np.repeat(np.arange(len(parts)) > 0, lengths),
        groups=tuple((e.label or "") if classes else "" for e in examples),
        styles=("",) * len(examples),
        left=sum(len(part) for part in parts) - len(examples),
    )


def _pixels(
    source: Source, places: Sequence[int], progress: Callable[[int, int], None] | None
) -> np.ndarray:
    images = np.empty((len(places), source.channels, source.size, source.size), dtype=np.uint8)
    for row, place in enumerate(places):
        images[row] = source[place].image
        if progress and (row % 256 == 255 or row == len(places) - 1):
            progress(row + 1, len(places))
    return images
