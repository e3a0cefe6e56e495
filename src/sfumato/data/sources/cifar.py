"""CIFAR-10 in its binary form: 60,000 colour pictures of 32x32 in ten classes.

Each record is one byte of label and 3072 of picture, first all red values, then green, then
blue, row by row (Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009, and
the data set's page).  The form for Python is a pickle, which can run any program when it is
read; it is never opened here.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from sfumato.data.decode import fit
from sfumato.data.example import Example, Report
from sfumato.data.places import found_in, required
from sfumato.errors import SfumatoError

SIDE = 32
CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
"""The ten classes in the order of their labels, as batches.meta.txt names them."""

_RECORD = 1 + 3 * SIDE * SIDE
_FILES = {
    "train": tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
    "test": ("test_batch.bin",),
}
_INSIDE = "cifar-10-batches-bin"
_PICKLED = ("cifar-10-batches-py", "cifar-10-python.tar.gz", "data_batch_1", "test_batch")
_LONGEST = 1 << 30  # of one file, in bytes; a true one has 30,730,000
_CURE = (
    'Take the "binary version (suitable for C programs)", for example by '
    "sfumato data fetch cifar10."
)


class CifarSource:
    """CIFAR-10; see `Source`.  The caption of a picture is the name of its class.

    Args:
        root: the folder with data_batch_1.bin ... data_batch_5.bin and test_batch.bin, or the
            one above it.
        size: side in pixels; default 32, as stored.
        channels: 1, 3 or 4 (opaque); default 3.
        split: "train" or "test".

    Raises:
        SfumatoError: a missing file, a length that is no multiple of a record, a label without
            a class, or only the pickled form.
    """

    name = "cifar10"

    def __init__(
        self, root: Path, size: int | None = None, channels: int | None = None, split: str = "train"
    ) -> None:
        if split not in _FILES:
            raise SfumatoError(f"CIFAR-10 has no part {split!r}. Take train or test.")
        folder = cifar_folder(root)
        if folder is None:
            if only_pickled(root):
                raise _pickled(root)
            raise SfumatoError(f"{root} holds no data_batch_1.bin. {_CURE}")
        self.size = size or SIDE
        self.channels = channels or 3
        self.classes = _classes(folder)
        parts = [_records(folder / name, len(self.classes)) for name in _FILES[split]]
        self._records = np.concatenate(parts)
        self._starts = np.cumsum([0, *(len(part) for part in parts)])
        self._files = _FILES[split]

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> Example:
        if not -len(self) <= index < len(self):
            raise IndexError(f"picture {index} of {len(self)}")
        index %= len(self)
        pixels = self._records[index, 1:].reshape(3, SIDE, SIDE)
        if (self.size, self.channels) != (SIDE, 3):
            image = Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))
            pixels = fit(image, self.size, self.channels)
        label = self.classes[self._records[index, 0]]
        part = int(np.searchsorted(self._starts, index, side="right")) - 1
        origin = f"{self._files[part]}[{index - self._starts[part]}]"
        return Example(pixels, (label,), label, origin)

    def report(self) -> Report:
        """Nothing: a damaged file is refused as a whole."""
        return Report((), len(self))


def cifar10(
    size: int | None = None, channels: int | None = None, split: str = "train"
) -> CifarSource:
    """CIFAR-10 from its data folder.

    Raises:
        SfumatoError: it is not there, or only its pickled form is.
    """
    if find_cifar() is None and (pickled := found_in("cifar10", only_pickled)):
        raise _pickled(pickled)
    cure = "Fetch it (sfumato data fetch cifar10) or put the files of its binary version there."
    return CifarSource(required("cifar10", looks_like_cifar, cure), size, channels, split)


def find_cifar() -> Path | None:
    """The folder with CIFAR-10, see `sfumato.data.places`."""
    return found_in("cifar10", looks_like_cifar)


def cifar_folder(root: Path) -> Path | None:
    """The folder that holds the files, ``root`` or the archive's own inside it; None without."""
    first = (_FILES["train"][0], _FILES["test"][0])
    for folder in (root, root / _INSIDE):
        if any((folder / name).is_file() for name in first):
            return folder
    return None


def looks_like_cifar(root: Path) -> bool:
    """Whether the folder holds the binary form."""
    return cifar_folder(root) is not None


def only_pickled(root: Path) -> bool:
    """Whether the folder holds the pickled form and not the binary one."""
    named = root.name == _PICKLED[0] or any((root / name).exists() for name in _PICKLED[:2])
    here = all((root / name).is_file() for name in _PICKLED[2:])
    return (named or here) and not looks_like_cifar(root)


def _pickled(root: Path) -> SfumatoError:
    return SfumatoError(
        f"{root} holds CIFAR-10 as Python pickles, which can run any program when they are "
        f"read, so they are not opened. {_CURE}"
    )


def _records(path: Path, classes: int) -> np.ndarray:
    try:
        length = path.stat().st_size
        if length == 0 or length % _RECORD or length > _LONGEST:
            raise SfumatoError(
                f"{path} has {length} bytes, not a multiple of {_RECORD} as CIFAR-10's pictures "
                "have. Take another copy of it."
            )
        records = np.fromfile(path, dtype=np.uint8).reshape(-1, _RECORD)
    except OSError as error:
        raise SfumatoError(f"{path} cannot be read ({error.strerror}). {_CURE}") from None
    if records[:, 0].max() >= classes:
        raise SfumatoError(
            f"{path} has the label {records[:, 0].max()}, but CIFAR-10 has {classes} classes. "
            "Take another copy of it."
        )
    return records


def _classes(folder: Path) -> tuple[str, ...]:
    """The names in batches.meta.txt, one a line; the usual ones where it is missing."""
    try:
        with (folder / "batches.meta.txt").open("rb") as file:
            text = file.read(1 << 16).decode("utf-8", errors="replace")
    except OSError:
        return CLASSES
    names = tuple(" ".join(line.split()) for line in text.splitlines() if line.strip())
    if len(names) != len(set(names)) or not 2 <= len(names) <= 256:
        raise SfumatoError(
            f"{folder / 'batches.meta.txt'} does not name one class a line. Take another copy."
        )
    return names
