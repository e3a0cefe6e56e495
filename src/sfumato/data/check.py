"""Is a data set fit to train on?  Counts and names; nothing is changed or deleted."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from statistics import median
from typing import Any

from sfumato.data import open_source
from sfumato.data.captions import named_by
from sfumato.data.example import Problem, Source
from sfumato.locale import translate

TINY = 32
"""Pictures with a side below this many pixels are mentioned: enlarged, they only blur."""

FEW = 100
"""Below so many pictures a model learns to repeat them; the same bar as in training."""

KINDS = {
    "unreadable": "check.unreadable",
    "tiny": "check.tiny",
    "blank": "check.blank",
    "duplicate": "check.duplicate",
    "caption missing": "check.uncaptioned",
    "caption encoding": "check.encoding",
    "class imbalance": "check.imbalance",
    "other": "check.other",
}
"""What is looked for, in the order of the report, and its message."""

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

    @property
    def few(self) -> bool:
        """There are too few pictures to learn more from than to repeat them."""
        return self.total - len(self.findings.get("unreadable", ())) < FEW

    def text(self, limit: int = 10) -> str:
        """For people, in their language; of each kind at most ``limit`` names."""
        key = "check.classes" if self.classes else "check.summary"
        facts = {"name": self.name, "total": self.total, "captions": self.captions}
        judged = {"size": self.size, "channels": self.channels}
        classes = {"classes": len(self.classes)} if self.classes else {}
        lines = [translate(key, **facts, **judged, **classes)]
        for kind, meaning in KINDS.items():
            found = self.findings.get(kind, ())
            if not found:
                continue
            lines.append(translate(meaning, count=len(found)))
            lines += [f"  {one.origin}: {spoken(one, self.name)}" for one in found[:limit]]
            if len(found) > limit:
                lines.append(translate("check.more", count=len(found) - limit))
        end = "check.healthy" if self.healthy else "check.unchanged"
        lines.append(translate(end))
        if self.few:
            count = self.total - len(self.findings.get("unreadable", ()))
            lines.append(translate("train.few", count=count))
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
            "few": self.few,
            "counts": self.counts(),
            "classes": self.classes,
            "findings": {
                kind: [{"origin": p.origin, "reason": spoken(p, self.name)} for p in found]
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
        Problem(label, f"pictures {count}, in the usual class {usual:g}")
        for label, count in sorted(classes.items())
        if 5 * count < usual
    ]


#: What is written about a file where it is found -> its message, and what the pattern holds.
_REASONS = [
    (r"(\d+) x (\d+) pixels", "check.is.pixels", "width height"),
    (r"one colour, (.*)", "check.is.blank", "colour"),
    (r"same pixels as (.*)", "check.is.same", "other"),
    (r"pictures (\d+), in the usual class (.*)", "check.is.rare", "count usual"),
    (r"is a link to a folder; not followed", "check.is.link_folder", ""),
    (r"is a link that leaves the folder; .*", "check.is.link_away", ""),
    (r"names (.*), which leaves the folder; refused", "check.is.leaves", "file"),
    (r"names (.*), which is not there or no picture; .*", "check.is.absent", "file"),
    (r"no captions and no classes found; .*", "check.is.bare", ""),
    (r"has no caption", "check.is.no_caption", ""),
    (r"has an empty caption", "check.is.empty_caption", ""),
    (r"has an empty caption file (.*)", "check.is.empty_file", "file"),
    (r"has a caption file (.*) that is a link .*", "check.is.caption_link", "file"),
    (r"has a caption file (.*) that cannot be read \((.*)\)", "check.is.caption_unread",
     "file why"),
    (r"is not UTF-8; read as (.*)", "check.is.encoded", "encoding"),
    (r"row (\d+) names no file; .*", "check.is.row", "number"),
    (r"line (\d+) is not a JSON object; .*", "check.is.line", "number"),
    (r"cannot be opened \((.*)\)", "check.is.unopened", "why"),
    (r"the file is empty", "check.is.empty", ""),
    (r"not a picture \((.*)\), .*", "check.is.no_picture", "kinds"),
    (r"there is too little memory .*", "check.is.memory", ""),
    (r"its header is broken or cut off \((.*)\)", "check.is.header", "why"),
    (r"its pixels are broken or cut off \((.*)\)", "check.is.broken", "why"),
    (r"too large: (.*, )?(\d+) megapixels, the limit is (\d+)", "check.is.too_large",
     "sides size limit"),
]  # fmt: skip
_NAMED = {
    "file": "check.is.named_file",
    "folder": "check.is.named_folder",
    "nothing": "check.is.named_nothing",
}


def spoken(problem: Problem, name: str) -> str:
    """The reason in the user's language; one that is not known here stays as it is.

    Args:
        problem: as the data set names it.
        name: of the data set, by which a picture without a caption may be called.
    """
    named = re.fullmatch(r"(.*); '.*' is taken from its .*name", problem.reason, re.DOTALL)
    if named:
        words, whose = named_by(PurePath(problem.origin), name)
        key = _NAMED[whose]
        return translate(key, complaint=_translated(named[1]), words=repr(words))
    return _translated(problem.reason)


def _translated(reason: str) -> str:
    for pattern, key, names in _REASONS:
        found = re.fullmatch(pattern, reason, re.DOTALL)
        if found:
            values = (value or "" for value in found.groups())
            return translate(key, **dict(zip(names.split(), values, strict=True)))
    return reason
