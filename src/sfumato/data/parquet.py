"""Parquet files whose rows hold pictures: a column of {bytes, path} or of bytes, and texts."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sfumato.data.captions import METADATA_NAMES
from sfumato.data.columns import Columns, choose, content_of, number_of, options_of
from sfumato.data.decode import UnreadablePicture
from sfumato.data.example import Problem
from sfumato.data.folder import CACHE_LIMIT, FolderSource
from sfumato.data.scan import EXTENSIONS, Scan
from sfumato.data.stream import Streamed, materialise, stored
from sfumato.errors import SfumatoError

_GROUPS = 2  # row groups whose pictures are held while a file is read from start to end
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
    ) -> None:
        self._files = [_open(path) for path in files]
        self._columns = columns
        self._lock = threading.Lock()
        self._held: OrderedDict[tuple[int, int], list[Any]] = OrderedDict()
        self._places: list[tuple[int, int, int]] = []
        rows: list[tuple[tuple[str, ...], str | None]] = []
        found = Scan(files[0].parent, name)
        for number, (path, file) in enumerate(zip(files, self._files, strict=True)):
            for group in range(file.metadata.num_row_groups):
                kept = [column for column in (columns.text, columns.label) if column]
                told = _rows(path, file, group, kept)
                self._places += [(number, group, row) for row in range(len(told))]
                found.paths += [path] * len(told)
                found.names += [f"{path.name}[{len(rows) + row}]" for row in range(len(told))]
                rows += [columns.said(row) for row in told]
        say(rows, columns, found)
        self._begin(found, files[0].parent, size, channels, broken_share)
        self._held.clear()

    def _stored(self, index: int) -> bytes:
        number, group, row = self._places[index]
        with self._lock:
            held = self._held.get((number, group))
            if held is None:
                file = self._files[number]
                try:
                    held = file.read_row_group(group, [self._columns.image])[0].to_pylist()
                except Exception as error:  # Arrow has many kinds of its own
                    raise UnreadablePicture(f"cannot be opened ({error})") from None
                self._held[number, group] = held
                if len(self._held) > _GROUPS:
                    self._held.popitem(last=False)
        content = content_of(held[row])
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
    as tars first (`sfumato.data.stream`), since parquet has no quick way to a single row.

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
    first = _open(files[0])
    columns = columns_of(files[0], first.schema_arrow, image, text)
    name = path.resolve().name.removesuffix(".parquet")
    side = size or 64
    rows = sum(_open(file).metadata.num_rows for file in files)
    if limit is None and rows * (channels or 3) * side * side <= CACHE_LIMIT:
        return ParquetSource(files, columns, name, side, channels, broken_share)

    def samples(start: int) -> Iterator[Streamed]:
        for file in files:
            opened = _open(file)
            if start >= opened.metadata.num_rows:
                start -= opened.metadata.num_rows
                continue
            yield from _streamed(file, opened, columns, start)
            start = 0

    states = [[str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns] for file in files]
    identity = {"parquet": states, "image": columns.image, "text": columns.text}
    folder = materialise(name, identity, samples, limit, expected=rows)
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
    return bool(tables) and not any(path.suffix.lower() in EXTENSIONS for path in inside)


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


def say(rows: list[tuple[tuple[str, ...], str | None]], columns: Columns, found: Scan) -> None:
    """Enter captions, labels and classes of all rows into a scan."""
    found.labels = [label for _, label in rows]
    labels = [label for label in found.labels if label is not None]
    if not any(captions for captions, _ in rows) and labels and len(labels) == len(rows):
        found.classes = columns.names or tuple(sorted(set(labels)))
        found.captions = [(label,) for label in labels]
        return
    bare = 0
    for captions, label in rows:
        bare += not captions and label is None
        found.captions.append(captions or ((label,) if label else ("picture",)))
    if bare:
        reason = f"{bare} rows have no caption; called 'picture'"
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


def _open(path: Path) -> Any:
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


def _rows(path: Path, file: Any, group: int, columns: list[str]) -> list[dict[str, Any]]:
    if not columns:
        return [{} for _ in range(file.metadata.row_group(group).num_rows)]
    try:
        return list(file.read_row_group(group, columns).to_pylist())
    except Exception as error:
        raise SfumatoError(f"{path} is damaged ({error}). Take another copy of it.") from None


def _streamed(path: Path, file: Any, columns: Columns, start: int) -> Iterator[Streamed]:
    wanted = [name for name in (columns.image, columns.text, columns.label) if name]
    position = 0
    try:
        for batch in file.iter_batches(batch_size=64, columns=wanted):
            if position + len(batch) > start:
                for row in batch.slice(max(0, start - position)).to_pylist():
                    captions, label = columns.said(row)
                    yield Streamed(content_of(row[columns.image]), captions, label)
            position += len(batch)
    except (OSError, ValueError) as error:  # Arrow's own kinds derive from these
        raise SfumatoError(f"{path} is damaged ({error}). Take another copy of it.") from None
