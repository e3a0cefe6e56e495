"""What the quality benchmark measures in pictures, and the table made of many measurements."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from quality_contenders import CONTENDERS

from sfumato.data import open_source
from sfumato.data.example import Source
from sfumato.evaluation.distances import frechet, kernel
from sfumato.evaluation.judge import Judge

REFERENCES = 400
"""Real pictures a class that distances are measured to, at most."""

STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
"""97.5% points of Student's t with 1, 2, ... 9 degrees of freedom."""

MEASURES = ("frechet", "kernel", "agreement", "images", "train_rate", "draw_rate")


class Scale:
    """A judge and the real test pictures; nothing here was seen in a training.

    Args:
        count: pictures a class that will be measured; as many other real ones give the floor.
    """

    def __init__(self, judge: Judge, classes: Sequence[str], count: int) -> None:
        self.judge, self.classes = judge, classes
        self._column = np.array([judge.labels.index(name) for name in classes])
        source = open_source("fashion-mnist", split="test")
        near, rest = divided(source, count)
        self.references = judge.features(np.stack([source[i].image for i in near]))
        labels = [classes.index(source[i].label or "") for i in rest]
        self.floor = self.scores(np.stack([source[i].image for i in rest]), np.array(labels))

    def scores(self, pictures: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        """Distances to the references, and the share judged to show the class asked for.

        Args:
            pictures: uint8 (N, 1, H, W).  labels: numbers in ``classes`` (N,).
        """
        features = self.judge.features(pictures)
        said = self.judge.scores(pictures).argmax(1)
        return {
            "frechet": frechet(features, self.references),
            "kernel": kernel(features, self.references),
            "agreement": float((said == self._column[labels]).mean()),
        }


def divided(source: Source, count: int) -> tuple[list[int], list[int]]:
    """Positions of the references and of ``count`` other pictures, both evenly of all classes."""
    of: dict[str, list[int]] = {}
    for i in range(len(source)):
        of.setdefault(source[i].label or "", []).append(i)
    fewest = min(len(found) for found in of.values())
    first = min(REFERENCES, fewest // 2)
    near = [i for found in of.values() for i in found[:first]]
    rest = [i for found in of.values() for i in found[first : first + min(count, fewest - first)]]
    return near, rest


def spread(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and half of its 95% interval by Student's t; None for a single value."""
    mean = sum(values) / len(values)
    if len(values) < 2:
        return mean, None
    variance = sum((v - mean) ** 2 for v in values) / (len(values) - 1)
    t = STUDENT[min(len(values) - 1, len(STUDENT)) - 1]
    return mean, t * math.sqrt(variance / len(values))


def summary(rounds: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row for each (minutes, contender), in that order: means over the seeds.

    Args:
        rounds: each with "name", "minutes", "seed" and either "error" or the measures.
    """
    rows = []
    names = list(CONTENDERS)
    keys = sorted({(r["minutes"], names.index(r["name"])) for r in rounds})
    for minutes, number in keys:
        mine = [r for r in rounds if (r["minutes"], r["name"]) == (minutes, names[number])]
        done = [r for r in mine if "error" not in r]
        row: dict[str, Any] = {"name": names[number], "minutes": minutes, "seeds": len(done)}
        if done:
            for measure in MEASURES:
                mean, half = spread([r[measure] for r in done])
                row[measure] = {"mean": mean, "half": half}
            for most in ("parameters", "train_memory", "draw_memory"):
                row[most] = max(r[most] for r in done)
        else:
            row["error"] = mine[0]["error"]
        rows.append(row)
    return rows


def verdicts(rounds: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """For each number of minutes: our distance over the better peer's, seed by seed."""
    found = []
    for minutes in sorted({r["minutes"] for r in rounds}):
        pairs = []
        for seed in sorted({r["seed"] for r in rounds}):
            here = [
                r
                for r in rounds
                if (r["minutes"], r["seed"]) == (minutes, seed)
                if "error" not in r
            ]
            ours = [r for r in here if CONTENDERS[r["name"]][1]]
            peers = [r for r in here if not CONTENDERS[r["name"]][1]]
            if ours and peers:
                pairs.append((ours[0], peers))
        if not pairs:
            continue
        ratios = {
            measure: [mine[measure] / min(p[measure] for p in peers) for mine, peers in pairs]
            for measure in ("frechet", "kernel")
        }
        gains = [mine["agreement"] - max(p["agreement"] for p in peers) for mine, peers in pairs]
        found.append({"minutes": minutes, "seeds": len(pairs), **ratios, "agreement": gains})
    return found


def table(rounds: list[dict[str, Any]], floor: dict[str, float]) -> str:
    """The summary for people, in Markdown."""
    lines = [
        "| processor minutes | model | million parameters | Frechet | kernel | agreement "
        "| pictures seen | images/s training | images/s drawing | memory, GB: training, drawing |",
        "|---|---|---|---|---|---|---|---|---|---|",
        f"| | real pictures, as many | | {floor['frechet']:.3g} | {floor['kernel']:.3g} "
        f"| {floor['agreement']:.1%} | | | | |",
    ]
    for row in summary(rounds):
        cells = [f"{row['minutes']:g}", CONTENDERS[row["name"]][0]]
        if "error" in row:
            cells += ["", f"not measured: {row['error']}", *[""] * 6]
        else:
            cells.append(f"{row['parameters'] / 1e6:.1f}")
            cells += [_cell(row[m], share=m == "agreement") for m in MEASURES]
            cells.append(f"{row['train_memory'] / 1e9:.2f}, {row['draw_memory'] / 1e9:.2f}")
        lines.append("| " + " | ".join(cells) + " |")
    lines.append("")
    for told in verdicts(rounds):
        lines.append(
            f"{told['minutes']:g} minutes, {told['seeds']} seed(s): our Frechet distance is "
            f"{_range(told['frechet'])} of the better peer's, the kernel distance "
            f"{_range(told['kernel'])}; agreement differs by "
            f"{_range([100 * gain for gain in told['agreement']], '{:+.1f}')} points."
        )
    return "\n".join(lines)


def _cell(measured: dict[str, float | None], share: bool) -> str:
    mean, half = measured["mean"], measured["half"]
    assert mean is not None
    if share:
        return f"{mean:.1%}" + ("" if half is None else f" +- {100 * half:.1f}")
    shown = f"{mean:.0f}" if abs(mean) >= 1000 else f"{mean:.3g}"
    return shown + ("" if half is None else f" +- {half:.2g}")


def _range(values: Sequence[float], form: str = "{:.2f}") -> str:
    least, most = form.format(min(values)), form.format(max(values))
    return least if least == most else f"{least} to {most}"
