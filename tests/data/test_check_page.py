"""The check's page: whole, bounded, in both languages, and deaf to what names and captions say."""

from __future__ import annotations

import base64
import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from sfumato.data import open_source
from sfumato.data.checking import check_page
from sfumato.data.checking.check import check
from sfumato.data.checking.check_page import THUMBS, build_page, write_page
from sfumato.data.checking.thumbs import seen, whole

EVIL = "<img src=x onerror=alert(1)> \"'& </style><script>alert(2)</script>"


@pytest.fixture(autouse=True)
def english(monkeypatch):
    monkeypatch.setenv("SFUMATO_LANG", "en")


def photograph(seed: int, width: int = 96, height: int = 96) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "set"
    root.mkdir()
    for number in range(6):
        photograph(number).save(root / f"{number}.png")
        (root / f"{number}.txt").write_text(f"thing {number}")
    photograph(1).save(root / "again.jpg", quality=40)
    (root / "again.txt").write_text(EVIL)
    photograph(2).save(root / "copy.png")
    (root / "copy.txt").write_text("copy \u202egnp.exe")
    Image.new("RGB", (80, 80), "blue").save(root / "<b>bold&.png")
    (root / "<b>bold&.txt").write_text("...")
    photograph(7, 300, 80).save(root / "long.png")
    (root / "broken.jpg").write_text("no")
    return root


class Page(HTMLParser):
    """Tags and addresses of a page, and whether all is closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open, self.tags, self.links, self.text = [], [], [], ""
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        assert not any(name.startswith("on") for name, _ in attributes)
        self.links += [value for name, value in attributes if name in ("src", "href")]
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.mark.parametrize("language", ["en", "ru"])
def test_the_page_is_whole_and_asks_nobody(folder, tmp_path, monkeypatch, language):
    monkeypatch.setenv("SFUMATO_LANG", language)
    report = check(folder)
    page, numbers = write_page(report, tmp_path / "a" / "report")
    raw = page.read_text("utf-8")
    found = Page(raw)
    assert found.open == [] and f'<html lang="{language}">' in raw
    assert all(link.startswith(("data:image/webp;base64,", "#")) for link in found.links)
    assert "http" not in re.sub(r"http-equiv", "", raw)
    assert "script" not in found.tags and "default-src 'none'" in raw
    for kind, problems in report.findings.items():
        assert f'id="{kind.replace(" ", "-")}"' in raw
        for one in problems:
            assert one.origin in found.text
    assert json.loads(numbers.read_text())["counts"] == report.counts()
    if language == "ru":
        said = re.sub(r"\S+\.(png|jpg|csv|txt)|'[^']*'|\([^)]*\)|<[^>]*>", "", found.text)
        said = said[said.index("Проверка") :].replace(EVIL, "")
        said = re.sub(r"sfumato data check.*|thing \d", "", said)
        assert not re.search(r"\b[a-z]{3,} [a-z]{3,} [a-z]{3,}", said.split("}\n")[-1])


def test_names_and_captions_are_text_and_nothing_else(folder):
    raw = build_page(check(folder))
    found = Page(raw)
    assert EVIL in found.text and "<b>bold&.png" in found.text
    assert "onerror=alert" in found.text and "<img src=x" not in raw
    assert "\u202e" not in raw  # nothing may turn the reading direction


def test_thumbnails_are_small_and_bounded(tmp_path):
    root = tmp_path / "set"
    root.mkdir()
    for number in range(130):  # each is tiny, grey and has a copy and an odd caption
        image = photograph(number, 40, 40).convert("L").convert("RGB")
        image.save(root / f"{number}.png")
        image.save(root / f"{number} copy.png")
        (root / f"{number}.txt").write_text(f"IMG_{number}")
        (root / f"{number} copy.txt").write_text("!")
    raw = build_page(check(root))
    pictures = re.findall(r"base64,([^\"]+)", raw)
    assert 60 < len(pictures) <= THUMBS
    for one in pictures[:40]:
        with Image.open(io.BytesIO(base64.b64decode(one))) as image:
            assert max(image.size) <= 96
    assert len(raw) < 5_000_000 and "the JSON file beside this page names all" in raw


def test_the_same_data_make_the_same_page(folder):
    assert build_page(check(folder)) == build_page(check(folder))
    assert build_page(check(folder), seed=1) != "" and "thing" in build_page(check(folder))


def test_a_healthy_set_has_a_page_too(tmp_path):
    for number in range(5):
        photograph(number).save(tmp_path / f"a{number}.png")
        (tmp_path / f"a{number}.txt").write_text(f"thing {number}")
    raw = build_page(check(tmp_path))
    assert "nothing was found" in raw and "--write-clean" not in raw


def test_every_kind_of_source_has_a_page():
    class Few:
        """The first emoji."""

        def __init__(self) -> None:
            whole_set = open_source("emoji")
            self.name, self.size, self.channels, self.classes = "few", 64, 4, ()
            self._examples = [whole_set[i] for i in range(30)]
            self._report = whole_set.report()

        def __len__(self) -> int:
            return len(self._examples)

        def __getitem__(self, index):
            return self._examples[index]

        def report(self):
            return self._report

    report = check(Few())
    assert report.files is None and report.transparent == 30
    assert "Size of the shorter side" not in build_page(report)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_thumbnail_shows_what_the_trainer_sees(channels):
    image = np.random.default_rng(0).integers(0, 256, (channels, 24, 24), dtype=np.uint8)
    if channels == 4:
        image[:3] = np.minimum(image[:3], image[3:])
    with Image.open(io.BytesIO(base64.b64decode(seen(image).split(",")[1]))) as shown:
        back = np.asarray(shown.convert("RGBA" if channels == 4 else "RGB")).astype(float)
    if channels == 4:
        back[..., :3] *= back[..., 3:] / 255
    truth = np.repeat(image, 3, axis=0) if channels == 1 else image
    assert abs(back.transpose(2, 0, 1) - truth).max() <= 1  # small ones are kept without loss


def test_a_whole_picture_is_upright_and_a_broken_one_is_none(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    photograph(1, 200, 100).save(tmp_path / "a.jpg", exif=exif)
    (tmp_path / "b.jpg").write_text("no")
    with Image.open(io.BytesIO(base64.b64decode(whole(tmp_path / "a.jpg").split(",")[1]))) as shown:
        assert shown.size == (48, 96)
    assert whole(tmp_path / "b.jpg") is None


def test_no_more_thumbnails_than_are_allowed(folder, monkeypatch):
    monkeypatch.setattr(check_page, "THUMBS", 9)
    assert build_page(check(folder)).count("base64,") == 9
