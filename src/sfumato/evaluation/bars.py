"""What the embedded model is expected to reach, and whether a report says that it does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

HELD_IN, HELD_OUT = 0.55, 0.40
"""Of a model trained on a processor; one from a graphics card should reach 0.8 and 0.6."""


NEAR = 0.10
"""Of the samples, nearer to a training picture than the nearest 5% of honest pictures: twice what
is honest."""


def telling(copies: dict[str, Any]) -> str:
    """In which of both, "features" or "pixels", copies are told from honest pictures best."""
    return max(
        ("pixels", "features"),
        key=lambda space: copies[space]["copier"]["nearer than quantiles"]["5%"]["value"],
    )


@dataclass(frozen=True)
class Verdict:
    """One expectation beside what was measured.

    Attributes:
        key: of the sentence that says what is expected, with places for value and bar.
        value, bar: measured and expected.
        least: whether the value must be at least the bar (else at most).
        percent: shares in [0, 1]; else seconds.
    """

    key: str
    value: float
    bar: float
    least: bool = True
    percent: bool = True

    @property
    def reached(self) -> bool:
        """Whether the expectation is met; a value that is no number meets none."""
        return self.value >= self.bar if self.least else self.value <= self.bar


def verdicts(report: dict[str, Any]) -> list[Verdict]:
    """All expectations that the report can answer; they exist for the emoji only."""
    if report["data"]["kind"] != "pairs":
        return []
    parts, found = report["parts"], []
    if "agreement" in parts:
        said = parts["agreement"]
        ratio = said["held-in"]["top5"]["ratio"]["value"]
        found.append(Verdict("report.bar.held_in", ratio, HELD_IN))
        if "held-out" in said:
            ratio = said["held-out"]["top5"]["ratio"]["value"]
            found.append(Verdict("report.bar.held_out", ratio, HELD_OUT))
        if "held-in second language" in said:
            loss = said["held-in second language"]["loss"]["value"]
            found.append(Verdict("report.bar.russian", loss, 0.1, least=False))
        if "held-out second language" in said:
            loss = said["held-out second language"]["loss"]["value"]
            found.append(Verdict("report.bar.russian_unseen", loss, 0.1, least=False))
    if "colours" in parts:
        found.append(Verdict("report.bar.colours", parts["colours"]["value"], 0.85))
    if "alpha" in parts:
        found.append(Verdict("report.bar.alpha", parts["alpha"]["value"], 0.95))
    if parts.get("copies", {}).get("of") == "held-out":
        copies = parts["copies"]
        share = copies["features"]["nearer than any"]["value"]
        found.append(Verdict("report.bar.copies", share, 0.05, least=False))
        near = copies[telling(copies)]["nearer than quantiles"]["5%"]["value"]
        found.append(Verdict("report.bar.near_copies", near, NEAR, least=False))
    if "speed" in parts:
        for key, name, bar in (
            ("report.bar.one", "one", 1.5),
            ("report.bar.sixteen", "sixteen", 6.0),
        ):
            found.append(Verdict(key, parts["speed"][name], bar, least=False, percent=False))
    return found
