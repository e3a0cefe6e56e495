"""Which colour has a picture?  A small rule in HSV, tested on real emoji.

Every pixel that is at least half opaque votes with its un-premultiplied colour.  It is coloured
when its chroma (largest minus smallest of R, G, B) is at least 0.12, and then votes with the
weight of its chroma, so that shading, shine and outlines do not outvote the body.  A colour is
right when at least half of the coloured votes lie in its region:

    colour   hue in degrees   saturation    brightness
    red      325 to 18        from 0.45     from 0.4
    orange     5 to 40        from 0.5      from 0.65
    yellow    30 to 70        from 0.4      from 0.65
    green     60 to 175
    blue     170 to 250
    purple   245 to 315
    pink     300 to 345       below 0.85    from 0.75
    brown    335 to 45        below 0.8     below 0.8

Regions overlap where designers disagree: one vendor's yellow square is another's orange.
Black (brightness below 0.4), grey and white (from 0.7) are right when at least a third of the
pixels are not coloured and at least half of those are of the asked brightness.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

CHROMA = 0.12
GREYS = {"black": (0.0, 0.4), "grey": (0.3, 0.85), "white": (0.7, 1.01)}
"""Brightness from and below which a grey pixel has that name."""

#: name -> (hue from, hue to, saturation from, below, brightness from, below)
REGIONS = {
    "red": (325, 18, 0.45, 1.01, 0.4, 1.01),
    "orange": (5, 40, 0.5, 1.01, 0.65, 1.01),
    "yellow": (30, 70, 0.4, 1.01, 0.65, 1.01),
    "green": (60, 175, 0.0, 1.01, 0.0, 1.01),
    "blue": (170, 250, 0.0, 1.01, 0.0, 1.01),
    "purple": (245, 315, 0.0, 1.01, 0.0, 1.01),
    "pink": (300, 345, 0.0, 0.85, 0.75, 1.01),
    "brown": (335, 45, 0.0, 0.8, 0.0, 0.8),
}
NAMES = (*REGIONS, *GREYS)

_PLAIN = 0.75  # share of the votes from which a colour is the colour of the whole thing
_BODY = 0.25  # share of coloured pixels without which a thing counts as grey


def shows(image: np.ndarray, colour: str) -> bool:
    """Whether the picture is mainly of that colour; see the module for the rule.

    Args:
        image: uint8 (C, H, W); C = 4 premultiplied RGBA, 3 RGB (near-white is taken for paper).
        colour: one of `NAMES`.
    """
    return share(image, colour) >= 0.5


def main_colour(image: np.ndarray) -> str | None:
    """The one colour that a person would name: three quarters of the votes, and no rival.

    Args:
        image: as in `shows`.
    """
    found = [name for name, share in shares(image).items() if share >= _PLAIN]
    return found[0] if len(found) == 1 else None


def share(image: np.ndarray, colour: str) -> float:
    """The share of the votes that the colour gets, in [0, 1]."""
    return shares(image, (colour,))[colour]


def shares(image: np.ndarray, names: Iterable[str] = NAMES) -> dict[str, float]:
    """The share of the votes that each colour gets, in [0, 1]; regions overlap."""
    rgb = opaque(image)
    if not len(rgb):
        return dict.fromkeys(names, 0.0)
    high = rgb.max(1)
    chroma = high - rgb.min(1)
    coloured = chroma >= CHROMA
    greys, among = high[~coloured], float(coloured.mean())
    rgb, high, chroma = rgb[coloured], high[coloured], chroma[coloured]
    angle, saturation = hue(rgb), chroma / high
    found = {}
    for name in names:
        if name in GREYS:
            least, below = GREYS[name]
            right = (greys >= least) & (greys < below)
            found[name] = float(right.mean()) if among <= 2 / 3 else 0.0
        elif among < _BODY:
            found[name] = 0.0
        else:
            start, end, least, below, dark, bright = REGIONS[name]
            # a region that goes over 0 degrees is two pieces
            over, under = angle >= start, angle < end
            inside = (over & under) if start < end else (over | under)
            inside &= (saturation >= least) & (saturation < below)
            inside &= (high >= dark) & (high < bright)
            found[name] = float(chroma[inside].sum() / chroma.sum())
    return found


def hue(rgb: np.ndarray) -> np.ndarray:
    """Hue in degrees [0, 360) of colours (N, 3) in [0, 1]; 0 for greys."""
    red, green, blue = rgb.T
    high = rgb.max(1)
    chroma = high - rgb.min(1)
    safe = np.where(chroma > 0, chroma, 1)
    sixth = np.where(
        high == red,
        (green - blue) / safe % 6,
        np.where(high == green, (blue - red) / safe + 2, (red - green) / safe + 4),
    )
    return np.where(chroma > 0, 60 * sixth % 360, 0.0)


def opaque(image: np.ndarray) -> np.ndarray:
    """Un-premultiplied colours (N, 3) in [0, 1] of the pixels that show something."""
    channels = image.reshape(len(image), -1).astype(np.float64) / 255
    if len(channels) == 4:
        seen = channels[3] >= 0.5
        return np.clip(channels[:3, seen] / channels[3, seen], 0, 1).T
    rgb = (channels if len(channels) == 3 else np.repeat(channels, 3, axis=0)).T
    return rgb[rgb.min(1) < 0.97]
