"""Is the transparency clean?  Away from edges a sticker is either there or not."""

from __future__ import annotations

import numpy as np

CLEAN = 0.03
"""Alpha under this or over 1 minus this is clean."""

EDGE = 2
"""Pixels on either side of the alpha = 0.5 contour that belong to the edge."""


def clean_share(images: np.ndarray) -> np.ndarray:
    """For each picture the share of pixels away from edges whose alpha is clean, (N,).

    The edge is every pixel with pixels of both sides (alpha below a half, alpha at least a
    half) in its 5x5 neighbourhood: two pixels on either side of the alpha = 0.5 contour.

    Args:
        images: uint8 (N, 4, H, W), premultiplied RGBA.
    Returns:
        Shares in [0, 1]; NaN for a picture that is all edge.
    """
    if images.ndim != 4 or images.shape[1] != 4 or images.dtype != np.uint8:
        raise ValueError(f"uint8 (N, 4, H, W) is needed, not {images.dtype} {images.shape}")
    alpha = images[:, 3].astype(np.float32) / 255
    away = ~edges(alpha >= 0.5)
    clean = (alpha < CLEAN) | (alpha > 1 - CLEAN)
    counted = away.sum((1, 2))
    with np.errstate(invalid="ignore", divide="ignore"):
        return (clean & away).sum((1, 2)) / counted


def edges(inside: np.ndarray) -> np.ndarray:
    """Pixels (N, H, W) within `EDGE` pixels of where ``inside`` changes."""
    grown, shrunk = inside.copy(), inside.copy()
    height, width = inside.shape[1:]
    # beyond the border a picture goes on as it ends
    padded = np.pad(inside, ((0, 0), (EDGE, EDGE), (EDGE, EDGE)), mode="edge")
    for down in range(2 * EDGE + 1):
        for right in range(2 * EDGE + 1):
            moved = padded[:, down : down + height, right : right + width]
            grown |= moved
            shrunk &= moved
    return grown & ~shrunk
