"""What a folder with a pretrained text encoder must hold, and the hash by which it is known."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from sfumato.errors import SfumatoError

WEIGHTS = "model.safetensors"
SHARDS = "model.safetensors.index.json"
TOKENIZERS = ("tokenizer.json", "vocab.*", "*.model")
"""One of them at least; without, transformers makes up a tokenizer that knows no word."""
_hashes: dict[tuple[tuple[str, int, int, int], ...], str] = {}


def is_whole(folder: Path) -> bool:
    """Whether configuration, tokenizer and weights are all there."""
    try:
        found = (folder / "config.json").is_file() and bool(weights_in(folder))
    except SfumatoError:
        return False
    return found and has_tokenizer(folder)


def has_tokenizer(folder: Path) -> bool:
    return any(path.is_file() for pattern in TOKENIZERS for path in folder.glob(pattern))


def weights_in(folder: Path) -> list[Path]:
    """The files of the weights in a fixed order.

    Raises:
        SfumatoError: if there are none in the form of safetensors.
    """
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    try:
        named = json.loads((folder / SHARDS).read_bytes())["weight_map"].values()
        files = [folder / name for name in sorted(set(named)) if Path(name).name == name]
        if files and all(file.is_file() for file in files):
            return files
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        pass
    raise SfumatoError(
        f"{folder} has no {WEIGHTS}, and other formats are not read because they can carry "
        "programs. Take another text encoder, or a revision that has them (conditioning.revision)."
    )


def sha256_of(folder: Path) -> str:
    """Of the weights in a folder; of several files, of their contents in the order of names.

    Files that look unchanged (size, time, inode) are read once a process.
    """
    paths = weights_in(folder)
    abouts = [(str(path.resolve()), path.stat()) for path in paths]
    key = tuple((name, a.st_size, a.st_mtime_ns, a.st_ino) for name, a in abouts)
    if key not in _hashes:
        _hashes[key] = _read(paths)
    return _hashes[key]


def _read(paths: list[Path]) -> str:
    sha = hashlib.sha256()
    for path in paths:
        with open(path, "rb") as file:
            while block := file.read(1 << 20):
                sha.update(block)
    return sha.hexdigest()
