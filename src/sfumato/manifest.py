"""A folder's manifest: the files that belong to it, their sizes and their SHA-256.

The folder may come from a stranger, so nothing is read that is no regular file, lies outside it
or is longer than stated.
"""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sfumato.errors import SfumatoError

MANIFEST = "manifest.json"
LONGEST = 1 << 20
"""Bytes of a manifest that is read at all; one of ours has a few hundred."""


@dataclass(frozen=True)
class Entry:
    """What a manifest states of one file."""

    size: int
    sha256: str


def manifest_of(contents: Mapping[str, bytes]) -> dict[str, Any]:
    """The manifest of some files, in types that JSON knows."""
    return {
        "files": {
            name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for name, content in sorted(contents.items())
        }
    }


def stated(folder: Path) -> dict[str, Entry]:
    """What the manifest in a folder states.

    Raises:
        ValueError: if there is none that can be read.
    """
    path = folder / MANIFEST
    try:
        if not _is_regular(path) or path.stat().st_size > LONGEST:
            raise ValueError(f"{path} is no manifest")
        files = json.loads(path.read_bytes())["files"]
        entries = {name: Entry(entry["bytes"], entry["sha256"]) for name, entry in files.items()}
    except (OSError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(str(error)) from error
    if not all(type(entry.size) is int for entry in entries.values()):
        raise ValueError(f"{path} states no sizes")
    return entries


def intact(folder: Path, entries: Mapping[str, Entry]) -> dict[str, bytes]:
    """The content of every file of a manifest.

    Raises:
        SfumatoError: naming the first that is missing, damaged or not to be read.
    """
    contents = {}
    for name, entry in entries.items():
        # on Windows a backslash or a colon leads out too, wherever the folder was written
        if not name or Path(name).name != name or set(name) & set("/\\:") or name == "..":
            raise SfumatoError(f"The manifest of {folder} names {name!r}, which lies outside it.")
        path = folder / name
        try:
            # first: a link to an endless device would be read for ever
            regular, size = _is_regular(path), path.stat().st_size
            content = path.read_bytes() if regular and size == entry.size else b""
        except (OSError, ValueError) as error:
            raise SfumatoError(f"{path} is missing. Copy the whole folder.") from error
        if not regular:
            raise SfumatoError(f"{path} is no regular file. Copy the whole folder.")
        if size != entry.size or hashlib.sha256(content).hexdigest() != entry.sha256:
            raise SfumatoError(f"{path} is damaged. Copy or train the model again.")
        contents[name] = content
    return contents


def _is_regular(path: Path) -> bool:
    return stat.S_ISREG(path.stat().st_mode)
