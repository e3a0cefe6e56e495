"""What a frozen text encoder says about captions, kept on disk and read where it lies.

One safetensors file a set of captions, in the user's cache folder, so that all runs share it.  A
row holds as many token states as its caption has tokens.  The file is mapped into memory, not read.
Its own header says the hash of all the rest, so that one rename replaces it whole.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import struct
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from tqdm import tqdm

from sfumato.errors import SfumatoError

VARIABLE = "SFUMATO_CACHE"
"""The environment variable that names the folder of everything that can be computed again."""
BATCH = 64
HALF_MAX = 65504.0
UNKNOWN = "0" * 64
"""Stands for the hash while it is not known, and while it is checked."""
STALE = 24 * 3600
"""Seconds after which an unfinished file is what a kill left."""

Encode = Callable[[Tensor], tuple[Tensor, Tensor]]
"""ids (B, L) -> token states (B, L, D) and pooled states (B, D)."""


def cache_folder() -> Path:
    """SFUMATO_CACHE, or where the system keeps a user's caches; it may not exist yet."""
    if own := os.environ.get(VARIABLE):
        return Path(own).expanduser()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
        return Path(base).expanduser() / "sfumato" / "cache"
    if sys.platform == "darwin":
        return Path("~/Library/Caches/sfumato").expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "sfumato"


def rounded(x: Tensor) -> Tensor:
    """The numbers as the file keeps them, in 16 bits."""
    return x.clamp(-HALF_MAX, HALF_MAX).half()


def distinct(ids: Tensor) -> np.ndarray:
    """The different rows (N, L) of ids, shortest first; rows that say nothing are left out."""
    rows = np.unique(ids.to(torch.int32).numpy(), axis=0)
    counts = (rows >= 0).sum(1)
    return rows[np.argsort(counts, kind="stable")][int((counts == 0).sum()) :]


def key_of(rows: np.ndarray, about: dict[str, str]) -> str:
    """By which the features of these rows are known: a hash of them and of the encoder."""
    about = {**about, "format": "1"}
    sha = hashlib.sha256(json.dumps([about, rows.shape], sort_keys=True).encode())
    sha.update(np.ascontiguousarray(rows).astype("<i4").tobytes())
    return sha.hexdigest()


def remembered(
    ids: Tensor,
    about: dict[str, str],
    width: int,
    encode: Encode,
    stop: Callable[[], bool],
    folder: Path | None = None,
) -> Table:
    """The features of all different rows of ids, computed unless they are known already.

    Args:
        ids: (N, L) token numbers, then -1.
        about: what the features depend on besides ids; part of the key.
        width: D.
        stop: asked before every batch.
        folder: to keep them in; by default the user's cache.
    Raises:
        KeyboardInterrupt: if somebody has asked to stop; nothing half-done stays.
        SfumatoError: if the disk refuses.
    """
    rows = distinct(ids)
    key = key_of(rows, about)
    folder = cache_folder() / "text-features" if folder is None else folder
    path = folder / f"{key[:40]}.safetensors"
    if table := _intact(path, key):
        return table
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _sweep(folder)
        _write(path, key, rows, width, encode, stop)
    except OSError as error:
        raise SfumatoError(
            f"The features of the captions could not be kept in {folder}: "
            f"{error.strerror or error}. Make room, or name another folder in {VARIABLE}."
        ) from error
    table = _intact(path, key)
    if table is None:
        raise SfumatoError(f"{path} is damaged as soon as written. Check the disk.")
    return table


def _write(
    path: Path, key: str, rows: np.ndarray, width: int, encode: Encode, stop: Callable[[], bool]
) -> None:
    first = np.concatenate([[0], (rows >= 0).sum(1).cumsum()]).astype("<i8")
    layout = {
        "first": ("I64", first.shape, 8),
        "ids": ("I32", rows.shape, 4),
        "pooled": ("F16", (len(rows), width), 2),
        "states": ("F16", (int(first[-1]), width), 2),
    }
    header: dict[str, object] = {"__metadata__": {"key": key, "sha256": UNKNOWN}}
    begins, end = {}, 0
    for name, (dtype, shape, size) in layout.items():
        begins[name], end = end, end + size * int(np.prod(shape))
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [begins[name], end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    base = 8 + len(text)
    free = shutil.disk_usage(path.parent).free
    if free < base + end:
        needed = (base + end) / 1e6
        raise OSError(0, f"{needed:.0f} MB are needed and {free / 1e6:.0f} MB are free")
    beside = path.with_name(f".{path.stem}.{os.getpid()}.partial")
    try:
        with open(beside, "wb") as file:
            file.write(struct.pack("<Q", len(text)) + text)
            file.write(first.tobytes())
            file.write(rows.astype("<i4").tobytes())
            bar = tqdm(
                total=len(rows), desc="text features", unit="caption", leave=False, disable=None
            )
            with bar:
                for i in range(0, len(rows), BATCH):
                    if stop():
                        raise KeyboardInterrupt
                    part = torch.from_numpy(rows[i : i + BATCH]).long()
                    part = part[:, : int((part >= 0).sum(1).max())]
                    states, pooled = encode(part)
                    file.seek(base + begins["pooled"] + 2 * width * i)
                    file.write(_bytes(pooled))
                    file.seek(base + begins["states"] + 2 * width * int(first[i]))
                    file.write(_bytes(states.cpu()[part >= 0]))
                    bar.update(len(part))
        sha = _sha256(beside, UNKNOWN)
        with open(beside, "r+b") as file:
            file.write(struct.pack("<Q", len(text)) + text.replace(UNKNOWN.encode(), sha.encode()))
            file.flush()
            os.fsync(file.fileno())
        with suppress(PermissionError):  # Windows: another process has made it and reads it
            os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def _bytes(x: Tensor) -> bytes:
    content: bytes = rounded(x.cpu()).contiguous().numpy().astype("<f2").tobytes()
    return content


def _intact(path: Path, key: str) -> Table | None:
    """The table in a file, if it is the wanted one and as it was written."""
    try:
        with safe_open(path, framework="pt") as file:  # it also compares the sizes
            said = file.metadata()
        if said["key"] != key or said["sha256"] != _sha256(path, said["sha256"]):
            return None
        return Table.opened(path, key)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError):
        return None


def _sha256(path: Path, said: str) -> str:
    """Of a file whose header says `said` for this very hash."""
    with open(path, "rb") as file:
        begin = file.read(8)
        header = file.read(*struct.unpack("<Q", begin))
        sha = hashlib.sha256(begin + header.replace(said.encode(), UNKNOWN.encode()))
        while block := file.read(1 << 20):
            sha.update(block)
    return sha.hexdigest()


def _sweep(folder: Path) -> None:
    for left in [*folder.glob(".*.partial"), *folder.glob(".*.json")]:
        try:
            if time.time() - left.stat().st_mtime > STALE:
                left.unlink()
        except OSError:  # another process was faster
            continue


@dataclass(frozen=True)
class Table:
    """Features of N captions.

    Attributes:
        first: (N + 1,) where each caption's states begin.
        ids: (N, L).  states: (all tokens, D) float16.  pooled: (N, D) float16.
        keys: (N,) hashes of the rows of ids, sorted.  order: (N,) to which row each belongs.
    """

    first: Tensor
    ids: Tensor
    states: Tensor
    pooled: Tensor
    keys: Tensor
    order: Tensor

    @classmethod
    def opened(cls, path: Path, key: str) -> Table:
        with safe_open(path, framework="pt") as file:
            if (file.metadata() or {}).get("key") != key:
                raise ValueError("the features of something else")
            found = {name: file.get_tensor(name) for name in ("first", "ids", "states", "pooled")}
        keys, order = _hashes(found["ids"].long()).sort()
        return cls(**found, keys=keys, order=order)

    def look_up(self, ids: Tensor) -> tuple[Tensor, Tensor] | None:
        """States (B, L, D), zeros where ids are -1, and pooled (B, D); None if a row is unknown.

        Args:
            ids: (B, L) on the CPU; columns that are all -1 may be missing.
        """
        mask = ids >= 0
        width = ids.shape[1]
        if not len(self.keys) or width > self.ids.shape[1]:
            return None
        place = torch.searchsorted(self.keys, _hashes(ids)).clamp(max=len(self.keys) - 1)
        row = self.order[place]
        count = mask.sum(1)
        same = (self.ids[row, :width] == ids).all(1)
        same &= self.first[row + 1] - self.first[row] == count
        if not bool((same | (count == 0)).all()):
            return None
        index = self.first[row, None] + torch.arange(width)
        index = torch.where(mask, index, 0)
        states = self.states[index].float() * mask[..., None]
        return states, self.pooled[row].float() * (count > 0)[:, None]


def _hashes(ids: Tensor) -> Tensor:
    """A number for each row (N, L) -> (N,), the same whatever follows as padding."""
    draws = np.random.Generator(np.random.PCG64(0)).integers(1 << 62, size=ids.shape[1])
    return ((ids + 1) * torch.from_numpy(draws * 2 + 1)).sum(1)
