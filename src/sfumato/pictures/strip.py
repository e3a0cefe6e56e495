"""The walk from noise to a picture, as a row of pictures or as an animation."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from sfumato.errors import SfumatoError
from sfumato.pictures.files import write_whole
from sfumato.pictures.sheet import Background, as_png, fit, on_background, sheet


def strip(
    pictures: Sequence[Image.Image],
    times: Sequence[float],
    shown: int = 8,
    cell: int = 96,
    background: Background = "checker",
    title: str = "",
    below: Sequence[Sequence[Image.Image]] = (),
    at: Sequence[float] = (),
) -> Image.Image:
    """A row of the sampling process, evenly chosen, first and last always there.

    Args:
        pictures: one a step, in the order of the walk.
        times: the time each belongs to, 1 = noise, 0 = picture; written below it.
        shown: how many to show at most.
        cell: side of a picture, in pixels.
        below: further rows of the same length, such as the lower levels of a pyramid.
        at: show the steps nearest to these times instead, as (1, 0.5, 0.25, 0.001, 0) for
            T, T/2, T/4, 1 and 0 of a chain of T = 1000.

    Raises:
        ValueError: when there is no picture, or not one time a picture of every row.
    """
    rows = [pictures, *below]
    for row in rows:
        if len(times) != len(row):
            raise ValueError(f"{len(row)} pictures but {len(times)} times")
    chosen = nearest(times, at) if at and times else evenly(len(pictures), shown)
    return sheet(
        [row[i] for row in rows for i in chosen],
        [f"t = {times[i]:.2f}" for _ in rows for i in chosen],
        columns=len(chosen),
        cell=cell,
        background=background,
        title=title,
    )


def nearest(times: Sequence[float], wanted: Sequence[float]) -> list[int]:
    """For each wanted time the index of the step that comes nearest to it."""
    return [min(range(len(times)), key=lambda i: abs(times[i] - time)) for time in wanted]


def evenly(length: int, wanted: int) -> list[int]:
    """At most `wanted` indices below `length`, evenly spread, both ends among them."""
    if length <= wanted:
        return list(range(length))
    if wanted <= 1:
        return [length - 1]
    return [round(i * (length - 1) / (wanted - 1)) for i in range(wanted)]


def animation(
    pictures: Sequence[Image.Image],
    kind: str,
    side: int = 256,
    milliseconds: int = 80,
    rest: int = 1500,
) -> bytes:
    """The walk as a looping GIF or WebP.

    Args:
        pictures: one a step, in the order of the walk.
        kind: "gif" (transparency laid on white: GIF knows no half-transparent pixel) or
            "webp" (transparency kept).
        side: pixels.
        milliseconds: how long a step is shown.
        rest: how long the finished picture is shown.

    Raises:
        ValueError: when there is no picture or `kind` is unknown.
    """
    if not pictures or kind not in ("gif", "webp"):
        raise ValueError("an animation needs pictures and the kind 'gif' or 'webp'")
    background: Background = "white" if kind == "gif" else "none"
    frames = [on_background(fit(picture, side), background) for picture in pictures]
    durations = [milliseconds] * (len(frames) - 1) + [rest]
    file = io.BytesIO()
    options: dict[str, object] = {"optimize": True} if kind == "gif" else {"lossless": True}
    frames[0].save(
        file,
        format=kind.upper(),
        save_all=True,
        append_images=frames[1:],
        duration=durations,
        loop=0,
        **options,
    )
    return file.getvalue()


def check_walk(path: Path) -> None:
    """Whether a walk can be saved under this name, asked before the work.

    Raises:
        SfumatoError: when the ending is none of .gif, .webp and .png.
    """
    if path.suffix.lower() not in (".gif", ".webp", ".png"):
        raise SfumatoError(
            f"{path.name} cannot hold a walk: give the file the ending .gif, .webp or .png."
        )


def save_walk(
    path: Path,
    pictures: Sequence[Image.Image],
    times: Sequence[float],
    below: Sequence[Sequence[Image.Image]] = (),
) -> None:
    """Save the walk in the form that the file's ending names: .gif, .webp, or a strip in .png.

    Args:
        below: further rows of a strip; an animation shows ``pictures`` alone.

    Raises:
        SfumatoError: when the ending is another one, or the file cannot be written.
    """
    check_walk(path)
    if path.suffix.lower() == ".png":
        write_whole(path, as_png(strip(pictures, times, below=below)))
    else:
        write_whole(path, animation(pictures, path.suffix.lower()[1:]))
