"""IDX files, made byte by byte as their description says, and the real Fashion-MNIST."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from sfumato.data import open_source
from sfumato.data.sources import idx
from sfumato.data.sources.idx import (
    DEBIAN_FOLDER,
    FASHION_CLASSES,
    IdxSource,
    find_fashion_mnist,
    read_idx,
)
from sfumato.errors import SfumatoError


def idx_bytes(values: np.ndarray) -> bytes:
    head = b"\x00\x00\x08" + bytes([values.ndim])
    sides = b"".join(side.to_bytes(4, "big") for side in values.shape)
    return head + sides + values.tobytes()


def write(folder: Path, pictures: np.ndarray, labels: np.ndarray, part="train", packed=False):
    folder.mkdir(parents=True, exist_ok=True)
    for kind, rank, values in (("images", 3, pictures), ("labels", 1, labels)):
        content = idx_bytes(values)
        name = f"{part}-{kind}-idx{rank}-ubyte" + (".gz" if packed else "")
        (folder / name).write_bytes(gzip.compress(content) if packed else content)
    return folder


@pytest.fixture
def small():
    random = np.random.default_rng(0)
    pictures = random.integers(0, 256, (6, 28, 28), dtype=np.uint8)
    return pictures, np.array([0, 1, 2, 0, 1, 2], np.uint8)


@given(arrays(np.uint8, array_shapes(min_dims=3, max_dims=3, max_side=6)), st.booleans())
def test_what_was_written_is_read(tmp_path_factory, values, packed):
    path = tmp_path_factory.mktemp("idx") / "x"
    path.write_bytes(gzip.compress(idx_bytes(values)) if packed else idx_bytes(values))
    assert (read_idx(path, 0x803) == values).all()


@pytest.mark.parametrize("packed", [False, True])
def test_a_folder_of_both_parts(tmp_path, small, packed):
    pictures, labels = small
    write(tmp_path, pictures, labels, packed=packed)
    write(tmp_path, 255 - pictures[:2], labels[:2], "t10k", packed)
    train, test = open_source(tmp_path), open_source(tmp_path, split="test")
    assert (len(train), train.size, train.channels, train.classes) == (6, 28, 1, ("0", "1", "2"))
    assert len(test) == 2
    for index in range(6):
        example = train[index]
        assert (example.image[0] == pictures[index]).all()
        assert example.label == str(labels[index]) and example.captions == (example.label,)
        assert example.origin.endswith(f"[{index}]")
    assert (test[1].image[0] == 255 - pictures[1]).all()


def test_channels_and_sizes(tmp_path, small):
    pictures, labels = small
    write(tmp_path, pictures, labels)
    for channels in (3, 4):
        image = IdxSource(tmp_path, channels=channels)[0].image
        assert image.shape == (channels, 28, 28)
        assert all((plane == pictures[0]).all() for plane in image[:3])
    assert image[3].min() == 255
    assert IdxSource(tmp_path, size=32)[0].image.shape == (1, 32, 32)


def test_oblong_pictures_are_padded(tmp_path):
    write(tmp_path, np.full((1, 4, 10), 9, np.uint8), np.zeros(1, np.uint8))
    image = IdxSource(tmp_path)[0].image[0]
    assert image.shape == (10, 10) and image.sum() == 9 * 40 and image[3:7].min() == 9


def test_damaged_files_are_refused(tmp_path, small):
    pictures, labels = small
    good = idx_bytes(pictures)
    wrong = {
        "too short": good[:-1],
        "too long": good + b"x",
        "labels for pictures": idx_bytes(labels),
        "empty": b"",
        "no sizes": good[:6],
        "torn gzip": gzip.compress(good)[:-20],
        "rotten gzip": b"\x1f\x8b" + b"rot" * 20,
        "absurd": good[:4] + b"\xff" * 12,
    }
    for name, content in wrong.items():
        write(tmp_path, pictures, labels)
        (tmp_path / "train-images-idx3-ubyte").write_bytes(content)
        with pytest.raises(SfumatoError, match="Take another copy"):
            IdxSource(tmp_path)
            pytest.fail(name)


def test_files_that_do_not_belong_together(tmp_path, small):
    pictures, labels = small
    write(tmp_path, pictures, labels[:-1])
    with pytest.raises(SfumatoError, match="6 pictures but .* 5 labels"):
        IdxSource(tmp_path)
    write(tmp_path, pictures, labels)
    with pytest.raises(SfumatoError, match="label 2.*2 classes"):
        IdxSource(tmp_path, classes=("a", "b"))
    write(tmp_path, pictures[:0], labels[:0])
    with pytest.raises(SfumatoError, match="no pictures"):
        IdxSource(tmp_path)
    with pytest.raises(SfumatoError, match="no t10k-images"):
        IdxSource(tmp_path, split="test")
    with pytest.raises(SfumatoError, match="train or test"):
        IdxSource(tmp_path, split="all")


def test_where_fashion_mnist_is_looked_for(tmp_path, small, monkeypatch):
    monkeypatch.setattr(idx, "DEBIAN_FOLDER", tmp_path / "debian")
    monkeypatch.delenv("SFUMATO_DATA", raising=False)
    assert find_fashion_mnist() is None
    with pytest.raises(SfumatoError, match="dataset-fashion-mnist.*SFUMATO_DATA"):
        open_source("fashion-mnist")
    write(tmp_path / "debian", *small)
    assert find_fashion_mnist() == tmp_path / "debian"
    own = tmp_path / "own"
    monkeypatch.setenv("SFUMATO_DATA", str(own))
    write(own, *small)
    assert find_fashion_mnist() == own
    write(own / "fashion-mnist", *small)
    assert find_fashion_mnist() == own / "fashion-mnist"
    source = open_source("fashion-mnist")
    assert source.name == "fashion-mnist" and source.classes == FASHION_CLASSES
    assert [source[i].captions[0] for i in range(3)] == ["T-shirt/top", "Trouser", "Pullover"]


def test_torchvision_puts_both_into_one_folder(tmp_path, small, monkeypatch):
    pictures, labels = small
    monkeypatch.setattr(idx, "DEBIAN_FOLDER", tmp_path / "debian")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "user"))
    root = tmp_path / "own"
    digits = write(root / "MNIST/raw", pictures, labels)
    monkeypatch.setenv("SFUMATO_DATA", str(root))
    assert find_fashion_mnist() is None  # digits are no clothes
    clothes = write(root / "FashionMNIST/raw", 255 - pictures, labels)
    assert find_fashion_mnist() == clothes
    assert (open_source("fashion-mnist")[0].image[0] == 255 - pictures[0]).all()
    with pytest.raises(SfumatoError) as refusal:
        open_source(root)
    assert str(digits) in str(refusal.value) and str(clothes) in str(refusal.value)
    assert (open_source(root / "MNIST")[0].image[0] == pictures[0]).all()
    root.rename(tmp_path / "data")
    (tmp_path / "own").mkdir()
    (tmp_path / "data").rename(root / "mnist")
    assert (open_source("mnist")[0].image[0] == pictures[0]).all()


@pytest.mark.skipif(not DEBIAN_FOLDER.is_dir(), reason="dataset-fashion-mnist is not installed")
def test_the_real_fashion_mnist(monkeypatch):
    monkeypatch.delenv("SFUMATO_DATA", raising=False)
    source = open_source("fashion-mnist", split="test")
    assert (len(source), source.size, source.channels) == (10_000, 28, 1)
    labels = [source[i].label for i in range(len(source))]
    assert all(labels.count(name) == 1000 for name in FASHION_CLASSES)
    # trousers are narrow: their outer columns are darker than those of shirts
    edge = {
        name: np.mean([source[i].image[0, :, :6].mean() for i in range(3000) if labels[i] == name])
        for name in ("Trouser", "Shirt")
    }
    assert edge["Trouser"] < 0.5 * edge["Shirt"]
