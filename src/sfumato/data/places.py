"""Where data sets lie on this machine, and where downloads and indexes are put.

The search order of a data set NAME:

1. ``$SFUMATO_DATA/NAME``, where the environment variable is set;
2. ``<user data folder>/sfumato/NAME``: ``$XDG_DATA_HOME`` or ``~/.local/share`` on Linux,
   ``~/Library/Application Support`` on macOS, ``%LOCALAPPDATA%`` on Windows.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from sfumato.errors import SfumatoError

VARIABLE = "SFUMATO_DATA"
"""The environment variable that names the folder of all data sets."""

_NAME = re.compile(r"[\w][\w.-]*")


def data_root() -> Path:
    """The folder of all data sets: SFUMATO_DATA, else the user's own; it may not exist yet."""
    own = os.environ.get(VARIABLE)
    return Path(own).expanduser() if own else user_data_folder()


def data_folder(name: str) -> Path:
    """The folder of one data set: where it lies, or where a download puts it.

    The first existing folder in the order above; where there is none, the first place.

    Args:
        name: of the data set; letters, digits, dot, hyphen and underscore.

    Raises:
        ValueError: a name that could lead out of the folder.
    """
    places = search_order(name)
    return next((place for place in places if place.is_dir()), places[0])


def search_order(name: str) -> list[Path]:
    """All places of a data set, the first to be looked at first.

    Raises:
        ValueError: a name that could lead out of the folder.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name of a data set")
    return list(dict.fromkeys((data_root() / name, user_data_folder() / name)))


def found_in(
    name: str, looks_like: Callable[[Path], bool], others: Iterable[Path] = ()
) -> Path | None:
    """The first place that really holds the data set, or None.

    Args:
        name: of the data set.
        looks_like: judges a folder by what is in it.
        others: places to look at after the usual ones, for example those of a Debian package.
    """
    return next((place for place in (*search_order(name), *others) if looks_like(place)), None)


def required(
    name: str, looks_like: Callable[[Path], bool], cure: str, others: Iterable[Path] = ()
) -> Path:
    """`found_in`, or one sentence that says where it was looked for.

    Raises:
        SfumatoError: it is nowhere.
    """
    found = found_in(name, looks_like, others)
    if found is None:
        raise SfumatoError(f"{name} was not found in {search_order(name)[0]}. {cure}")
    return found


def user_data_folder() -> Path:
    """The user's own folder for data; it may not exist yet."""
    return _user_folder("XDG_DATA_HOME", ".local/share", "Library/Application Support", "data")


def user_cache_folder() -> Path:
    """The user's folder for what can be made again at any time; it may not exist yet."""
    return _user_folder("XDG_CACHE_HOME", ".cache", "Library/Caches", "cache")


def _user_folder(variable: str, linux: str, macos: str, windows: str) -> Path:
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        base = Path(local) if local else Path.home() / "AppData" / "Local"
        return base / "sfumato" / windows
    if sys.platform == "darwin":
        return Path.home() / macos / "sfumato"
    own = os.environ.get(variable, "")
    # the XDG specification: a relative path is to be ignored
    return (Path(own) if os.path.isabs(own) else Path.home() / linux) / "sfumato"
