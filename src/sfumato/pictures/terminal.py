"""A preview in the terminal: two pixels a character cell, drawn with half blocks.

Colours follow what the terminal says of itself: 24 bits, 256 colours, or, under `NO_COLOR`,
shades of the text colour.  Transparent pixels leave the terminal's own background alone.
"""

from __future__ import annotations

import math
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from enum import Enum
from types import TracebackType
from typing import TextIO

import numpy as np
from PIL import Image

_UPPER, _LOWER, _RESET = "▀", "▄", "\x1b[0m"
_SHADES = " ░▒▓█"
_SEEN = 24  # alpha out of 255 from which a pixel is drawn at all
_TRUECOLOR_PROGRAMS = {"iTerm.app", "WezTerm", "vscode", "ghostty", "Hyper", "mintty", "rio"}
_TRUECOLOR_TERMS = ("direct", "truecolor", "kitty", "alacritty", "ghostty", "foot", "wezterm")


class Colours(Enum):
    """What a terminal can show."""

    NOTHING = "no pictures"
    SHADES = "shades of one colour"
    INDEXED = "256 colours"
    TRUE = "24-bit colour"


def colours(stream: TextIO | None = None, environment: Mapping[str, str] | None = None) -> Colours:
    """What can be drawn on `stream` (standard error by default).

    Nothing on a file, a pipe, a dumb terminal, or where half blocks cannot be encoded.
    """
    stream = sys.stderr if stream is None else stream
    environment = os.environ if environment is None else environment
    term = environment.get("TERM", "")
    if not stream.isatty() or term == "dumb":
        return Colours.NOTHING
    program = environment.get("TERM_PROGRAM", "")
    modern = bool(environment.get("WT_SESSION")) or program in _TRUECOLOR_PROGRAMS
    if sys.platform == "win32" and not (modern or term):
        return Colours.NOTHING  # the old console may print escape codes as they are
    try:
        (_UPPER + _SHADES).encode(stream.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return Colours.NOTHING
    if environment.get("NO_COLOR"):
        return Colours.SHADES
    deep = environment.get("COLORTERM", "").lower() in ("truecolor", "24bit")
    if deep or modern or any(name in term for name in _TRUECOLOR_TERMS):
        return Colours.TRUE
    return Colours.INDEXED


def dark(environment: Mapping[str, str] | None = None) -> bool:
    """Whether the terminal's background is dark, as far as `COLORFGBG` tells; else yes."""
    environment = os.environ if environment is None else environment
    return environment.get("COLORFGBG", "").rpartition(";")[2] not in ("7", "15")


def preview(
    pictures: Sequence[Image.Image],
    kind: Colours,
    columns: int = 80,
    rows: int = 24,
    on_dark: bool = True,
) -> list[str]:
    """Draw pictures as large as fits, in rows; one string a line, without line ends.

    Args:
        pictures: of one size.  They are reduced to fit, never enlarged; when several would
            come out smaller than 16 pixels, the last ones are left out.
        kind: what the terminal can show.
        columns, rows: the room there is, in character cells.
        on_dark: what half-transparent pixels are mixed with.
    """
    if not pictures or kind is Colours.NOTHING:
        return []
    across, shown, size = _layout(pictures[0].size, len(pictures), columns, rows)
    lines: list[str] = []
    for start in range(0, shown, across):
        drawn = [
            _lines(_pixels(picture, size, on_dark), kind)
            for picture in pictures[start : min(start + across, shown)]
        ]
        lines += [" ".join(parts) for parts in zip(*drawn, strict=True)]
    return lines


def _layout(
    size: tuple[int, int], count: int, columns: int, rows: int
) -> tuple[int, int, tuple[int, int]]:
    """How many pictures a row holds, how many are shown, and the size of each in pixels."""
    smallest = min(1.0, 16 / max(size))
    while True:
        scale, across = max(
            (
                min(
                    1.0,
                    ((columns + 1) // across - 1) / size[0],
                    2 * (rows // math.ceil(count / across)) / size[1],
                ),
                across,
            )
            for across in range(1, count + 1)
        )
        if scale >= smallest or count == 1:
            scale = max(scale, 1 / max(size))
            tile = (max(1, int(size[0] * scale)), max(2, int(size[1] * scale) // 2 * 2))
            return across, count, tile
        count -= 1


class Live:
    """Frames drawn over one another; the cursor comes back however the block is left.

    >>> with Live() as live:  # doctest: +SKIP
    ...     live.show(preview(pictures, colours()))
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._height = 0

    def __enter__(self) -> Live:
        self._write("\x1b[?25l")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._write(_RESET + "\x1b[?25h")

    def show(self, lines: Sequence[str]) -> None:
        """Replace the last frame by this one, in a single write so that nothing flickers."""
        back = f"\x1b[{self._height}F" if self._height else ""
        body = "".join(f"{line}\x1b[K\n" for line in lines)
        # a shorter frame must not leave the rest of a longer one below
        self._write(f"{back}{body}\x1b[J")
        self._height = len(lines)

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


def room(stream_rows_kept: int = 4) -> tuple[int, int]:
    """Columns and rows that a preview may fill, some rows kept for text below."""
    columns, rows = shutil.get_terminal_size((80, 24))
    return max(8, columns - 1), max(4, rows - stream_rows_kept)


def _pixels(picture: Image.Image, size: tuple[int, int], on_dark: bool) -> np.ndarray:
    """(H, W, 4) uint8: colour already mixed with the background, and alpha."""
    small = picture.convert("RGBA")
    if small.size != size:
        small = small.resize(size, Image.Resampling.LANCZOS)
    below = Image.new("RGBA", size, (24, 24, 28, 255) if on_dark else (250, 250, 250, 255))
    mixed = np.array(Image.alpha_composite(below, small))
    mixed[..., 3] = np.asarray(small)[..., 3]
    return mixed


def _lines(pixels: np.ndarray, kind: Colours) -> list[str]:
    if kind is Colours.SHADES:
        return _shaded(pixels)
    code = _true if kind is Colours.TRUE else _indexed
    lines = []
    for top, bottom in zip(pixels[0::2].tolist(), pixels[1::2].tolist(), strict=True):
        parts: list[str] = []
        last = ""
        for over, under in zip(top, bottom, strict=True):
            if over[3] < _SEEN and under[3] < _SEEN:
                style, sign = _RESET, " "
            elif under[3] < _SEEN:
                style, sign = _RESET + code(over, 38), _UPPER
            elif over[3] < _SEEN:
                style, sign = _RESET + code(under, 38), _LOWER
            else:
                style, sign = code(over, 38) + code(under, 48), _UPPER
            parts.append(sign if style == last else style + sign)
            last = style
        lines.append("".join(parts) + _RESET)
    return lines


def _true(pixel: list[int], layer: int) -> str:
    return f"\x1b[{layer};2;{pixel[0]};{pixel[1]};{pixel[2]}m"


def _indexed(pixel: list[int], layer: int) -> str:
    """The nearest of the 6x6x6 cube and the 24 greys of the 256-colour palette."""
    cube = [0 if c < 48 else 1 if c < 115 else (c - 35) // 40 for c in pixel[:3]]
    shown = [0 if level == 0 else 55 + 40 * level for level in cube]
    mean = sum(pixel[:3]) / 3
    grey = min(23, max(0, round((mean - 8) / 10)))
    error = sum((a - b) ** 2 for a, b in zip(pixel, shown, strict=False))
    if sum((c - (8 + 10 * grey)) ** 2 for c in pixel[:3]) < error:
        return f"\x1b[{layer};5;{232 + grey}m"
    return f"\x1b[{layer};5;{16 + 36 * cube[0] + 6 * cube[1] + cube[2]}m"


def _shaded(pixels: np.ndarray) -> list[str]:
    """Brightness as density of ink; a cell shows the mean of its two pixels."""
    light = pixels[..., :3].astype(float) @ [0.299, 0.587, 0.114] * (pixels[..., 3] >= _SEEN)
    cells = (light[0::2] + light[1::2]) / 2
    levels = np.minimum((cells / 256 * len(_SHADES)).astype(int), len(_SHADES) - 1)
    return ["".join(_SHADES[level] for level in row) for row in levels.tolist()]
