"""The forward process made visible: one picture, more and more noise."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image
from torch import Tensor

from sfumato.diffusion import Schedule, noised
from sfumato.pictures.strip import strip
from sfumato.pictures.tensors import to_pictures

TIMES = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)


def forward_strip(
    picture: Tensor,
    schedule: Schedule,
    times: Sequence[float] = TIMES,
    seed: int = 0,
    cell: int = 96,
    title: str = "",
) -> Image.Image:
    """A picture at several times of the forward process, x_t = alpha_t x_0 + sigma_t eps.

    Every time is reached in one step by the closed form (Ho 2020, 2006.11239, eq. 4), with the
    same noise eps, so that the row shows one and the same picture sink into it.

    Args:
        picture: x_0 (C, H, W) in [-1, 1]; C of 1, 3 or 4.
        schedule: gives alpha and sigma; times lie in [0, 1], 0 = the picture, 1 = noise.
        times: at least one; written below the pictures.
        seed: of the noise.
        cell: side of a picture, in pixels.

    Raises:
        ValueError: for a time outside [0, 1], or a picture of another shape.
    """
    shown = [to_pictures(noised(picture[None], schedule, t, [0], seed).x)[0] for t in times]
    return strip(shown, times, shown=len(times), cell=cell, title=title)
