"""The data sets that are known by name, for `sfumato data list`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from sfumato.data.sources.idx import find_fashion_mnist, find_mnist
from sfumato.locale import translate


@dataclass(frozen=True)
class Listed:
    """One kind of data set, described in the user's language.

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
    """All of them: those known by name in the order of `NAMES`, the embedded one first."""
    from sfumato.data.sources.cifar import find_cifar
    from sfumato.data.sources.clipart import find_clipart
    from sfumato.data.sources.flickr import find_flickr
    from sfumato.data.sources.tiny_imagenet import find_tiny_imagenet

    found = {
        "fashion-mnist": find_fashion_mnist(),
        "mnist": find_mnist(),
        "cifar10": find_cifar(),
        "tiny-imagenet": find_tiny_imagenet(),
        "flickr30k": find_flickr(),
        "clipart": find_clipart(),
    }
    rows = [
        Listed(name, _said(what), _said(licence), pictures, _text(found.get(name)), _said(get))
        for name, pictures, what, licence, get in _ROWS
    ]
    return [_emoji(), *rows]


_ROWS = [
    ("fashion-mnist", 60_000, "data.fashion", "MIT", "data.fashion.get"),
    ("mnist", 60_000, "data.mnist", "CC BY-SA 3.0", "data.mnist.get"),
    ("cifar10", 50_000, "data.cifar", "data.cifar.licence", "data.cifar.get"),
    ("tiny-imagenet", 100_000, "data.tiny", "data.tiny.licence", "data.tiny.get"),
    ("flickr30k", None, "data.flickr", "data.flickr.licence", "data.flickr.get"),
    ("clipart", None, "data.clipart", "data.clipart.licence", "data.clipart.get"),
    ("FOLDER", None, "data.folder", "data.folder.licence", "data.folder.get"),
    ("IDX FOLDER", None, "data.idx", "data.idx.licence", "data.idx.get"),
    ("FILE.tar", None, "data.tars", "data.tars.licence", "data.tars.get"),
    ("FILE.parquet", None, "data.parquet", "data.parquet.licence", "data.parquet.get"),
    ("hf:OWNER/NAME", None, "data.hub", "data.hub.licence", "data.hub.get"),
]
"""Name, number of pictures, and the messages: what it holds, its licence, how to get it."""


def _said(key: str) -> str:
    """The message of a key; the names of licences stand for themselves."""
    return translate(key) if key.startswith("data.") else key


def _text(place: Path | None) -> str | None:
    return None if place is None else str(place)


def _emoji() -> Listed:
    embedded = files("sfumato").joinpath("resources/emoji.zip").is_file()
    pictures = None
    if embedded:
        from sfumato.data.sources.emoji import EmojiSource

        pictures = len(EmojiSource())
    return Listed(
        "emoji",
        translate("data.emoji"),
        translate("data.emoji.licence"),
        pictures,
        translate("data.emoji.found") if embedded else None,
        translate("data.emoji.get"),
    )
