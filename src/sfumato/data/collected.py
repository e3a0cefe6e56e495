"""The folder that collected pictures grow in: pictures, `metadata.jsonl`, a journal.

Every kept picture has its row in `metadata.jsonl`; `.collect.jsonl` remembers each address that
was tried, and what came of it.  Both only grow, line by line, so that whatever ends the program
costs at most the line that was being written.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from sfumato.errors import SfumatoError

METADATA = "metadata.jsonl"
JOURNAL = ".collect.jsonl"


class Collected:
    """What was collected so far.

    Attributes:
        folder: where.
        rows: of `metadata.jsonl`, one for each picture; rows that others wrote included.
        tried: addresses that need not be asked for again.
        hashes: SHA-256 of the kept pictures.

    Raises:
        SfumatoError: the folder cannot be used.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.rows = _read_lines(folder / METADATA)
            journal = _read_lines(folder / JOURNAL)
        except OSError as error:
            raise self._unusable(error) from None
        urls = [row.get("url") for row in (*self.rows, *journal)]
        self.tried = {url for url in urls if isinstance(url, str)}
        self.hashes = {row["sha256"] for row in self.rows if isinstance(row.get("sha256"), str)}

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
            raise self._unusable(error) from None
        self.rows.append(row)
        self.hashes.add(row["sha256"])
        self.done(row["url"], "kept")

    def done(self, url: str, outcome: str) -> None:
        """Remember that an address was tried. Raises SfumatoError."""
        self.tried.add(url)
        try:
            _append(self.folder / JOURNAL, {"url": url, "outcome": outcome})
        except OSError as error:
            raise self._unusable(error) from None

    def _unusable(self, error: OSError) -> SfumatoError:
        return SfumatoError(
            f"{self.folder} cannot be written ({error.strerror or error}). "
            "Choose another folder with -o; what was collected stays."
        )


def _append(path: Path, row: dict[str, Any]) -> None:
    with path.open("a", encoding="utf-8", newline="\n") as file:
        file.write(json.dumps(row, ensure_ascii=False) + "\n")


def _read_lines(path: Path) -> list[dict[str, Any]]:
    """The JSON objects of a file; a line that was cut off at its end is taken away."""
    if not path.is_file():
        return []
    content = path.read_bytes()
    whole, mark, torn = content.rpartition(b"\n")
    if torn:
        with path.open("r+b") as file:
            if _parsed(torn) is None:
                file.truncate(len(whole) + len(mark))
            else:  # written by hand, without an end of line
                file.seek(0, os.SEEK_END)
                file.write(b"\n")
    return [row for line in content.split(b"\n") if (row := _parsed(line)) is not None]


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None
