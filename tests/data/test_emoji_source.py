"""The embedded emoji as a source: pixels against the archive, captions against the words."""

from __future__ import annotations

import io
import json
import zipfile
from collections import Counter
from importlib.resources import files

import numpy as np
import pytest
from PIL import Image

from sfumato.data import open_source
from sfumato.data.sources import emoji as module
from sfumato.data.sources.emoji import STYLES, EmojiSource, captions_of
from sfumato.errors import SfumatoError


@pytest.fixture(scope="module")
def archive() -> zipfile.ZipFile:
    return zipfile.ZipFile(io.BytesIO((files("sfumato") / "resources/emoji.zip").read_bytes()))


@pytest.fixture(scope="module")
def rows(archive) -> list[dict]:
    return [json.loads(line) for line in archive.read("metadata.jsonl").decode().splitlines()]


@pytest.fixture(scope="module")
def everything() -> EmojiSource:
    return EmojiSource(split="all")


def straight(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    """The stored picture as floats (H, W, 4) in [0, 1], not premultiplied."""
    return np.asarray(Image.open(io.BytesIO(archive.read(name)))).astype(float) / 255


def test_pixels_are_those_of_the_archive_premultiplied(archive, rows, everything):
    for index in range(0, len(rows), 611):
        stored = straight(archive, rows[index]["file_name"])
        expected = np.concatenate([stored[..., :3] * stored[..., 3:], stored[..., 3:]], axis=2)
        image = everything[index].image
        assert image.dtype == np.uint8 and image.shape == (4, 64, 64)
        assert np.abs(image.transpose(1, 2, 0) - 255 * expected).max() <= 0.51


def test_three_channels_stand_on_white_and_one_is_grey(archive, rows):
    colour, grey = EmojiSource(channels=3, split="all"), EmojiSource(channels=1, split="all")
    for index in range(0, len(rows), 997):
        stored = straight(archive, rows[index]["file_name"])
        white = 255 * (stored[..., :3] * stored[..., 3:] + 1 - stored[..., 3:])
        assert np.abs(colour[index].image.transpose(1, 2, 0) - white).max() <= 1
        luma = white @ [0.299, 0.587, 0.114]
        assert np.abs(grey[index].image[0] - luma).max() <= 2


def test_half_the_size_keeps_the_mean_and_the_rule_of_alpha(everything):
    half = EmojiSource(size=32, split="all")
    for index in (0, 3000, 6000):
        large, small = everything[index].image, half[index].image
        assert small.shape == (4, 32, 32) and (small[:3] <= small[3]).all()
        means = large.mean(axis=(1, 2)) - small.mean(axis=(1, 2))
        assert np.abs(means).max() < 2


def test_splits_part_the_whole(rows, everything):
    train, held_out = EmojiSource(), EmojiSource(split="held-out")
    wanted = [row["file_name"] for row in rows if row["held_out"]]
    assert [held_out.metadata(i)["file_name"] for i in range(len(held_out))] == wanted
    assert len(train) + len(held_out) == len(everything) == len(rows)
    assert not any(train.metadata(i)["held_out"] for i in range(len(train)))
    assert len(open_source("emoji", split="test")) == len(held_out)
    with pytest.raises(SfumatoError, match="train, held-out, all"):
        EmojiSource(split="validation")


def test_metadata_is_a_copy(everything):
    everything.metadata(0)["thing"] = "spoilt"
    assert everything[0].label == everything.metadata(0)["thing"] != "spoilt"


def test_every_visit_gives_the_same_and_the_second_is_not_decoded_again(everything, monkeypatch):
    first = everything[17]
    monkeypatch.setattr(module, "fit", None)
    second = everything[17]
    assert (first.image == second.image).all() and first.captions == second.captions


def test_captions_of_one_picture():
    row = {
        "file_name": "3d/2764.webp", "style": "3d", "thing": "2764", "held_out": False,
        "name_en": "Red Heart", "keywords_en": ["heart", "Red Heart", "love", "emotion", "red"],
        "name_ru": "Красное сердце", "keywords_ru": ["сердце"], "colour": "red",
    }  # fmt: skip
    captions = captions_of(row)
    english, russian = captions[:7], captions[7:]
    assert Counter(english)["red heart"] == 2 and Counter(english)["red heart, 3d style"] == 3
    assert russian[:3] == ("красное сердце", "красное сердце, 3d стиль", "красное сердце, 3d стиль")
    assert russian[3:] == ("красное сердце, сердце, 3d стиль", "сердце, 3d стиль")
    name, *words, style = english[5].split(", ")
    more = english[6].split(", ")[:-1]
    assert (name, style) == ("red heart", "3d style")
    assert sorted(words + more) == ["emotion", "heart", "love", "red"]
    assert captions_of(row) == captions
    spoilt = row | {"name_ru": "бежит: , вправо", "keywords_ru": [",", "дорога"]}
    assert captions_of(spoilt)[7:] == (
        "бежит: вправо",
        *["бежит: вправо, 3d стиль"] * 2,
        "бежит: вправо, дорога, 3d стиль",
        "дорога, 3d стиль",
    )
    without = captions_of(row | {"keywords_en": [], "keywords_ru": []})
    assert without[5] == without[6] == "red heart, 3d style"


def test_a_thing_of_one_colour_is_also_called_by_it_unless_its_name_says_so():
    row = {
        "file_name": "flat/1f335.webp", "style": "flat", "thing": "1f335", "held_out": False,
        "name_en": "Cactus", "keywords_en": [], "name_ru": "Кактус", "keywords_ru": [],
        "colour": "green",
    }  # fmt: skip
    assert captions_of(row)[12:] == (
        "green cactus",
        "green cactus, flat style",
        "кактус, зелёного цвета",
    )
    assert captions_of(row | {"colour": None}) == captions_of(row)[:12]
    assert captions_of(row | {"name_en": "green cactus"})[12:] == ()
    assert len(captions_of(row | {"name_en": "greenery"})) == 15


def test_captions_of_the_whole_set(rows, everything):
    styles = Counter(row["style"] for row in rows)
    assert set(styles) <= set(STYLES)
    for index, row in enumerate(rows):
        captions = everything._captions[index]
        assert len(captions) in (12, 15) and (row["colour"] or len(captions) == 12)
        assert all(text == text.lower() for text in captions)
        assert not any(part.strip(" ,:") == "" for text in captions for part in text.split(","))
        phrases = STYLES[row["style"]]
        assert sum(text.endswith(phrases[0]) for text in captions[:7]) == 5
        assert sum(text.endswith(phrases[1]) for text in captions[7:12]) == 4


def test_an_installation_without_the_archive_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "files", lambda _package: tmp_path)
    module._archive.cache_clear()
    with pytest.raises(SfumatoError, match=r"missing.*build_emoji\.py"):
        EmojiSource()
