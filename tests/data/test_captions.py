"""Caption texts in old encodings, tables of metadata, and names as a last resort."""

from __future__ import annotations

import builtins
import json
from pathlib import PurePosixPath

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sfumato.data.captions import (
    clean_captions,
    decode_text,
    named_by,
    read_caption_file,
    read_metadata,
    words_of,
)
from sfumato.errors import SfumatoError

RUSSIAN = "абвгдеёжзийклмнопрстуфхцчшщъыьэюя"
russian_words = st.lists(st.text(RUSSIAN, min_size=2, max_size=12), min_size=1).map(" ".join)


@given(st.text(st.characters(exclude_categories=["Cs"])).filter(lambda t: "\ufeff" not in t))
def test_utf8_is_read_as_it_is(text):
    assert decode_text(text.encode()) == (text, "utf-8")
    assert decode_text(b"\xef\xbb\xbf" + text.encode()) == (text, "utf-8")


@pytest.mark.parametrize("before", ["", "x"])
def test_the_begin_of_a_file_without_end_is_read_in_its_own_encoding(tmp_path, before):
    (tmp_path / "a.txt").write_text(before + "сердце " * 20_000, "utf-8")  # cut inside a letter
    (caption,), encoding = read_caption_file(tmp_path / "a.txt")
    assert encoding == "utf-8" and set(caption.split()) <= {"сердце", "xсердце"}
    assert 60_000 < len(caption.encode()) < 1 << 16


@given(russian_words)
def test_russian_in_windows_encoding(text):
    # random letters may by chance be valid UTF-8 or begin like UTF-16, which real words do not
    content = text.encode("cp1251")
    assume(content[:2] not in (b"\xfe\xff", b"\xff\xfe"))
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        assert decode_text(content) == (text, "cp1251")


@pytest.mark.parametrize("text", ["красное сердце", "Кот, 3 шт. (red)", "Ёж и я"])
def test_russian_captions(text):
    assert decode_text(text.encode("cp1251")) == (text, "cp1251")


@pytest.mark.parametrize("text", ["café crème à la carte", "schöne Größe", "niño pequeño", "naïve"])
def test_western_captions(text):
    assert decode_text(text.encode("cp1252")) == (text, "cp1252")


def test_utf16_by_its_mark():
    assert decode_text("сердце".encode("utf-16")) == ("сердце", "utf-16")
    assert decode_text(b"\xff\xfe\x41")[0]  # a mark without UTF-16 behind it is no crash


def test_captions_are_cleaned():
    assert clean_captions("  red\t\n heart\x00 ") == ("red heart",)
    assert clean_captions(["a", "", "  ", "b", 7, None]) == ("a", "b")
    assert clean_captions("e\u0301") == ("\u00e9",)  # composed
    assert clean_captions(None) == clean_captions(3) == ()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("red_heart.png", "red heart"),
        ("Red-Heart 02.JPG", "red heart"),
        ("animals/IMG_2931.jpg", "animals"),
        ("animals/big cats/DSC0001.jpg", "big cats"),
        ("000017.png", "my set"),
        ("9f86d081884c7d65.png", "my set"),
        ("красное_сердце.png", "красное сердце"),
        ("facade.png", "facade"),
    ],
)
def test_words_of_names(name, words):
    assert words_of(PurePosixPath(name), "my set") == words


def test_a_name_without_any_word():
    assert words_of(PurePosixPath("12/34.png"), "56") == "picture"


@pytest.mark.parametrize(
    ("name", "root", "whose"),
    [
        ("red.png", "bad", "file"),
        ("007.png", "bad", "folder"),
        ("bad/007.png", "9", "folder"),
        ("bad/bad.png", "bad", "file"),
        ("12/34.png", "56", "nothing"),
    ],
)
def test_whose_name_it_is(name, root, whose):
    words, found = named_by(PurePosixPath(name), root)
    assert found == whose and words == words_of(PurePosixPath(name), root)


def test_tables_in_all_three_forms(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    expected = [("a.png", ("one",)), ("b/c.png", ("two", "три"))]
    jsonl = tmp_path / "metadata.jsonl"
    rows = [
        {"file_name": "a.png", "text": "one", "other": 1},
        {"file_name": "b/c.png", "text": ["two", "три"]},
    ]
    jsonl.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), "utf-8")
    assert read_metadata(jsonl) == (expected, [])

    parquet = tmp_path / "metadata.parquet"
    pq.write_table(
        pa.table({"file_name": ["a.png", "b/c.png"], "caption": [["one"], ["two", "три"]]}), parquet
    )
    assert read_metadata(parquet) == (expected, [])

    table = tmp_path / "metadata.csv"
    table.write_text('file_name,text\na.png,one\nb/c.png,"two, or\nthree"\n', "utf-8")
    assert read_metadata(table) == ([("a.png", ("one",)), ("b/c.png", ("two, or three",))], [])


def test_a_spreadsheets_semicolons_and_encoding(tmp_path):
    table = tmp_path / "metadata.csv"
    table.write_bytes("File_Name;Caption\r\na.png;красный, круглый\r\n".encode("cp1251"))
    rows, remarks = read_metadata(table)
    assert rows == [("a.png", ("красный, круглый",))]
    assert [str(one) for one in remarks] == ["metadata.csv: is not UTF-8; read as cp1251"]
    assert remarks[0].topic == "caption encoding"


def test_broken_rows_are_remarks(tmp_path):
    table = tmp_path / "metadata.jsonl"
    table.write_text('{"file_name": "a.png", "text": "one"}\n{oops\n[1]\n{"text": "no name"}\n')
    rows, remarks = read_metadata(table)
    assert rows == [("a.png", ("one",))]
    assert [one.reason for one in remarks] == [
        "line 2 is not a JSON object; skipped",
        "line 3 is not a JSON object; skipped",
        "row 4 names no file; skipped",
    ]


def test_a_table_without_the_columns_is_refused(tmp_path):
    table = tmp_path / "metadata.csv"
    table.write_text("picture,text\na.png,one\n")
    with pytest.raises(SfumatoError, match=r"no column 'file_name'.*picture, text"):
        read_metadata(table)
    table.write_text("file_name,words\na.png,one\n")
    with pytest.raises(SfumatoError, match="no column 'text'"):
        read_metadata(table)


def test_unreadable_tables_are_refused_in_one_sentence(tmp_path):
    parquet = tmp_path / "metadata.parquet"
    parquet.write_bytes(b"not parquet")
    with pytest.raises(SfumatoError, match="not a readable parquet file"):
        read_metadata(parquet)
    table = tmp_path / "metadata.csv"
    table.write_text('file_name,text\na.png,"' + "x" * 200_000 + '"\n')
    with pytest.raises(SfumatoError, match="not a readable table"):
        read_metadata(table)
    with pytest.raises(SfumatoError, match="cannot be read"):
        read_metadata(tmp_path / "sub" / "metadata.csv")


def test_parquet_without_pyarrow_names_the_cure(tmp_path, monkeypatch):
    parquet = tmp_path / "metadata.parquet"
    parquet.write_bytes(b"")
    real = builtins.__import__

    def without(name, *args, **options):
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return real(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(SfumatoError, match=r'pip install "sfumato\[parquet\]"'):
        read_metadata(parquet)
