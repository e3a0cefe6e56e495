"""A small set that anyone can tell apart: coloured shapes in any place and size."""

from __future__ import annotations

import numpy as np

from sfumato.data.example import Example, Report

KINDS = ("blue disc", "red disc", "red square")


def shape(kind: str, number: int, side: int = 16, channels: int = 4) -> np.ndarray:
    """One picture, uint8 (channels, side, side); the number decides place, size and shade."""
    dice = np.random.default_rng([number, KINDS.index(kind)])
    half = dice.uniform(0.2, 0.35) * side
    x, y = dice.uniform(half, side - half, 2)
    rows, columns = np.mgrid[:side, :side] + 0.5
    across, down = np.abs(columns - x), np.abs(rows - y)
    inside = np.hypot(across, down) < half if "disc" in kind else np.maximum(across, down) < half
    shade = dice.integers(170, 255)
    colour = (shade, 30, 30) if "red" in kind else (30, 30, shade)
    alpha = 255 * inside.astype(np.uint8)
    picture = np.stack([*(np.uint8(c) * inside for c in colour), alpha]).astype(np.uint8)
    if channels == 4:
        return picture
    on_white = picture[:3] + (255 - alpha)
    return on_white if channels == 3 else on_white[1:2]


class Shapes:
    """A source of shapes; see `sfumato.data.Source`."""

    name = "shapes"

    def __init__(self, each: int = 12, side: int = 16, channels: int = 4, labelled: bool = True):
        self.size, self.channels = side, channels
        self.classes = KINDS if labelled else ()
        self._labelled, self._kinds = labelled, [kind for kind in KINDS for _ in range(each)]

    def __len__(self) -> int:
        return len(self._kinds)

    def __getitem__(self, index: int) -> Example:
        kind = self._kinds[index]
        image = shape(kind, index, self.size, self.channels)
        origin = f"{index:04}.png"
        if not self._labelled:
            return Example(image, (f"{kind}, picture {index}",), None, origin)
        return Example(image, (kind,), kind, origin)

    def report(self) -> Report:
        return Report((), len(self))
