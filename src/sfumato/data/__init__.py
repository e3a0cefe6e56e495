"""Data sets: folders and archives to examples, their order, their health.

`open_source` is the door; `Source` says what comes through it.
"""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

from sfumato.data.example import Example, Problem, Report, Source
from sfumato.errors import SfumatoError

__all__ = [
    "NAMES",
    "Example",
    "Problem",
    "Report",
    "Source",
    "demand",
    "is_named",
    "lasting",
    "open_source",
    "same",
]

NAMES = (
    "emoji",
    "fashion-mnist",
    "mnist",
    "cifar10",
    "tiny-imagenet",
    "flickr30k",
    "clipart",
)
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
        data: one of `NAMES`; a folder of pictures (captions in .txt files, in metadata.csv,
            .jsonl or .parquet, or the folders' names as classes); a folder in the true layout
            of a known set, told by its content; WebDataset tars as a file, a folder, a pattern
            ("shards/*.tar") or braces ("a-{000..012}.tar"); parquet files whose rows hold
            pictures; or "hf:owner/name" (see `sfumato.data.sources.hub`).  A string that is a known
            name means that data set; write "./emoji" for a folder of that name.
        size: side of the pictures in pixels; default 64, and as stored for IDX (28) and
            CIFAR-10 (32).
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
        return _named(data, size, channels, split, broken_share)
    if isinstance(data, str) and data.startswith("hf:"):
        from sfumato.data.sources.hub import hub_source

        return hub_source(data, size, channels, split, broken_share)
    root = Path(data).expanduser()
    if root.is_dir():
        return _folder(root, size, channels, split, broken_share)
    demand(data)
    return _file(root, size, channels, split, broken_share)


def is_named(data: str) -> bool:
    """Whether it is a known name or an address of the hub, and no path."""
    return data in NAMES or data.startswith("hf:")


def demand(data: str | Path) -> None:
    """Refuse what is no data set, by its name alone: nothing is opened or downloaded.

    Raises:
        SfumatoError: neither a known name nor something that is there.
    """
    text, path = str(data), Path(data).expanduser()
    if is_named(text):
        return
    if path.exists() or path.suffix == ".tar" or ".parquet?" in path.name:
        return
    near = get_close_matches(text.lower(), NAMES, n=1)
    hint = f"Did you mean {near[0]!r}? " if near else ""
    raise SfumatoError(
        f"There is no data set and no folder {text!r}. {hint}"
        f"Known names: {', '.join(NAMES)}; anything else is the path of a folder."
    )


def lasting(data: str | Path) -> str:
    """A data set's name as it is understood from any folder: paths become absolute."""
    text = str(data)
    if is_named(text):
        return text
    path = Path(text).expanduser()
    if path.exists() or path.suffix == ".tar" or ".parquet?" in path.name:
        # not resolve(): a pattern is no path
        return str(path.resolve() if path.exists() else Path.cwd() / path)
    return text


def same(one: str | Path, other: str | Path) -> bool:
    """Whether two names mean one data set: equal names, or paths that lead to one place."""
    names = lasting(one), lasting(other)
    if any(map(is_named, names)):
        return names[0] == names[1]
    return Path(names[0]).expanduser().resolve() == Path(names[1]).expanduser().resolve()


def _named(
    name: str, size: int | None, channels: int | None, split: str, broken_share: float
) -> Source:
    if name == "emoji":
        from sfumato.data.sources.emoji import EmojiSource

        return EmojiSource(size or 64, channels or 4, split)
    if name in ("fashion-mnist", "mnist"):
        from sfumato.data.sources import idx

        return (idx.mnist if name == "mnist" else idx.fashion_mnist)(size, channels, split)
    if name == "cifar10":
        from sfumato.data.sources.cifar import cifar10

        return cifar10(size, channels, split)
    if name == "tiny-imagenet":
        from sfumato.data.sources.tiny_imagenet import tiny_imagenet as load
    elif name == "flickr30k":
        from sfumato.data.sources.flickr import flickr30k as load
    else:
        from sfumato.data.sources.clipart import clipart as load
    return load(size, channels, split, broken_share)


def _folder(
    root: Path, size: int | None, channels: int | None, split: str, broken_share: float
) -> Source:
    """A folder by its content: the known layouts first, whose files say clearly what they are."""
    from sfumato.data.sources import cifar, clipart, flickr, idx, parquet, shards, tiny_imagenet

    if folder := idx.idx_folder(root):
        return idx.IdxSource(folder, size, channels, split, name=root.resolve().name)
    if cifar.looks_like_cifar(root) or cifar.only_pickled(root):
        return cifar.CifarSource(root, size, channels, split)
    if tiny_imagenet.looks_like_tiny_imagenet(root):
        return tiny_imagenet.tiny_imagenet(size, channels, split, broken_share, root)
    if flickr.has_flickr_captions(root):
        return flickr.flickr30k(size, channels, split, broken_share, root)
    if clipart.looks_like_clipart(root):
        return clipart.clipart(size, channels, split, broken_share, root)
    if shards.looks_like_shards(root):
        return shards.shard_source(root, size, channels, split, broken_share)
    if parquet.looks_like_parquet(root):
        return parquet.parquet_source(root, size, channels, split, broken_share)
    from sfumato.data.sources.folder import FolderSource

    return FolderSource(root, size or 64, channels, split, broken_share)


def _file(
    path: Path, size: int | None, channels: int | None, split: str, broken_share: float
) -> Source:
    if path.suffix == ".tar":
        from sfumato.data.sources.shards import shard_source

        return shard_source(path, size, channels, split, broken_share)
    if ".parquet" in path.name:
        from sfumato.data.sources.parquet import parquet_file

        return parquet_file(path, size, channels, split, broken_share)
    if path.suffix.lower() in (".zip", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar"):
        raise SfumatoError(f"{path} is an archive. Unpack it and give the folder.")
    raise SfumatoError(
        f"{path} is a file. Give the folder that it lies in; by itself only a .tar (WebDataset) "
        "or a .parquet is a data set."
    )
