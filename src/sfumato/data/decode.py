"""A picture file, whatever its kind, to square uint8 pixels.

Pictures come from strangers: only common bitmap formats are tried, the header is judged
before anything is decoded, and whatever a decoder throws becomes one readable reason.
"""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from sfumato.data.findings import remark

MAX_PIXELS = 100_000_000
"""Largest picture that is decoded, in pixels; 100 megapixels take 400 MB as RGBA."""

_LARGE = 16_000_000  # above this, one at a time, so that threads do not multiply the peak
_one_at_a_time = threading.Lock()

# an explicit list: Pillow would also start Ghostscript for an EPS file named .png
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
_GREY_MODES = ("1", "L", "LA", "La", "I", "F", "I;16", "I;16L", "I;16B", "I;16N")

# what undoes each value of the EXIF tag "orientation" (TIFF 6.0, page 36)
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class UnreadablePicture(Exception):
    """A picture that is refused or broken; the message is the reason, for people.

    Attributes:
        kind: a key of `sfumato.data.findings.SENTENCES`, empty where only the reason is known.
        values: what fills the places of that sentence.
    """

    def __init__(self, reason: str, kind: str = "", **values: str) -> None:
        super().__init__(reason)
        self.kind, self.values = kind, values


def unreadable(kind: str, **values: str) -> UnreadablePicture:
    """The exception of a kind: a key of `sfumato.data.findings.SENTENCES`."""
    return UnreadablePicture(remark("", kind, **values).reason, kind, **values)


def decode(picture: Path | bytes, size: int, channels: int) -> np.ndarray:
    """Read one picture as uint8 (channels, size, size).

    The camera's rotation is applied, CMYK, palettes and 16-bit values are converted, of an
    animation the first frame is taken.

    Args:
        picture: a file or its content.
        size: side of the result in pixels.
        channels: 1 grey; 3 RGB, transparent parts on white; 4 RGBA with premultiplied colours.
            With 1 and 3 the centre square is cut out, with 4 the sides are padded transparently.

    Raises:
        UnreadablePicture: not a picture, truncated, or above `MAX_PIXELS`.
    """
    with open_picture(picture) as image:
        return to_pixels(image, size, channels)


@contextmanager
def open_picture(picture: Path | bytes) -> Iterator[Image.Image]:
    """Open a picture and judge its header; its pixels are not decoded yet.

    Raises:
        UnreadablePicture: missing, empty, not a picture, or above `MAX_PIXELS`.
    """
    try:
        stream = io.BytesIO(picture) if isinstance(picture, bytes) else picture.open("rb")
    except OSError as error:
        raise unreadable("unopened", why=str(error.strerror or error)) from None
    with stream:
        image = _identify(stream)
        pixels = image.width * image.height
        if pixels > MAX_PIXELS:
            raise _too_large(pixels, f"{image.width} x {image.height}, ")
        yield image


def _identify(stream: io.IOBase) -> Image.Image:
    try:
        return Image.open(stream, formats=_FORMATS)  # type: ignore[arg-type]
    except Image.DecompressionBombError as error:
        found = re.search(r"(\d+) pixels", str(error))
        raise _too_large(int(found[1]) if found else 2 * MAX_PIXELS) from None
    except UnidentifiedImageError:
        stream.seek(0)
        if not stream.read(1):
            raise unreadable("empty") from None
        kinds = "PNG, JPEG, WebP, GIF, BMP or TIFF"
        raise unreadable("no_picture", kinds=kinds) from None
    except MemoryError:
        raise unreadable("memory") from None
    except Exception as error:  # broken data make decoders raise almost anything
        raise unreadable("header", why=_short(error)) from None


def _too_large(pixels: int, sides: str = "") -> UnreadablePicture:
    limit = str(MAX_PIXELS // 10**6)
    return unreadable("too_large", sides=sides, size=f"{pixels / 1e6:.0f}", limit=limit)


def to_pixels(image: Image.Image, size: int, channels: int) -> np.ndarray:
    """An open picture as uint8 (channels, size, size); see `decode`.

    Raises:
        UnreadablePicture: the pixels are truncated or broken, or memory does not suffice.
    """
    if channels not in (1, 3, 4):
        raise ValueError(f"channels must be 1, 3 or 4, not {channels}")
    try:
        if image.width * image.height > _LARGE:
            with _one_at_a_time:
                return _to_pixels(image, size, channels)
        return _to_pixels(image, size, channels)
    except MemoryError:
        raise unreadable("memory") from None
    except Exception as error:  # broken data make decoders raise almost anything
        raise unreadable("broken", why=_short(error)) from None


def _to_pixels(image: Image.Image, size: int, channels: int) -> np.ndarray:
    # a JPEG can be decoded at 1/2, 1/4 or 1/8 for less work; three times the wanted side
    # leaves the final Lanczos enough to filter
    image.draft(None, (3 * size, 3 * size))
    image.load()
    # only now: TIFF pictures turn themselves while loading and then forget the tag
    turn = _TURNS.get(_orientation(image))
    clean = _eight_bit(image)
    return fit(clean.transpose(turn) if turn is not None else clean, size, channels)


def fit(image: Image.Image, size: int, channels: int) -> np.ndarray:
    """A clean L, RGB or RGBA picture as uint8 (channels, size, size); see `decode`.

    Resizing is antialiased Lanczos and happens in premultiplied alpha, so that the hidden
    colour of transparent pixels never bleeds into the edges.
    """
    if channels == 4:
        pixels = np.asarray(_padded(image.convert("RGBA").convert("RGBa"), size))
        # Lanczos overshoots: a colour above its alpha would be brighter than white
        pixels = np.minimum(pixels, pixels[..., 3:])
    elif image.mode == "RGBA":
        small = np.asarray(_cropped(image.convert("RGBa"), size)).astype(np.int16)
        on_white = np.clip(small[..., :3] + (255 - small[..., 3:]), 0, 255).astype(np.uint8)
        pixels = on_white if channels == 3 else np.asarray(Image.fromarray(on_white).convert("L"))
    else:
        pixels = np.asarray(_cropped(image.convert("L" if channels == 1 else "RGB"), size))
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _cropped(image: Image.Image, size: int) -> Image.Image:
    if image.size == (size, size):
        return image
    side = min(image.size)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    box = (left, top, left + side, top + side)
    return image.resize((size, size), Image.Resampling.LANCZOS, box=box)


def _padded(image: Image.Image, size: int) -> Image.Image:
    if image.size == (size, size):
        return image
    scale = size / max(image.size)
    width, height = (max(1, round(side * scale)) for side in image.size)
    square = Image.new(image.mode, (size, size))
    small = image.resize((width, height), Image.Resampling.LANCZOS)
    square.paste(small, ((size - width) // 2, (size - height) // 2))
    return square


def _orientation(image: Image.Image) -> int:
    try:
        turned: int = image.getexif().get(0x0112, 1)
        return turned
    except Exception:  # a broken EXIF block is no reason to lose the picture
        return 1


def _eight_bit(image: Image.Image) -> Image.Image:
    """Any Pillow mode to L, RGB or RGBA (only if something is transparent)."""
    mode = image.mode
    if mode.startswith(("I", "F")):
        return _scaled_grey(np.asarray(image), mode, image.info.get("transparency"))
    if image.has_transparency_data or mode in ("La", "RGBa", "PA"):
        clean = image.convert("RGBA")
        opaque = np.asarray(clean)[..., 3].min() == 255
        return clean.convert("RGB") if opaque else clean
    return image.convert("L" if mode in ("1", "L") else "RGB")


def _scaled_grey(values: np.ndarray, mode: str, transparent: object) -> Image.Image:
    """Deep grey to 8 bits by scaling: 16 bits by their full range, others by what they hold."""
    deep = values.astype(np.float64)
    if not np.isfinite(deep).all():
        raise ValueError("it holds values that are not finite")
    low, high = 0.0, 65535.0
    if mode == "F" and deep.min() >= 0 and deep.max() <= 1:
        high = 1.0
    elif deep.min() < low or deep.max() > high or mode == "F":
        low, high = deep.min(), max(deep.max(), deep.min() + 1)
    grey = Image.fromarray(np.rint((deep - low) * (255 / (high - low))).astype(np.uint8))
    if isinstance(transparent, int):
        alpha = Image.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8))
        return Image.merge("RGBA", (grey, grey, grey, alpha))
    return grey


def is_grey(image: Image.Image) -> bool:
    """Whether the header promises grey values only (pixels are not looked at)."""
    return image.mode in _GREY_MODES


def may_be_transparent(image: Image.Image) -> bool:
    """Whether the header allows transparency (pixels are not looked at)."""
    return image.has_transparency_data


def is_transparent(image: Image.Image) -> bool:
    """Whether at least 1% of the pixels really are more than half transparent.

    Raises:
        UnreadablePicture: the pixels are truncated or broken.
    """
    if not may_be_transparent(image):
        return False
    alpha = to_pixels(image, 64, 4)[3]
    width, height = image.size
    # what was padded to make it square says nothing about the picture
    used = 64 * max(1, round(64 * min(width, height) / max(width, height)))
    return bool((alpha < 128).sum() - (64 * 64 - used) >= 0.01 * used)


def _short(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 120 else text[:117] + "..."
