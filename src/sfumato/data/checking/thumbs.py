"""Small pictures inside a page, as data: URIs."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from sfumato.data.decode import UnreadablePicture, open_picture

SIDE = 96
"""Longest side of a thumbnail in pixels."""


def seen(image: np.ndarray) -> str:
    """A picture as the trainer sees it, as a data: URI.

    Args:
        image: uint8 (C, H, W), see `sfumato.data.Example`.
    """
    if len(image) == 1:
        picture = Image.fromarray(image[0])
    elif len(image) == 3:
        picture = Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0)))
    else:
        alpha = image[3:].astype(np.float32)
        colour = image[:3] * 255.0 / np.maximum(alpha, 1.0)
        straight = np.concatenate([np.minimum(colour, 255.0), alpha])
        picture = Image.fromarray(np.rint(straight).astype(np.uint8).transpose(1, 2, 0))
    return _encoded(picture)


def whole(path: Path) -> str | None:
    """All of a picture file, upright, as a data: URI; None if it cannot be decoded."""
    try:
        with open_picture(path) as image:
            image.draft(None, (3 * SIDE, 3 * SIDE))
            image.load()
            upright = ImageOps.exif_transpose(image)
            alpha = upright.has_transparency_data
            return _encoded(upright.convert("RGBA" if alpha else "RGB"))
    except UnreadablePicture:
        return None
    except Exception:  # broken data make decoders raise almost anything
        return None


def _encoded(picture: Image.Image) -> str:
    if max(picture.size) > SIDE:
        scale = SIDE / max(picture.size)
        width, height = (max(1, round(side * scale)) for side in picture.size)
        picture = picture.resize((width, height), Image.Resampling.LANCZOS)
    content = io.BytesIO()
    # small ones are shown enlarged, where losses would be seen
    picture.save(content, "WEBP", quality=82, method=2, lossless=max(picture.size) <= 32)
    return "data:image/webp;base64," + base64.b64encode(content.getvalue()).decode("ascii")
