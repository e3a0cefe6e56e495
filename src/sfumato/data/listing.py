"""The data sets that are known by name, for `sfumato data list`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from importlib.resources import files
from typing import Any

from sfumato.data.idx import find_fashion_mnist
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
    """All of them, the embedded one first."""
    fashion = find_fashion_mnist()
    return [
        _emoji(),
        Listed(
            "fashion-mnist",
            translate("data.fashion"),
            "MIT",
            60_000,
            str(fashion) if fashion else None,
            translate("data.fashion.get"),
        ),
        Listed(
            "FOLDER",
            translate("data.folder"),
            translate("data.folder.licence"),
            None,
            None,
            translate("data.folder.get"),
        ),
        Listed(
            "IDX FOLDER",
            translate("data.idx"),
            translate("data.idx.licence"),
            None,
            None,
            translate("data.idx.get"),
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
        translate("data.emoji"),
        translate("data.emoji.licence"),
        pictures,
        translate("data.emoji.found") if embedded else None,
        translate("data.emoji.get"),
    )
