"""Tensors in [-1, 1] to pictures of 8 bits, and 8 bits to tensors."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sfumato.errors import SfumatoError

#: Alpha below this, levels 1 to 3 of 255, is haze that a network leaves in empty places: it
#: becomes exactly 0.
HAZE = 3.5 / 255

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def to_numbers(images: np.ndarray) -> Tensor:
    """uint8 (..., C, H, W) as data sets hold them -> float32 in [-1, 1], as networks see them."""
    return torch.from_numpy(images).float() / 127.5 - 1


def to_pictures(x: Tensor) -> list[Image.Image]:
    """Turn a batch into pictures: 1 channel grey, 3 colour, 4 colour with transparency.

    Args:
        x: (B, C, H, W), values in [-1, 1] (what lies outside is clipped).  With C = 4 the
            channels are premultiplied colour and alpha, each mapped from [0, 1] to [-1, 1];
            the pictures hold straight (un-premultiplied) colour, as PNG wants it.  Alpha
            below `HAZE` becomes 0, and a fully transparent pixel has the colour 0.

    Raises:
        SfumatoError: when a value is not finite.
        ValueError: when the shape is not (B, 1|3|4, H, W).
    """
    if x.ndim != 4 or x.shape[1] not in _MODES:
        raise ValueError(f"expected (B, C, H, W) with C of 1, 3 or 4, not {tuple(x.shape)}")
    x = x.detach().to("cpu", torch.float32)
    if not torch.isfinite(x).all():
        raise SfumatoError(
            "The picture holds values that are not finite, which half precision can cause: "
            "try again with --device cpu, or with another model."
        )
    unit = (x.clamp(-1, 1) + 1) / 2
    if x.shape[1] == 4:
        unit = _straight(unit)
    levels = (unit * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    mode = _MODES[x.shape[1]]
    return [Image.fromarray(picture[..., 0] if mode == "L" else picture) for picture in levels]


def _straight(unit: Tensor) -> Tensor:
    """Premultiplied colour and alpha in [0, 1] to straight colour and alpha."""
    alpha = unit[:, 3:]
    alpha = torch.where(alpha < HAZE, 0.0, alpha)
    # a premultiplied colour brighter than its alpha cannot be shown: clip at white
    colour = torch.where(alpha > 0, unit[:, :3] / alpha.clamp(min=HAZE), 0.0).clamp(max=1)
    return torch.cat([colour, alpha], dim=1)
