"""Data sets: folders and archives to examples, their order, their health.

`open_source` is the door; `Source` says what comes through it.
"""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

from sfumato.data.example import Example, Problem, Report, Source
from sfumato.errors import SfumatoError

__all__ = ["NAMES", "Example", "Problem", "Report", "Source", "open_source"]

NAMES = ("emoji", "fashion-mnist")
"""Data sets that are known by name; anything else is a path."""


def open_source(
    data: str | Path,
    size: int | None = None,
    channels: int | None = None,
    split: str = "train",
    broken_share: float = 0.5,
) -> Source:
    """Open a data set by name or path.

    Args:
        data: "emoji", "fashion-mnist", a folder of pictures (captions in .txt files, in
            metadata.csv, .jsonl or .parquet, or the folders' names as classes), or a folder of
            IDX files.  A string that is a known name means that data set; write "./emoji" for
            a folder of that name.
        size: side of the pictures in pixels; default 64, and 28 (as stored) for IDX.
        channels: 1, 3 or 4; by default what the pictures have: 4 if most of them are really
            transparent, 1 if all are grey, else 3.
        split: "train" or "test"; for the emoji also "held-out" (= "test") and "all".
        broken_share: share of unreadable pictures above which a folder is refused.

    Raises:
        SfumatoError: an unknown name, a folder without pictures, too many broken ones.
    """
    if channels not in (None, 1, 3, 4):
        raise SfumatoError(
            f"Pictures have 1, 3 or 4 channels, not {channels}. Choose one of these."
        )
    if size is not None and not 4 <= size <= 4096:
        raise SfumatoError(f"A picture side of {size} pixels is out of range. Choose 4 to 4096.")
    if isinstance(data, str) and data in NAMES:
        return _named(data, size, channels, split)
    root = Path(data).expanduser()
    if root.is_dir():
        return _folder(root, size, channels, split, broken_share)
    if root.exists():
        raise SfumatoError(f"{root} is a file. Give the folder that holds the pictures.")
    near = get_close_matches(str(data).lower(), NAMES, n=1)
    hint = f"Did you mean {near[0]!r}? " if near else ""
    raise SfumatoError(
        f"There is no data set and no folder {str(data)!r}. {hint}"
        f"Known names: {', '.join(NAMES)}; anything else is the path of a folder."
    )


def _named(name: str, size: int | None, channels: int | None, split: str) -> Source:
    if name == "emoji":
        from sfumato.data.emoji import EmojiSource

        return EmojiSource(size or 64, channels or 4, split)
    from sfumato.data.idx import fashion_mnist

    return fashion_mnist(size, channels, split)


def _folder(
    root: Path, size: int | None, channels: int | None, split: str, broken_share: float
) -> Source:
    from sfumato.data import idx

    if idx.looks_like_idx(root):
        return idx.IdxSource(root, size, channels, split)
    from sfumato.data.folder import FolderSource

    return FolderSource(root, size or 64, channels, split, broken_share)
