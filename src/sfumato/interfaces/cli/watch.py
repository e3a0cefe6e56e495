"""Watching a walk from noise to picture: live in the terminal, or as a progress bar."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from sfumato.locale import translate
from sfumato.pictures.terminal import Colours, Live, dark, preview, room

if TYPE_CHECKING:
    from PIL import Image

    from sfumato.diffusion import Step


Draw = Callable[["Step"], "list[Image.Image]"]

#: A preview may take this share of the time, so that watching costs little.
_SHARE = 0.25
_SHORTEST = 0.05  # seconds between two frames


def watched(steps: Iterable[Step], total: int, draw: Draw, kind: Colours) -> Iterator[Step]:
    """Pass steps on and show the emerging pictures, each frame over the last.

    Args:
        steps: of the walk.
        total: how many there will be.
        draw: makes the pictures that a step shows.
        kind: what the terminal can show.
    """
    shown = cost = 0.0
    with Live() as live:
        for step in steps:
            yield step
            now = time.perf_counter()
            last = step.s == 0
            if last or now - shown >= max(_SHORTEST, cost / _SHARE):
                columns, rows = room()
                lines = preview(draw(step), kind, columns, rows, dark())
                bar = _bar(step.index, total, min(columns - 24, 40))
                live.show([*lines, bar])
                shown = time.perf_counter()
                cost = shown - now


def counted(steps: Iterable[Step], total: int) -> Iterator[Step]:
    """Pass steps on under a progress bar."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(translate("generate.steps"), total=total)
        for step in steps:
            yield step
            progress.update(task, completed=step.index)


def _bar(done: int, total: int, width: int) -> str:
    filled = round(width * done / max(1, total))
    return f"{'━' * filled}{'─' * (width - filled)} {done}/{total}"
