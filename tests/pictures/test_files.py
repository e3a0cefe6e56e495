"""Files are written whole or not at all, and refusals are told in words."""

import errno
import os
import stat
import sys

import pytest

from sfumato.errors import SfumatoError
from sfumato.pictures.files import write_whole


def leftovers(folder):
    return [p.name for p in folder.iterdir() if p.name.startswith(".")]


def test_writes_and_replaces(tmp_path):
    path = tmp_path / "new" / "deep" / "a.bin"
    write_whole(path, b"one")
    write_whole(path, b"two")
    assert path.read_bytes() == b"two"
    assert leftovers(path.parent) == []


@pytest.mark.skipif(sys.platform == "win32", reason="permissions of another kind")
def test_the_file_has_ordinary_permissions(tmp_path):
    before = os.umask(0o022)
    try:
        write_whole(tmp_path / "a", b"x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o644


@pytest.mark.parametrize("links", [True, False])
def test_without_overwrite_nothing_is_lost(tmp_path, monkeypatch, links):
    if not links:

        def refuse(*_):
            raise OSError(errno.EPERM, "no hard links here")

        monkeypatch.setattr(os, "link", refuse)
    path = tmp_path / "a"
    write_whole(path, b"first", overwrite=False)
    with pytest.raises(FileExistsError):
        write_whole(path, b"second", overwrite=False)
    assert path.read_bytes() == b"first"
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("overwrite", [True, False])
@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "disk is full"),
        (errno.EACCES, "no permission"),
        (errno.EROFS, "no permission"),
        (errno.EIO, "Input/output error"),
    ],
)
def test_a_refusal_keeps_the_old_file(tmp_path, monkeypatch, number, words, overwrite):
    path = tmp_path / "a"
    path.write_bytes(b"old")

    def refuse(_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(SfumatoError, match=words) as caught:
        write_whole(path, b"new", overwrite=overwrite)
    assert str(path) in str(caught.value)
    assert path.read_bytes() == b"old"
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("overwrite", [True, False])
def test_a_file_where_a_folder_should_be(tmp_path, overwrite):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(SfumatoError, match="not a folder"):
        write_whole(tmp_path / "file" / "a", b"x", overwrite=overwrite)


def test_a_folder_where_the_file_should_be(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(SfumatoError, match="a folder of that name"):
        write_whole(tmp_path / "a", b"x")


def test_a_name_too_long(tmp_path):
    with pytest.raises(SfumatoError, match="too long"):
        write_whole(tmp_path / ("x" * 300), b"x")
