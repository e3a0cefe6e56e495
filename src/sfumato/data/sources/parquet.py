"""Parquet files whose rows hold pictures: a column of {bytes, path} or of bytes, and texts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sfumato.data.captions import METADATA_NAMES
from sfumato.data.decode import UnreadablePicture
from sfumato.data.example import Problem
from sfumato.data.scan import Scan, holds_pictures
from sfumato.data.sources.columns import (
    Columns,
    choose,
    class_order,
    content_of,
    number_of,
    options_of,
)
from sfumato.data.sources.folder import CACHE_LIMIT, FolderSource
from sfumato.data.sources.parquet_rows import Cells, batches, open_parquet, rows_of, too_large
from sfumato.data.sources.stream import Streamed, materialise, note, stored
from sfumato.errors import SfumatoError

_TEXT_BYTES = 1 << 30  # captions and labels of files that are read at once
_PARTS = {"train": ("train",), "test": ("test", "val", "valid", "validation")}


class ParquetSource(FolderSource):
    """Parquet files that fit into memory once decoded; see `Source` and `parquet_source`."""

    def __init__(
        self,
        files: list[Path],
        columns: Columns,
        name: str,
        size: int,
        channels: int | None,
        broken_share: float,
        classes: tuple[str, ...] = (),
    ) -> None:
        opened = [open_parquet(path) for path in files]
        self._cells = Cells(files, opened, columns.image)
        self._places: list[tuple[int, int, int]] = []
        rows: list[tuple[tuple[str, ...], str | None]] = []
        found = Scan(files[0].parent, name)
        for number, (path, file) in enumerate(zip(files, opened, strict=True)):
            for group in range(file.metadata.num_row_groups):
                kept = [column for column in (columns.text, columns.label) if column]
                told = _told(path, file, group, kept)
                self._places += [(number, group, row) for row in range(len(told))]
                found.paths += [path] * len(told)
                found.names += [f"{path.name}[{len(rows) + row}]" for row in range(len(told))]
                rows += [columns.said(row) for row in told]
        say(rows, columns, found, classes)
        self._begin(found, files[0].parent, size, channels, broken_share)
        self._cells.clear()

    def _stored(self, index: int) -> bytes:
        content = content_of(self._cells.at(*self._places[index]))
        if not content:
            raise UnreadablePicture("has no bytes of its own (a mere path is not followed)")
        return content


def parquet_source(
    path: Path,
    size: int | None = None,
    channels: int | None = None,
    split: str = "train",
    broken_share: float = 0.5,
    image: str | None = None,
    text: str | None = None,
    limit: int | None = None,
) -> FolderSource:
    """Open a parquet file or a folder of them.

    Where the decoded pictures do not fit into memory, or with a ``limit``, the rows are stored
    as tars first (`sfumato.data.sources.stream`), since parquet has no quick way to a single row.

    Args:
        path: the file or folder.
        size: side in pixels; default 64.
        channels, broken_share: see `FolderSource`.
        split: "train" or "test"; told by the files' names (test-00000-of-00001.parquet).
        image, text: columns to take instead of the usual ones.
        limit: use only so many rows.

    Raises:
        SfumatoError: pyarrow is missing, not parquet, or no column of pictures.
    """
    files = _part(path, split)
    first = open_parquet(files[0])
    columns = columns_of(files[0], first.schema_arrow, image, text)
    name = path.resolve().name.removesuffix(".parquet")
    side = size or 64
    rows = sum(open_parquet(file).metadata.num_rows for file in files)
    classes = columns.names
    if split == "test" and not classes and not columns.text:
        classes = _classes_of_train(path, columns)
    if limit is None and rows * (channels or 4) * side * side <= CACHE_LIMIT:
        return ParquetSource(files, columns, name, side, channels, broken_share, classes)
    notes: dict[str, Any] = {}

    def samples(start: int) -> Iterator[Streamed]:
        notes["classes"] = list(classes)
        for file in files:
            opened = open_parquet(file)
            for group in range(opened.metadata.num_row_groups):
                count = opened.metadata.row_group(group).num_rows
                if start < count:
                    yield from _streamed(file, opened, group, columns, start, notes)
                start = max(0, start - count)

    states = [[str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns] for file in files]
    identity = {"parquet": states, "image": columns.image, "text": columns.text}
    folder = materialise(name, identity, samples, limit, expected=rows, notes=notes)
    return stored(folder, name, size, channels, broken_share, limit)


def parquet_file(
    path: Path,
    size: int | None = None,
    channels: int | None = None,
    split: str = "train",
    broken_share: float = 0.5,
) -> FolderSource:
    """Open one file, whose columns may be named: ``a.parquet?image=photo&text=title&limit=100``.

    Raises:
        SfumatoError: see `parquet_source`.
    """
    options = {}
    if not path.exists():
        name, _, told = path.name.partition("?")
        path = path.with_name(name)
        options = options_of(told, ("image", "text", "limit"))
    if not path.is_file():
        raise SfumatoError(f"There is no file {path}.")
    image, text, limit = options.get("image"), options.get("text"), number_of(options, "limit")
    return parquet_source(path, size, channels, split, broken_share, image, text, limit)


def looks_like_parquet(root: Path) -> bool:
    """Whether a folder holds parquet files (no mere tables of captions) and no pictures."""
    try:
        inside = [path for path in (*root.iterdir(), *root.glob("data/*")) if path.is_file()]
    except OSError:
        return False
    tables = [
        path
        for path in inside
        if path.suffix.lower() == ".parquet" and path.name.lower() not in METADATA_NAMES
    ]
    return bool(tables) and not holds_pictures(root)


def columns_of(path: Path, schema: Any, image: str | None, text: str | None) -> Columns:
    """The columns of an Arrow schema; class names from the note that `datasets` leaves in it.

    Raises:
        SfumatoError: there is no column of pictures.
    """
    import pyarrow.types as types

    def is_bytes(kind: Any) -> bool:
        return bool(types.is_binary(kind) or types.is_large_binary(kind))

    pictures = []
    for one in schema:
        inside = {part.name: part.type for part in one.type} if types.is_struct(one.type) else {}
        if is_bytes(one.type) or ("bytes" in inside and is_bytes(inside["bytes"])):
            pictures.append(one.name)
    return choose(path.name, schema.names, pictures, image, text, _noted(schema.metadata or {}))


def say(
    rows: list[tuple[tuple[str, ...], str | None]],
    columns: Columns,
    found: Scan,
    classes: tuple[str, ...] = (),
) -> None:
    """Enter captions, labels and classes (known ones first) of all rows into a scan."""
    found.labels = [label for _, label in rows]
    labels = [label for label in found.labels if label is not None]
    if not any(captions for captions, _ in rows) and labels and len(labels) == len(rows):
        found.classes = class_order(labels, columns.names or classes)
        found.captions = [(label,) for label in labels]
        return
    bare = 0
    for captions, label in rows:
        bare += not captions and label is None
        found.captions.append(captions or ((label,) if label else ("picture",)))
    if bare:
        reason = f"{bare} rows have no caption; called 'picture'"
        if not (columns.text or columns.label):
            reason += "; DATA?text=COLUMN says which column holds them"
        found.remarks.append(Problem(found.name, reason, topic="caption missing"))


def _noted(metadata: dict[bytes, bytes]) -> dict[str, tuple[str, ...]]:
    """Class names by column from the schema's own note."""
    try:
        features = json.loads(metadata[b"huggingface"])["info"]["features"]
        return {
            column: tuple(map(str, told["names"]))
            for column, told in features.items()
            if isinstance(told, dict) and told.get("_type") == "ClassLabel" and "names" in told
        }
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError):
        return {}


def _part(path: Path, split: str) -> list[Path]:
    if split not in _PARTS:
        raise SfumatoError(f"Parquet data have no part {split!r}. Take train or test.")
    if path.is_file() and split == "train":
        return [path]  # a file that is named is what is wanted, whatever its name says
    files = [path] if path.is_file() else sorted(path.rglob("*.parquet"))
    files = [file for file in files if file.name.lower() not in METADATA_NAMES]

    def says(file: Path, part: str) -> bool:
        start = file.name.lower().replace("_", "-").replace(".", "-").split("-")[0]
        return start in _PARTS[part] or file.parent.name.lower() in _PARTS[part]

    if any(says(file, part) for file in files for part in _PARTS):
        files = [file for file in files if says(file, split)]
    elif split == "test":
        files = []
    if not files:
        raise SfumatoError(f"{path} has no {split} part. Name its files {split}-00000.parquet.")
    return files


def _classes_of_train(path: Path, columns: Columns) -> tuple[str, ...]:
    """The train part's classes, so that a class has one number in both."""
    try:
        files = [] if path.is_file() or not columns.label else _part(path, "train")
    except SfumatoError:  # there is none
        files = []
    labels: set[str] = set()
    for one in files:
        file = open_parquet(one)
        for group in range(file.metadata.num_row_groups):
            rows = _told(one, file, group, [str(columns.label)])
            labels.update(label for row in rows if (label := columns.said(row)[1]))
    return class_order(labels)


def _told(path: Path, file: Any, group: int, columns: list[str]) -> list[dict[str, Any]]:
    """Texts and labels of a row group."""
    if not columns:
        return [{} for _ in range(file.metadata.row_group(group).num_rows)]
    rows: list[dict[str, Any]] = []
    size = 0
    for batch in batches(path, file, group, columns):
        size += batch.nbytes
        if size > _TEXT_BYTES:
            raise SfumatoError(
                f"{path} has more than {_TEXT_BYTES >> 20} MiB of captions in one row group. "
                "Name another column with ?text=COLUMN."
            )
        rows += [row or {} for row in rows_of(batch)]
    return rows


def _streamed(
    path: Path, file: Any, group: int, columns: Columns, start: int, notes: dict[str, Any]
) -> Iterator[Streamed]:
    wanted = [name for name in (columns.image, columns.text, columns.label) if name]
    position = 0
    for batch in batches(path, file, group, wanted):
        if position + len(batch) > start:
            skipped = max(0, start - position)
            for number, row in enumerate(rows_of(batch.slice(skipped)), position + skipped):
                if row is None:
                    note(notes, f"{path.name}[group {group}, row {number}]", too_large())
                    yield Streamed(b"")
                else:
                    captions, label = columns.said(row)
                    yield Streamed(content_of(row[columns.image]), captions, label)
        position += len(batch)
