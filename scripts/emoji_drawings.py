"""Drawings of the emoji data set: SVG or picture file -> small RGBA picture -> lossless WebP."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import resvg_py
from PIL import Image

RENDER_SIZE = 256  # vector drawings are drawn four times too large and then reduced
PIPELINE = "4"  # raise when the pixels of a picture may change: it names the cache entries

Drawing = Callable[[], Image.Image]


def reduce(image: Image.Image, size: int) -> Image.Image:
    """Scale to size x size with Lanczos on premultiplied float values, centred on a square.

    Interpolating straight colours would bleed the undefined colour of transparent pixels into
    the edges. Lanczos overshoots, so values return to 0 <= colour <= alpha <= 1 before division.
    """
    side = max(image.size)
    if image.size != (side, side):
        square = Image.new("RGBA", (side, side))
        square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
        image = square
    straight = np.asarray(image.convert("RGBA"), dtype=np.float32) / 255
    alpha = straight[..., 3:]
    planes = np.concatenate([straight[..., :3] * alpha, alpha], axis=2)
    if side != size:
        resized = [
            Image.fromarray(np.ascontiguousarray(planes[..., c])).resize(
                (size, size), Image.Resampling.LANCZOS
            )
            for c in range(4)
        ]
        planes = np.stack([np.asarray(plane) for plane in resized], axis=2)
    alpha = np.round(planes[..., 3:].clip(0, 1) * 255)
    premultiplied = np.round(planes[..., :3].clip(0, alpha / 255) * 255)
    # Straight colours in steps of two: with the rounding above no visible value moves by more
    # than 1.5 of 255 levels, and the archive becomes a sixth smaller. 0 and 255 stay exact.
    colour = 2 * np.round(premultiplied / np.where(alpha > 0, alpha, 1) * 127.5)
    pixels = np.concatenate([colour.clip(0, 255), alpha], axis=2)
    return Image.fromarray(pixels.astype(np.uint8))


def svg_document(icons: dict[str, Any], name: str) -> str:
    """A complete SVG of one icon of an icon-collection file; aliases may mirror their parent."""
    alias = icons.get("aliases", {}).get(name, {})
    icon = icons["icons"][alias.get("parent", name)]
    width, height = (icon.get(key, icons.get(key, 16)) for key in ("width", "height"))
    body = icon["body"]
    if alias.get("hFlip"):
        body = f'<g transform="translate({width} 0) scale(-1 1)">{body}</g>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'width="{width}" height="{height}" viewBox="0 0 {width} {height}">{body}</svg>'
    )


def render(document: str) -> Image.Image:
    """The drawing with its longer side at `RENDER_SIZE`; texts in system fonts are not drawn."""
    box = re.search(r'viewBox="0 0 (\S+) (\S+)"', document)
    assert box, "svg_document always writes a view box"
    wide = float(box[1]) >= float(box[2])
    png = resvg_py.svg_to_bytes(
        svg_string=document,
        skip_system_fonts=True,
        width=RENDER_SIZE if wide else None,
        height=None if wide else RENDER_SIZE,
    )
    return Image.open(io.BytesIO(png)).convert("RGBA")


def read_picture(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def announce_alpha(webp: bytes) -> bytes:
    """Set the alpha hint of a lossless WebP, which the encoder clears for opaque pictures.

    Without it readers hand out RGB, and one data set would have two modes. The hint is bit 28
    behind the signature byte (WebP lossless bitstream specification, section 3); alpha itself is
    coded either way.
    """
    if webp[12:16] != b"VP8L" or webp[20] != 0x2F:
        raise ValueError("Not a plain lossless WebP file.")
    return webp[:24] + bytes([webp[24] | 0x10]) + webp[25:]


def encode(source: bytes, draw: Drawing, size: int, cache: Path) -> bytes:
    """Lossless WebP of the drawing; kept under a name made from its source and the pipeline."""
    key = hashlib.blake2b(source + f"|{PIPELINE}|{size}".encode(), digest_size=16).hexdigest()
    path = cache / "pictures" / f"{key}.webp"
    if not path.exists():
        buffer = io.BytesIO()
        # exact=True: without it the encoder may give transparent pixels any colour. Method 6
        # would save another 3% and take twenty times as long.
        reduce(draw(), size).save(buffer, "WEBP", lossless=True, quality=100, method=4, exact=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(announce_alpha(buffer.getvalue()))
    return path.read_bytes()
