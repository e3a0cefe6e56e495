"""The clean copy: what is in it, what is not, and that it is whole or not there at all."""

from __future__ import annotations

import csv
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image

from sfumato.data import member_names, open_source
from sfumato.data.checking import clean
from sfumato.data.checking.check import check
from sfumato.data.checking.clean import write_clean
from sfumato.errors import SfumatoError


@pytest.fixture(autouse=True)
def english(monkeypatch):
    monkeypatch.setenv("SFUMATO_LANG", "en")


def photograph(seed: int, width: int = 120, height: int = 120) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def save(image: Image.Image, path: Path, caption: str | None = None, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    if caption is not None:
        path.with_suffix(".txt").write_text(caption, "utf-8")
    return path


@pytest.fixture
def messy(tmp_path):
    root = tmp_path / "messy"
    for number in range(4):
        save(photograph(number), root / f"{number}.jpg", f"thing {number}", quality=90)
    save(photograph(1), root / "small/one.jpg", "the same thing", quality=40)
    save(photograph(2, 240, 240), root / "large.png", "a larger one")
    shutil.copy(root / "3.jpg", root / "copy of 3.jpg")
    (root / "copy of 3.txt").write_text("a third name")
    save(Image.new("RGB", (99, 99), "red"), root / "red.png", "red")
    (root / "broken.jpg").write_bytes((root / "0.jpg").read_bytes()[:600])
    (root / "text.png").write_text("<html>")
    (root / "0.txt").write_bytes("сердце".encode("cp1251"))
    save(photograph(5), root / "odd.png", "РєРѕС‚")
    turned = Image.Exif()
    turned[0x0112] = 6
    save(photograph(6, 80, 120), root / "turned.jpg", "lying", exif=turned, quality=95)
    return root


def contents(root: Path) -> dict[str, bytes]:
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def rows(target: Path) -> dict[str, object]:
    lines = (target / "metadata.jsonl").read_text("utf-8").splitlines()
    return {row["file_name"]: row["text"] for row in map(json.loads, lines)}


def left_out(target: Path) -> dict[str, str]:
    with (target / "left-out.csv").open(encoding="utf-8-sig", newline="") as file:
        return {row["file_name"]: row["kind"] for row in csv.DictReader(file)}


def test_the_copy_is_clean_and_the_original_as_it_was(messy, tmp_path):
    before = contents(messy)
    target = tmp_path / "clean"
    done = write_clean(check(messy), target)
    assert contents(messy) == before
    assert check(target).serious == 0
    assert left_out(target) == {
        "2.jpg": "near duplicate",
        "small/one.jpg": "near duplicate",
        "copy of 3.jpg": "duplicate",
        "red.png": "blank",
        "broken.jpg": "unreadable",
        "text.png": "unreadable",
    }
    assert len(done.left_out) == 6 and (done.copied, done.turned, done.captions) == (5, 1, 1)
    kept = contents(target)
    assert set(kept) == {
        *("0.jpg", "1.jpg", "3.jpg", "large.png", "odd.png", "turned.jpg"),
        *("metadata.jsonl", "left-out.csv"),
    }
    for name in ("0.jpg", "1.jpg", "3.jpg", "large.png", "odd.png"):
        assert kept[name] == before[name]  # byte for byte
    assert not list(tmp_path.glob(".*"))


def test_what_remains_is_said_last(messy, tmp_path):
    save(photograph(7), messy / "file.png", "IMG_2034.jpg")
    save(photograph(8, 10, 10), messy / "tiny.png", "a tiny one")
    save(Image.new("RGB", (9, 9), "blue"), messy / "blank.png", "<p>blue</p>")  # left out
    done = write_clean(check(messy), tmp_path / "clean")
    again = check(tmp_path / "clean").counts()
    assert done.remaining == {kind: count for kind, count in again.items() if count}
    assert done.to_dict()["remaining"] == {"caption odd": 1, "tiny": 1}
    assert done.text().splitlines()[-1] == (
        "Findings that remain, for you to judge: 2. With an odd caption: 1. "
        "Smaller than the training will show them: 1."
    )
    (tmp_path / "clean" / "tiny.png").unlink(), (tmp_path / "clean" / "file.png").unlink()
    rest = write_clean(check(tmp_path / "clean"), tmp_path / "rest")
    assert not rest.remaining and "Findings" not in rest.text()


def test_captions_of_all_copies_stay_with_the_one_that_is_kept(messy, tmp_path):
    write_clean(check(messy), tmp_path / "clean")
    assert rows(tmp_path / "clean") == {
        "0.jpg": "сердце",
        "1.jpg": ["thing 1", "the same thing"],
        "3.jpg": ["thing 3", "a third name"],
        "large.png": ["a larger one", "thing 2"],
        "odd.png": "кот",
        "turned.jpg": "lying",
    }


def test_a_picture_is_turned_as_the_trainer_would_turn_it(messy, tmp_path):
    write_clean(check(messy), tmp_path / "clean")
    with Image.open(tmp_path / "clean" / "turned.jpg") as image:
        assert image.size == (120, 80) and image.getexif().get(0x0112, 1) == 1
    sources = {root: open_source(root) for root in (messy, tmp_path / "clean")}
    seen = {
        root: next(source[i].image for i in range(len(source)) if "lying" in source[i].captions)
        for root, source in sources.items()
    }
    one, other = (image.astype(int) for image in seen.values())
    assert abs(one - other).mean() < 2


@pytest.mark.parametrize("form", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_of_every_format(tmp_path, form, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    root = tmp_path / "set"
    save(photograph(1, 90, 120), root / f"a.{form}", "a", exif=exif)
    save(photograph(2), root / "b.png", "b")
    done = write_clean(check(root), tmp_path / "clean")
    assert done.turned == (orientation > 1)
    same = [open_source(where)[0].image.astype(int) for where in (root, tmp_path / "clean")]
    assert abs(same[0] - same[1]).mean() < 2
    original, copy = root / f"a.{form}", tmp_path / "clean" / f"a.{form}"
    assert (original.read_bytes() == copy.read_bytes()) == (orientation == 1)
    with Image.open(copy) as image:
        assert image.getexif().get(0x0112, 1) == 1


def test_classes_stay_folders(tmp_path):
    root = tmp_path / "set"
    for number, label in enumerate(("cat", "cat", "dog", "dog")):
        save(photograph(number), root / label / f"{number}.png")
    save(photograph(0), root / "dog" / "a cat.png")
    report = check(root)
    write_clean(report, tmp_path / "clean")
    assert not (tmp_path / "clean" / "metadata.jsonl").exists()
    assert check(tmp_path / "clean").classes == {"cat": 2, "dog": 2}
    assert left_out(tmp_path / "clean") == {"dog/a cat.png": "duplicate"}


def test_one_class_that_is_left_becomes_a_caption(tmp_path):
    root = tmp_path / "set"
    save(photograph(0), root / "cat" / "a.png")
    save(photograph(0), root / "dog" / "b.png")
    write_clean(check(root), tmp_path / "clean")
    assert rows(tmp_path / "clean") == {"cat/a.png": "cat"}


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_awkward_names_become_such_as_every_table_can_carry(tmp_path):
    root = tmp_path / "set"
    names = ("a\\b.png", "c:d.png", 'q"?.png', " space.png", "new\nline.png", "A.png", "a.png")
    for number, name in enumerate(names):
        save(photograph(number), root / name)
        (root / f"{name[:-4]}.txt").write_text(f"thing {number}")
    write_clean(check(root), tmp_path / "clean")
    report = check(tmp_path / "clean")
    assert report.total == len(names) == len(rows(tmp_path / "clean")) and not report.serious
    kept = [name for name in contents(tmp_path / "clean") if name.endswith(".png")]
    assert len({name.casefold() for name in kept}) == len(names)
    assert not any(set(name) & set('\\:"?\n') for name in kept)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_classes_stay_apart_and_names_are_such_as_windows_has(tmp_path):
    root = tmp_path / "set"
    names = (
        "b?/1.png",
        "b*/2.png",
        "aux/3.png",
        "Cat/4.png",
        "cat/5.png",
        "b?/con.png",
        "cat./6.png",
    )
    for number, name in enumerate(names):
        save(photograph(number), root / name)
    write_clean(check(root), tmp_path / "clean")
    counts = check(tmp_path / "clean").classes
    assert sorted(counts.values()) == [1, 1, 1, 1, 1, 2]
    kept = [name for name in contents(tmp_path / "clean") if name.endswith(".png")]
    assert len({name.split("/")[0].casefold() for name in kept}) == 6
    for part in (part for name in kept for part in name.split("/")):
        assert part == member_names.for_windows(part)


def test_what_nobody_described_gets_no_caption(tmp_path):
    root = tmp_path / "set"
    save(photograph(0), root / "31mred.png")
    save(photograph(1), root / "dull.png", "")
    save(photograph(2), root / "b.png", "a door")
    save(photograph(2, 60, 60), root / "smaller door.png")
    done = write_clean(check(root), tmp_path / "clean")
    assert rows(tmp_path / "clean") == {"b.png": "a door"} and done.uncaptioned == 2
    assert "Still without a caption: 2" in done.text() and done.to_dict()["without caption"] == 2
    missing = check(tmp_path / "clean").findings["caption missing"]
    assert [one.origin for one in missing] == ["31mred.png", "dull.png"]


def test_a_folder_without_any_captions_gets_none(tmp_path):
    for number in range(2):
        save(photograph(number), tmp_path / "set" / f"red door {number}.png")
    done = write_clean(check(tmp_path / "set"), tmp_path / "clean")
    assert done.uncaptioned == 2 and not (tmp_path / "clean" / "metadata.jsonl").exists()


def test_a_telephones_photograph_is_turned_with_little_loss(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    detail = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    image = Image.fromarray(detail).resize((120, 80), Image.Resampling.BICUBIC)
    options = {"save_all": True, "append_images": [photograph(1)], "quality": 98, "subsampling": 0}
    save(image, tmp_path / "set" / "a.jpg", "a", format="MPO", exif=exif, **options)
    with Image.open(tmp_path / "set" / "a.jpg") as stored:
        assert stored.format == "MPO"
        meant = np.asarray(stored.transpose(Image.Transpose.ROTATE_270)).astype(float)
    assert write_clean(check(tmp_path / "set"), tmp_path / "clean").turned == 1
    with Image.open(tmp_path / "clean" / "a.jpg") as copy:
        assert copy.format == "JPEG" and abs(np.asarray(copy) - meant).mean() < 4


@pytest.fixture
def parted(tmp_path):
    root = tmp_path / "set"
    for part, first in (("train", 0), ("test", 4), ("val", 8)):
        for number in range(first, first + 4):
            save(photograph(number), root / part / f"{number}.png", f"thing {number}")
    save(photograph(5), root / "train" / "leaked.png", "leaked")
    save(photograph(9, 240, 240), root / "train" / "larger.png", "larger")
    save(photograph(1, 60, 60), root / "train" / "smaller.png", "smaller")
    (root / "test" / "broken.png").write_text("no")
    (root / "val" / "8.txt").unlink()
    return root


def test_all_parts_are_checked_together(parted):
    report = check(parted)
    assert report.parts == ("train", "test", "val") and report.total == 16
    found = {kind: [one.origin for one in some] for kind, some in report.findings.items()}
    assert found == {
        "unreadable": ["test/broken.png"],
        "near duplicate": ["train/smaller.png"],
        "leak": ["test/5.png", "train/larger.png"],
        "caption missing": ["val/8.png"],
        "tiny": ["train/smaller.png"],
    }
    assert "train, test, val" in report.text() and report.to_dict()["parts"] == list(report.parts)
    assert check(parted, split="test").total == 5


def test_every_part_is_copied_under_its_name(parted, tmp_path):
    before = contents(parted)
    done = write_clean(check(parted), tmp_path / "clean")
    assert contents(parted) == before and done.kept == 12
    assert left_out(tmp_path / "clean") == {
        "train/smaller.png": "near duplicate",
        "train/leaked.png": "leak",
        "train/larger.png": "leak",
        "test/broken.png": "unreadable",
    }
    target = tmp_path / "clean"
    assert rows(target / "train")["1.png"] == ["thing 1", "smaller"]
    assert rows(target / "test") == {f"{n}.png": f"thing {n}" for n in range(4, 8)}
    assert set(rows(target / "val")) == {"9.png", "10.png", "11.png"}
    assert "leaked" not in str(rows(target / "test"))
    again = check(target)
    assert again.parts == ("train", "test", "val") and set(again.findings) == {"caption missing"}
    assert len(open_source(target, split="test")) == 4


def test_classes_of_parts_stay_folders(tmp_path):
    for number, name in enumerate(("train/cat", "train/dog", "test/cat", "test/dog")):
        save(photograph(number), tmp_path / "set" / name / "a.png")
    write_clean(check(tmp_path / "set"), tmp_path / "clean")
    assert not list((tmp_path / "clean").rglob("metadata.jsonl"))
    assert check(tmp_path / "clean").classes == {"cat": 2, "dog": 2}


def test_parts_without_captions_are_said_to_be_bare(tmp_path):
    for part in ("train", "test"):
        save(photograph(len(part)), tmp_path / part / f"{part}.png")
    (tmp_path / "test" / "test.txt").write_text("IMG_1")
    found = check(tmp_path).findings
    assert [one.origin for one in found["caption missing"]] == ["train/train.png"]
    assert [one.origin for one in found["caption odd"]] == ["test/test.png"]


def test_what_a_killed_run_left_is_removed_and_a_running_one_respected(messy, tmp_path):
    report = check(messy)
    left = tmp_path / ".clean.partial"
    left.mkdir()
    (left / "x").write_text("x")
    lock = FileLock(tmp_path / ".clean.partial.lock")
    with lock, pytest.raises(SfumatoError, match="Wait for it"):
        write_clean(report, tmp_path / "clean")
    assert (left / "x").exists()
    write_clean(report, tmp_path / "clean")
    assert not (tmp_path / "clean" / "x").exists() and not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("where", ["messy", "messy/inside", "."])
def test_never_into_or_over_the_source(messy, tmp_path, where):
    before = contents(messy)
    with pytest.raises(SfumatoError, match="the other way round"):
        write_clean(check(messy), tmp_path / where)
    assert contents(messy) == before


def test_never_through_a_link_into_the_source(messy, tmp_path):
    (tmp_path / "link").symlink_to(messy)
    with pytest.raises(SfumatoError, match="Choose another place"):
        write_clean(check(messy), tmp_path / "link" / "clean")


def test_a_used_folder_and_a_file_are_refused_an_empty_folder_is_taken(messy, tmp_path):
    report = check(messy)
    for name in ("used", "file", "empty"):
        if name == "file":
            (tmp_path / name).write_text("mine")
        else:
            (tmp_path / name).mkdir()
    (tmp_path / "used" / "mine.txt").write_text("mine")
    for name in ("used", "file"):
        with pytest.raises(SfumatoError, match="Choose a new name"):
            write_clean(report, tmp_path / name)
    assert write_clean(report, tmp_path / "empty").kept == 6
    assert (tmp_path / "used" / "mine.txt").read_text() == "mine"


def test_only_files_can_be_copied(tmp_path):
    for name, number, shape in (("images-idx3", 3, (6, 9, 9)), ("labels-idx1", 1, (6,))):
        values = np.random.default_rng(0).integers(0, 6, shape, dtype=np.uint8)
        head = bytes((0, 0, 8, number)) + b"".join(side.to_bytes(4, "big") for side in shape)
        (tmp_path / f"train-{name}-ubyte").write_bytes(head + values.tobytes())
    with pytest.raises(SfumatoError, match="not a folder of picture files"):
        write_clean(check(tmp_path), tmp_path.with_name("clean"))
    assert not tmp_path.with_name("clean").exists()


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_an_interruption_leaves_nothing(messy, tmp_path, monkeypatch, error):
    report = check(messy)
    real, calls = clean._transfer, []

    def failing(*paths):
        calls.append(paths)
        if len(calls) == 3:
            raise error
        return real(*paths)

    monkeypatch.setattr(clean, "_transfer", failing)
    before = set(tmp_path.iterdir())
    wanted = KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else SfumatoError
    with pytest.raises(wanted) as raised:
        write_clean(report, tmp_path / "clean")
    if wanted is SfumatoError:
        assert "No space left" in str(raised.value)
    assert set(tmp_path.iterdir()) == before


def test_a_picture_that_has_gone_since_is_left_out(messy, tmp_path):
    report = check(messy)
    (messy / "1.jpg").unlink()
    done = write_clean(report, tmp_path / "clean")
    assert left_out(tmp_path / "clean")["1.jpg"] == "unreadable"
    assert "1.jpg" not in rows(tmp_path / "clean") and done.kept == 5


def test_nothing_left_is_said(tmp_path):
    save(Image.new("RGB", (64, 64)), tmp_path / "set" / "a.png", "black")
    with pytest.raises(SfumatoError, match="No picture would be left"):
        write_clean(check(tmp_path / "set"), tmp_path / "clean")
    assert not (tmp_path / "clean").exists()
