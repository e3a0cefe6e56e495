"""The data sets that are known by name, for `sfumato data list`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from importlib.resources import files
from typing import Any

from sfumato.data.idx import find_fashion_mnist


@dataclass(frozen=True)
class Listed:
    """One kind of data set.

    Attributes:
        name: what to write where DATA is asked for.
        what: what it holds.
        licence: of the pictures.
        pictures: how many to train on; None where it depends on the folder.
        found: where it is on this machine, None if it is not.
        get: how to get it, or what it must look like.
    """

    name: str
    what: str
    licence: str
    pictures: int | None
    found: str | None
    get: str

    def to_dict(self) -> dict[str, Any]:
        """The same in types that JSON knows."""
        return asdict(self)


def listing() -> list[Listed]:
    """All of them, the embedded one first."""
    fashion = find_fashion_mnist()
    return [
        _emoji(),
        Listed(
            "fashion-mnist",
            "grey pictures of clothes, 28x28, ten classes",
            "MIT",
            60_000,
            str(fashion) if fashion else None,
            "apt install dataset-fashion-mnist, or name a folder with its four IDX files in "
            "the environment variable SFUMATO_DATA",
        ),
        Listed(
            "FOLDER",
            "your own pictures (PNG, JPEG, WebP, GIF, BMP, TIFF)",
            "yours",
            None,
            None,
            "captions in .txt files of the same names, or in metadata.csv, .jsonl or .parquet "
            "(file_name, text), or one subfolder for each class; train/ and test/ are understood",
        ),
        Listed(
            "IDX FOLDER",
            "MNIST and its relatives",
            "as it came",
            None,
            None,
            "train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte, "
            "t10k-labels-idx1-ubyte, plain or .gz",
        ),
    ]


def _emoji() -> Listed:
    embedded = files("sfumato").joinpath("resources/emoji.zip").is_file()
    pictures = None
    if embedded:
        from sfumato.data.emoji import EmojiSource

        pictures = len(EmojiSource())
    return Listed(
        "emoji",
        "emoji in six designs, 64x64 with transparency, named in English and Russian",
        "Apache-2.0, CC BY 4.0, MIT (by design: resources/EMOJI_LICENSES.md)",
        pictures,
        "in the package" if embedded else None,
        "comes with the package",
    )
