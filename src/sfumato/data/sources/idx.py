"""IDX files, the form in which MNIST and Fashion-MNIST are handed round.

A header of big-endian integers (magic 0x803 pictures, 0x801 labels, then the sizes) followed
by bytes; described at the end of the page of MNIST by LeCun, Cortes and Burges.
"""

from __future__ import annotations

import gzip
import os
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from sfumato.data.decode import fit
from sfumato.data.example import Example, Report
from sfumato.data.places import VARIABLE, found_in, required
from sfumato.errors import SfumatoError

FASHION_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
"""The ten classes of Fashion-MNIST in the order of their labels (1708.07747, table 1)."""

DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
DIGITS = tuple("0123456789")
_INSIDE = {"mnist": ("raw", "MNIST/raw"), "fashion-mnist": ("raw", "FashionMNIST/raw")}
_PREFIXES = {"train": "train", "test": "t10k"}
_PICTURES, _LABELS = 0x803, 0x801
_MAX_BYTES = 4 << 30


class IdxSource:
    """Grey pictures with one class each, from the two IDX files of a split; see `Source`.

    The caption of a picture is the name of its class.

    Args:
        folder: holds train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-... and
            t10k-labels-..., each plain or with .gz (a dot may stand for the hyphen before idx).
        size: side in pixels; default as stored (the longer side, padded with black).
        channels: 1, 3 (three equal) or 4 (opaque); default 1.
        split: "train" or "test".
        classes: names in the order of the labels; default "0", "1", ...
        name: what the data set is called; default the folder's name.

    Raises:
        SfumatoError: a missing file, a wrong magic number, a length that does not match.
    """

    def __init__(
        self,
        folder: Path,
        size: int | None = None,
        channels: int | None = None,
        split: str = "train",
        classes: tuple[str, ...] | None = None,
        name: str | None = None,
    ) -> None:
        if split not in _PREFIXES:
            raise SfumatoError(f"IDX data has no part {split!r}. Take train or test.")
        pictures = _required(folder, _PREFIXES[split], "images", 3)
        labels = _required(folder, _PREFIXES[split], "labels", 1)
        pixels, self._labels = read_idx(pictures, _PICTURES), read_idx(labels, _LABELS)
        if len(pixels) != len(self._labels):
            raise SfumatoError(
                f"{pictures.name} holds {len(pixels)} pictures but {labels.name} "
                f"{len(self._labels)} labels. Take both files from the same place."
            )
        if not pixels.size:
            raise SfumatoError(f"{pictures} holds no pictures. Take another copy of the file.")
        self.size = size or max(pixels.shape[1:])
        self.channels = channels or 1
        self.name = name or folder.resolve().name
        self.classes = classes or tuple(str(i) for i in range(int(self._labels.max()) + 1))
        if self._labels.max() >= len(self.classes):
            raise SfumatoError(
                f"{labels.name} holds label {self._labels.max()}, but {self.name} has "
                f"{len(self.classes)} classes. The folder holds another data set."
            )
        self._pixels = _resized(pixels, self.size)  # (N, size, size), whatever the channels
        self._origin = pictures.name

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> Example:
        image = np.repeat(self._pixels[index][None], self.channels, axis=0)
        if self.channels == 4:
            image[3] = 255
        label = self.classes[self._labels[index]]
        return Example(image, (label,), label, f"{self._origin}[{index}]")

    def report(self) -> Report:
        """Nothing: a damaged IDX file is refused as a whole."""
        return Report((), len(self))


def fashion_mnist(
    size: int | None = None, channels: int | None = None, split: str = "train"
) -> IdxSource:
    """Fashion-MNIST from its data folder or from where a Debian package put it.

    Raises:
        SfumatoError: it is in neither place.
    """
    folder = find_fashion_mnist()
    if folder is None:
        raise SfumatoError(
            "Fashion-MNIST was not found. Install Debian's package (apt install "
            "dataset-fashion-mnist), fetch it (sfumato data fetch fashion-mnist), or put its "
            "four IDX files in a folder and name the folder in the environment variable "
            "SFUMATO_DATA."
        )
    return IdxSource(folder, size, channels, split, FASHION_CLASSES, "fashion-mnist")


def mnist(size: int | None = None, channels: int | None = None, split: str = "train") -> IdxSource:
    """MNIST, the handwritten digits, from its data folder.

    Raises:
        SfumatoError: it is not there.
    """
    cure = "Fetch it (sfumato data fetch mnist) or put its four IDX files there."
    required("mnist", lambda root: idx_folder(root, "mnist") is not None, cure)
    folder = find_mnist()
    assert folder is not None
    return IdxSource(folder, size, channels, split, DIGITS, "mnist")


def find_mnist() -> Path | None:
    """The folder with MNIST, see `sfumato.data.places`."""
    found = found_in("mnist", lambda root: idx_folder(root, "mnist") is not None)
    return idx_folder(found, "mnist") if found else None


def find_fashion_mnist() -> Path | None:
    """The folder with Fashion-MNIST: its data folder, SFUMATO_DATA itself, or Debian's."""
    # the folder of that name first: SFUMATO_DATA itself may hold plain MNIST
    own = [Path(place)] if (place := os.environ.get(VARIABLE)) else []
    name = "fashion-mnist"
    places = [*own, DEBIAN_FOLDER]
    found = found_in(name, lambda root: idx_folder(root, name) is not None, places)
    return idx_folder(found, name) if found else None


def idx_folder(root: Path, name: str | None = None) -> Path | None:
    """The folder itself, or the one inside where torchvision puts the files; None without any.

    Args:
        root: the folder.
        name: "mnist" or "fashion-mnist"; None for either.

    Raises:
        SfumatoError: no name is given, and the files of both are inside.
    """
    if looks_like_idx(root):
        return root
    names = [name] if name else [*_INSIDE]
    inside = dict.fromkeys(root / place for name in names for place in _INSIDE[name])
    found = [place for place in inside if looks_like_idx(place)]
    if len(found) > 1 and name is None:
        told = " and ".join(str(place) for place in found)
        raise SfumatoError(f"{root} holds several data sets: {told}. Name one of these folders.")
    return found[0] if found else None


def looks_like_idx(folder: Path) -> bool:
    """Whether the folder holds an IDX file of pictures, of either split."""
    return any(_find(folder, prefix, "images", 3) for prefix in _PREFIXES.values())


def read_idx(path: Path, magic: int) -> np.ndarray:
    """An IDX file of bytes as a uint8 array, gzip-packed or plain (judged by content).

    Args:
        path: the file.
        magic: 0x803 for pictures (N, H, W), 0x801 for labels (N,).

    Raises:
        SfumatoError: not such a file, or longer or shorter than its header says.
    """
    try:
        with path.open("rb") as plain:
            packed = plain.read(2) == b"\x1f\x8b"
        with gzip.open(path) if packed else path.open("rb") as file:
            head = file.read(4 + 4 * (magic & 0xFF))
            sides = struct.unpack(f">{magic & 0xFF}I", head[4:]) if len(head) > 4 else ()
            if head[:4] != struct.pack(">I", magic) or not sides:
                raise SfumatoError(
                    f"{path} is not an IDX file of type {magic:#x} "
                    f"(it begins with {head[:4].hex() or 'nothing'}). Take another copy of it."
                )
            expected = 1
            for side in sides:
                expected *= side
            if expected > _MAX_BYTES:
                raise SfumatoError(f"{path} claims {expected} bytes. Take another copy of it.")
            body = file.read(expected + 1)  # one more, to notice what should not be there
    except (OSError, EOFError, zlib.error, struct.error) as error:
        raise SfumatoError(f"{path} cannot be read ({error}). Take another copy of it.") from None
    if len(body) != expected:
        found = f"{len(body)} bytes" if len(body) < expected else "more"
        raise SfumatoError(
            f"{path} should hold {expected} bytes by its header but holds {found}. "
            "Take another copy of it."
        )
    return np.frombuffer(body, dtype=np.uint8).reshape(sides)


def _find(folder: Path, prefix: str, kind: str, rank: int) -> Path | None:
    stems = (f"{prefix}-{kind}{mark}idx{rank}-ubyte" for mark in "-.")
    candidates = (folder / f"{stem}{packed}" for stem in stems for packed in ("", ".gz"))
    return next((path for path in candidates if path.is_file()), None)


def _required(folder: Path, prefix: str, kind: str, rank: int) -> Path:
    path = _find(folder, prefix, kind, rank)
    if path is None:
        raise SfumatoError(
            f"{folder} has no {prefix}-{kind}-idx{rank}-ubyte (or .gz). "
            "Put the four IDX files into one folder."
        )
    return path


def _resized(pixels: np.ndarray, size: int) -> np.ndarray:
    height, width = pixels.shape[1:]
    if height != width:  # keep everything, on black: these sets are drawn on black
        side = max(height, width)
        square = np.zeros((len(pixels), side, side), dtype=np.uint8)
        top, left = (side - height) // 2, (side - width) // 2
        square[:, top : top + height, left : left + width] = pixels
        pixels = square
    if pixels.shape[1] == size:
        return pixels
    return np.stack([fit(Image.fromarray(one), size, 1)[0] for one in pixels])
