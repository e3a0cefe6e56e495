"""Real pictures that scikit-learn brings: digits as IDX, photographs as a folder and as a tar."""

from __future__ import annotations

import tarfile

import numpy as np
import pytest
from PIL import Image

from sfumato.data import open_source

sklearn = pytest.importorskip("sklearn.datasets")


def test_digits_as_idx(tmp_path):
    digits = sklearn.load_digits()
    pictures = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    for kind, values in (("images-idx3", pictures), ("labels-idx1", digits.target)):
        sides = b"".join(side.to_bytes(4, "big") for side in values.shape)
        head = b"\x00\x00\x08" + bytes([values.ndim]) + sides
        content = head + values.astype(np.uint8).tobytes()
        path = tmp_path / "MNIST/raw" / f"train-{kind}-ubyte"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    source = open_source(tmp_path)
    assert (len(source), source.size, source.name) == (1797, 8, tmp_path.name)
    assert source.classes == tuple("0123456789")
    for index in range(0, 1797, 100):
        assert (source[index].image[0] == pictures[index]).all()
        assert source[index].label == str(digits.target[index])


def test_photographs_in_a_folder_and_in_a_tar(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "photographs"
    folder.mkdir()
    photographs = sklearn.load_sample_images()
    for name, pixels in zip(("china", "flower"), photographs.images, strict=True):
        Image.fromarray(pixels).save(folder / f"{name}.jpg", quality=95)
        (folder / f"{name}.txt").write_text(f"a photograph of a {name}")
    with tarfile.open(tmp_path / "photographs.tar", "w") as archive:
        for path in sorted(folder.iterdir()):
            archive.add(path, path.name)
    plain, packed = open_source(folder), open_source(tmp_path / "photographs.tar")
    for index in range(2):
        assert (plain[index].image == packed[index].image).all()
        assert plain[index].captions == packed[index].captions
        # the centre square, reduced: its mean colour is the photograph's
        pixels = photographs.images[index]
        height, width = pixels.shape[:2]
        left = (width - height) // 2
        wanted = pixels[:, left : left + height].mean(axis=(0, 1))
        assert np.abs(plain[index].image.mean(axis=(1, 2)) - wanted).max() < 2
