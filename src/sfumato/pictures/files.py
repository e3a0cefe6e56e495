"""Writing a file whole or not at all, and saying in words why it could not be written."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from pathlib import Path

from sfumato.errors import SfumatoError


def write_whole(path: Path, content: bytes, overwrite: bool = True) -> None:
    """Write `content` so that `path` never holds a part of it, whatever happens meanwhile.

    The bytes go to a file of another name in the same folder, reach the disk, and only then
    get their name.  Missing parent folders are made.

    Raises:
        FileExistsError: when `path` exists and `overwrite` is false; nothing is changed.
        SfumatoError: when the system refuses, with its reason.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if isinstance(error, FileExistsError):  # a file stands where a folder is needed
            error = NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        raise SfumatoError(f"{path} cannot be written: {_reason(error, path)}") from error
    aside = path.with_name(f".{secrets.token_hex(6)}.part")
    try:
        with aside.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        _name(aside, path, overwrite)
    except FileExistsError:
        raise
    except OSError as error:
        raise SfumatoError(f"{path} cannot be written: {_reason(error, path)}") from error
    finally:
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)


def _name(aside: Path, path: Path, overwrite: bool) -> None:
    """Give the finished file its name; without `overwrite` an existing one is never lost."""
    if overwrite:
        os.replace(aside, path)
        return
    try:
        os.link(aside, path)  # fails if the name is taken, even by a process beside us
    except FileExistsError:
        raise
    except OSError as error:  # a file system without hard links
        if path.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from error
        os.replace(aside, path)


def _reason(error: OSError, path: Path) -> str:
    if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)):
        return "the disk is full. Free some space, or choose another place with -o."
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"no permission to write in {path.parent}. Choose another place with -o."
    if error.errno == errno.ENAMETOOLONG:
        return "the name is too long. Give a shorter one with -o."
    if error.errno == errno.EISDIR:
        return "a folder of that name exists. Choose another name with -o."
    if error.errno == errno.ENOTDIR:
        return f"{path.parent} is not a folder. Choose another place with -o."
    return f"{error.strerror or error}. Choose another place with -o."
