"""Where the check's page may be written: no file of the user is ever replaced."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

from sfumato.data.checking.check_parts import MADE_BY
from sfumato.errors import SfumatoError
from sfumato.locale import translate


def demand_folder(folder: Path) -> None:
    """See that a page may be written there; nothing is made yet.

    Raises:
        SfumatoError: no folder, none that may be written to, or it holds a check.html or
            check.json that is not from here.
    """
    try:
        there = next(path for path in (folder, *folder.absolute().parents) if os.path.lexists(path))
        if not there.is_dir():
            raise SfumatoError(translate("check.page.no_folder", folder=folder, file=there))
        if not os.access(there, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        for file in (folder / "check.html", folder / "check.json"):
            if os.path.lexists(file) and not _ours(file):
                raise SfumatoError(translate("check.page.taken", file=file))
    except OSError as error:
        raise refused(folder, error) from None


def _ours(file: Path) -> bool:
    if not file.is_file():
        return False
    content = file.read_bytes()
    if file.suffix == ".html":
        return MADE_BY.encode() in content[:1000]
    try:
        known = json.loads(content)
    except (ValueError, RecursionError):
        return False
    return isinstance(known, dict) and {"pictures", "healthy", "findings"} <= known.keys()


def refused(folder: Path, error: OSError) -> SfumatoError:
    """The sentence about a page that cannot be written."""
    why = error.strerror or type(error).__name__
    return SfumatoError(translate("check.page.refused", folder=folder, why=why))
