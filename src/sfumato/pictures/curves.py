"""The training curves of a run, drawn from its log."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sfumato.errors import SfumatoError
from sfumato.pictures.files import write_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: The time bands of a log line, from nearly clean to nearly noise.
BANDS = ("t < 0.25", "0.25 – 0.5", "0.5 – 0.75", "t > 0.75")

# one hue from light to dark: the bands have an order, so their colours have one too
_BAND_COLOURS = ("#7fc8c2", "#3f9fb5", "#2f6f9f", "#2a3f73")
_BANK = "averaged weights, same pictures and noise each time"
_LOSS, _RATE, _INK, _GRID = "#c8503c", "#8a6fb0", "#33363d", "#e3e4e8"


@dataclass
class Log:
    """The columns of a training log; a missing value is NaN."""

    images: list[float] = field(default_factory=list)
    loss: list[float] = field(default_factory=list)
    bands: list[list[float]] = field(default_factory=list)
    learning_rate: list[float] = field(default_factory=list)
    grad_norm: list[float] = field(default_factory=list)
    images_per_second: list[float] = field(default_factory=list)
    bank: Log | None = None  # images, loss and bands of the averaged weights on the fixed bank


def read_log(path: Path) -> Log:
    """Read `log.jsonl`, with `bank.jsonl` beside it where there is one.

    A torn last line, as a killed run leaves it, is passed over.

    After a resume some numbers of images may stand there twice: the later line counts.

    Raises:
        SfumatoError: when there is no such file.
    """
    try:
        text = path.read_text("utf-8", errors="replace")
    except OSError as error:
        raise SfumatoError(
            f"{path} cannot be read ({error.strerror}): name a run folder that has a log.jsonl."
        ) from error
    log = _columns(_rows(text))
    bank = path.with_name("bank.jsonl")
    if bank.is_file():
        log.bank = _columns(_rows(bank.read_text("utf-8", errors="replace")))
    return log


def _rows(text: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for line in text.splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and isinstance(row.get("images"), (int, float)):
            while rows and rows[-1]["images"] >= row["images"]:
                rows.pop()
            rows.append(row)
    return rows


def _columns(rows: list[dict[str, Any]]) -> Log:
    log = Log()
    for row in rows:
        log.images.append(row["images"])
        for name in ("loss", "learning_rate", "grad_norm", "images_per_second"):
            getattr(log, name).append(_value(row.get(name)))
        bands = row.get("bands")
        bands = bands if isinstance(bands, list) else []
        log.bands.append([_value(b) for b in (list(bands) + [None] * len(BANDS))[: len(BANDS)]])
    return log


def smoothed(values: list[float], width: float) -> np.ndarray:
    """A running mean with exponential weights over about `width` points; NaN is left out.

    The width grows with the points seen (a tenth of them at most), so that the steep start
    of a training is followed instead of dragged along.
    """
    mean, seen = math.nan, 0
    result = np.full(len(values), np.nan)
    for i, value in enumerate(values):
        if math.isfinite(value):
            seen += 1
            share = 1 - math.exp(-1 / max(min(width, seen / 10), 1e-9))
            mean = value if seen == 1 else mean + share * (value - mean)
        result[i] = mean
    return result


def draw(log: Log, title: str = "") -> bytes:
    """The curves as a PNG: loss, loss by time band, learning rate with gradient norm.

    Raises:
        ValueError: when the log has no line.
    """
    if not log.images:
        raise ValueError("an empty log has no curve")
    import matplotlib

    from sfumato import __version__

    with matplotlib.rc_context(
        {
            "axes.edgecolor": _GRID,
            "axes.labelcolor": _INK,
            "axes.spines.right": False,
            "axes.spines.top": False,
            "axes.titlecolor": _INK,
            "axes.titlelocation": "left",
            "axes.titlesize": 11,
            "font.size": 9,
            "grid.color": _GRID,
            "grid.linewidth": 0.8,
            "text.color": _INK,
            "xtick.color": _INK,
            "ytick.color": _INK,
        }
    ):
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(10, 6.2), layout="constrained", facecolor="white")
        FigureCanvasAgg(figure)
        axes = figure.subplot_mosaic(
            [["loss", "bands"], ["rate", "norm"]], height_ratios=[2.2, 1], sharex=True
        )
        images = np.asarray(log.images, dtype=float)
        width = max(1.0, len(images) / 40)
        _draw_loss(axes["loss"], images, log, width)
        _draw_bands(axes["bands"], images, log, width)
        _draw_one(axes["rate"], images, log.learning_rate, "Learning rate", _RATE)
        _draw_one(axes["norm"], images, log.grad_norm, "Gradient norm", "#6b7a5e", width)
        for name in ("rate", "norm"):
            axes[name].set_xlabel("images seen")
            axes[name].xaxis.set_major_formatter(lambda value, _: _short(value))
        if title:
            figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
        file = io.BytesIO()
        figure.savefig(file, format="png", dpi=120, metadata={"Software": f"sfumato {__version__}"})
    return file.getvalue()


def draw_run(run: Path) -> Path | None:
    """Draw `loss.png` beside the run's `log.jsonl`; None while the log is still empty."""
    log = read_log(run / "log.jsonl")
    if not log.images:
        return None
    write_whole(run / "loss.png", draw(log, title=run.resolve().name))
    return run / "loss.png"


def _draw_loss(axes: Axes, images: np.ndarray, log: Log, width: float) -> None:
    curve = smoothed(log.loss, width)
    axes.plot(images, log.loss, color=_LOSS, alpha=0.22, linewidth=0.8)
    axes.plot(images, curve, _dot(curve), color=_LOSS, linewidth=1.8)
    axes.set_title(f"Loss, now {curve[-1]:.4g}")
    if log.bank:
        axes.plot(log.bank.images, log.bank.loss, ".-", color=_INK, linewidth=0.8, label=_BANK)
        axes.legend(frameon=False, fontsize=8, labelcolor=_INK)
    _frame(axes, [log.loss, curve], [log.bank.loss] if log.bank else [])


def _draw_bands(axes: Axes, images: np.ndarray, log: Log, width: float) -> None:
    curves = [smoothed([row[i] for row in log.bands], width) for i in range(len(BANDS))]
    for curve, name, colour in zip(curves, BANDS, _BAND_COLOURS, strict=True):
        if np.isfinite(curve).any():
            axes.plot(images, curve, _dot(curve), color=colour, linewidth=1.6, label=name)
    for i, colour in enumerate(_BAND_COLOURS if log.bank else ()):
        assert log.bank
        axes.plot(log.bank.images, [row[i] for row in log.bank.bands], ".", color=colour)
    axes.set_title("Loss by time (0 = picture, 1 = noise)")
    _frame(axes, curves, log.bank.bands if log.bank else [])
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, ncols=2, fontsize=8, labelcolor=_INK)


def _draw_one(
    axes: Axes, images: np.ndarray, values: list[float], title: str, colour: str, width: float = 0
) -> None:
    if width:
        axes.plot(images, values, color=colour, alpha=0.22, linewidth=0.8)
    curve = smoothed(values, width)
    axes.plot(images, curve, _dot(curve), color=colour, linewidth=1.5)
    axes.set_title(title, fontsize=10)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_ylim(bottom=0)
    axes.grid(axis="y")


def _dot(curve: np.ndarray) -> str:
    """How to draw a curve: as a line, and as a dot where there is only one point."""
    return "-" if np.isfinite(curve).sum() > 1 else "o"


def _frame(axes: Axes, curves: Sequence[Any], bank: Sequence[Any]) -> None:
    """A logarithmic scale where it helps; limits that no spike spoils, with all dots inside."""
    axes.grid(axis="y")
    values = np.concatenate([np.asarray(curve, dtype=float) for curve in curves])
    values = values[np.isfinite(values) & (values > 0)]
    if not values.size:
        return
    low, high = np.percentile(values, [0.5, 99.5])
    dots = np.concatenate([[low], *(np.asarray(row, dtype=float) for row in bank)])
    low = dots[np.isfinite(dots) & (dots > 0)].min()
    if high > 8 * low:
        from matplotlib.ticker import LogLocator, NullLocator

        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.set_ylim(low / 1.15, high * 1.15)
    else:
        edge = 0.08 * (high - low) or 0.1 * high
        axes.set_ylim(max(0, low - edge), high + edge)


def _short(value: float) -> str:
    for size, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{name}"
    return f"{value:g}"


def _value(found: object) -> float:
    return float(found) if isinstance(found, (int, float)) else math.nan
