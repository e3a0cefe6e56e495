"""Rows of parquet files, a bounded number of bytes at a time.

A column may hold one large value once and name it in a million rows: a megabyte on the disk is
then a terabyte in memory.  So rows are read in small batches, never a row group at once.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sfumato.data.decode import UnreadablePicture, unreadable
from sfumato.data.sources.tar_index import LARGEST_PICTURE
from sfumato.errors import SfumatoError

BATCH_BYTES = 16 << 20
"""A batch of more than one row takes at most so many bytes (16 MiB)."""

_ROWS = 16
_HELD, _THREADS = 16, 4  # batches held: as many, or fewer where they are large


def open_parquet(path: Path) -> Any:
    """A file as `pyarrow.parquet.ParquetFile`.

    Raises:
        SfumatoError: pyarrow is missing, or it is not a parquet file.
    """
    try:
        import pyarrow.parquet as parquet
    except ImportError:
        raise SfumatoError(
            f'{path.name} needs pyarrow. Install it: pip install "sfumato[parquet]".'
        ) from None
    try:
        return parquet.ParquetFile(path)
    except Exception as error:
        raise SfumatoError(
            f"{path} is not a readable parquet file ({error}). Take another copy of it."
        ) from None


def rows_at_once(file: Any, group: int, columns: Sequence[str]) -> int:
    """How many rows of a row group one batch takes: no value is longer than its column chunk."""
    told = file.metadata.row_group(group)
    chunks = (told.column(number) for number in range(told.num_columns))
    size = sum(
        chunk.total_uncompressed_size
        for chunk in chunks
        if chunk.path_in_schema.split(".", 1)[0] in columns
    )
    return int(min(_ROWS, max(1, BATCH_BYTES // max(1, size))))


def batches(path: Path, file: Any, group: int, columns: Sequence[str]) -> Iterator[Any]:
    """The batches of a row group.

    Raises:
        SfumatoError: the file is damaged.
    """
    rows = rows_at_once(file, group, columns)
    try:
        yield from file.iter_batches(batch_size=rows, row_groups=[group], columns=list(columns))
    except Exception as error:  # Arrow has many kinds of its own
        raise SfumatoError(f"{path} is damaged ({error}). Take another copy of it.") from None


def rows_of(batch: Any) -> list[dict[str, Any] | None]:
    """The rows of a batch; None for one above `LARGEST_PICTURE`."""
    if batch.nbytes <= LARGEST_PICTURE:
        return list(batch.to_pylist())
    rows = (batch.slice(number, 1) for number in range(len(batch)))
    return [row.to_pylist()[0] if row.nbytes <= LARGEST_PICTURE else None for row in rows]


def too_large() -> str:
    """The reason for which a row is refused."""
    return f"too large: more than the limit of {LARGEST_PICTURE} bytes"


class Cells:
    """The values of one column by their place, quick where they are read in order."""

    def __init__(self, paths: list[Path], files: list[Any], column: str) -> None:
        self._paths, self._files, self._column = paths, files, column
        self._lock = threading.Lock()
        self._held: OrderedDict[tuple[int, int, int], tuple[int, list[Any]]] = OrderedDict()
        self._group, self._next = (-1, -1), 0
        self._stream: Iterator[Any] = iter(())

    def at(self, number: int, group: int, row: int) -> Any:
        """The value in a row of a row group of a file.

        Raises:
            UnreadablePicture: damaged or too large.
        """
        block, rest = divmod(row, rows_at_once(self._files[number], group, [self._column]))
        with self._lock:
            if (number, group, block) not in self._held:
                self._read(number, group, block)
            rows = self._held[number, group, block][1]
        if rest >= len(rows):
            raise unreadable("unopened", why="its row group is damaged")
        if rows[rest] is None:
            raise UnreadablePicture(too_large())
        return rows[rest][self._column]

    def clear(self) -> None:
        """Let go of what is held."""
        with self._lock:
            self._held.clear()
            self._group = (-1, -1)

    def _read(self, number: int, group: int, block: int) -> None:
        if self._group != (number, group) or block < self._next:
            self._group, self._next = (number, group), 0
            path, file = self._paths[number], self._files[number]
            self._stream = batches(path, file, group, [self._column])
        while self._next <= block:
            try:
                batch = next(self._stream)
                read = batch.nbytes, rows_of(batch)
            except (SfumatoError, StopIteration) as error:
                self._group = (-1, -1)
                raise unreadable("unopened", why=str(error) or "cut off") from None
            self._held[number, group, self._next] = read
            self._next += 1
            # threads are a little out of step, so what just passed is kept
            while len(self._held) > _HELD or (
                len(self._held) > _THREADS and sum(n for n, _ in self._held.values()) > BATCH_BYTES
            ):
                self._held.popitem(last=False)
