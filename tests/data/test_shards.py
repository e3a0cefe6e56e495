"""WebDataset tars, honest ones and hostile ones."""

from __future__ import annotations

import io
import json
import struct
import tarfile
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image

from sfumato.data import Source, open_source
from sfumato.data.sources import tar_index
from sfumato.data.sources.shards import expanded
from sfumato.data.sources.tar_index import build_index
from sfumato.errors import SfumatoError


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("SFUMATO_DATA", str(tmp_path / "data"))


def encoded(value=0, kind="PNG", mode="RGB", size=(8, 8)):
    out = io.BytesIO()
    colour = value if mode == "L" else (value, 100, 50)
    Image.new(mode, size, colour).save(out, kind, **({"lossless": True} if kind == "WEBP" else {}))
    return out.getvalue()


def bomb():
    """A PNG whose header promises 60,000 x 60,000 pixels."""
    head = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head))
    return b"\x89PNG\r\n\x1a\n" + chunk + b"\0\0\0\0IDAT"


def write(path, members, form=tarfile.GNU_FORMAT):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=form) as archive:
        for name, content in members:
            if isinstance(content, tarfile.TarInfo):
                content.name = name
                archive.addfile(content)
            else:
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return path


def plain(count, start=0):
    members = []
    for number in range(start, start + count):
        members += [(f"{number:04d}.png", encoded(number)), (f"{number:04d}.txt", b"a picture")]
    return members


def origins(source):
    return [source[i].origin for i in range(len(source))]


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_pictures_texts_and_classes(tmp_path, form):
    long = "some folder/" + "7" * 80 + "/0004"
    path = write(
        tmp_path / "a.tar",
        [
            ("0000.jpg", encoded(0, "JPEG")),
            ("0000.txt", "кошка\nчёрная кошка\n".encode()),
            ("0001.json", json.dumps({"caption": "a dog", "label": 7}).encode()),
            ("0001.webp", encoded(200, "WEBP")),
            ("0002.png", encoded(30)),
            ("0002.cls", b"3\n"),
            ("0003.depth.png", encoded(1)),
            ("0003.png", encoded(40)),
            ("0003.json", b"[not an object"),
            (f"{long}.png", encoded(50)),
            ("0005.txt", b"text alone"),
            ("folder/.hidden.png", encoded(9)),
        ],
        form,
    )
    source = open_source(path, size=8)
    assert isinstance(source, Source) and source.channels == 3 and source.classes == ()
    got = [source[i] for i in range(len(source))]
    assert got[0].captions == ("кошка", "чёрная кошка")
    assert got[1].captions == ("a dog",) and got[1].label == "7"
    assert got[2].captions == ("3",) and got[2].label == "3"
    assert got[3].image[0, 0, 0] == 40  # not the depth
    assert got[4].origin == f"a.tar/{long}.png" and got[4].captions == ("some folder",)
    told = source.report().text()
    assert "0005: has no picture" in told and "not a JSON object" in told
    for example, value in zip(got[1:], (200, 30, 40, 50), strict=False):
        assert (example.image[:, 3, 3] == (value, 100, 50)).all()


def test_class_numbers_alone_make_a_set_of_classes(tmp_path):
    members = []
    for number, label in enumerate([10, 2, 2, 0]):
        members += [(f"{number}.png", encoded()), (f"{number}.cls", str(label).encode())]
    source = open_source(write(tmp_path / "a.tar", members), size=8)
    assert source.classes == ("0", "2", "10")
    assert [source[i].label for i in range(4)] == ["10", "2", "2", "0"]


def test_a_test_part_has_the_classes_of_the_train_part(tmp_path):
    for part, labels in (("train", ("emu", "cat", "dog")), ("test", ("emu", "dog"))):
        members = []
        for number, label in enumerate(labels):
            members += [(f"{number}.png", encoded()), (f"{number}.cls", label.encode())]
        write(tmp_path / f"set/{part}-0.tar", members)
    for split in ("train", "test"):
        assert open_source(tmp_path / "set", 8, split=split).classes == ("cat", "dog", "emu")


def test_a_file_that_is_named_is_its_own_part(tmp_path):
    path = write(tmp_path / "test-000.tar", plain(3))
    assert len(open_source(path, size=8)) == len(open_source(path, size=8, split="test")) == 3
    with pytest.raises(SfumatoError, match="no test part"):
        open_source(write(tmp_path / "train-000.tar", plain(3)), split="test")


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_header_takes_no_more_memory_than_a_header(tmp_path, kind):
    member = tarfile.TarInfo("x")
    member.type, member.size = kind, 300_000_000
    path = write(tmp_path / "a.tar", plain(2))
    with path.open("r+b") as file:
        file.seek(2 * 2048)  # where the two samples end
        file.write(member.tobuf(tarfile.USTAR_FORMAT))
        file.truncate(300_010_240)  # sparse: a few kilobytes on the disk
    tracemalloc.start()
    index = build_index(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3_000_000
    assert len(index.samples) == 2 and "a header claims 3000" in index.remarks[-1][1]


def test_many_samples_take_little_memory(tmp_path):
    count = 3000
    members = [(f"{number:06d}.png", b"bad") for number in range(count)]
    source = open_source(write(tmp_path / "a.tar", [*members, *plain(1)]), 8, broken_share=1)
    assert sum(place.itemsize * len(place) for place in source._places) == 24 * (count + 1)


def test_folders_patterns_and_braces_mean_the_same(tmp_path):
    for number in range(12):
        write(tmp_path / f"set/part-{number:03d}.tar", plain(2, 2 * number))
    folder = open_source(tmp_path / "set", size=8)
    assert len(folder) == 24 and folder.name == "set"
    for data in ("part-*.tar", "part-{000..011}.tar", "part-00{0..9}.tar"):
        found = origins(open_source(str(tmp_path / "set" / data), size=8))
        assert found == origins(folder)[: len(found)] and len(found) in (24, 20)
    with pytest.raises(SfumatoError, match="no file .*part-012.tar"):
        open_source(str(tmp_path / "set/part-{000..012}.tar"))
    with pytest.raises(SfumatoError, match="No tar file matches"):
        open_source(str(tmp_path / "set/x*.tar"))
    with pytest.raises(SfumatoError, match="no test part"):
        open_source(tmp_path / "set", split="test")


def test_braces():
    assert expanded("a{09..10}{x,y}.tar") == ["a09x.tar", "a09y.tar", "a10x.tar", "a10y.tar"]
    assert expanded("plain.tar") == ["plain.tar"] and expanded("{odd}.tar") == ["{odd}.tar"]
    for many in ("{0..999999999999}.tar", "{0..999}{0..999}.tar"):
        with pytest.raises(SfumatoError, match="more than"):
            expanded(many)


def test_parts_by_name(tmp_path):
    for name in ("train-0.tar", "train-1.tar", "val-0.tar"):
        write(tmp_path / "set" / name, plain(3))
    assert len(open_source(tmp_path / "set", size=8)) == 6
    assert len(open_source(tmp_path / "set", size=8, split="test")) == 3


def test_hostile_members_stay_where_they_are(tmp_path):
    secret = tmp_path / "secret.png"
    secret.write_bytes(encoded(255))
    link, hard, device, fifo = (tarfile.TarInfo() for _ in range(4))
    link.type, link.linkname = tarfile.SYMTYPE, str(secret)
    hard.type, hard.linkname = tarfile.LNKTYPE, "../secret.png"
    device.type, fifo.type = tarfile.CHRTYPE, tarfile.FIFOTYPE
    before = sorted(tmp_path.rglob("*"))
    path = write(
        tmp_path / "set/a.tar",
        [
            ("0.png", link), ("0.txt", b"link"), ("1.png", hard), ("2.png", device),
            ("3.png", fifo), ("../../4.png", encoded(4)), ("/etc/5.png", encoded(5)),
            ("6.png", b""), ("7.png", bomb()), ("8.png", b"<html>"), ("9.png", encoded(9)[:-30]),
        ],
    )  # fmt: skip
    source = open_source(path, size=8, broken_share=0.9)
    report = source.report()
    assert len(source) == 6 and report.replaced == 4
    assert report.text().count("is a link, a device or sparse; not followed") == 4
    for reason in ("the file is empty", "too large: ", "not a picture", "broken or cut off"):
        assert reason in report.text()
    # an odd name is only a name: nothing is unpacked
    assert {source[i].image[0, 0, 0] for i in range(6)} == {4, 5}
    cached = [p for p in tmp_path.rglob("*") if p.is_relative_to(tmp_path / "cache")]
    assert sorted(set(tmp_path.rglob("*")) - set(cached)) == sorted(
        {*before, tmp_path / "set", path}
    )


def test_what_is_no_plain_tar_is_refused(tmp_path):
    good = write(tmp_path / "good.tar", plain(2)).read_bytes()
    import gzip

    for content, reason in (
        (b"", "is empty"),
        (b"PK\3\4" + b"\0" * 2000, "is no tar file"),
        (encoded() * 20, "is no tar file"),
        (gzip.compress(good), "packed with gzip"),
        (bytes(10240), "holds no pictures"),
    ):
        (tmp_path / "x.tar").write_bytes(content)
        with pytest.raises(SfumatoError, match=reason):
            open_source(tmp_path / "x.tar")


def test_a_torn_tar_gives_what_stands_before(tmp_path):
    path = write(tmp_path / "a.tar", plain(20))
    whole = path.read_bytes()
    # every sample: 512 + 512 (picture) + 512 + 512 (text); cut anywhere
    for length in (2048 * 7, 2048 * 7 + 100, 2048 * 7 + 512 + 60, 2048 * 7 + 1024 + 300):
        path.write_bytes(whole[:length])
        index = build_index(path)
        assert 7 <= len(index.samples) <= 8 and index.remarks
        assert "cut off" in index.remarks[-1][1]
    path.write_bytes(whole[: 2048 * 5] + b"\xff" * 512 + whole[2048 * 5 + 512 :])
    index = build_index(path)
    assert len(index.samples) == 5 and "what stands before is used" in index.remarks[-1][1]


def test_the_index_is_kept_until_the_tar_changes(tmp_path, monkeypatch):
    path = write(tmp_path / "a.tar", plain(3))
    assert len(open_source(path, size=8)) == 3
    (kept,) = (tmp_path / "cache").rglob("*.json")
    walks = []
    build = tar_index.build_index
    monkeypatch.setattr(tar_index, "build_index", lambda p: (walks.append(p), build(p))[1])
    assert len(open_source(path, size=8)) == 3 and not walks
    write(path, plain(4))
    assert len(open_source(path, size=8)) == 4 and len(walks) == 1
    told = json.loads(kept.read_text())
    for damaged in ("", "[]", json.dumps({**told, "samples": [{"key": 1}]}),
                    kept.read_text().replace('"offset": ', '"offset": 99')):  # fmt: skip
        kept.write_text(damaged)
        walks.clear()
        assert len(open_source(path, size=8)) == 4 and len(walks) == 1


def test_pictures_that_do_not_fit_are_read_when_visited(tmp_path, monkeypatch):
    path = write(tmp_path / "a.tar", [*plain(6), ("9.png", b"bad"), ("9.txt", b"x")])
    monkeypatch.setattr("sfumato.data.sources.shards.CACHE_LIMIT", 100)
    monkeypatch.setattr("sfumato.data.sources.folder.CACHE_LIMIT", 100)
    source = open_source(path, size=8, channels=3)
    assert source._pixels is None and not source.unreadable
    for _ in range(2):
        assert [int(source[i].image[0, 0, 0]) for i in range(7)] == [0, 1, 2, 3, 4, 5, 0]
    assert source.report().replaced == 1
    path.write_bytes(path.read_bytes()[:600])  # somebody cuts it while it is in use
    assert source[0].origin == "a.tar/0000.png"
    assert source[3].origin == "a.tar/0000.png"


def test_as_the_library_of_that_name_writes_and_reads(tmp_path):
    webdataset = pytest.importorskip("webdataset")
    path = tmp_path / "a.tar"
    random = np.random.default_rng(0)
    pictures = random.integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)
    with webdataset.TarWriter(str(path)) as writer:
        for number, pixels in enumerate(pictures):
            writer.write({"__key__": f"k/{number}", "png": pixels, "txt": f"text {number}",
                          "json": {"n": number}, "cls": number})  # fmt: skip
    source = open_source(path, size=8)
    theirs = webdataset.WebDataset(str(path), shardshuffle=False)
    for number, sample in enumerate(theirs):
        example = source[number]
        assert (example.image.transpose(1, 2, 0) == pictures[number]).all()
        assert example.captions == (sample["txt"].decode(),)
        assert example.label == sample["cls"].decode()
    assert number == len(source) - 1 == 4
