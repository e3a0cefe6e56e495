"""Picture files of every kind, against pixels worked out by hand."""

from __future__ import annotations

import io
import struct
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from sfumato.data import decode as module
from sfumato.data.decode import (
    MAX_PIXELS,
    UnreadablePicture,
    decode,
    fit,
    is_grey,
    is_transparent,
    open_picture,
)

# Pillow's remarks on broken EXIF blocks and on pictures between its limit and ours
pytestmark = pytest.mark.filterwarnings("ignore:Corrupt EXIF", "ignore:Image size")


def encode(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def quarters(side: int = 32) -> np.ndarray:
    """Red, green over blue, white: no two orientations look alike."""
    pixels = np.zeros((side, side, 3), np.uint8)
    half = side // 2
    pixels[:half, :half] = 255, 0, 0
    pixels[:half, half:] = 0, 255, 0
    pixels[half:, :half] = 0, 0, 255
    pixels[half:, half:] = 255, 255, 255
    return pixels


def corners(pixels: np.ndarray) -> list[tuple[int, ...]]:
    """Colours in the middle of the four quarters of a (C, H, W) picture."""
    low, high = pixels.shape[1] // 4, 3 * pixels.shape[1] // 4
    return [
        tuple(int(v) for v in pixels[:, y, x])
        for y, x in ((low, low), (low, high), (high, low), (high, high))
    ]


# how a camera stores an upright picture under each value of the EXIF tag (TIFF 6.0, p. 36)
STORED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a, -1),
}


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_rotation_is_undone(orientation, kind):
    upright = quarters()
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](upright)))
    options = {"JPEG": {"quality": 95, "subsampling": 0}, "WEBP": {"lossless": True}}.get(kind, {})
    content = encode(stored, kind, exif=exif, **options)
    pixels = decode(content, 32, 3)
    difference = pixels.transpose(1, 2, 0).astype(int) - upright
    assert np.abs(difference).mean() < (4 if kind == "JPEG" else 0.01)


def test_rotation_of_a_deep_and_a_transparent_picture():
    exif = Image.Exif()
    exif[0x0112] = 3
    deep = np.zeros((8, 8), np.uint16)
    deep[0] = 65535
    assert decode(encode(Image.fromarray(deep), exif=exif), 8, 1)[0, -1].min() == 255
    clear = np.zeros((8, 8, 4), np.uint8)
    clear[0] = 255
    turned = decode(encode(Image.fromarray(clear), exif=exif), 8, 4)
    assert turned[:, -1].min() == 255 and turned[:, :-1].max() == 0


def test_broken_exif_does_not_cost_the_picture():
    for block in (b"MM\x00\x2a\xff\xff\xff\xff", b"neither MM nor II", b""):
        content = encode(Image.fromarray(quarters()), exif=b"Exif\x00\x00" + block)
        assert corners(decode(content, 32, 3))[0] == (255, 0, 0)


def test_cmyk_of_jpeg_and_tiff():
    # no black ink; full magenta and yellow make red
    ink = Image.new("CMYK", (40, 40), (0, 255, 255, 0))
    for kind in ("JPEG", "TIFF"):
        assert np.abs(decode(encode(ink, kind), 8, 3)[:, 4, 4] - [255, 0, 0]).max() <= 3, kind


def test_sixteen_bits_are_scaled_not_clipped():
    values = np.repeat(np.arange(0, 65536, 257, dtype=np.uint16)[None], 256, axis=0)
    expected = np.arange(256)
    for kind in ("PNG", "TIFF"):
        content = encode(Image.fromarray(values), kind)
        assert (decode(content, 256, 1)[0] == expected).all(), kind
        assert (decode(content, 256, 3) == expected).all(), kind
    big_endian = encode(
        Image.frombytes("I;16B", (256, 256), values.astype(">u2").tobytes()), "TIFF"
    )
    assert (decode(big_endian, 256, 1)[0] == expected).all()


def test_integers_beyond_sixteen_bits_and_floats_use_the_range_they_hold():
    ramp = np.linspace(-1000, 100000, 256)
    content = encode(Image.fromarray(np.repeat(ramp[None].astype(np.int32), 256, 0)), "TIFF")
    assert np.abs(decode(content, 256, 1)[0].astype(int) - np.arange(256)).max() <= 1
    unit = np.repeat(np.linspace(0, 1, 256, dtype=np.float32)[None], 256, 0)
    content = encode(Image.fromarray(0.5 * unit), "TIFF")
    # values within [0, 1] keep their brightness
    assert np.abs(decode(content, 256, 1)[0] - np.linspace(0, 127.5, 256)).max() <= 1
    unit[0, 0] = np.nan
    with pytest.raises(UnreadablePicture, match="not finite"):
        decode(encode(Image.fromarray(unit), "TIFF"), 8, 1)


def palette_picture() -> Image.Image:
    image = Image.new("P", (32, 32), 0)
    image.putpalette([10, 20, 30, 255, 0, 0, 0, 255, 0])
    image.paste(1, (16, 0, 32, 32))
    return image


def test_palette_opaque_and_transparent():
    assert corners(decode(encode(palette_picture()), 32, 3))[:2] == [(10, 20, 30), (255, 0, 0)]
    for kind in ("PNG", "GIF"):
        content = encode(palette_picture(), kind, transparency=0)
        assert corners(decode(content, 32, 4))[:2] == [(0, 0, 0, 0), (255, 0, 0, 255)], kind
        assert corners(decode(content, 32, 3))[:2] == [(255, 255, 255), (255, 0, 0)], kind
    half = encode(palette_picture(), transparency=bytes([128, 255, 255]))
    # 10, 20, 30 at alpha 128/255 over white
    expected = [round(c * 128 / 255 + 255 * 127 / 255) for c in (10, 20, 30)]
    assert np.abs(np.subtract(corners(decode(half, 32, 3))[0], expected)).max() <= 1


def test_of_an_animation_the_first_frame_is_taken():
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue", "lime")]
    for kind in ("GIF", "WEBP"):
        options = {"lossless": True} if kind == "WEBP" else {}
        content = encode(frames[0], kind, save_all=True, append_images=frames[1:], **options)
        assert corners(decode(content, 16, 3)) == [(255, 0, 0)] * 4, kind


def test_grey_kinds():
    half = Image.new("LA", (16, 16), (0, 128))
    assert decode(encode(half), 16, 4)[:, 8, 8].tolist() == [0, 0, 0, 128]
    assert decode(encode(half), 16, 1)[0, 8, 8] == 127
    assert decode(encode(Image.new("1", (16, 16), 1)), 16, 1)[0].min() == 255
    assert decode(encode(Image.new("L", (16, 16), 77)), 16, 3)[:, 8, 8].tolist() == [77, 77, 77]
    # the luma weights of ITU-R BT.601
    grey = decode(encode(Image.new("RGB", (16, 16), (255, 0, 0))), 16, 1)
    assert grey[0, 8, 8] == round(0.299 * 255)


def test_one_colour_may_be_declared_transparent():
    for mode, colour, other in (("RGB", (1, 2, 3), (9, 9, 9)), ("L", 7, 9), ("I;16", 700, 9000)):
        image = Image.new(mode, (16, 16), colour)
        image.paste(other, (8, 0, 16, 16))
        alpha = decode(encode(image, transparency=colour), 16, 4)[3]
        assert alpha[:, :8].max() == 0 and alpha[:, 8:].min() == 255, mode


@given(arrays(np.uint8, (8, 8, 4)))
@settings(max_examples=40)
def test_four_channels_are_premultiplied(pixels):
    out = decode(encode(Image.fromarray(pixels)), 8, 4).transpose(1, 2, 0).astype(float)
    alpha = pixels[..., 3:] / 255
    assert np.abs(out[..., :3] - pixels[..., :3] * alpha).max() <= 0.51
    assert (out[..., 3] == pixels[..., 3]).all()


@given(arrays(np.uint8, (8, 8, 4)))
@settings(max_examples=40)
def test_three_channels_are_composed_on_white(pixels):
    out = decode(encode(Image.fromarray(pixels)), 8, 3).transpose(1, 2, 0).astype(float)
    alpha = pixels[..., 3:] / 255
    assert np.abs(out - (pixels[..., :3] * alpha + 255 * (1 - alpha))).max() <= 1


@given(arrays(np.uint8, (24, 20, 4)), st.sampled_from([5, 16, 40]))
@settings(max_examples=40)
def test_after_resizing_no_colour_exceeds_its_alpha(pixels, size):
    out = decode(encode(Image.fromarray(pixels)), size, 4)
    assert out.shape == (4, size, size)
    assert (out[:3] <= out[3]).all()


@given(arrays(np.uint8, (32, 32, 3)))
@settings(max_examples=20)
def test_hidden_colours_never_bleed(hidden):
    alpha = np.zeros((32, 32, 1), np.uint8)
    alpha[8:24, 8:24] = 255
    shown = np.full((32, 32, 3), 200, np.uint8)
    ours = np.concatenate([np.where(alpha > 0, shown, hidden), alpha], axis=2)
    clean = np.concatenate([np.where(alpha > 0, shown, 0), alpha], axis=2)
    for channels in (1, 3, 4):
        one, other = (fit(Image.fromarray(a), 11, channels) for a in (ours, clean))
        assert (one == other).all()


def test_reduction_is_antialiased():
    lines = np.zeros((256, 256), np.uint8)
    lines[:, ::2] = 255
    out = decode(encode(Image.fromarray(lines)), 32, 1)
    # picking pixels would give 0 or 255 everywhere
    assert np.abs(out[:, 4:-4, 4:-4].astype(int) - 127.5).max() < 3


def test_wide_and_tall_pictures_are_cropped_or_padded():
    wide = np.zeros((20, 60, 3), np.uint8)
    wide[:, 20:40] = 255
    for turned in (False, True):
        pixels = np.ascontiguousarray(wide.transpose(1, 0, 2) if turned else wide)
        content = encode(Image.fromarray(pixels))
        assert decode(content, 20, 3).min() == 255  # the middle third fills the square
        alpha = decode(content, 60, 4)[3]
        alpha = alpha.T if turned else alpha
        assert alpha[20:40].min() == 255 and alpha[:20].max() == alpha[40:].max() == 0


def test_extreme_sides_stay_cheap():
    content = encode(Image.new("L", (30000, 1), 100))
    assert (decode(content, 16, 1) == 100).all()
    assert (decode(content, 16, 4)[3] > 0).any(axis=1).sum() == 1


def test_large_photograph_through_the_reduced_decoder():
    content = encode(Image.fromarray(quarters(1600)), "JPEG", quality=95)
    assert np.abs(decode(content, 32, 3).transpose(1, 2, 0).astype(int) - quarters()).mean() < 4


def test_large_pictures_are_decoded_one_at_a_time(monkeypatch):
    content = encode(Image.fromarray(quarters()))
    monkeypatch.setattr(module, "_LARGE", 100)
    inside, seen = threading.Lock(), []

    def watched(image, size, channels):
        seen.append(inside.acquire(blocking=False))
        time.sleep(0.01)
        inside.release()
        return np.zeros((channels, size, size), np.uint8)

    monkeypatch.setattr(module, "_to_pixels", watched)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: decode(content, 8, 3), range(8)))
    assert seen == [True] * 8


# --- refusals


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_truncated_files_are_refused_with_a_reason(kind):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    content = encode(Image.fromarray(noise), kind)
    assert decode(content, 8, 3).shape == (3, 8, 8)
    for share in (0.02, 0.5, 0.9):
        with pytest.raises(UnreadablePicture) as refusal:
            decode(content[: int(share * len(content))], 8, 3)
        assert len(str(refusal.value)) > 10


def test_broken_headers_are_refused_with_a_reason():
    jpeg = encode(Image.fromarray(quarters()), "JPEG")
    with pytest.raises(UnreadablePicture, match="header is broken or cut off"):
        decode(jpeg[:300], 8, 3)
    gif = encode(Image.new("P", (1, 1)), "GIF")
    with pytest.raises(UnreadablePicture):
        decode(gif[:6] + b"\0\0\0\0" + gif[10:].replace(b"\1\0\1\0", b"\0\0\0\0"), 8, 3)


def test_text_vector_graphics_and_nothing_are_no_pictures(tmp_path):
    for content in (
        b"hello, I am no picture",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    ):
        with pytest.raises(UnreadablePicture, match="not a picture"):
            decode(content, 8, 3)
    with pytest.raises(UnreadablePicture, match="empty"):
        decode(b"", 8, 3)
    with pytest.raises(UnreadablePicture, match="cannot be opened"):
        decode(tmp_path / "gone.png", 8, 3)


def header_of_png(width: int, height: int) -> bytes:
    """A PNG that claims its size and holds one byte of pixels."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


@pytest.mark.parametrize("sides", [(20000, 10000), (10001, 10000), (2**31 - 1, 2**31 - 1)])
def test_bombs_are_refused_by_their_header(sides, monkeypatch):
    def exploded(*_args, **_options):
        raise AssertionError("the pixels were decoded")

    monkeypatch.setattr(Image.Image, "load", exploded)
    with pytest.raises(UnreadablePicture, match="megapixels, the limit is 100"):
        with open_picture(header_of_png(*sides)):
            pass


def test_the_limit_itself_is_allowed():
    assert MAX_PIXELS == 100_000_000
    with open_picture(header_of_png(10000, 10000)) as image:
        assert image.size == (10000, 10000)


def test_whatever_a_decoder_throws_becomes_a_reason(monkeypatch):
    monkeypatch.setattr(module, "_eight_bit", lambda image: {}["no such key"])
    with pytest.raises(UnreadablePicture, match="no such key"):
        decode(encode(Image.new("L", (8, 8))), 8, 1)


@pytest.mark.parametrize("where", ["_eight_bit", "Image.open"])
def test_too_little_memory_is_no_broken_picture(monkeypatch, where):
    def full(*_, **__):
        raise MemoryError

    content = encode(Image.new("L", (8, 8)))
    monkeypatch.setattr(f"sfumato.data.decode.{where}", full)
    with pytest.raises(UnreadablePicture, match="too little memory"):
        decode(content, 8, 1)


def test_wrong_number_of_channels_is_the_callers_mistake():
    with pytest.raises(ValueError, match="1, 3 or 4"):
        decode(encode(Image.new("L", (8, 8))), 8, 2)


@given(st.binary(max_size=300), st.sampled_from(["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"]))
@settings(max_examples=60, deadline=None)
def test_rubbish_never_raises_anything_else(rubbish, kind):
    good = encode(Image.fromarray(quarters()), kind)
    for content in (rubbish, good[:20] + rubbish, good[:-10] + rubbish, rubbish.join((good, good))):
        try:
            assert decode(content, 8, 3).shape == (3, 8, 8)
        except UnreadablePicture as refusal:
            assert str(refusal)


# --- what the header and the alpha say


def test_grey_and_transparent_are_recognised():
    ring = np.zeros((32, 32, 4), np.uint8)
    ring[..., 3] = 255
    cases = {
        "opaque RGBA": (encode(Image.fromarray(ring)), False, False),
        "wide opaque RGBA": (encode(Image.fromarray(ring[:9])), False, False),
        "RGB": (encode(Image.new("RGB", (8, 8))), False, False),
        "grey": (encode(Image.new("L", (8, 8))), True, False),
        "deep grey": (encode(Image.new("I;16", (8, 8))), True, False),
        "clear grey": (encode(Image.new("LA", (8, 8), (0, 0))), True, True),
        "clear palette": (encode(palette_picture(), transparency=0), False, True),
    }
    ring[:8, :8, 3] = 0
    cases["clear corner"] = encode(Image.fromarray(ring)), False, True
    for name, (content, grey, transparent) in cases.items():
        with open_picture(content) as image:
            assert (is_grey(image), is_transparent(image)) == (grey, transparent), name
