"""The findings of a check as one record, for people and for programs."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median
from typing import Any

from sfumato.data.example import Problem, Source
from sfumato.data.findings import KINDS, SERIOUS, spoken
from sfumato.data.member_names import plain
from sfumato.data.scan import Scan
from sfumato.locale import translate

FEW = 100
"""With fewer pictures a model learns to repeat them, and a person should know."""


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
        transparent: pictures with transparent parts.
        grey: pictures without colour.
        groups: similar pictures, by origin; the first of a group stands for it.
        stands_for: index of a picture -> index of the one that makes it superfluous.
        places: origin -> index, of all that the findings and groups name.
        dimensions: (width, height) as stored, (0, 0) where unknown; empty where all are.
        parts: the folder's parts that were looked at together ("train", "test"); the names of
            their pictures begin with them.  Empty where there is one part only.
        source: what was looked at.
        files: the picture files, where there are any; indices are the source's.
    """

    name: str
    total: int
    size: int
    channels: int
    captions: int
    classes: dict[str, int] = field(default_factory=dict)
    findings: dict[str, tuple[Problem, ...]] = field(default_factory=dict)
    transparent: int = 0
    grey: int = 0
    groups: tuple[tuple[str, ...], ...] = ()
    stands_for: dict[int, int] = field(default_factory=dict, repr=False)
    places: dict[str, int] = field(default_factory=dict, repr=False)
    dimensions: tuple[tuple[int, int], ...] = field(default=(), repr=False)
    parts: tuple[str, ...] = ()
    source: Source | None = field(default=None, repr=False, compare=False)
    files: Scan | None = field(default=None, repr=False, compare=False)

    @property
    def healthy(self) -> bool:
        """Nothing was found."""
        return not self.findings

    @property
    def serious(self) -> int:
        """How many findings would harm a training, see `SERIOUS`."""
        return sum(len(self.findings.get(kind, ())) for kind in SERIOUS)

    def part(self, name: str) -> str:
        """The part that a picture belongs to; "" where there is one part only."""
        return name.partition("/")[0] if self.parts else ""

    def counts(self) -> dict[str, int]:
        """How many findings of each kind, zeros included."""
        return {kind: len(self.findings.get(kind, ())) for kind in KINDS}

    @property
    def readable(self) -> int:
        """Pictures that can be read."""
        return self.total - len(self.findings.get("unreadable", ()))

    @property
    def few(self) -> bool:
        """There are too few pictures to learn more from than to repeat them."""
        return self.readable < FEW

    def balance(self) -> tuple[tuple[str, int], tuple[str, int]] | None:
        """The largest and the smallest class with their pictures; None without classes."""
        if not self.classes:
            return None
        ordered = sorted(self.classes.items(), key=lambda item: (-item[1], item[0]))
        return ordered[0], ordered[-1]

    def text(self, limit: int = 10) -> str:
        """For people, in their language; of each kind at most ``limit`` names."""
        lines = self.summary()
        for kind, meaning in KINDS.items():
            found = self.findings.get(kind, ())
            if not found:
                continue
            lines.append(translate(meaning, count=len(found)))
            # names come from strangers and may hold what commands a terminal
            lines += [plain(f"  {one.origin}: {spoken(one)}") for one in found[:limit]]
            if len(found) > limit:
                lines.append(translate("check.more", count=len(found) - limit))
        end = "check.healthy" if self.healthy else "check.unchanged"
        lines.append(translate(end))
        if self.few:
            lines.append(translate("train.few", count=self.readable))
        return "\n".join(lines)

    def summary(self) -> list[str]:
        """What the data set is, in a few lines."""
        key = "check.classes" if self.classes else "check.summary"
        facts = {"name": plain(self.name), "total": self.total, "captions": self.captions}
        judged = {"size": self.size, "channels": self.channels}
        classes = {"classes": len(self.classes)} if self.classes else {}
        lines = [translate(key, **facts, **judged, **classes)]
        if self.parts:
            lines.append(translate("check.parts", parts=", ".join(self.parts)))
        balance = self.balance()
        if balance and balance[0][1] != balance[1][1]:
            (large, most), (small, least) = balance
            lines.append(
                translate(
                    "check.balance", large=plain(large), most=most, small=plain(small), least=least,
                    share=percent(most, sum(self.classes.values())),
                )
            )  # fmt: skip
        if self.transparent or (self.grey and self.channels > 1):
            transparent, grey = (percent(n, self.readable) for n in (self.transparent, self.grey))
            lines.append(translate("check.shares", transparent=transparent, grey=grey))
        return lines

    def sides(self) -> list[int]:
        """The shorter side of each readable picture as stored; empty where unknown."""
        return [min(pair) for pair in self.dimensions if min(pair)]

    def to_dict(self) -> dict[str, Any]:
        """All of it, every name included, in types that JSON knows."""
        sides = self.sides()
        return {
            "name": self.name,
            "pictures": self.total,
            "parts": list(self.parts),
            "size": self.size,
            "channels": self.channels,
            "captions": self.captions,
            "healthy": self.healthy,
            "serious": self.serious,
            "few": self.few,
            "counts": self.counts(),
            "classes": self.classes,
            "transparent": self.transparent,
            "grey": self.grey,
            "shorter side": (
                {"smallest": min(sides), "median": median(sides), "largest": max(sides)}
                if sides
                else None
            ),
            "findings": {
                kind: [
                    {
                        "origin": one.origin,
                        "reason": spoken(one),
                        "key": one.kind,
                        "values": dict(one.values),
                    }
                    for one in found
                ]
                for kind, found in self.findings.items()
            },
            "groups": [list(group) for group in self.groups],
        }


def percent(part: int, whole: int) -> str:
    """A share for people: "12%", and "<1%" for what is not nothing."""
    share = 100 * part / max(1, whole)
    return "<1%" if 0 < share < 1 else f"{share:.0f}%"
