"""Writing files so that they are either whole or absent, on Linux, macOS and Windows."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from sfumato.errors import SfumatoError
from sfumato.training.units import human_bytes

MARGIN = 1 << 20  # bytes left for headers, the manifest and the file system's own needs


def require_space(folder: Path, size: int, what: str) -> None:
    """Raise SfumatoError unless ``folder``'s disk has ``size`` bytes (and a margin) free."""
    free = shutil.disk_usage(folder).free
    if free < size + MARGIN:
        raise SfumatoError(
            f"The disk is full: {what} needs {human_bytes(size + MARGIN)} and {folder} has "
            f"{human_bytes(free)} free. Delete something or choose another folder."
        )


def write_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write a safetensors file and flush it to the disk. Raises OSError or TypeError."""
    # Detached dense copies on the CPU; clones, because safetensors refuses shared storage.
    owned: dict[str, Tensor] = {}
    storages: set[int] = set()
    for name, tensor in tensors.items():
        dense = tensor.detach().to("cpu").contiguous()
        storage = dense.untyped_storage()
        if storage.data_ptr() in storages or storage.nbytes() != dense.nbytes:
            dense = dense.clone()
        storages.add(dense.untyped_storage().data_ptr())
        owned[name] = dense
    try:
        save_file(owned, path)
    except SafetensorError as error:
        # The library wraps the system's error into words; give back its number.
        if found := re.search(r"os error (\d+)", str(error)):
            raise OSError(int(found[1]), os.strerror(int(found[1])), str(path)) from error
        raise TypeError(f"{path.name}: {error}") from error
    flush(path)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file and flush it to the disk."""
    with open(path, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def replace_bytes(path: Path, content: bytes) -> None:
    """Replace a small file as a whole: no reader ever sees half of it."""
    beside = path.with_name(f".{path.name}.new")
    write_bytes(beside, content)
    replace(beside, path)
    flush_folder(path.parent)


def replace(source: Path, target: Path) -> None:
    """``os.replace``, patient with Windows, where a virus scanner may hold a new file open."""
    for pause in (0.05, 0.2, 0.8):
        try:
            os.replace(source, target)
            return
        except PermissionError:
            if os.name != "nt":
                raise
            time.sleep(pause)
    os.replace(source, target)


def flush(path: Path) -> None:
    """Flush a written file to the disk."""
    with open(path, "r+b") as file:
        os.fsync(file.fileno())


def flush_folder(folder: Path) -> None:
    """Flush a folder's entries to the disk; Windows has no such call and needs none."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Inside the block no other program may lock the folder; a kill gives it free.

    Raises:
        SfumatoError: if another program has it.
    """
    path = folder / ".lock" if os.name == "nt" else folder  # Windows locks files only
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT if os.name == "nt" else os.O_RDONLY)
    try:
        try:
            _lock(descriptor)
        except (BlockingIOError, PermissionError) as error:
            raise SfumatoError(
                f"Another program is training in {folder}. Wait for it or stop it, "
                "or choose another folder."
            ) from error
        except OSError:
            pass  # a file system that knows no locks
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> None:
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def folders(folder: Path) -> list[Path]:
    """The visible folders inside, links not followed; none if there is no such folder."""
    try:
        inside = list(folder.iterdir())
    except OSError:
        return []
    return [p for p in inside if p.is_dir() and not p.is_symlink() and not p.name.startswith(".")]


def sha256(source: Path | bytes) -> str:
    """The SHA-256 of a file's or some bytes' content, in hexadecimal."""
    if isinstance(source, bytes):
        return hashlib.sha256(source).hexdigest()
    digest = hashlib.sha256()
    with open(source, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def cause(error: OSError) -> str:
    """The real cause in words: a full disk is called a full disk, and nothing else is."""
    if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)):
        return "the disk is full"
    return error.strerror or str(error)
