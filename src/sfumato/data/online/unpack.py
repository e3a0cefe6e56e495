"""Archives from strangers, unpacked without harm.

An archive may name files outside the folder, links that lead there, devices, two files that are
one on another system, or swell from kilobytes to terabytes.  So every member is judged, every
byte counted as it comes out (headers may lie), and all is written into a folder aside that gets
its name when everything has turned out well.
"""

from __future__ import annotations

import os
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Protocol

from sfumato.data.member_names import refused, safe_parts, same_file, shown
from sfumato.data.online.inflate import Bounded, Counter, Room, inflated
from sfumato.errors import SfumatoError
from sfumato.locale import translate

__all__ = ["Room", "unpack"]

_BLOCK = 1 << 20


def unpack(
    archive: Path,
    target: Path,
    room: Room | None = None,
    progress: Callable[[int, int | None], None] | None = None,
) -> Path:
    """Unpack a .tar (also .gz, .bz2, .xz), a .zip, or one packed .gz, judged by content.

    A file's permissions, owner and time are not taken over.

    Args:
        archive: the file.
        target: the folder that shall hold the members; it may not exist or must be empty.
        room: how much it may become.
        progress: is told the bytes written, and None.

    Returns:
        ``target``.

    Raises:
        SfumatoError: damaged, no such archive, or refused; one sentence names the member, and
            nothing is left behind.
    """
    if target.is_symlink() or (target.exists() and (not target.is_dir() or any(target.iterdir()))):
        raise SfumatoError(translate("unpack.there", path=target))
    partial = target.with_name(f".{target.name}.unpacking")
    try:
        _remove(partial)
        partial.mkdir(parents=True)
        counter = Counter(room or Room(), archive.stat().st_size, progress)
        writer = _Writer(partial, counter)
        with archive.open("rb") as file:
            _unpack(file, archive, writer)
        if target.is_dir():
            target.rmdir()
        os.replace(partial, target)
    except SfumatoError as error:
        raise SfumatoError(f"{archive.name}: {error}") from None
    except OSError as error:
        why = error.strerror or str(error)
        raise SfumatoError(translate("unpack.unwritable", path=archive, why=why)) from None
    finally:
        _remove(partial)
    return target


def _unpack(file: IO[bytes], archive: Path, writer: _Writer) -> None:
    head = file.read(6)
    file.seek(0)
    try:
        if head[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
            _zip(file, writer)
            return
        stream = inflated(file, head, writer.counter)
        start = stream.peek(512)
        if start[257:262] == b"ustar":
            _tar(stream, writer)
        elif head[:2] == b"\x1f\x8b":
            _one(stream, archive, writer)
        else:
            raise SfumatoError(translate("unpack.unknown"))
    except (SfumatoError, OSError) as error:
        # a damaged gzip file is an OSError without a number
        if isinstance(error, OSError) and error.errno is None:
            raise _damaged(error) from None
        raise
    except Exception as error:  # broken data make decoders raise almost anything
        raise _damaged(error) from None


def _damaged(error: Exception) -> SfumatoError:
    why = " ".join(str(error).split())[:120] or type(error).__name__
    return SfumatoError(translate("unpack.damaged", why=why))


def _tar(stream: Bounded, writer: _Writer) -> None:
    with tarfile.open(fileobj=stream, mode="r:", errorlevel=2) as tar:
        while (member := tar.next()) is not None:
            tar.members = []  # type: ignore[attr-defined]  # it would remember all of a million
            if member.isdir():
                writer.folder(member.name)
            elif member.issym() or member.islnk():
                raise refused(member.name, "is a link")
            elif not member.isreg() or member.issparse():
                raise refused(member.name, "is neither a file nor a folder")
            else:
                content = tar.extractfile(member)
                assert content is not None
                writer.file(member.name, content, member.size)
    # at a broken header tarfile stops as if all were well
    if stream.last != bytes(512):
        raise EOFError("the mark of its end is missing")
    # the end of a gzip file holds its checksum, which is looked at when one reads on
    while stream.read(_BLOCK):
        pass


def _zip(file: IO[bytes], writer: _Writer) -> None:
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        for member in members:
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind == stat.S_IFLNK:
                raise refused(member.filename, "is a link")
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise refused(member.filename, "is neither a file nor a folder")
            if member.flag_bits & 1:
                raise refused(member.filename, "is encrypted")
            # zipfile would give lzma as much memory as the archive wants
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise refused(member.filename, "is packed in an unusual way")
            # zipfile cuts names at a zero byte, and on Windows turns backslashes
            if member.is_dir():
                writer.folder(member.orig_filename)
                continue
            with archive.open(member) as content:
                writer.file(member.orig_filename, content, member.file_size)


def _one(stream: Bounded, archive: Path, writer: _Writer) -> None:
    """A single packed file, under the archive's own name without the ending."""
    name = archive.name[:-3] if archive.name.lower().endswith(".gz") else archive.name + ".out"
    writer.file(name, stream, None)


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class _Writer:
    """Writes members below a folder that is its own."""

    def __init__(self, root: Path, counter: Counter) -> None:
        self.counter = counter
        self._root = root
        self._files: set[str] = set()
        self._folders: dict[str, tuple[str, ...]] = {}

    def folder(self, name: str) -> None:
        self.counter.member(name)
        self._make(name, safe_parts(name))

    def file(self, name: str, content: _Readable, size: int | None) -> None:
        """Write one file; ``size`` is what the archive promises."""
        self.counter.member(name)
        *folders, last = safe_parts(name) or ("",)
        if not last:
            raise refused(name, "has no name")
        parts = (*folders, last)
        key = same_file(parts)
        if key in self._files or key in self._folders:
            raise refused(name, "comes twice, perhaps in another spelling")
        self._make(name, tuple(folders))
        self._files.add(key)
        if size is not None:
            self.counter.promise(name, size)
        written = 0
        # "x": nothing that is there already is opened, whatever it is
        with self._root.joinpath(*parts).open("xb") as file:
            while block := content.read(_BLOCK):
                written += len(block)
                self.counter.wrote(name, len(block))
                file.write(block)
        if size is not None and written != size:
            raise SfumatoError(
                f"its member {shown(name)} is cut off after {written} of {size} bytes. "
                "Take another copy of it."
            )

    def _make(self, name: str, parts: tuple[str, ...]) -> None:
        for depth in range(1, len(parts) + 1):
            key = same_file(parts[:depth])
            if key in self._files:
                raise refused(name, "lies in a file")
            if key not in self._folders:
                self._root.joinpath(*parts[:depth]).mkdir()
            if self._folders.setdefault(key, parts[:depth]) != parts[:depth]:
                raise refused(name, "lies in a folder that comes in two spellings")


def _remove(folder: Path) -> None:
    if folder.is_symlink() or folder.is_file():
        folder.unlink()
    elif folder.is_dir():
        shutil.rmtree(folder, ignore_errors=True)
