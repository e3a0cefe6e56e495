"""Is a data set fit to train on?  Counts and names; nothing is changed or deleted."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from sfumato.data import open_source
from sfumato.data.example import Problem, Source

TINY = 32
"""Pictures with a side below this many pixels are mentioned: enlarged, they only blur."""

KINDS = {
    "unreadable": "cannot be read",
    "tiny": f"smaller than {TINY} pixels",
    "blank": "show nothing (one colour all over)",
    "duplicate": "have the same pixels as an earlier one",
    "caption missing": "have no caption, or an empty one",
    "caption encoding": "have captions that are not UTF-8",
    "class imbalance": "classes have less than a fifth of the usual number of pictures",
    "other": "other remarks",
}
"""What is looked for, in the order of the report."""

_BLANK = 1.0  # standard deviation in levels of 255: JPEG noise on one colour stays below


@dataclass(frozen=True)
class HealthReport:
    """What was found.

    Attributes:
        name: the data set.
        total: number of pictures, the unreadable ones included.
        size: side in pixels at which they were judged.
        channels: 1, 3 or 4.
        captions: number of different captions.
        classes: pictures in each class; empty without classes.
        findings: kind (see `KINDS`) -> what was found; a kind without findings is absent.
    """

    name: str
    total: int
    size: int
    channels: int
    captions: int
    classes: dict[str, int] = field(default_factory=dict)
    findings: dict[str, tuple[Problem, ...]] = field(default_factory=dict)

    @property
    def healthy(self) -> bool:
        """Nothing was found."""
        return not self.findings

    def counts(self) -> dict[str, int]:
        """How many findings of each kind, zeros included."""
        return {kind: len(self.findings.get(kind, ())) for kind in KINDS}

    def text(self, limit: int = 10) -> str:
        """For people; of each kind at most ``limit`` names."""
        kinds = f", {len(self.classes)} classes" if self.classes else ""
        lines = [
            f"{self.name}: {self.total} pictures, {self.captions} different captions{kinds}; "
            f"judged at {self.size}x{self.size}x{self.channels}"
        ]
        for kind, meaning in KINDS.items():
            found = self.findings.get(kind, ())
            if not found:
                continue
            lines.append(f"{kind}: {len(found)} {meaning}")
            lines += [f"  {problem}" for problem in found[:limit]]
            if len(found) > limit:
                lines.append(f"  and {len(found) - limit} more")
        lines.append("No problem found." if self.healthy else "Nothing was changed.")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """All of it, every name included, in types that JSON knows."""
        return {
            "name": self.name,
            "pictures": self.total,
            "size": self.size,
            "channels": self.channels,
            "captions": self.captions,
            "healthy": self.healthy,
            "counts": self.counts(),
            "classes": self.classes,
            "findings": {
                kind: [{"origin": p.origin, "reason": p.reason} for p in found]
                for kind, found in self.findings.items()
            },
        }


def check(data: str | Path | Source, split: str = "train") -> HealthReport:
    """Look at every picture and caption of a data set.

    Duplicates and blank pictures are judged as the training would see them, that is after
    resizing; tiny ones by their stored size.

    Args:
        data: a name, a path (see `sfumato.data.open_source`) or an open source.
        split: which part, for a name or path.

    Raises:
        SfumatoError: there is no such data set, or it has no pictures at all.
    """
    source = (
        open_source(data, split=split, broken_share=1.0) if isinstance(data, str | Path) else data
    )
    found: dict[str, list[Problem]] = {kind: [] for kind in KINDS}
    unreadable: dict[int, str] = getattr(source, "unreadable", {})
    dimensions: list[tuple[int, int]] = getattr(source, "dimensions", [])
    first_of: dict[bytes, str] = {}
    captions: set[str] = set()
    classes: Counter[str] = Counter(dict.fromkeys(source.classes, 0))
    for index in range(len(source)):
        if index in unreadable:
            continue
        example = source[index]
        captions.update(example.captions)
        if source.classes and example.label is not None:
            classes[example.label] += 1
        if dimensions and min(dimensions[index]) < TINY:
            width, height = dimensions[index]
            found["tiny"].append(Problem(example.origin, f"{width} x {height} pixels"))
        if example.image.std(axis=(1, 2)).max() < _BLANK:
            colour = tuple(round(float(c)) for c in example.image.mean(axis=(1, 2)))
            found["blank"].append(Problem(example.origin, f"one colour, {colour}"))
        digest = hashlib.blake2b(example.image.tobytes(), digest_size=16).digest()
        first = first_of.setdefault(digest, example.origin)
        if first != example.origin:
            found["duplicate"].append(Problem(example.origin, f"same pixels as {first}"))
    for problem in source.report().problems:
        found[_kind(problem)].append(problem)
    found["class imbalance"] = _rare(classes)
    return HealthReport(
        name=source.name,
        total=len(source),
        size=source.size,
        channels=source.channels,
        captions=len(captions),
        classes=dict(classes),
        findings={kind: tuple(problems) for kind, problems in found.items() if problems},
    )


def _kind(problem: Problem) -> str:
    return "unreadable" if problem.replaced else problem.topic or "other"


def _rare(classes: Counter[str]) -> list[Problem]:
    if not classes:
        return []
    usual = median(classes.values())
    return [
        Problem(label, f"{count} pictures, the usual class has {usual:g}")
        for label, count in sorted(classes.items())
        if 5 * count < usual
    ]
