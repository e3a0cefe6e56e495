"""The health check on folders that are known to be ill, and the list of data sets."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from sfumato.data import NAMES, open_source
from sfumato.data.check import FEW, KINDS, check, spoken
from sfumato.data.example import Problem
from sfumato.data.listing import listing
from sfumato.errors import SfumatoError
from sfumato.training import start


@pytest.fixture(autouse=True)
def english(monkeypatch):
    monkeypatch.setenv("SFUMATO_LANG", "en")


def noise(path, seed: int, side: int = 48) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def ill(tmp_path):
    for number, name in enumerate("abcd"):
        noise(tmp_path / f"{name}.png", number)
        (tmp_path / f"{name}.txt").write_text(f"picture {name}")
    (tmp_path / "a copy.png").write_bytes((tmp_path / "a.png").read_bytes())
    (tmp_path / "b.txt").write_bytes("сердце".encode("cp1251"))
    (tmp_path / "c.txt").write_text("")
    noise(tmp_path / "small.png", 9, 31)
    Image.new("RGB", (64, 64), (200, 0, 0)).save(tmp_path / "blank.jpg")
    (tmp_path / "broken.png").write_bytes(b"nothing")
    for name in ("small", "blank", "broken", "a copy"):
        (tmp_path / f"{name}.txt").write_text(name)
    return tmp_path


def test_every_illness_is_found_and_named(ill):
    before = {path: path.read_bytes() for path in ill.iterdir()}
    report = check(ill)
    found = {kind: [p.origin for p in problems] for kind, problems in report.findings.items()}
    assert found == {
        "unreadable": ["broken.png"],
        "tiny": ["small.png"],
        "blank": ["blank.jpg"],
        "duplicate": ["a.png"],
        "caption missing": ["c.png"],
        "caption encoding": ["b.txt"],
    }
    assert "a copy.png" in report.findings["duplicate"][0].reason
    assert report.findings["tiny"][0].reason == "31 x 31 pixels"
    assert (report.total, report.captions) == (8, 7)
    assert not report.healthy
    assert {path: path.read_bytes() for path in ill.iterdir()} == before


def test_report_for_people_and_machines(ill):
    report = check(ill)
    text = report.text()
    for problems in report.findings.values():
        assert all(problem.origin in text for problem in problems)
    read_back = json.loads(json.dumps(report.to_dict()))
    assert read_back["counts"] == report.counts() and set(read_back["counts"]) == set(KINDS)
    assert read_back["findings"]["unreadable"][0]["origin"] == "broken.png"
    assert read_back["pictures"] == 8 and read_back["healthy"] is False


def test_long_lists_are_cut_in_the_text_only(tmp_path):
    for number in range(13):
        noise(tmp_path / f"{number:02}.png", 0)
    report = check(tmp_path)
    assert report.counts()["duplicate"] == 12
    assert "and 2 more" in report.text() and "11.png" not in report.text()
    assert len(json.loads(json.dumps(report.to_dict()))["findings"]["duplicate"]) == 12


def test_rare_classes_are_named(tmp_path):
    for label, count in (("cat", 11), ("dog", 12), ("yak", 2)):
        for number in range(count):
            noise(tmp_path / label / f"{number}.png", 100 * count + number)
    report = check(tmp_path)
    assert report.classes == {"cat": 11, "dog": 12, "yak": 2}
    assert [p.origin for p in report.findings["class imbalance"]] == ["yak"]
    assert set(report.findings) == {"class imbalance"}


def test_a_healthy_folder_is_told_so(tmp_path):
    for number, label in enumerate("aabb"):
        noise(tmp_path / label / f"{number}.png", number)
    report = check(tmp_path)
    assert report.healthy and "No problem found" in report.text()


def test_few_pictures_are_said_to_be_few(tmp_path):
    assert FEW == start.FEW  # the same bar as in training
    for number in range(FEW):
        Image.fromarray(np.full((8, 8), number, np.uint8)).save(tmp_path / f"{number}.png")
    assert not check(tmp_path).few and "Only" not in check(tmp_path).text()
    (tmp_path / "0.png").write_bytes(b"")
    report = check(tmp_path)
    assert report.few and report.to_dict()["few"]
    assert report.text().endswith("A few hundred are a beginning.") and "99" in report.text()


def test_a_picture_without_a_caption_is_called_by_the_name_that_says_something(tmp_path):
    folder = tmp_path / "bad"
    for number, name in enumerate(("007.png", "red_heart.png", "a.png")):
        noise(folder / name, number)
    (folder / "a.txt").write_text("captioned")
    report = check(folder)
    assert [p["reason"] for p in report.to_dict()["findings"]["caption missing"]] == [
        "has no caption; 'bad' is taken from its folder's name",
        "has no caption; 'red heart' is taken from its name",
    ]


def test_counts_need_no_plural(tmp_path):
    noise(tmp_path / "a.png", 0)
    (tmp_path / "a.txt").write_text("")
    text = check(tmp_path).text()
    assert "pictures 1, different captions 1;" in text
    assert "Without a caption, or with an empty one: 1" in text


@pytest.mark.parametrize("language", ["en", "ru"])
def test_a_reason_that_is_not_known_stays(monkeypatch, language):
    monkeypatch.setenv("SFUMATO_LANG", language)
    assert spoken(Problem("a.png", "is of a later time"), "set") == "is of a later time"


def test_transparent_pictures_are_not_blank_and_flat_ones_are(tmp_path):
    ring = np.zeros((40, 40, 4), np.uint8)
    ring[10:30, 10:30] = 255
    Image.fromarray(ring).save(tmp_path / "ring.png")
    # differs between channels, but shows nothing
    Image.new("RGBA", (40, 40), (255, 0, 0, 90)).save(tmp_path / "veil.png")
    report = check(tmp_path)
    assert report.channels == 4
    assert [p.origin for p in report.findings["blank"]] == ["veil.png"]


def test_even_a_folder_of_nothing_but_broken_files_is_reported(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no")
    report = check(tmp_path)
    assert report.counts()["unreadable"] == report.total == 1


def test_open_sources_and_unknown_names(ill):
    assert check(open_source(ill)).counts()["unreadable"] == 1
    with pytest.raises(SfumatoError, match="no data set"):
        check("emojy")


def test_the_list_names_every_data_set():
    entries = {entry.name: entry for entry in listing()}
    assert set(NAMES) <= set(entries)
    assert entries["emoji"].found and entries["emoji"].pictures == len(open_source("emoji"))
    for entry in entries.values():
        assert entry.what and entry.licence and entry.get
        assert json.loads(json.dumps(entry.to_dict()))["name"] == entry.name
