"""Names of the pictures in a clean copy: such as every system and every table can carry."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from sfumato.data.captions import METADATA_NAMES
from sfumato.data.member_names import for_windows, same_file

_FORBIDDEN = re.compile(r"[\\\x00-\x1f\x7f-\x9f]")  # and what for_windows replaces


class CleanNames:
    """Gives each name once, even where letter case does not count."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._folders: dict[str, tuple[str, ...]] = {".": ()}

    def of(self, name: str) -> str:
        """The name for one more file; files of one folder stay in one folder."""
        path = PurePosixPath(name)
        return "/".join((*self._folder(path.parent), self._free(path)))

    def _folder(self, path: PurePosixPath) -> tuple[str, ...]:
        known = self._folders.get(path.as_posix())
        if known is None:
            # two classes never become one folder
            known = (*self._folder(path.parent), self._free(path))
            self._folders[path.as_posix()] = known
        return known

    def _free(self, path: PurePosixPath) -> str:
        above = self._folder(path.parent)
        part = PurePosixPath(for_windows(_FORBIDDEN.sub("_", path.name).strip()) or "_")
        if part.name.lower() in METADATA_NAMES:
            part = part.with_name(f"_{part.name}")
        unique, number = part.name, 1
        while same_file((*above, unique)) in self._taken:
            number += 1
            unique = f"{part.stem}-{number}{part.suffix}"
        self._taken.add(same_file((*above, unique)))
        return unique
