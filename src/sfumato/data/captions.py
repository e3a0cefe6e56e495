"""Texts about pictures: caption files in any encoding, metadata tables, names as a last resort."""

from __future__ import annotations

import csv
import io
import json
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import Any

from sfumato.data.example import Problem
from sfumato.data.findings import remark
from sfumato.errors import SfumatoError

METADATA_NAMES = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
_FILE_COLUMNS = ("file_name", "filename")
_TEXT_COLUMNS = ("text", "caption", "captions")
_LONGEST_CAPTION_FILE = 1 << 16

# names that cameras and telephones give; they say nothing about the picture
_CAMERA = re.compile(r"(img|image|dsc|dscf|dscn|pxl|mvimg|photo|picture|pic|screenshot|scan)\d*")
_CODE = re.compile(r"\d+|(?=.*\d)[0-9a-f]{6,}")


def decode_text(content: bytes) -> tuple[str, str]:
    """Text of unknown encoding: (text, encoding).

    UTF-8 first, UTF-16 by its mark, else one of the two 8-bit encodings that old captions come
    in.  Bytes above 127 stand together in a Russian word (cp1251) and alone between ASCII
    letters in a western one (cp1252), which tells them apart without a dictionary.
    """
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        try:
            return content.decode("utf-16"), "utf-16"
        except UnicodeDecodeError:
            pass
    try:
        return content.decode("utf-8-sig"), "utf-8"
    except UnicodeDecodeError:
        pass
    accented = re.findall(rb"[A-Za-z\x80-\xff]*[\x80-\xff][A-Za-z\x80-\xff]*", content)
    high = sum(byte > 127 for word in accented for byte in word)
    encoding = "cp1251" if 2 * high > sum(map(len, accented)) else "cp1252"
    return content.decode(encoding, errors="replace"), encoding


def read_caption_file(path: Path) -> tuple[tuple[str, ...], str]:
    """A sidecar text: (captions, encoding); every line that is not empty is one caption.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        content = file.read(_LONGEST_CAPTION_FILE)
    wide = content.startswith((b"\xff\xfe", b"\xfe\xff"))  # UTF-16
    if len(content) == _LONGEST_CAPTION_FILE and not wide:
        content = content.rsplit(None, 1)[0]  # half a letter would look like another encoding
    text, encoding = decode_text(content)
    return clean_captions(text.splitlines()), encoding


def clean_captions(texts: Any) -> tuple[str, ...]:
    """Captions from a string or a list of strings: composed Unicode, one line, none empty."""
    if isinstance(texts, str):
        texts = [texts]
    if not isinstance(texts, (list, tuple)):
        return ()
    lines = (_clean(text) for text in texts if isinstance(text, str))
    return tuple(line for line in lines if line)


def _clean(text: str) -> str:
    text = unicodedata.normalize("NFC", text)
    text = "".join(" " if unicodedata.category(sign) == "Cc" else sign for sign in text)
    return " ".join(text.split())


def words_of(relative: PurePath, root: str) -> str:
    """A caption from names: the file's, else its folders' from the inside out, else "picture".

    Args:
        relative: the file inside the data set.
        root: name of the data set's own folder, tried last.
    """
    return named_by(relative, root)[0]


def named_by(relative: PurePath, root: str) -> tuple[str, str]:
    """The words of `words_of`, and whose name they are: "file", "folder" or "nothing"."""
    for place, name in enumerate((relative.stem, *reversed(relative.parts[:-1]), root)):
        words = [word for word in re.split(r"[\W_]+", name.lower()) if word]
        words = [
            word for word in words if not _CAMERA.fullmatch(word) and not _CODE.fullmatch(word)
        ]
        if words:
            return " ".join(words), "folder" if place else "file"
    return "picture", "nothing"


def read_metadata(path: Path) -> tuple[list[tuple[str, tuple[str, ...]]], list[Problem]]:
    """A table of pictures and captions: ([(file_name, captions), ...], [remark, ...]).

    The columns are ``file_name`` and ``text`` (or ``caption``); a text may be a list of several
    captions where the format allows lists, and a file may have several rows.

    Raises:
        SfumatoError: not readable as a table, or without these columns; for parquet also when
            pyarrow is not installed.
    """
    remarks: list[Problem] = []
    rows: list[tuple[str, tuple[str, ...]]] = []
    for number, row in _rows(path, remarks):
        name = next((row[key] for key in _FILE_COLUMNS if key in row), None)
        texts = next((row[key] for key in _TEXT_COLUMNS if key in row), None)
        if isinstance(name, str) and name.strip():
            rows.append((name.strip(), clean_captions(texts)))
        else:
            remarks.append(remark(path.name, "row", number=number))
    return rows, remarks


def _rows(path: Path, remarks: list[Problem]) -> Iterator[tuple[int, dict[str, Any]]]:
    if path.suffix.lower() == ".parquet":
        rows = _parquet_rows(path)
    else:
        try:
            text, encoding = decode_text(path.read_bytes())
        except OSError as error:
            raise SfumatoError(f"{path} cannot be read ({error.strerror}). Mend it.") from None
        if encoding != "utf-8":
            remarks.append(
                remark(path.name, "encoded", topic="caption encoding", encoding=encoding)
            )
        rows = (
            _csv_rows(path, text)
            if path.suffix.lower() == ".csv"
            else _jsonl_rows(path, text, remarks)
        )
    columns: dict[str, None] = {}
    for number, row in rows:
        columns.update(dict.fromkeys(row))  # the lines of a JSON table may differ
        yield number, row
    for wanted in (_FILE_COLUMNS, _TEXT_COLUMNS):
        if columns and not any(key in columns for key in wanted):
            raise SfumatoError(
                f"{path} has no column {wanted[0]!r} (it has: {', '.join(columns)}). "
                "Name the columns file_name and text."
            )


def _csv_rows(path: Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    head = text.split("\n", 1)[0]
    # spreadsheets of many countries write semicolons
    delimiter = max(",;\t", key=head.count)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        for row in reader:
            # cells beyond the header stand under None
            named = {key.strip().lower(): cell for key, cell in row.items() if key is not None}
            yield reader.line_num, named
    except csv.Error as error:
        raise SfumatoError(f"{path} is not a readable table ({error}). Mend it.") from None


def _jsonl_rows(
    path: Path, text: str, remarks: list[Problem]
) -> Iterator[tuple[int, dict[str, Any]]]:
    # not splitlines(): a JSON string may hold a bare U+2028
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if isinstance(row, dict):
            yield number, row
        else:
            remarks.append(remark(path.name, "line", number=number))


def _parquet_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        import pyarrow.parquet as parquet
    except ImportError:
        raise SfumatoError(
            f'{path.name} needs pyarrow. Install it: pip install "sfumato[parquet]".'
        ) from None
    try:
        table = parquet.ParquetFile(path)
        present = set(table.schema_arrow.names)
        columns = [key for key in (*_FILE_COLUMNS, *_TEXT_COLUMNS) if key in present]
        # never the other columns: they may hold the pictures themselves
        batches = table.iter_batches(columns=columns or sorted(present)[:8])
        number = 0
        for batch in batches:
            for row in batch.to_pylist():
                number += 1
                yield number, row
    except Exception as error:  # Arrow has many kinds of its own
        raise SfumatoError(f"{path} is not a readable parquet file ({error}). Mend it.") from None
