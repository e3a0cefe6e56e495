"""Data sets through the library `datasets`, from folders that stand for the Hub's."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from sfumato.data import open_source
from sfumato.data.sources.hub import Address, HubSource, parse
from sfumato.errors import SfumatoError


def test_addresses():
    assert parse("hf:owner/name") == Address("owner/name")
    full = "hf:o/n@abc123:valid?streaming&limit=7&config=c&image=i&text=t&gigabytes=2"
    assert parse(full) == Address("o/n", "abc123", "valid", "c", "i", "t", True, 7, 2 << 30)
    assert parse("hf:mnist?streaming=no") == Address("mnist")
    for wrong in ("hf:", "hf:/etc/passwd", "hf:../x", "hf:a/b/c", "hf:a b", "hf:a/../b"):
        with pytest.raises(SfumatoError, match="no address"):
            parse(wrong)
    for wrong in ("hf:a/b?limit=0", "hf:a/b?limit=many", "hf:a/b?limit"):
        with pytest.raises(SfumatoError, match="no number"):
            parse(wrong)
    with pytest.raises(SfumatoError, match="no option 'x'"):
        parse("hf:a/b?x=1")


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A folder "stands/owner/name" is loaded as a data set of the Hub would be."""
    datasets = pytest.importorskip("datasets")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("SFUMATO_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)
    datasets.disable_progress_bars()
    for name in ("load_dataset", "load_dataset_builder", "get_dataset_split_names"):
        real = getattr(datasets, name)
        monkeypatch.setattr(
            datasets, name, lambda at, *a, real=real, **k: real(f"stands/{at}", *a, **k)
        )

    def make(columns, part="train", **kinds):
        features = datasets.Features(
            {
                name: kinds.get(name)
                or (datasets.Image() if name == "image" else datasets.Value("string"))
                for name in columns
            }
        )
        table = datasets.Dataset.from_dict(columns, features=features)
        folder = tmp_path / "stands/owner/name/data"
        folder.mkdir(parents=True, exist_ok=True)
        table.to_parquet(folder / f"{part}-00000-of-00001.parquet")

    make.datasets = datasets
    return make


def pictures(count, start=0):
    cells = []
    for number in range(start, start + count):
        out = io.BytesIO()
        Image.new("RGB", (8, 8), (number, 0, 0)).save(out, "PNG")
        cells.append({"bytes": out.getvalue(), "path": None})
    return cells


def values(source):
    return [int(source[i].image[0, 0, 0]) for i in range(len(source))]


def test_whole_and_streamed_are_the_same(hub):
    texts = [f"number {n}" for n in range(12)]
    hub({"image": pictures(12), "caption": texts})
    hub({"image": pictures(3, 50), "caption": texts[:3]}, "test")
    whole = open_source("hf:owner/name", size=8)
    assert isinstance(whole, HubSource) and whole.name == "hf:owner/name"
    assert values(whole) == list(range(12)) and whole[5].captions == ("number 5",)
    streamed = open_source("hf:owner/name?streaming", size=8)
    assert values(streamed) == list(range(12)) and streamed.name == whole.name
    assert [streamed[i].captions for i in range(12)] == [whole[i].captions for i in range(12)]
    few = open_source("hf:owner/name?limit=5", size=8)
    assert values(few) == [0, 1, 2, 3, 4]
    assert values(open_source("hf:owner/name", size=8, split="test")) == [50, 51, 52]
    assert values(open_source("hf:owner/name:test?streaming", size=8)) == [50, 51, 52]


def test_class_names(hub):
    label = hub.datasets.ClassLabel(names=["ant", "bee", "cat"])
    hub({"image": pictures(3), "label": [2, 0, 2]}, label=label)
    whole = open_source("hf:owner/name", size=8)
    assert whole.classes == ("ant", "bee", "cat") and whole[0].label == "cat"
    streamed = open_source("hf:owner/name?streaming", size=8)
    assert [streamed[i].label for i in range(3)] == ["cat", "ant", "cat"]
    assert streamed.classes == whole.classes  # the bee as well, which nobody showed
    again = open_source("hf:owner/name?streaming", size=8)
    assert again.classes == whole.classes


def test_a_stream_goes_on_where_it_broke_off(hub, monkeypatch):
    from sfumato.data.sources import stream

    monkeypatch.setattr(stream, "SHARD_SAMPLES", 4)
    hub({"image": pictures(10), "text": ["x"] * 10})
    kind = hub.datasets.IterableDataset
    whole = kind.__iter__

    def broken(self):
        for number, row in enumerate(whole(self)):
            if number == 6:
                raise ConnectionError("the line is dead")
            yield row

    monkeypatch.setattr(kind, "__iter__", broken)
    with pytest.raises(SfumatoError, match="broke off .the line is dead.*run the same command"):
        open_source("hf:owner/name?streaming")
    monkeypatch.setattr(kind, "__iter__", whole)
    assert values(open_source("hf:owner/name?streaming", size=8)) == list(range(10))


def said(source):
    return [source[i].captions[0] for i in range(len(source))]


def test_a_stream_never_goes_on_in_another_data_set(hub):
    hub({"image": pictures(8), "text": [f"old {n}" for n in range(8)]})
    assert said(open_source("hf:owner/name?limit=3", size=8)) == ["old 0", "old 1", "old 2"]
    assert len(open_source("hf:owner/name?limit=5", size=8)) == 5  # the same files still
    hub({"image": pictures(8), "text": [f"new {n}" for n in range(8)]})
    with pytest.raises(SfumatoError, match="has changed since .*@REVISION"):
        open_source("hf:owner/name?limit=6", size=8)
    assert said(open_source("hf:owner/name?limit=2", size=8)) == ["old 0", "old 1"]


def test_a_stream_goes_on_with_the_commit_it_was_begun_with(hub, monkeypatch):
    from sfumato.data.sources import hub as module

    hub({"image": pictures(8), "text": ["x"] * 8})
    asked, newest = [], "a" * 40
    monkeypatch.setattr(module, "_commit", lambda datasets, address: newest)
    load = hub.datasets.load_dataset

    def loading(*given, revision=None, **more):
        asked.append(revision)
        return load(*given, **more)

    monkeypatch.setattr(hub.datasets, "load_dataset", loading)
    open_source("hf:owner/name?limit=3", size=8)
    newest = "b" * 40
    open_source("hf:owner/name?limit=5", size=8)
    assert asked == ["a" * 40] * 2


def test_a_folder_of_that_name_is_not_the_hubs(tmp_path, monkeypatch):
    (tmp_path / "owner/name").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SfumatoError, match="Write ./owner/name for the folder"):
        open_source("hf:owner/name")


def test_what_does_not_fit_is_not_decoded_at_the_start(hub, monkeypatch):
    hub({"image": pictures(8), "text": ["x"] * 8})
    monkeypatch.setattr("sfumato.data.sources.shards.CACHE_LIMIT", 100)
    monkeypatch.setattr("sfumato.data.sources.folder.CACHE_LIMIT", 100)
    decoded = []
    decode = HubSource._decode
    monkeypatch.setattr(HubSource, "_decode", lambda s, i: (decoded.append(i), decode(s, i))[1])
    source = open_source("hf:owner/name", size=8)
    assert not decoded and values(source) == list(range(8))


def test_what_only_names_a_file_is_not_followed(hub, tmp_path):
    Image.new("RGB", (8, 8), "white").save(tmp_path / "secret.png")
    hub.datasets  # noqa: B018 - the fixture's folders
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [*pictures(2), {"bytes": None, "path": str(tmp_path / "secret.png")}]
    folder = tmp_path / "stands/owner/name/data"
    folder.mkdir(parents=True)
    pq.write_table(pa.table({"image": rows, "text": list("abc")}), folder / "train.parquet")
    for address in ("hf:owner/name", "hf:owner/name?streaming"):
        source = open_source(address, size=8)
        assert values(source) == [0, 1, 0] and source.report().replaced == 1


def test_what_is_not_there_is_told_in_one_sentence(hub):
    hub({"image": pictures(2), "text": ["x"] * 2})
    with pytest.raises(SfumatoError, match="hf:nobody/nothing cannot be loaded"):
        open_source("hf:nobody/nothing")
    with pytest.raises(SfumatoError, match="no test part"):
        open_source("hf:owner/name", split="test")
    with pytest.raises(SfumatoError, match="no column 'y'"):
        open_source("hf:owner/name?text=y")


def test_the_hubs_library_does_not_talk_over_that_sentence(hub, monkeypatch, caplog):
    import logging

    http = logging.getLogger("huggingface_hub.utils._http")
    before = logging.getLogger("huggingface_hub").level

    def unreachable(*_, **__):
        http.warning("'[Errno -2] Name or service not known' thrown while requesting HEAD")
        raise ConnectionError("no network")

    monkeypatch.setattr(hub.datasets, "load_dataset", unreachable)
    monkeypatch.setattr(logging.getLogger("huggingface_hub"), "propagate", True)
    with pytest.raises(SfumatoError, match="cannot be loaded .no network"):
        open_source("hf:nobody/nothing")
    assert not caplog.records
    assert logging.getLogger("huggingface_hub").level == before
    http.error("heard again")
    assert caplog.records


def test_without_the_library(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(SfumatoError, match=r'pip install "sfumato\[hub\]"'):
        open_source("hf:owner/name")
