"""Packed streams that cannot swell beyond what is allowed, in bytes or in memory."""

from __future__ import annotations

import bz2
import io
import lzma
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any

from sfumato.data.member_names import refused

_BLOCK = 1 << 16
_MEMORY = 256 << 20  # an .xz file states how much it wants
_LARGEST_HEADER = 1 << 20  # no honest name or comment in an archive is longer
_JUDGED_FROM = 1 << 20


@dataclass(frozen=True)
class Room:
    """How much an archive may become.

    Attributes:
        total: bytes of all members together.
        members: files and folders.
        ratio: bytes out for each byte in; judged above 1 MiB.
    """

    total: int = 64 << 30
    members: int = 2_000_000
    ratio: float = 200.0


class Counter:
    """Counts what comes out of an archive, and ends it where it is too much.

    Args:
        room: how much is allowed.
        packed: bytes of the archive.
        progress: is told the bytes so far, and None.
    """

    def __init__(
        self, room: Room, packed: int, progress: Callable[[int, int | None], None] | None = None
    ) -> None:
        self._room, self._packed, self._progress = room, max(1, packed), progress
        self._members = self._written = self._inflated = 0
        self._name = "(the first)"

    def member(self, name: str) -> None:
        """One more file or folder."""
        self._members += 1
        self._name = name
        if self._members > self._room.members:
            raise refused(name, f"is one more than the {self._room.members} that are allowed")

    def promise(self, name: str, size: int) -> None:
        """A header says how large a file will be."""
        if size < 0 or self._written + size > self._room.total:
            raise self._too_much(name)

    def wrote(self, name: str, size: int) -> None:
        """So many bytes of a file came out."""
        self._written += size
        if self._written > self._room.total or self._swollen(self._written):
            raise self._too_much(name)
        if self._progress:
            self._progress(self._written, None)

    def inflate(self, size: int) -> None:
        """So many bytes of the stream came out, headers and padding included."""
        self._inflated += size
        # a tar file of many tiny members is mostly padding, 1.5 kB each
        allowed = self._room.total + 2048 * self._room.members
        if self._inflated > allowed or self._swollen(self._inflated):
            raise refused(self._name, "or what follows it swells far beyond the archive's size")

    def _swollen(self, size: int) -> bool:
        return size > _JUDGED_FROM and size > self._room.ratio * self._packed

    def _too_much(self, name: str) -> Exception:
        return refused(name, f"makes it more than the {self._room.total / 1e6:.0f} MB allowed")


class Bounded(io.BufferedIOBase):
    """A stream forward only, every byte counted, no read larger than a header may be.

    Args:
        more: gives the next bytes, few at a time; none at the end.
        counter: is told of each.

    Attributes:
        last: what was read last.
    """

    def __init__(self, more: Callable[[], bytes], counter: Counter) -> None:
        self._more, self._counter = more, counter
        self._buffer = b""
        self._place = 0
        self.last = b""

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, place: int, whence: int = io.SEEK_SET) -> int:
        """Forward only: an archive that wants to be read twice is not honest."""
        if whence != io.SEEK_SET or place < self._place:
            raise ValueError("its parts are out of order")
        while self._place < place:
            if not self._take(min(_LARGEST_HEADER, place - self._place)):
                break
        return self._place

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or not 0 <= size <= _LARGEST_HEADER:
            raise ValueError("a header in it is unreasonably large")
        self.last = self._take(size)
        return self.last

    def peek(self, size: int) -> bytes:
        """The next bytes, which stay there."""
        self._fill(size)
        return self._buffer[:size]

    def _take(self, size: int) -> bytes:
        self._fill(size)
        taken, self._buffer = self._buffer[:size], self._buffer[size:]
        self._place += len(taken)
        return taken

    def _fill(self, size: int) -> None:
        if len(self._buffer) >= size:
            return
        parts, have = [self._buffer], len(self._buffer)
        while have < size:
            more = self._more()
            if not more:
                break
            self._counter.inflate(len(more))
            parts.append(more)
            have += len(more)
        self._buffer = b"".join(parts)


def inflated(file: IO[bytes], head: bytes, counter: Counter) -> Bounded:
    """The plain content of a file that may be packed with gzip, bzip2 or xz.

    Args:
        file: at its beginning.
        head: its first six bytes.
        counter: is told of every byte.
    """
    if head[:2] == b"\x1f\x8b":
        return Bounded(_Unpacker(file, lambda: zlib.decompressobj(31)).more, counter)
    if head[:3] == b"BZh":
        return Bounded(_Unpacker(file, bz2.BZ2Decompressor).more, counter)
    if head == b"\xfd7zXZ\x00":
        return Bounded(
            _Unpacker(file, lambda: lzma.LZMADecompressor(memlimit=_MEMORY)).more, counter
        )
    return Bounded(lambda: file.read(_BLOCK), counter)


class _Unpacker:
    """Small pieces of plain content; several packed streams may follow each other."""

    def __init__(self, file: IO[bytes], fresh: Callable[[], Any]) -> None:
        self._file, self._fresh = file, fresh
        self._unpack: Any = fresh()
        self._packed = b""

    def more(self) -> bytes:
        """The next piece, at most 64 KiB; empty at the end. Raises what the module raises."""
        while True:
            if self._unpack.eof:
                rest = self._unpack.unused_data or self._file.read(_BLOCK)
                # tape drives, and some archivers, fill up with zeros
                if not rest.strip(b"\0"):
                    return b""
                self._unpack, self._packed = self._fresh(), rest
            hungry = getattr(self._unpack, "needs_input", not self._packed)
            if hungry and not self._packed:
                self._packed = self._file.read(_BLOCK)
                if not self._packed:
                    raise EOFError("it ends too early")
            piece: bytes = self._unpack.decompress(self._packed, _BLOCK)
            # zlib hands back what it did not use, the others keep it
            self._packed = getattr(self._unpack, "unconsumed_tail", b"")
            if piece:
                return piece
