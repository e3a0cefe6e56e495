"""What every data set hands over, whatever it was read from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np


@dataclass(frozen=True)
class Example:
    """One picture and what is said about it.

    Attributes:
        image: uint8 (C, H, W); C = 1 grey, 3 RGB, or 4 RGBA whose colours are multiplied by
            the alpha (so fully transparent pixels are 0, 0, 0, 0).
        captions: one or more texts, all true of the picture; the trainer draws one a visit.
            A caption may stand there twice, it is then drawn twice as often.
        label: the class, when the data set has classes or things; else None.
        origin: where it came from, for people: a file name or a place in an archive.
    """

    image: np.ndarray
    captions: tuple[str, ...]
    label: str | None
    origin: str


@dataclass(frozen=True)
class Problem:
    """Something that a person should know about one file.

    Attributes:
        origin: the file's name, relative to the data set.
        reason: what is wrong and what was done instead, for people.
        replaced: True when the picture could not be read and another one takes its place.
        topic: "caption missing" or "caption encoding" where one of these fits.
        kind: which sentence this is, for programs: a key of `sfumato.data.findings.SENTENCES`;
            empty where only the reason is known.
        values: what fills the places of that sentence, in types that JSON knows.
    """

    origin: str
    reason: str
    replaced: bool = False
    topic: str = ""
    kind: str = ""
    values: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __str__(self) -> str:
        return f"{self.origin}: {self.reason}"


@dataclass(frozen=True)
class Report:
    """What was found while reading a data set: ``total`` pictures and their problems."""

    problems: tuple[Problem, ...] = field(default_factory=tuple)
    total: int = 0

    @property
    def replaced(self) -> int:
        """How many pictures could not be read and are replaced by another."""
        return sum(problem.replaced for problem in self.problems)

    def text(self, limit: int = 20) -> str:
        """The report for people: unreadable pictures first, then the rest, file by file.

        Args:
            limit: how many lines of each kind are printed before "and n more".
        """
        if not self.problems:
            return f"{self.total} pictures, no problem found."
        kinds: dict[bool, list[Problem]] = defaultdict(list)
        for problem in self.problems:
            kinds[problem.replaced].append(problem)
        lines = []
        for replaced, title in (
            (True, f"{self.replaced} of {self.total} pictures cannot be read and are replaced:"),
            (False, f"{len(kinds[False])} remarks:"),
        ):
            found = kinds[replaced]
            if not found:
                continue
            lines.append(title)
            lines += [f"  {problem}" for problem in found[:limit]]
            if len(found) > limit:
                lines.append(f"  and {len(found) - limit} more")
        return "\n".join(lines)


@runtime_checkable
class Source(Protocol):
    """A data set: a fixed number of examples, each the same at every visit.

    Attributes:
        name: what the data set is called.
        size: side of its square pictures in pixels.
        channels: 1, 3 or 4 (see `Example`).
        classes: the names of its classes when they are all there is to say; empty when the
            captions are free text (even if the examples carry labels).
    """

    # read-only, so that plain attributes and properties both satisfy the protocol
    @property
    def name(self) -> str: ...
    @property
    def size(self) -> int: ...
    @property
    def channels(self) -> int: ...
    @property
    def classes(self) -> tuple[str, ...]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Example: ...

    def report(self) -> Report:
        """What was wrong with its files, as far as they were read."""
        ...
