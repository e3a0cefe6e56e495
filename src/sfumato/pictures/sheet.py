"""Many pictures in one: a contact sheet with labels."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import Literal

from PIL import Image, ImageDraw

from sfumato.pictures.font import label_font

Background = Literal["checker", "white", "black", "none"]

_GAP = 8
_CHECKER = ((255, 255, 255), (232, 232, 236))
_INK = (40, 40, 48)


def sheet(
    pictures: Sequence[Image.Image],
    labels: Sequence[str] = (),
    columns: int | None = None,
    cell: int = 128,
    background: Background = "checker",
    title: str = "",
) -> Image.Image:
    """Arrange pictures in a grid, each with its label below.

    Args:
        pictures: at least one; of any size and mode.
        labels: none, or one a picture; a long one goes on a second line, then is cut with "…".
        columns: how many pictures a row holds; without it, about as many as there are rows.
        cell: side of a picture on the sheet, in pixels.
        background: what is seen through transparent pixels; "none" keeps them transparent.
        title: a line above everything.

    Returns:
        An RGB picture, or RGBA when `background` is "none".

    Raises:
        ValueError: when there is no picture, or not one label a picture.
    """
    if not pictures:
        raise ValueError("a sheet needs at least one picture")
    if labels and len(labels) != len(pictures):
        raise ValueError(f"{len(pictures)} pictures but {len(labels)} labels")
    columns = min(columns or math.ceil(math.sqrt(len(pictures))), len(pictures))
    rows = math.ceil(len(pictures) / columns)
    size = max(11, cell // 9)
    wrapped = [_wrap(label, cell, size) for label in labels]
    caption = max((len(lines) for lines in wrapped), default=0) * round(size * 1.3)
    top = round(size * 2.2) if title else 0
    width = columns * (cell + _GAP) + _GAP
    height = top + rows * (cell + caption + _GAP) + _GAP
    mode, paper = ("RGBA", (0, 0, 0, 0)) if background == "none" else ("RGB", (255, 255, 255))
    whole = Image.new(mode, (width, height), paper)
    draw = ImageDraw.Draw(whole)
    if title:
        where = (_GAP, _GAP + size // 4)
        draw.text(where, title, fill=_INK, font=label_font(round(size * 1.25)))
    for number, picture in enumerate(pictures):
        row, column = divmod(number, columns)
        x = _GAP + column * (cell + _GAP)
        y = top + _GAP + row * (cell + caption + _GAP)
        whole.paste(on_background(fit(picture, cell), background), (x, y))
        for line, text in enumerate(wrapped[number] if wrapped else []):
            middle = (x + cell / 2, y + cell + round((line + 0.15) * size * 1.3))
            draw.text(middle, text, fill=_INK, font=label_font(size), anchor="ma")
    return whole


def as_png(picture: Image.Image) -> bytes:
    """A picture as a PNG file, without metadata."""
    file = io.BytesIO()
    picture.save(file, format="PNG", optimize=True)
    return file.getvalue()


def fit(picture: Image.Image, side: int) -> Image.Image:
    """Scale a picture into a square of `side` pixels, centred, its aspect kept.

    Lanczos; Pillow filters RGBA with premultiplied colour, so edges get no dark halo.
    """
    if picture.mode not in ("L", "RGB", "RGBA"):
        picture = picture.convert("RGBA" if picture.has_transparency_data else "RGB")
    scale = side / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    scaled = picture
    if size != picture.size:
        scaled = picture.resize(size, Image.Resampling.LANCZOS)
    if scaled.size == (side, side):
        return scaled
    square = Image.new("RGBA", (side, side))
    square.paste(scaled.convert("RGBA"), ((side - size[0]) // 2, (side - size[1]) // 2))
    return square


def on_background(picture: Image.Image, background: Background) -> Image.Image:
    """Lay a picture on a checkerboard, white or black: RGB; "none" only converts to RGBA."""
    if background == "none":
        return picture.convert("RGBA")
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    if background == "checker":
        below = checkerboard(picture.size)
    else:
        below = Image.new("RGB", picture.size, background)
    straight = picture.convert("RGBA")
    below.paste(straight, mask=straight.getchannel("A"))
    return below


def checkerboard(size: tuple[int, int], square: int = 8) -> Image.Image:
    """The light checkerboard that stands for transparency."""
    board = Image.new("RGB", size, _CHECKER[0])
    draw = ImageDraw.Draw(board)
    for y in range(0, size[1], square):
        for x in range((y // square % 2) * square, size[0], 2 * square):
            draw.rectangle((x, y, x + square - 1, y + square - 1), fill=_CHECKER[1])
    return board


def _wrap(text: str, width: int, size: int, lines: int = 2) -> list[str]:
    """Break a label into at most `lines` lines of `width` pixels."""
    font = label_font(size)
    done: list[str] = []
    line = ""
    # letters are wider than a pixel: what is cut off here could not be seen
    words = text[: (lines + 1) * width].split()
    for number, word in enumerate(words):
        longer = f"{line} {word}".strip()
        if font.getlength(longer) <= width or not line:
            line = longer
        elif len(done) == lines - 1:
            line = " ".join([line, *words[number:]])
            break
        else:
            done.append(line)
            line = word
    done.append(line)
    return [_cut(line, width, size) for line in done]


def _cut(line: str, width: int, size: int) -> str:
    font = label_font(size)
    if font.getlength(line) <= width:
        return line
    while line and font.getlength(line + "…") > width:
        line = line[:-1]
    return line.rstrip() + "…"
