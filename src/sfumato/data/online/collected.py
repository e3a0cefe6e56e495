"""The folder that collected pictures grow in: pictures, `metadata.jsonl`, a journal.

Every kept picture has its row in `metadata.jsonl`; `.collect.jsonl` remembers each address that
was tried, and what came of it.  Both only grow, line by line, so that whatever ends the program
costs at most the line that was being written.  `metadata.jsonl` may be edited by hand: an
unfinished last line of it is set aside, not thrown away.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sfumato.data.alone import alone
from sfumato.errors import SfumatoError
from sfumato.locale import translate

METADATA = "metadata.jsonl"
JOURNAL = ".collect.jsonl"
ASIDE = METADATA + ".torn"


@contextmanager
def opened(folder: Path) -> Iterator[Collected]:
    """The folder, made if need be, for this program alone.

    Raises:
        SfumatoError: it cannot be used, or another program collects into it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with alone(folder / ".collect.lock", translate("collect.busy", folder=folder)):
            yield Collected(folder)
    except OSError as error:
        raise _unusable(folder, error) from None


class Collected:
    """What was collected so far; see `opened`.

    Attributes:
        folder: where.
        rows: of `metadata.jsonl`, one for each picture; rows that others wrote included.
        tried: addresses that need not be asked for again.
        hashes: SHA-256 of the kept pictures.
        names: of the files that have a row.
        torn: an unfinished last line of `metadata.jsonl` was set aside into `ASIDE`.

    Raises:
        SfumatoError: the folder cannot be used.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            self.rows, self.torn = _read_lines(folder / METADATA, folder / ASIDE)
            journal, _ = _read_lines(folder / JOURNAL, None)
        except OSError as error:
            raise _unusable(folder, error) from None
        urls = [row.get("url") for row in (*self.rows, *journal)]
        self.tried = {url for url in urls if isinstance(url, str)}
        self.hashes = {row["sha256"] for row in self.rows if isinstance(row.get("sha256"), str)}
        self.names = {str(row.get("file_name")) for row in self.rows}

    def pictures(self) -> list[Path]:
        """The pictures that have a row and are still there."""
        names = (row.get("file_name") for row in self.rows)
        paths = [self.folder / name for name in names if isinstance(name, str)]
        return [path for path in paths if path.parent == self.folder and path.is_file()]

    def count(self, query: str) -> int:
        """How many pictures are there for some words."""
        return sum(
            row.get("query") == query and (self.folder / str(row.get("file_name"))).is_file()
            for row in self.rows
        )

    def keep(self, content: bytes, row: dict[str, Any]) -> None:
        """Write a picture and its row; then its address is done with.

        Args:
            content: the file.
            row: with file_name, url and sha256.

        Raises:
            SfumatoError: the disk does not take it.
        """
        path = self.folder / row["file_name"]
        beside = path.with_name(f".{path.name}.new")
        try:
            beside.write_bytes(content)
            os.replace(beside, path)
            _append(self.folder / METADATA, row)
        except OSError as error:
            beside.unlink(missing_ok=True)
            raise _unusable(self.folder, error) from None
        self.rows.append(row)
        self.names.add(row["file_name"])
        self.hashes.add(row["sha256"])
        self.done(row["url"], "kept")

    def done(self, url: str, outcome: str) -> None:
        """Remember that an address was tried. Raises SfumatoError."""
        self.tried.add(url)
        try:
            _append(self.folder / JOURNAL, {"url": url, "outcome": outcome})
        except OSError as error:
            raise _unusable(self.folder, error) from None


def _unusable(folder: Path, error: OSError) -> SfumatoError:
    why = error.strerror or error
    return SfumatoError(translate("collect.unusable", folder=folder, why=why))


def _append(path: Path, row: dict[str, Any]) -> None:
    # half a surrogate pair becomes its escape, which JSON knows too
    line = json.dumps(row, ensure_ascii=False).encode("utf-8", "backslashreplace")
    with path.open("ab") as file:
        file.write(line + b"\n")


def _read_lines(path: Path, aside: Path | None) -> tuple[list[dict[str, Any]], bool]:
    """The JSON objects of a file, and whether a line that was cut off at its end went aside.

    Such a line is taken away; before that it is written to ``aside``, if there is one.
    """
    if not path.is_file():
        return [], False
    moved = False
    content = path.read_bytes()
    whole, mark, torn = content.rpartition(b"\n")
    if torn:
        with path.open("r+b") as file:
            if _parsed(torn) is None:
                if aside is not None:
                    _keep(torn, aside)
                    moved = True
                file.truncate(len(whole) + len(mark))
            else:  # written by hand, without an end of line
                file.seek(0, os.SEEK_END)
                file.write(b"\n")
    rows = [row for line in content.split(b"\n") if (row := _parsed(line)) is not None]
    return rows, moved


def _keep(torn: bytes, aside: Path) -> None:
    with aside.open("ab") as file:
        file.write(torn + b"\n")
        file.flush()
        os.fsync(file.fileno())


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None
