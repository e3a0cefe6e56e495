"""How a judge looks at a picture: what is drawn fills the frame, on a small canvas.

Designers leave different margins, and a blurred picture is to be judged nearly like a sharp one.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

CANVAS = 48
"""Side in pixels on which pictures of 48 and more are looked at."""

_INSIDE = 0.94  # share of the canvas that the framed drawing spans
_CLOSEST = 0.25  # a dot is not blown up to a ball


def canvas_for(side: int) -> int:
    """The canvas for pictures of a side: `CANVAS`, or for smaller ones 16 or 32."""
    return min(CANVAS, -(-side // 16) * 16)


def frames_of(pictures: Tensor) -> Tensor:
    """How each picture is looked at: affine maps (N, 2, 3) from canvas to picture, in [-1, 1].

    With an alpha channel the map centres what is drawn and lets it fill the canvas; its
    proportions stay.  Without one, and for empty pictures, it is the identity.  A row or column
    belongs to the drawing when at least two of 64 pixels are half opaque, so that a stray pixel
    does not shift the frame.

    Args:
        pictures: (N, C, S, S) in [0, 1], premultiplied where C is 4.
    """
    count, channels, side, _ = pictures.shape
    maps = torch.eye(2, 3).repeat(count, 1, 1)
    if channels != 4:
        return maps
    opaque = pictures[:, 3] > 0.5
    enough = max(1, side // 32)
    edges = torch.linspace(-1, 1, side + 1)
    centres, halves = [], []
    for across in (1, 2):  # summed over rows: the extent along x; over columns: along y
        used = opaque.sum(across) >= enough
        low = edges[used.int().argmax(1)]
        high = edges[side - used.flip(1).int().argmax(1)]
        some = used.any(1)
        centres.append(torch.where(some, (low + high) / 2, 0.0))
        halves.append(torch.where(some, (high - low) / 2, _INSIDE))
    maps[:, 0, 0] = maps[:, 1, 1] = (torch.maximum(*halves) / _INSIDE).clamp(min=_CLOSEST)
    maps[:, 0, 2], maps[:, 1, 2] = centres
    return maps


def framed(pictures: Tensor, canvas: int) -> Tensor:
    """Pictures (N, C, S, S) in [0, 1] on the canvas (N, C, K, K), see `frames_of`.

    Each canvas pixel is the mean of four bilinear samples.
    """
    size = [*pictures.shape[:2], 2 * canvas, 2 * canvas]
    grid = F.affine_grid(frames_of(pictures), size, align_corners=False)
    return F.avg_pool2d(F.grid_sample(pictures, grid, align_corners=False), 2)
