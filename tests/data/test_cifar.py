"""CIFAR-10's binary records, written byte by byte; its pickles are never opened."""

from __future__ import annotations

import numpy as np
import pytest

from sfumato.data import Source, open_source
from sfumato.data.sources.cifar import CLASSES
from sfumato.errors import SfumatoError

FILES = [f"data_batch_{number}.bin" for number in range(1, 6)] + ["test_batch.bin"]


@pytest.fixture
def planes():
    return np.random.default_rng(0).integers(0, 256, (len(FILES), 4, 3, 32, 32), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path, planes):
    root = tmp_path / "any name"
    root.mkdir()
    for number, name in enumerate(FILES):
        records = (
            bytes([(number + row) % 10]) + picture.tobytes()
            for row, picture in enumerate(planes[number])
        )
        (root / name).write_bytes(b"".join(records))
    (root / "batches.meta.txt").write_text("\n".join(CLASSES) + "\n\n")
    return root


def test_every_byte_is_where_the_description_says(folder, planes):
    train, test = open_source(folder), open_source(folder, split="test")
    assert isinstance(train, Source)
    assert (len(train), len(test)) == (20, 4)
    assert (train.size, train.channels, train.classes) == (32, 3, CLASSES)
    for index in range(20):
        part, row = divmod(index, 4)
        example = train[index]
        assert (example.image == planes[part, row]).all()
        assert example.label == CLASSES[(part + row) % 10]
        assert example.captions == (example.label,)
        assert example.origin == f"data_batch_{part + 1}.bin[{row}]"
    assert (test[-1].image == planes[5, 3]).all()
    with pytest.raises(IndexError):
        train[20]


def test_sizes_and_channels(folder):
    assert open_source(folder, size=64, channels=4)[0].image.shape == (4, 64, 64)
    assert open_source(folder, channels=1)[0].image.shape == (1, 32, 32)


def test_by_name_and_inside_the_archives_folder(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("SFUMATO_DATA", str(tmp_path / "own"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "user"))
    with pytest.raises(SfumatoError, match="not found.*sfumato data fetch cifar10"):
        open_source("cifar10")
    place = tmp_path / "own/cifar10/cifar-10-batches-bin"
    place.parent.mkdir(parents=True)
    folder.rename(place)
    assert len(open_source("cifar10")) == 20


@pytest.mark.parametrize("by_name", [True, False])
@pytest.mark.parametrize("inside", ["cifar-10-batches-py/data_batch_1", "data_batch_1"])
def test_pickles_are_refused_unopened(tmp_path, monkeypatch, by_name, inside):
    root = tmp_path / "cifar10"
    monkeypatch.setenv("SFUMATO_DATA", str(tmp_path))
    for name in (inside, inside.replace("data_batch_1", "test_batch")):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"cos\nabort\n(tR.")  # would end this process
    with pytest.raises(SfumatoError, match="pickles.*not opened.*binary version"):
        open_source("cifar10" if by_name else root)


def test_damaged_files_are_refused(folder):
    path = folder / "data_batch_3.bin"
    good = path.read_bytes()
    for content in (b"", good[:-1], good + b"x"):
        path.write_bytes(content)
        with pytest.raises(SfumatoError, match="multiple of 3073.*another copy"):
            open_source(folder)
    path.write_bytes(b"\x0b" + good[1:])
    with pytest.raises(SfumatoError, match="label 11.*10 classes"):
        open_source(folder)
    path.unlink()
    with pytest.raises(SfumatoError, match="data_batch_3.bin cannot be read"):
        open_source(folder)
    (folder / "batches.meta.txt").write_text("cat\ncat\n")
    with pytest.raises(SfumatoError, match="one class a line"):
        open_source(folder, split="test")
    with pytest.raises(SfumatoError, match="no part 'all'"):
        open_source(folder, split="all")
