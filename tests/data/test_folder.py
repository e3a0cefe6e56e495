"""Folders of pictures: captions, classes, broken files, hostile paths."""

from __future__ import annotations

import io
import json
import os
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sfumato.data import open_source
from sfumato.data import scan as scanning
from sfumato.data.example import Source
from sfumato.data.sources import folder as module
from sfumato.data.sources.folder import FolderSource
from sfumato.errors import SfumatoError

COLOURS = ["red", "lime", "blue", "yellow", "cyan", "magenta", "white", "black"]


def picture(path: Path, colour: str = "red", mode: str = "RGB", side: int = 40, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (side, side), colour).convert(mode).save(path, **options)
    return path


def broken(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"I only look like a picture")
    return path


def colour(example) -> tuple[int, ...]:
    return tuple(int(v) for v in example.image[:3, 20, 20])


def reasons(source: Source) -> dict[str, str]:
    return {problem.origin: problem.reason for problem in source.report().problems}


@cache
def bomb() -> bytes:
    """200 megapixels of one bit: 25 kB that would fill 600 MB as RGB."""
    stream = io.BytesIO()
    Image.new("1", (20000, 10000)).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def nasty(tmp_path: Path) -> Path:
    """Everything that people's folders hold, made with real files."""
    root = tmp_path / "nasty"
    root.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (120, 120, 3), dtype=np.uint8)
    Image.fromarray(noise).save(root / "a-truncated.jpg")
    content = (root / "a-truncated.jpg").read_bytes()
    (root / "a-truncated.jpg").write_bytes(content[: len(content) // 2])
    (root / "b-text.png").write_text("This is a text file.\n")
    halves = Image.new("RGB", (80, 40), "red")
    halves.paste("blue", (40, 0, 80, 40))
    exif = Image.Exif()
    exif[0x0112] = 6
    halves.save(root / "c-rotated.JPG", exif=exif, quality=95, subsampling=0)
    Image.new("RGBA", (50, 50), (0, 255, 0, 0)).save(root / "d-clear.png")
    Image.new("CMYK", (50, 50), (0, 255, 255, 0)).save(root / "e-cmyk.jpeg")
    Image.fromarray(np.full((50, 50), 0xC0C0, np.uint16)).save(root / "f-deep.PNG")
    Image.new("P", (50, 50), 0).save(root / "g-palette.gif")
    picture(root / "h-russian.png", "yellow")
    picture(root / "i-silent.png", "cyan")
    (root / "j-bomb.png").write_bytes(bomb())
    for name in "abcdefgj":
        path = next(root.glob(f"{name}-*"))
        path.with_suffix(".txt").write_text(f"caption of {path.stem[2:]}\n", "utf-8")
    (root / "h-russian.txt").write_bytes("жёлтый квадрат".encode("cp1251"))
    (root / "i-silent.txt").write_text("  \n")
    return root


def test_a_nasty_folder_is_read_and_every_problem_named(nasty):
    source = open_source(nasty, size=40, channels=3)
    assert len(source) == 10 and source.channels == 3
    examples = [source[index] for index in range(10)]
    assert all(e.image.shape == (3, 40, 40) and e.image.dtype == np.uint8 for e in examples)
    # a and b show c; the bomb, last of all, starts again from the front and shows c too
    assert [e.origin[0] for e in examples] == list("cccdefghic")
    rotated = examples[2].image
    assert rotated[0, 5, 20] > 240 > rotated[2, 5, 20] < 20 and rotated[2, 35, 20] > 240
    assert colour(examples[3]) == (255, 255, 255)  # clear on white
    assert np.abs(np.subtract(colour(examples[4]), (255, 0, 0))).max() <= 3
    assert colour(examples[5]) == (0xC0,) * 3
    assert examples[7].captions == ("жёлтый квадрат",)
    assert examples[8].captions == ("i silent",)
    assert examples[9].captions == ("caption of rotated",)

    found = reasons(source)
    assert set(found) == {
        "a-truncated.jpg",
        "b-text.png",
        "h-russian.txt",
        "i-silent.png",
        "j-bomb.png",
    }
    assert "cut off" in found["a-truncated.jpg"]
    assert "not a picture" in found["b-text.png"]
    assert "200 megapixels" in found["j-bomb.png"]
    assert "cp1251" in found["h-russian.txt"] and "жёлтый квадрат" in found["h-russian.txt"]
    assert "empty caption" in found["i-silent.png"] and "'i silent'" in found["i-silent.png"]
    text = source.report().text()
    assert "3 of 10 pictures cannot be read and are replaced" in text
    assert all(name in text for name in found)


def test_the_same_folder_gives_the_same_examples_cached_or_not(nasty, monkeypatch):
    cached = FolderSource(nasty, 32, 4)
    monkeypatch.setattr(module, "CACHE_LIMIT", 0)
    on_demand = FolderSource(nasty, 32, 4)
    assert on_demand._pixels is None and cached._pixels is not None
    for index in (*range(10), -1):
        one, other = cached[index], on_demand[index]
        assert (one.image == other.image).all()
        assert (one.captions, one.origin) == (other.captions, other.origin)
    assert cached.report() == on_demand.report()


def test_a_picture_that_breaks_later_is_replaced_too(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "CACHE_LIMIT", 0)
    for name in "abc":
        picture(tmp_path / f"{name}.png")
    source = FolderSource(tmp_path)
    (tmp_path / "b.png").unlink()
    assert source[1].origin == "c.png"
    assert "cannot be opened" in reasons(source)["b.png"]
    for name in "ac":
        broken(tmp_path / f"{name}.png")
    with pytest.raises(SfumatoError, match="No picture"):
        source[0]


@given(st.lists(st.booleans(), min_size=1, max_size=9).filter(any), st.integers(0, 8))
@settings(max_examples=25, deadline=None)
def test_the_next_good_picture_in_order_stands_in(tmp_path_factory, good, index):
    root = tmp_path_factory.mktemp("mixed")
    for number, fine in enumerate(good):
        (picture if fine else broken)(root / f"{number}.png")
    source = FolderSource(root, 8, broken_share=0.99)
    index %= len(good)
    rounds = list(range(len(good))) * 2
    expected = next(i for i in rounds[index:] if good[i])
    assert source[index].origin == f"{expected}.png"
    assert source.report().replaced == good.count(False)


def test_too_many_broken_pictures_end_it(tmp_path):
    for number in range(2):
        picture(tmp_path / f"{number}.png")
        broken(tmp_path / f"x{number}.png")
    assert len(FolderSource(tmp_path)) == 4  # half is still allowed
    broken(tmp_path / "y.png")
    with pytest.raises(SfumatoError, match=r"3 of 5 .*share of 50%.*x0\.png: not a picture"):
        FolderSource(tmp_path)
    assert len(FolderSource(tmp_path, broken_share=0.6)) == 5
    with pytest.raises(SfumatoError, match=r"3 of 5 .*share of 0%"):
        FolderSource(tmp_path, broken_share=0.0)


def test_nothing_but_broken_pictures_ends_it_at_any_share(tmp_path):
    broken(tmp_path / "a.png")
    with pytest.raises(SfumatoError, match="1 of 1"):
        FolderSource(tmp_path, broken_share=0.99)


# --- captions


def test_sidecars_in_their_variants(tmp_path):
    for name in ("a.png", "b.JPG", "c.webp", "sub/d.bmp", "e.tif"):
        picture(tmp_path / name)
    (tmp_path / "a.txt").write_text("one\n\ntwo\n")
    (tmp_path / "b.TXT").write_text("three")
    (tmp_path / "c.webp.txt").write_text("four")
    (tmp_path / "sub/d.txt").write_text("five")
    (tmp_path / "README.txt").write_text("not a caption")
    source = FolderSource(tmp_path)
    captions = {source[i].origin: source[i].captions for i in range(len(source))}
    assert captions == {
        "a.png": ("one", "two"),
        "b.JPG": ("three",),
        "c.webp": ("four",),
        "sub/d.bmp": ("five",),
        "e.tif": ("e",),
    }
    assert source.classes == () and source[0].label is None
    assert reasons(source) == {"e.tif": "has no caption; 'e' is taken from its name"}


def test_metadata_here_and_in_subfolders(tmp_path):
    for name in ("a.png", "b.png", "sub/c.png", "sub/d.png"):
        picture(tmp_path / name)
    (tmp_path / "metadata.csv").write_text(
        "file_name,text\na.png,one\na.png,uno\nsub/c.png,three\n"
    )
    rows = [
        {"file_name": "d.png", "text": ["four", "vier"]},
        {"file_name": "c.png", "text": "drei"},
    ]
    (tmp_path / "sub/metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "b.txt").write_text("two")
    source = FolderSource(tmp_path)
    assert [source[i].captions for i in range(4)] == [
        ("one", "uno"),
        ("two",),
        ("three", "drei"),
        ("four", "vier"),
    ]
    assert source.report().problems == ()


def test_a_caption_told_by_two_tables_is_one(tmp_path):
    picture(tmp_path / "a.png")
    (tmp_path / "metadata.csv").write_text("file_name,text\na.png,a door\na.png,a door\n")
    row = {"file_name": "a.png", "text": ["a door", "red"]}
    (tmp_path / "metadata.jsonl").write_text(json.dumps(row))
    # within one table it is meant: drawn twice as often
    assert FolderSource(tmp_path)[0].captions == ("a door", "a door", "red")


def test_an_empty_cell_and_an_old_encoding_in_a_table(tmp_path):
    for name in ("red_sun.png", "b.png"):
        picture(tmp_path / name)
    table = "file_name,text\nred_sun.png,\nb.png,синий дом\n"
    (tmp_path / "metadata.csv").write_bytes(table.encode("cp1251"))
    source = FolderSource(tmp_path)
    assert {source[0].captions, source[1].captions} == {("red sun",), ("синий дом",)}
    found = reasons(source)
    assert "empty caption" in found["red_sun.png"] and "cp1251" in found["metadata.csv"]


def test_a_caption_file_that_cannot_be_read_costs_the_caption_only(tmp_path, monkeypatch):
    for name in "ab":
        picture(tmp_path / f"{name}.png")
        (tmp_path / f"{name}.txt").write_text(f"caption {name}")
    real = scanning.read_caption_file

    def failing(path):
        if path.name == "a.txt":
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(scanning, "read_caption_file", failing)
    source = FolderSource(tmp_path)
    assert [source[i].captions for i in range(2)] == [("a",), ("caption b",)]
    assert "Permission denied" in reasons(source)["a.png"]


def test_paths_that_leave_the_folder_are_refused(tmp_path):
    secret = picture(tmp_path / "secret.png", "blue")
    root = tmp_path / "set"
    picture(root / "a.png")
    wicked = [
        "../secret.png",
        str(secret),
        "x/../../secret.png",
        "..\\secret.png",
        "C:\\secret.png",
    ]
    rows = [{"file_name": name, "text": "mine"} for name in [*wicked, "gone.png", "x/../a.png"]]
    (root / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    source = FolderSource(root)
    assert len(source) == 1 and source[0].captions == ("mine",)
    remarks = [problem.reason for problem in source.report().problems]
    assert sum("leaves the folder" in remark for remark in remarks) == len(wicked)
    assert sum("not there" in remark for remark in remarks) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_links_that_leave_the_folder_are_refused(tmp_path):
    secret = picture(tmp_path / "secret.png", "blue")
    (tmp_path / "secret.txt").write_text("password")
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "a.png", "text": "password"}')
    root = tmp_path / "set"
    for name in "abc":
        picture(root / f"{name}.png")
    os.symlink(secret, root / "link.png")
    os.symlink(tmp_path / "secret.txt", root / "a.txt")
    os.symlink(tmp_path / "metadata.jsonl", root / "metadata.jsonl")
    os.symlink(tmp_path, root / "up")
    os.symlink(root / "b.png", root / "inside.png")
    (root / "b.txt").write_text("fine")
    source = FolderSource(root)
    found = reasons(source)
    assert "leaves the folder" in found["link.png"] and "not read" in found["metadata.jsonl"]
    assert "link out of the folder" in found["a.png"] and "not followed" in found["up"]
    everything = [source[i] for i in range(len(source))]
    assert not any("password" in caption for e in everything for caption in e.captions)
    assert {colour(e) for e in everything} == {(255, 0, 0)}
    assert "inside.png" in {e.origin for e in everything}


def test_a_folder_without_any_captions_says_so_once(tmp_path):
    for name in ("red_ball.png", "IMG_0002.png", "blue-cup.png"):
        picture(tmp_path / "my toys" / name)
    source = FolderSource(tmp_path / "my toys")
    assert {source[i].captions for i in range(3)} == {("red ball",), ("my toys",), ("blue cup",)}
    assert len(source.report().problems) == 1
    assert "no captions" in source.report().text()


# --- classes and splits


def test_subfolders_are_classes(tmp_path):
    for number, name in enumerate(["red_fox", "cat", "dog"]):
        picture(tmp_path / name / "images" / "1.png", COLOURS[number])
    source = FolderSource(tmp_path)
    assert source.classes == ("cat", "dog", "red_fox")
    assert [source[i].label for i in range(3)] == ["cat", "dog", "red_fox"]
    assert source[2].captions == ("red fox",)
    assert colour(source[0]) == (0, 255, 0)
    assert source.report().problems == ()


def test_one_subfolder_alone_is_no_class(tmp_path):
    picture(tmp_path / "pictures" / "sun.png")
    source = FolderSource(tmp_path)
    assert source.classes == () and source[0].captions == ("sun",)


def test_train_and_test_parts(tmp_path):
    for part, count in (("train", 3), ("val", 2)):
        for number in range(count):
            picture(tmp_path / part / "ab"[number % 2] / f"{number}.png")
    assert len(open_source(tmp_path)) == 3
    test = open_source(tmp_path, split="test")
    assert len(test) == 2 and test.classes == ("a", "b")
    picture(tmp_path / "train" / "B" / "9.png")
    assert open_source(tmp_path).classes == ("B", "a", "b")
    assert open_source(tmp_path, split="test").classes == ("B", "a", "b")
    assert test.name == tmp_path.name
    with pytest.raises(SfumatoError, match="no test part"):
        open_source(tmp_path / "train", split="test")
    with pytest.raises(SfumatoError, match="train or test"):
        open_source(tmp_path, split="all")


def test_a_folder_called_train_beside_pictures_is_one_of_the_subjects(tmp_path):
    picture(tmp_path / "steam.png")
    picture(tmp_path / "train" / "1.png")
    assert len(open_source(tmp_path)) == 2


def test_extensions_in_any_case_and_nothing_hidden(tmp_path):
    for name in ("a.PNG", "b.JPEG", "c.WebP", "d.Gif", "e.BMP", "f.TIF", "g.jpg"):
        picture(tmp_path / name)
    for name in ("._a.png", ".cache/x.png"):
        broken(tmp_path / name)
    (tmp_path / "notes.md").write_text("no picture")
    source = FolderSource(tmp_path)
    assert len(source) == 7 and source.report().replaced == 0


def test_a_folder_without_pictures_says_what_it_wants(tmp_path):
    (tmp_path / "notes.md").write_text("no picture")
    with pytest.raises(SfumatoError, match=r"holds no pictures.*metadata\.csv"):
        FolderSource(tmp_path)


def test_a_forbidden_folder_is_one_sentence(tmp_path, monkeypatch):
    def forbidden(_path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", forbidden)
    with pytest.raises(SfumatoError, match="Permission denied"):
        FolderSource(tmp_path)


# --- channels and sizes


@pytest.mark.parametrize(
    ("modes", "channels"),
    [
        (["RGB", "L", "L"], 3),
        (["L", "1", "I;16"], 1),
        (["clear", "clear", "RGB"], 4),
        (["clear", "RGB", "RGB"], 3),
        (["RGBA", "RGBA", "RGBA"], 3),  # an alpha channel that is never used
    ],
)
def test_channels_follow_the_pictures(tmp_path, modes, channels):
    for number, mode in enumerate(modes):
        path = tmp_path / f"{number}.png"
        if mode == "clear":
            Image.new("RGBA", (40, 40), (255, 0, 0, 0)).save(path)
        elif mode == "I;16":
            Image.fromarray(np.zeros((40, 40), np.uint16)).save(path)
        else:
            picture(path, mode=mode)
    broken(tmp_path / "z.png")
    source = FolderSource(tmp_path)
    assert source.channels == channels
    assert source[0].image.shape == (channels, 64, 64)


def test_stored_sizes_are_kept(tmp_path):
    Image.new("RGB", (70, 30)).save(tmp_path / "a.png")
    broken(tmp_path / "b.png")
    assert FolderSource(tmp_path).dimensions == [(70, 30), (0, 0)]


def test_positions_out_of_range(tmp_path):
    picture(tmp_path / "a.png")
    source = FolderSource(tmp_path)
    assert source[-1].origin == source[0].origin == "a.png"
    for index in (1, -2):
        with pytest.raises(IndexError):
            source[index]
    assert len(list(source)) == 1  # so that a plain loop ends


def test_no_progress_bar_when_nobody_looks(nasty, capsys):
    FolderSource(nasty, 16, 3)
    printed = capsys.readouterr()
    assert printed.out == printed.err == ""


def test_a_huge_folder_is_not_kept_in_memory_on_any_system(monkeypatch):
    """Where NumPy counts in 32 bits, as on Windows, four pictures of 2^30 bytes come to nothing."""
    product = np.prod
    monkeypatch.setattr(np, "prod", lambda shape: product(shape, dtype=np.int32))
    source = FolderSource.__new__(FolderSource)
    source._found = scanning.Scan(Path(), "huge", paths=[Path()] * 4)
    source.unreadable = dict.fromkeys(range(4), "not looked at")
    source.channels, source.size = 1, 2**15
    assert source._read_all() is None
