"""Small drawings for the report, as SVG and HTML that follow the page's colours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Any

_WIDTH, _HEIGHT = 520, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 16, 14, 30


def ruler(
    value: float,
    low: float,
    high: float,
    top: float = 1.0,
    marks: Sequence[tuple[float, str, str]] = (),
) -> str:
    """A horizontal bar from 0 to ``top`` with the interval as a whisker.

    Args:
        value, low, high: what was measured.
        top: the bar's right end.
        marks: (value, name, kind) of things to compare with; kind "ceiling", "chance" or "bar".
    """

    def at(number: float) -> str:
        share = 0.0 if not math.isfinite(number) else min(1.0, max(0.0, number / (top or 1.0)))
        return f"{100 * share:.2f}%"

    inner = f'<span class="fill" style="width:{at(value)}"></span>'
    if math.isfinite(low) and math.isfinite(high):
        wide = min(1.0, max(0.0, (min(high, top) - max(low, 0.0)) / (top or 1.0)))
        inner += f'<span class="whisker" style="left:{at(low)};width:{100 * wide:.2f}%"></span>'
    for number, name, kind in marks:
        inner += (
            f'<span class="mark {escape(kind)}" style="left:{at(number)}" '
            f'title="{escape(name)}"></span>'
        )
    return f'<div class="ruler">{inner}</div>'


def curve(
    points: Sequence[dict[str, Any]],
    percent: bool,
    name: str,
    default: float | None = None,
    level: tuple[float, str] | None = None,
) -> str:
    """A line with its interval as a band, as an SVG; the settings stand at equal distances.

    Args:
        points: {"at", "value", "low", "high"}, at least one.
        percent: write the scale in percent and begin it at 0.
        name: for people who cannot see it.
        default: the setting to point out.
        level: a height to compare with, and what it is called.
    """
    heights = [p[key] for p in points for key in ("value", "low", "high") if math.isfinite(p[key])]
    heights += [level[0]] if level else []
    ticks = scale(0.0 if percent else min([0.0, *heights]), max([*heights, 1e-6]))
    bottom, top = ticks[0], ticks[-1]

    def x(number: int) -> float:
        room = _WIDTH - _LEFT - _RIGHT
        return _LEFT + room * (number + 0.5) / len(points)

    def y(height: float) -> float:
        room = _HEIGHT - _TOP - _BOTTOM
        return _TOP + room * (1 - (height - bottom) / (top - bottom))

    parts = []
    for tick in ticks:
        label = f"{100 * tick:g}%" if percent else f"{tick:g}"
        parts.append(
            f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y(tick):.1f}" '
            f'y2="{y(tick):.1f}"/><text x="{_LEFT - 8}" y="{y(tick) + 4:.1f}" '
            f'text-anchor="end">{label}</text>'
        )
    if level:
        parts.append(
            f'<line class="level" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y(level[0]):.1f}" '
            f'y2="{y(level[0]):.1f}"/><text class="level" x="{_WIDTH - _RIGHT}" '
            f'y="{y(level[0]) - 5:.1f}" text-anchor="end">{escape(level[1])}</text>'
        )
    banded = [(i, p) for i, p in enumerate(points) if math.isfinite(p["low"] + p["high"])]
    band = [f"{x(i):.1f},{y(p['high']):.1f}" for i, p in banded]
    band += [f"{x(i):.1f},{y(p['low']):.1f}" for i, p in reversed(banded)]
    parts.append(f'<polygon class="band" points="{" ".join(band)}"/>')
    line = " ".join(f"{x(i):.1f},{y(p['value']):.1f}" for i, p in enumerate(points))
    parts.append(f'<polyline class="line" points="{line}"/>')
    for i, point in enumerate(points):
        kind = "dot own" if point["at"] == default else "dot"
        parts.append(
            f'<circle class="{kind}" cx="{x(i):.1f}" cy="{y(point["value"]):.1f}" '
            f'r="{5 if point["at"] == default else 3.5}"/><text x="{x(i):.1f}" '
            f'y="{_HEIGHT - 10}" text-anchor="middle">{point["at"]:g}</text>'
        )
    return (
        f'<svg class="curve" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{escape(name)}">{"".join(parts)}</svg>'
    )


def scale(low: float, high: float, about: int = 4) -> list[float]:
    """Round numbers, evenly spaced, from at most ``low`` to at least ``high``."""
    rough = (high - low) / about
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]
