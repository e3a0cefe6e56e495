"""Files that one program at a time writes, and that are no links to somebody else's."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from sfumato.errors import SfumatoError
from sfumato.locale import translate

_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # of a file system that knows none


@contextmanager
def alone(lock: Path, taken: str) -> Iterator[None]:
    """Hold a lock file, which vanishes afterwards; its folder must exist.

    Args:
        lock: the file.
        taken: what is said where another program holds it.

    Raises:
        SfumatoError: ``taken``, or a link lies there.
        OSError: it cannot be written.
    """
    from filelock import FileLock, Timeout

    demand_plain(lock)
    lock.parent.stat()  # `FileLock` would make a folder that is not there
    held = FileLock(lock, timeout=0)
    try:
        held.acquire()
    except Timeout:
        raise SfumatoError(taken) from None
    except NotImplementedError:
        pass
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    try:
        yield
    finally:
        if held.is_locked and os.name != "nt":  # Windows removes it by itself
            lock.unlink(missing_ok=True)  # while it is held: later it may be another's
        held.release()


def demand_plain(path: Path) -> None:
    """Raise SfumatoError if something but a plain file of one name lies there.

    Who writes into a prepared link writes into a file that somebody else chose.
    """
    try:
        state = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISREG(state.st_mode) or state.st_nlink > 1:
        raise SfumatoError(translate("download.link", path=path))


def demand_own(folder: Path) -> None:
    """Raise SfumatoError unless a folder is no link and belongs to this user.

    In a folder of theirs, others could put a link in a file's place at any moment.  The owner of
    the folder above is as good: on some mounted disks everything belongs to one user.
    """
    state = folder.lstat()
    own = stat.S_ISDIR(state.st_mode)
    if own and os.name != "nt":
        own = state.st_uid in (os.geteuid(), folder.parent.stat().st_uid)
    if not own:
        raise SfumatoError(translate("download.not_own", path=folder))


def open_plain(path: Path, mode: str) -> IO[Any]:
    """`open` in binary mode that follows no link. Raises SfumatoError, OSError."""

    def no_link(name: str, flags: int) -> int:
        return os.open(name, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)

    demand_plain(path)
    return open(path, mode, opener=no_link)
