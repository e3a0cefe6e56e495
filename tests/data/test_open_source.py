"""The door to the data: names, paths, and clear words where neither fits."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from sfumato.data import Source, demand, open_source, same
from sfumato.data.example import Problem, Report
from sfumato.errors import SfumatoError


def test_unknown_names_are_met_with_the_known_ones():
    with pytest.raises(SfumatoError, match=r"'Emojis'.*Did you mean 'emoji'.*fashion-mnist"):
        open_source("Emojis")
    with pytest.raises(SfumatoError, match="no folder 'no/such/folder'") as refusal:
        open_source("no/such/folder")
    assert "Did you mean" not in str(refusal.value)


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(SfumatoError, match="is a file"):
        open_source(tmp_path / "a.png")


def test_an_archive_is_to_be_unpacked(tmp_path):
    (tmp_path / "Pictures.ZIP").write_bytes(b"PK")
    with pytest.raises(SfumatoError, match="is an archive. Unpack it"):
        open_source(tmp_path / "Pictures.ZIP")


@pytest.mark.parametrize("wrong", [{"channels": 2}, {"size": 0}, {"size": -64}, {"size": 10**6}])
def test_senseless_settings_are_refused(tmp_path, wrong):
    with pytest.raises(SfumatoError, match=r"channels|out of range"):
        open_source(tmp_path, **wrong)


def test_a_folder_may_be_called_like_a_known_set(tmp_path, monkeypatch):
    (tmp_path / "emoji").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "emoji" / "mine.png")
    monkeypatch.chdir(tmp_path)
    assert len(open_source("./emoji")) == 1
    assert len(open_source("emoji")) > 1000


def test_one_data_set_has_many_names(tmp_path, monkeypatch):
    for name in ("emoji", "one", "two"):
        (tmp_path / name).mkdir()
    (tmp_path / "link").symlink_to("one")
    monkeypatch.chdir(tmp_path)
    assert same("emoji", "emoji") and same("one", tmp_path / "one") and same("link", "two/../one")
    assert same("two/../a-{0..9}.tar", tmp_path / "a-{0..9}.tar") and same("hf:a/b", "hf:a/b")
    for one, other in (("emoji", "./emoji"), ("one", "two"), ("mnist", "emoji"), ("hf:a/b", "one")):
        assert not same(one, other) and not same(other, one)
    for there in ("one", "./emoji", "cifar10", "hf:a/b", "a-{0..9}.tar"):
        demand(there)
    with pytest.raises(SfumatoError, match="no folder 'three'"):
        demand("three")


@pytest.mark.parametrize("stray", ["a.tar", "cats/a.tar", "a.parquet"])
def test_a_stray_archive_beside_pictures_changes_nothing(tmp_path, stray):
    for name in ("cats/1.png", "dogs/2.png"):
        (tmp_path / name).parent.mkdir()
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    (tmp_path / stray).write_bytes(b"whatever")
    assert open_source(tmp_path, size=8).classes == ("cats", "dogs")


def test_captions_of_ones_own_are_not_those_of_flickr(tmp_path):
    (tmp_path / "images").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "images/a.png")
    (tmp_path / "images/a.txt").write_text("a cat")
    (tmp_path / "captions.txt").write_text("a.png\ta cat\n")
    assert open_source(tmp_path, size=8)[0].captions == ("a cat",)


def test_all_sources_keep_the_protocol(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    for data in ("emoji", tmp_path):
        source = open_source(data, size=16)
        assert isinstance(source, Source)
        example = source[0]
        assert example.image.shape == (source.channels, source.size, source.size)
        assert example.image.dtype == np.uint8 and example.captions and example.origin
        assert source.report().total == len(source)


def test_report_for_people():
    assert "no problem" in Report((), 7).text()
    broken = [Problem(f"{n}.png", "is broken", replaced=True) for n in range(25)]
    report = Report((*broken, Problem("x.txt", "is odd")), 100)
    lines = report.text().splitlines()
    assert report.replaced == 25
    assert lines[0].startswith("25 of 100") and lines[21] == "  and 5 more"
    assert lines[-1] == "  x.txt: is odd"


def test_listing_and_opening_need_no_torch():
    code = (
        "import sys, sfumato.data, sfumato.data.listing as l; l.listing();"
        "sfumato.data.open_source('emoji')[0]; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
