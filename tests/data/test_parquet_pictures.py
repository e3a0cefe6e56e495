"""Parquet files whose rows hold pictures, honest ones and others."""

from __future__ import annotations

import io
import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from sfumato.data import open_source
from sfumato.data.sources.parquet import ParquetSource
from sfumato.errors import SfumatoError

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("SFUMATO_DATA", str(tmp_path / "data"))


def encoded(value):
    out = io.BytesIO()
    Image.new("RGB", (8, 8), (value, 0, 0)).save(out, "PNG")
    return out.getvalue()


def cells(count, start=0):
    return [{"bytes": encoded(n), "path": f"{n}.png"} for n in range(start, start + count)]


def write(path, columns, names=None, group=4):
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table(columns)
    if names:
        features = {"label": {"names": names, "_type": "ClassLabel"}}
        note = json.dumps({"info": {"features": features}})
        table = table.replace_schema_metadata({"huggingface": note})
    pq.write_table(table, path, row_group_size=group)
    return path


def first_values(source):
    return [int(source[i].image[0, 0, 0]) for i in range(len(source))]


def test_pictures_and_captions(tmp_path):
    texts = [f"number {n}" for n in range(10)]
    path = write(tmp_path / "a.parquet", {"image": cells(10), "text": texts, "n": list(range(10))})
    for data in (path, str(path), tmp_path):
        source = open_source(data, size=8)
        assert isinstance(source, ParquetSource) and source.channels == 3
        assert first_values(source) == list(range(10))
        assert [source[i].captions for i in range(10)] == [(text,) for text in texts]
    assert source[3].origin == "a.parquet[3]" and not source.report().problems


def test_captions_in_a_column_of_another_name_can_be_named(tmp_path):
    columns = {"foto": [encoded(n) for n in range(2)], "titel": ["x", "y"]}
    path = write(tmp_path / "a.parquet", columns)
    assert "2 rows have no caption; called 'picture'; " in open_source(path, 8).report().text()
    assert "; DATA?text=COLUMN says" in open_source(path, 8).report().text()
    assert open_source(f"{path}?text=titel", 8)[1].captions == ("y",)


def test_lists_of_captions_bytes_columns_and_named_columns(tmp_path):
    columns = {
        "photo": [encoded(n) for n in range(3)],
        "other": [encoded(100 + n) for n in range(3)],
        "title": ["x", "y", "z"],
        "caption": [["a", "b"], ["c"], []],
    }
    path = write(tmp_path / "a.parquet", columns)
    source = open_source(path, size=8)
    assert [source[i].captions for i in range(3)] == [("a", "b"), ("c",), ("picture",)]
    said = source.report().text()
    assert "1 rows have no caption" in said and "?text=" not in said
    source = open_source(f"{path}?image=other&text=title", size=8)
    assert first_values(source) == [100, 101, 102] and source[2].captions == ("z",)
    with pytest.raises(SfumatoError, match="no column 'nothing'.*photo, other"):
        open_source(f"{path}?text=nothing")
    with pytest.raises(SfumatoError, match="no option 'colour'"):
        open_source(f"{path}?colour=red")


@pytest.mark.parametrize("named", [True, False])
def test_classes(tmp_path, named):
    names = ["zebra", "ant", "bee"] if named else None
    write(tmp_path / "a.parquet", {"img": cells(4), "label": [2, 0, 1, 2]}, names)
    source = open_source(tmp_path, size=8)
    assert source.classes == (tuple(names) if named else ("0", "1", "2"))
    assert source[0].label == ("bee" if named else "2")
    assert source[0].captions == (source[0].label,)


@pytest.mark.parametrize("how", ["", "?limit=12"])
def test_classes_have_one_order_however_they_are_read(tmp_path, how):
    numbers = write(tmp_path / "n.parquet", {"img": cells(12), "label": list(range(12))})
    assert open_source(f"{numbers}{how}", size=8).classes == tuple(map(str, range(12)))
    names = ["zebra", "ant", "bee"]
    named = write(tmp_path / "a.parquet", {"img": cells(12), "label": [0, 1] * 6}, names)
    assert open_source(f"{named}{how}", size=8).classes == tuple(names)


@pytest.mark.parametrize("limit", [2 << 30, 1000])
def test_a_test_part_has_the_classes_of_the_train_part(tmp_path, monkeypatch, limit):
    monkeypatch.setattr("sfumato.data.sources.parquet.CACHE_LIMIT", limit)
    write(tmp_path / "train-0.parquet", {"img": cells(6), "label": list("dbaacc")})
    write(tmp_path / "test-0.parquet", {"img": cells(6), "label": list("bbbdd0")})
    assert open_source(tmp_path, size=8).classes == ("a", "b", "c", "d")
    assert open_source(tmp_path, size=8, split="test").classes == ("a", "b", "c", "d", "0")


def test_a_file_that_is_named_is_its_own_part(tmp_path):
    path = write(tmp_path / "test-0.parquet", {"image": cells(3), "text": ["x"] * 3})
    assert len(open_source(path, size=8)) == len(open_source(path, size=8, split="test")) == 3


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_a_large_value_that_is_repeated_is_not_unpacked_at_once(tmp_path, monkeypatch):
    huge = encoded(7) + bytes(4 << 20)
    path = tmp_path / "a.parquet"
    rows = [{"bytes": huge, "path": ""}] * 120  # half a gigabyte, in four megabytes
    table = pa.table({"image": rows, "text": ["x"] * 120})
    pq.write_table(table, path, dictionary_pagesize_limit=1 << 30)
    del table, rows
    assert path.stat().st_size < 5 << 20
    opener = (
        "import re, sys; from sfumato.data import open_source;"
        "assert len(open_source(sys.argv[1], size=8)) == int(sys.argv[2]);"
        "print(re.search(r'VmHWM:\\s*(\\d+)', open('/proc/self/status').read())[1])"
    )
    for address, count in ((path, 120), (f"{path}?limit=64", 64)):
        words = [sys.executable, "-c", opener, str(address), str(count)]
        told = subprocess.run(words, capture_output=True, text=True, check=True).stdout
        assert int(told) < 450 << 10  # kilobytes, 100 MB of which are the libraries


def test_cells_above_the_limit_are_refused_one_by_one(tmp_path, monkeypatch):
    rows = cells(9)
    rows[4] = {"bytes": encoded(4) + bytes(5000), "path": ""}
    path = write(tmp_path / "a.parquet", {"image": rows, "text": ["x"] * 9})
    monkeypatch.setattr("sfumato.data.sources.parquet_rows.LARGEST_PICTURE", 2000)
    for address in (path, f"{path}?limit=9"):
        source = open_source(address, size=8)
        assert first_values(source) == [0, 1, 2, 3, 5, 5, 6, 7, 8]
        assert "too large: more than the limit of 2000" in source.report().text()


def test_pictures_with_alpha_count_with_four_channels(tmp_path, monkeypatch):
    rows = []
    for number in range(8):
        out = io.BytesIO()
        Image.new("RGBA", (8, 8), (number, 0, 0, 9)).save(out, "PNG")
        rows.append({"bytes": out.getvalue(), "path": ""})
    path = write(tmp_path / "a.parquet", {"image": rows, "text": ["x"] * 8})
    for name in ("parquet", "folder", "shards"):
        monkeypatch.setattr(f"sfumato.data.sources.{name}.CACHE_LIMIT", 8 * 3 * 8 * 8)
    source = open_source(path, size=8)  # parquet alone, uncached, would be read from its start
    assert type(source).__name__ == "ShardSource" and source.channels == 4


def test_rows_are_found_in_any_order(tmp_path, monkeypatch):
    monkeypatch.setattr("sfumato.data.sources.parquet_rows._ROWS", 2)
    path = write(tmp_path / "a.parquet", {"image": cells(100), "text": ["x"] * 100}, group=70)
    source = open_source(path, size=8)
    for index in (99, 0, 40, 39, 69, 3, 70, 16, 15, 99):
        assert source._stored(index) == encoded(index)


def test_parts_by_file_name(tmp_path):
    for part, start in (("train", 0), ("test", 50)):
        for number in range(2):
            name = f"data/{part}-0000{number}-of-00002.parquet"
            write(tmp_path / name, {"image": cells(3, start + 10 * number), "text": ["x"] * 3})
    assert first_values(open_source(tmp_path, size=8)) == [0, 1, 2, 10, 11, 12]
    assert first_values(open_source(tmp_path, size=8, split="test")) == [50, 51, 52, 60, 61, 62]


def test_rows_that_only_name_a_file_are_not_followed(tmp_path):
    secret = tmp_path / "secret.png"
    secret.write_bytes(encoded(255))
    rows = [*cells(3), {"bytes": None, "path": str(secret)}, {"bytes": b"<html>", "path": "x"}]
    path = write(tmp_path / "set/a.parquet", {"image": rows, "text": list("abcde")})
    source = open_source(path, size=8)
    assert first_values(source) == [0, 1, 2, 0, 0] and source.report().replaced == 2
    assert "a mere path is not followed" in source.report().text()


def test_what_does_not_fit_is_stored_first(tmp_path, monkeypatch):
    path = write(tmp_path / "a.parquet", {"image": cells(23), "text": [str(n) for n in range(23)]})
    whole = open_source(path, size=8)
    monkeypatch.setattr("sfumato.data.sources.parquet.CACHE_LIMIT", 1000)
    source = open_source(path, size=8)
    assert type(source).__name__ == "ShardSource" and len(source) == 23
    for index in range(23):
        assert (source[index].image == whole[index].image).all()
        assert source[index].captions == whole[index].captions
    few = open_source(f"{path}?limit=5", size=8)
    assert first_values(few) == [0, 1, 2, 3, 4]


def test_files_that_are_none_are_refused(tmp_path):
    path = tmp_path / "a.parquet"
    for content in (b"", b"PAR1" + bytes(100), b"PK\3\4"):
        path.write_bytes(content)
        with pytest.raises(SfumatoError, match="not a readable parquet file"):
            open_source(path)
    good = write(path, {"image": cells(30), "text": ["x"] * 30}).read_bytes()
    middle = len(good) // 3
    path.write_bytes(good[:middle] + bytes(200) + good[middle + 200 :])
    with np.errstate(all="ignore"):
        try:
            source = open_source(path, size=8)
        except SfumatoError as error:
            assert "damaged" in str(error)
        else:  # single pictures are reported
            assert source.report().replaced >= 1
    write(path, {"text": ["x"]})
    with pytest.raises(SfumatoError, match="no column of pictures"):
        open_source(path)
    with pytest.raises(SfumatoError, match="no file"):
        open_source(f"{tmp_path}/b.parquet?text=x")


def test_a_table_of_captions_is_still_one(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    pq.write_table(pa.table({"file_name": ["a.png"], "text": ["x"]}), tmp_path / "metadata.parquet")
    assert open_source(tmp_path)[0].captions == ("x",)
