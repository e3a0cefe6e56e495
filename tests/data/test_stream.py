"""Streams that are stored once: interrupted, continued, enlarged, too large."""

from __future__ import annotations

import io
import json
from itertools import islice

import pytest
from PIL import Image

from sfumato.data.sources import stream
from sfumato.data.sources.stream import Streamed, materialise, store_folder, stored
from sfumato.errors import SfumatoError


@pytest.fixture(autouse=True)
def small(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("SFUMATO_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(stream, "SHARD_SAMPLES", 10)


def sample(number):
    out = io.BytesIO()
    Image.new("RGB", (8, 8), (number, 0, 0)).save(out, "PNG")
    return Streamed(out.getvalue(), (f"picture {number}",), "odd" if number % 2 else None)


class Stream:
    """Remembers where it was begun and how far it was read."""

    def __init__(self, length, breaks=None):
        self.length, self.breaks = length, breaks
        self.begun, self.read = [], []

    def __call__(self, start):
        self.begun.append(start)
        for number in range(start, self.length):
            if number == self.breaks:
                raise SfumatoError("The stream broke off.")
            self.read.append(number)
            yield sample(number)


def numbers(folder, limit=None):
    source = stored(folder, "s", 8, 3, limit=limit)
    for index in range(len(source)):
        example = source[index]
        assert example.image[0, 0, 0] == index and example.captions == (f"picture {index}",)
        assert example.label == ("odd" if index % 2 else None)
    return len(source)


def test_all_samples_in_order_and_only_once():
    source = Stream(25)
    folder = materialise("a stream", {"of": 1}, source)
    assert folder == store_folder("a stream", {"of": 1}) and folder.name.startswith("a-stream-")
    assert sorted(p.name for p in folder.glob("*.tar")) == [f"00000{n}.tar" for n in range(3)]
    assert numbers(folder) == 25
    assert materialise("a stream", {"of": 1}, source) == folder and source.begun == [0]
    assert materialise("a stream", {"of": 2}, source) != folder


@pytest.mark.parametrize("breaks", [0, 3, 10, 14, 20])
def test_what_came_before_a_break_is_kept(breaks):
    folder = store_folder("s", {})
    with pytest.raises(SfumatoError, match="broke off"):
        materialise("s", {}, Stream(25, breaks))
    again = Stream(25)
    assert materialise("s", {}, again) == folder
    assert again.begun == [breaks] and again.read == list(range(breaks, 25))
    assert numbers(folder) == 25
    assert not list(folder.glob("*.partial"))


def test_a_limit_reads_no_more_and_a_larger_one_adds():
    first = Stream(100)
    folder = materialise("s", {}, first, limit=13)
    assert first.read == list(range(13)) and numbers(folder) == 13
    more = Stream(100)
    materialise("s", {}, more, limit=31)
    assert more.begun == [13] and more.read == list(range(13, 31))
    assert numbers(folder) == 31 and numbers(folder, limit=7) == 7
    for limit in (5, 31):
        assert materialise("s", {}, Stream(0), limit=limit) == folder
    end = Stream(35)
    materialise("s", {}, end, limit=1000)
    assert numbers(folder) == 35
    with pytest.raises(SfumatoError, match="limit of 1 or more"):
        materialise("s", {}, end, limit=0)


def test_its_size_has_a_bound_and_what_came_is_kept(monkeypatch):
    with pytest.raises(SfumatoError, match=r"does not end within.*20 samples.*limit=20"):
        materialise("s", {}, Stream(10**9), max_bytes=30_000)
    assert numbers(materialise("s", {}, Stream(0), limit=20)) == 20
    usage = stream.shutil.disk_usage("/")
    monkeypatch.setattr(stream.shutil, "disk_usage", lambda _: usage._replace(free=10**6))
    with pytest.raises(SfumatoError, match="only 0.0 GiB left"):
        materialise("t", {}, Stream(10))


def test_large_samples_close_a_tar_early(monkeypatch):
    monkeypatch.setattr(stream, "SHARD_BYTES", 5000)
    folder = materialise("s", {}, Stream(11))
    assert len(list(folder.glob("*.tar"))) > 2 and numbers(folder) == 11


def test_samples_without_a_picture_keep_their_place():
    def samples(start):
        yield from islice((sample(0), Streamed(b"", ("none",)), sample(2)), start, None)

    source = stored(materialise("s", {}, samples), "s", 8, 3)
    assert len(source) == 3 and source.report().replaced == 1
    assert "the file is empty" in source.report().text()
    assert source[1].captions == ("picture 2",)


def test_a_damaged_store_begins_anew_and_an_empty_one_is_told(tmp_path):
    folder = materialise("s", {}, Stream(25))
    for damage in (
        lambda: (folder / "store.json").write_text("{"),
        lambda: (folder / "000001.tar").unlink(),
        lambda: (folder / "store.json").write_text(json.dumps({"samples": "x"})),
    ):
        damage()
        materialise("s", {}, Stream(25))
        assert numbers(folder) == 25
    with pytest.raises(SfumatoError, match="no samples"):
        stored(materialise("none", {}, Stream(0)), "none", 8, 3)


def test_an_empty_stream_is_asked_again():
    with pytest.raises(SfumatoError, match="no samples"):
        stored(materialise("s", {}, Stream(0)), "s", 8, 3)
    folder = store_folder("s", {})
    state = json.loads((folder / "store.json").read_text())
    assert state["complete"] is False
    # as it was written before
    (folder / "store.json").write_text(json.dumps({**state, "complete": True}))
    assert numbers(materialise("s", {}, Stream(4))) == 4


def test_notes_are_kept_and_handed_back():
    def samples(start):
        assert notes == ({} if not start else {"remarks": [["3", "is odd"]], "classes": ["odd"]})
        notes["classes"] = ["odd"]
        stream.note(notes, str(start + 3), "is odd")
        return Stream(20)(start)

    notes = {}
    materialise("s", {}, samples, limit=5, notes=notes)
    notes = {}
    folder = materialise("s", {}, samples, limit=9, notes=notes)
    told = stored(folder, "s", 8, 3).report().text()
    assert "3: is odd" in told and "8: is odd" in told
    for damage in ("x", [["a"]], 7):
        state = json.loads((folder / "store.json").read_text())
        state["notes"] = {"remarks": damage}
        (folder / "store.json").write_text(json.dumps(state))
        assert numbers(folder) == 9


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "data").write_text("a file in the way")
    with pytest.raises(SfumatoError, match="cannot be written.*SFUMATO_DATA"):
        materialise("s", {}, Stream(3))
