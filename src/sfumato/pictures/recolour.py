"""Give a picture of one plain colour another one, and leave its drawing as it is.

Hues near the main one turn with it; others, a blue tear on a yellow face, stay.  Saturation and
brightness of the body move to what the asked colour usually has, on curves that keep black
outlines black and white shine white.
"""

from __future__ import annotations

import numpy as np

from sfumato.pictures.colours import CHROMA, hue, main_colour, opaque

#: hue in degrees, saturation, brightness: about the medians of the embedded emoji of that colour,
#: but pink and brown away from red
TYPICAL = {
    "red": (355.0, 0.77, 0.95),
    "orange": (24.0, 0.8, 0.96),
    "yellow": (44.0, 0.78, 0.98),
    "green": (115.0, 0.63, 0.77),
    "blue": (205.0, 0.7, 0.9),
    "purple": (268.0, 0.55, 0.77),
    "pink": (319.0, 0.45, 0.98),
    "brown": (22.0, 0.5, 0.5),
    "black": (0.0, 0.05, 0.25),
    "grey": (0.0, 0.05, 0.6),
    "white": (0.0, 0.05, 0.92),
}
_NEAR, _FAR = 40, 80  # degrees from the main hue: up to here all of the change, from there none
_STEEPEST = 0.25  # least power: noise of dark places would be made bright


def recoloured(image: np.ndarray, colour: str) -> np.ndarray | None:
    """The picture in another colour; None if that does not come out, or it has no hue to turn.

    Args:
        image: uint8 (C, H, W), C = 4 premultiplied RGBA or 3 RGB.
        colour: one of `pictures.colours.NAMES`.
    """
    body = opaque(image)
    chroma = body.max(1) - body.min(1)
    body, chroma = body[chroma >= CHROMA], chroma[chroma >= CHROMA]
    if not len(body):
        return None
    around = np.exp(1j * np.deg2rad(hue(body))) @ chroma
    main = float(np.rad2deg(np.angle(around)))
    wanted_hue, wanted_saturation, wanted_brightness = TYPICAL[colour]

    alpha = image[3:4] / 255 if len(image) == 4 else np.ones((1, *image.shape[1:]))
    plain = (np.clip(image[:3] / 255 / np.maximum(alpha, 1e-6), 0, 1)).reshape(3, -1).T
    high = plain.max(1)
    saturation = np.where(high > 0, 1 - plain.min(1) / np.maximum(high, 1e-6), 0)
    angle = hue(plain)
    away = np.abs((angle - main + 180) % 360 - 180)
    # greys have no hue, so the less colour, the less there is to turn
    weight = np.clip((_FAR - away) / (_FAR - _NEAR), 0, 1)
    weight = (weight * np.clip(high * saturation / CHROMA, 0, 1))[:, None]

    usual = float(np.median(chroma / body.max(1)))
    vivid = np.clip(saturation / usual, 0, 1)  # of the body 1, of white shine 0
    bright = _curve(high, float(np.median(body.max(1))), wanted_brightness, vivid)
    saturation = _curve(saturation, usual, wanted_saturation)
    turned = _rgb((angle + wanted_hue - main) % 360, saturation, bright)
    mixed = ((1 - weight) * plain + weight * turned).T.reshape(3, *image.shape[1:])
    result = image.copy()
    result[:3] = np.rint(255 * mixed * alpha).astype(np.uint8)
    return result if main_colour(result) == colour else None


def _curve(
    values: np.ndarray, usual: float, wanted: float, share: np.ndarray | float = 1.0
) -> np.ndarray:
    """Move ``usual`` to ``wanted``, both in (0, 1]: down by a factor, up by a power of the values.

    Args:
        share: how much of a way down each value goes.
    """
    if wanted <= usual:
        return values * (1 - share * (1 - wanted / usual))
    return values ** max(np.log(wanted) / np.log(usual), _STEEPEST)


def _rgb(angle: np.ndarray, saturation: np.ndarray, brightness: np.ndarray) -> np.ndarray:
    """HSV (N,) each, degrees and [0, 1], -> RGB (N, 3)."""
    sixth = (np.array([5.0, 3.0, 1.0]) + angle[:, None] / 60) % 6
    dip = np.clip(np.minimum(sixth, 4 - sixth), 0, 1)
    return brightness[:, None] * (1 - saturation[:, None] * dip)
