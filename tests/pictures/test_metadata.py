"""Settings inside PNG files: exact in our chunk, readable for others, judged when read."""

import json
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import EpsImagePlugin, Image, PngImagePlugin

from sfumato.data import decode
from sfumato.errors import SfumatoError
from sfumato.pictures.metadata import (
    MAX_PIXELS,
    Settings,
    parameters,
    parse_parameters,
    png,
    read_settings,
    save_png,
)

RUSSIAN = Settings(
    prompt="красное сердце, стиль «ното»",
    negative_prompt="размыто",
    steps=20,
    sampler="dpm++2m",
    guidance_scale=3.0,
    seed=42,
    index=2,
    width=64,
    height=64,
    model="embedded",
    version="0.1.0",
)

text = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=40)
any_settings = st.builds(
    Settings,
    prompt=text,
    negative_prompt=text,
    steps=st.integers(1, 1000),
    sampler=st.sampled_from(["euler", "dpm++2m"]),
    guidance_scale=st.floats(0, 50),
    seed=st.integers(0, 2**63),
    index=st.integers(0, 99),
    width=st.integers(1, 4096),
    height=st.integers(1, 4096),
    model=text,
    version=st.just("0.1.0"),
)


def picture():
    rng = np.random.default_rng(0)
    return Image.fromarray(rng.integers(0, 256, (8, 8, 4), dtype=np.uint8))


def chunks(content):
    """The chunks of a PNG by the specification, without Pillow."""
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    at, found = 8, []
    while at < len(content):
        (length,) = struct.unpack(">I", content[at : at + 4])
        kind, body = content[at + 4 : at + 8], content[at + 8 : at + 8 + length]
        (crc,) = struct.unpack(">I", content[at + 8 + length : at + 12 + length])
        assert crc == zlib.crc32(kind + body)
        found.append((kind.decode(), body))
        at += 12 + length
    return found


def itxt(content):
    """iTXt chunks: keyword, two flags, language, translated keyword, UTF-8 text."""
    found = {}
    for kind, body in chunks(content):
        if kind == "iTXt":
            keyword, rest = body.split(b"\0", 1)
            assert rest[:2] == b"\0\0"  # not compressed
            _, _, value = rest[2:].split(b"\0", 2)
            found[keyword.decode("latin-1")] = value.decode("utf-8")
    return found


def test_both_chunks_are_standard_utf8():
    found = itxt(png(picture(), RUSSIAN))
    assert found["parameters"] == (
        "красное сердце, стиль «ното»\nNegative prompt: размыто\n"
        "Steps: 20, Sampler: dpm++2m, CFG scale: 3.0, Seed: 42, Size: 64x64, "
        "Model: embedded, Index: 2, Version: sfumato 0.1.0"
    )
    assert json.loads(found["sfumato"])["prompt"] == RUSSIAN.prompt


def test_the_choice_is_kept():
    assert itxt(png(picture(), RUSSIAN, "none")) == {}
    seed_only = png(picture(), RUSSIAN, "seed")
    assert json.loads(itxt(seed_only)["sfumato"]) == {"seed": 42, "index": 2}
    assert "сердце".encode() not in seed_only


def test_same_bytes_every_time_and_the_pixels_are_untouched(tmp_path):
    assert png(picture(), RUSSIAN) == png(picture(), RUSSIAN)
    save_png(tmp_path / "a.png", picture(), RUSSIAN)
    with Image.open(tmp_path / "a.png") as again:
        assert np.array_equal(np.asarray(again), np.asarray(picture()))


@settings(max_examples=60, deadline=None)
@given(wanted=any_settings)
def test_round_trip_through_a_file_is_exact(tmp_path_factory, wanted):
    path = tmp_path_factory.mktemp("png") / "a.png"
    save_png(path, picture(), wanted)
    assert read_settings(path) == wanted


@settings(max_examples=200, deadline=None)
@given(wanted=any_settings)
def test_round_trip_through_the_plain_text(wanted):
    read = parse_parameters(parameters(wanted))
    assert read is not None
    for name in ("steps", "sampler", "guidance_scale", "seed", "index", "width", "height"):
        assert getattr(read, name) == getattr(wanted, name), name
    assert read.model == wanted.model.strip()
    if not wanted.prompt.startswith("Negative prompt:"):
        assert read.prompt == wanted.prompt.strip()
        assert read.negative_prompt == wanted.negative_prompt.strip()


def test_a_picture_of_another_tool_is_read(tmp_path):
    # the form as AUTOMATIC1111's web interface writes it, with lines in the prompt
    said = (
        "a castle, (detailed:1.2),\nat dawn\nNegative prompt: fog, blur\n"
        "Steps: 30, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, Seed: 965400086, "
        'Size: 512x768, Model hash: 6ce0161689, Model: v1-5, Lora hashes: "a: 1, b: 2", '
        "Version: v1.9.0"
    )
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", said)
    picture().save(tmp_path / "a.png", pnginfo=info)
    read = read_settings(tmp_path / "a.png")
    assert read == Settings(
        prompt="a castle, (detailed:1.2),\nat dawn",
        negative_prompt="fog, blur",
        steps=30,
        sampler="DPM++ 2M",
        guidance_scale=7.0,
        seed=965400086,
        width=512,
        height=768,
        model="v1-5",
        version="v1.9.0",
    )


@pytest.mark.parametrize(
    "damaged",
    [
        "{",
        "[1]",
        '{"seed": "7"}',
        '{"seed": true}',
        '{"prompt": 3}',
        "[" * 100_000,
        '{"seed": 7.5}',
    ],
)
def test_a_damaged_chunk_falls_back_to_the_plain_text(tmp_path, damaged):
    info = PngImagePlugin.PngInfo()
    info.add_itxt("sfumato", damaged)
    info.add_itxt("parameters", "red heart\nSteps: 5, Seed: 9")
    picture().save(tmp_path / "a.png", pnginfo=info)
    assert read_settings(tmp_path / "a.png") == Settings(prompt="red heart", steps=5, seed=9)


def test_unknown_keys_of_a_later_version_are_passed_over(tmp_path):
    info = PngImagePlugin.PngInfo()
    info.add_itxt("sfumato", json.dumps({"seed": 3, "guidance_scale": 2, "style": "?"}))
    picture().save(tmp_path / "a.png", pnginfo=info)
    read = read_settings(tmp_path / "a.png")
    assert read == Settings(seed=3, guidance_scale=2.0)
    assert isinstance(read.guidance_scale, float)


@pytest.mark.parametrize("said", ["", "hello", "a: b", "Seed: 3"])
def test_other_text_is_no_settings(said):
    assert parse_parameters(said) is None


def test_only_the_first_negative_prompt_divides():
    read = parse_parameters("a\nNegative prompt: b\nNegative prompt: c\nSteps: 1")
    assert (read.prompt, read.negative_prompt) == ("a", "b\nNegative prompt: c")


def test_numbers_that_are_none_are_passed_over():
    read = parse_parameters("x\nSteps: many, Seed: -, CFG scale: high, Size: big")
    assert read == Settings(prompt="x")


def test_a_broken_quotation_is_taken_as_it_stands():
    # a tab inside a JSON text is not allowed; what stands there is still worth showing
    assert parse_parameters('x\nSteps: 1, Model: "a\tb", Seed: 4').seed == 4


def test_pictures_without_settings(tmp_path):
    picture().save(tmp_path / "a.png")
    assert read_settings(tmp_path / "a.png") is None
    with pytest.raises(SfumatoError, match="cannot be read as a picture"):
        (tmp_path / "b.png").write_text("no picture")
        read_settings(tmp_path / "b.png")
    with pytest.raises(SfumatoError, match="cannot be read as a picture"):
        read_settings(tmp_path / "missing.png")


def test_only_png_is_opened_whatever_its_name(tmp_path, monkeypatch):
    """Pillow gives an EPS to Ghostscript, a program that runs what it reads."""
    started = []
    monkeypatch.setattr("subprocess.check_call", lambda *given, **_: started.append(given))
    monkeypatch.setattr(EpsImagePlugin, "has_ghostscript", lambda: True)
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", "gs")
    (tmp_path / "evil.png").write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n"
    )
    picture().convert("RGB").save(tmp_path / "b.png", format="TIFF")
    for name in ("evil.png", "b.png"):
        with pytest.raises(SfumatoError, match="it is no PNG file"):
            read_settings(tmp_path / name)
    assert not started


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [10_001, 20_000])
def test_a_picture_too_large_is_not_decoded(tmp_path, monkeypatch, side):
    def refuse(*_):
        raise AssertionError("the pixels were decoded")

    picture().save(tmp_path / "a.png")
    content = bytearray((tmp_path / "a.png").read_bytes())
    content[16:24] = struct.pack(">II", side, side)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    (tmp_path / "a.png").write_bytes(content)
    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", refuse)
    with pytest.raises(SfumatoError, match="cannot be read as a picture: .*pixels"):
        read_settings(tmp_path / "a.png")


def test_the_largest_picture_is_the_same_everywhere():
    assert MAX_PIXELS == decode.MAX_PIXELS


def test_whatever_a_decoder_throws_becomes_a_sentence(tmp_path, monkeypatch):
    picture().save(tmp_path / "a.png")
    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", lambda self: {}["no such key"])
    with pytest.raises(SfumatoError, match="no such key"):
        read_settings(tmp_path / "a.png")
