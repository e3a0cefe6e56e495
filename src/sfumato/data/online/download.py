"""A file from the web: resumed, verified, and under its name only once it is whole."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from sfumato.data.alone import alone, open_plain
from sfumato.data.online.client import Answer, Client, DownloadError, broken_off
from sfumato.errors import SfumatoError
from sfumato.locale import translate

Progress = Callable[[int, "int | None"], None]
"""Called with the bytes that are here, and the bytes there will be (None: unknown)."""

_MARGIN = 16 << 20  # bytes of the disk that are left free
_PROGRESS = 1 << 20  # bytes that have to come until earlier failures are forgotten


@dataclass(frozen=True)
class Digest:
    """What a file's content must hash to.

    Attributes:
        kind: "sha256", or "md5" where the publisher states only that.  MD5 notices damage and a
            wrong file; against an attacker who prepared both files it is no proof.
        value: in hexadecimal.
    """

    kind: str
    value: str

    def fits(self, path: Path) -> bool:
        """Whether a file has this digest. Raises OSError."""
        return hash_of(path, self.kind) == self.value.lower()


@dataclass(frozen=True)
class _Origin:
    """Beside an unfinished file: of what it is the beginning."""

    url: str = ""
    etag: str | None = None
    modified: str | None = None

    @property
    def validator(self) -> str | None:
        """For If-Range, where only a strong mark or a date will do (RFC 9110, 13.1.5)."""
        return self.etag or self.modified


def download(
    url: str,
    target: Path,
    client: Client,
    most: int,
    digest: Digest | None = None,
    progress: Progress | None = None,
) -> Path:
    """Bring a file here; what an earlier call left in ``target``.partial is gone on with.

    The beginning is kept only if the server still offers the same (ETag or Last-Modified), or
    if the digest will tell.  After an interruption of any kind the same call resumes.

    Args:
        url: where it is.
        target: what it shall be called; its folder must exist.
        client: asks.
        most: bytes; more is refused.
        digest: what it must hash to.
        progress: is told how far it is.

    Returns:
        ``target``.

    Raises:
        DownloadError: it could not be had; the sentence says what to do.
        SfumatoError: another program is at it, a link lies in the way, or the folder cannot be
            written to.
    """
    partial = target.with_name(target.name + ".partial")
    # a file of its own: one that is held open could not be renamed on Windows
    lock = target.with_name(f".{target.name}.lock")
    taken = translate("download.busy", path=partial)
    with _failures_of(target), alone(lock, taken), _begun(partial):
        if digest is not None and target.is_file() and digest.fits(target):
            return target
        resumed = partial.stat().st_size > 0
        tried = 0
        while True:
            before = partial.stat().st_size
            try:
                _go_on(url, partial, client, most, digest is not None, progress)
                if digest is None or digest.fits(partial):
                    break
                _discard(partial)
                # the beginning may be the damaged part
                said = translate("download.digest", url=url, kind=digest.kind, value=digest.value)
                raise DownloadError(said, "checksum", again=resumed)
            except DownloadError as error:
                tried = 1 if partial.stat().st_size - before >= _PROGRESS else tried + 1
                client.pause(error, tried)
                resumed = resumed and error.kind != "checksum"
        with open_plain(partial, "r+b") as file:
            os.fsync(file.fileno())
        os.replace(partial, target)
        _beside(partial).unlink(missing_ok=True)
    return target


def hash_of(path: Path, kind: str = "sha256") -> str:
    """The hash of a file's content, in hexadecimal. Raises OSError."""
    digest = hashlib.new(kind, usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def require_space(folder: Path, size: int) -> None:
    """Raise DownloadError unless the disk of a folder has so many bytes free, and some more."""
    free = shutil.disk_usage(folder).free
    if free < size + _MARGIN:
        sizes = {"size": f"{size / 1e6:.1f}", "free": f"{free / 1e6:.1f}"}
        raise DownloadError(translate("download.space", folder=folder, **sizes), "space")


def _go_on(
    url: str,
    partial: Path,
    client: Client,
    most: int,
    verified: bool,
    progress: Progress | None,
) -> None:
    """One request: append what is missing, or begin anew where that does not fit."""
    have = partial.stat().st_size
    origin = _read_origin(partial)
    validator = origin.validator if origin.url == url else None
    headers = {}
    if have and (validator or verified):
        headers["Range"] = f"bytes={have}-"
        if validator:
            headers["If-Range"] = validator
    with client.ask(url, headers) as answer:
        if answer.status == 416:
            if verified and _whole(answer) == have:
                return
            raise _other(partial, url)
        start, total = _position(answer, have)
        mark = answer.headers.get("ETag")
        swapped = bool(validator and origin.etag and mark and mark != origin.etag)
        if start and (start != have or swapped):
            raise _other(partial, url)
        if max(total or 0, start) > most:
            raise _too_large(url, most)
        require_space(partial.parent, (total or most) - start)
        strong = mark if mark and not mark.startswith("W/") else None
        modified = answer.headers.get("Last-Modified")
        origin = _Origin(url, strong, modified)
        with open_plain(_beside(partial), "wb") as file:
            file.write(json.dumps(asdict(origin)).encode())
        _append(answer, partial, start, total, most, progress)


def _append(
    answer: Answer,
    partial: Path,
    start: int,
    total: int | None,
    most: int,
    progress: Progress | None,
) -> None:
    with open_plain(partial, "r+b") as file:
        file.truncate(start)
        file.seek(start)
        size = start
        if progress:
            progress(size, total)
        for block in answer.blocks():
            size += len(block)
            if size > most:
                raise _too_large(answer.url, most)
            file.write(block)
            if progress:
                progress(size, total)
    if total is not None and size != total:
        raise broken_off(answer.url, size, total)


def _position(answer: Answer, have: int) -> tuple[int, int | None]:
    """(first byte, bytes of the whole file) of an answer's body."""
    if answer.status != 206:
        return 0, answer.length
    stated = answer.headers.get("Content-Range", "")
    found = re.fullmatch(r"bytes (\d{1,15})-(\d{1,15})/(\d{1,15}|\*)", stated.strip())
    if not found:
        return -1, None  # several parts, which nobody asked for
    total = None if found[3] == "*" else int(found[3])
    return int(found[1]), total


def _whole(answer: Answer) -> int | None:
    found = re.fullmatch(r"bytes \*/(\d{1,15})", answer.headers.get("Content-Range", "").strip())
    return int(found[1]) if found else None


def _other(partial: Path, url: str) -> DownloadError:
    _discard(partial)
    return DownloadError(translate("download.other", url=url), "connection", again=True)


def _too_large(url: str, most: int) -> DownloadError:
    said = translate("download.large", url=url, size=f"{most / 1e6:.1f}")
    return DownloadError(said, "large")


def _discard(partial: Path) -> None:
    open_plain(partial, "wb").close()
    _beside(partial).unlink(missing_ok=True)


def _beside(partial: Path) -> Path:
    return partial.with_name(partial.name + ".json")


def _read_origin(partial: Path) -> _Origin:
    try:
        stated = json.loads(_beside(partial).read_text("utf-8"))
        values = [stated.get(name) for name in ("url", "etag", "modified")]
    except (OSError, ValueError, AttributeError):
        return _Origin()
    if all(one is None or isinstance(one, str) for one in values):
        return _Origin(values[0] or "", values[1], values[2])
    return _Origin()


@contextmanager
def _begun(partial: Path) -> Iterator[None]:
    """The unfinished file is there; an empty one is not left behind."""
    open_plain(partial, "ab").close()
    try:
        yield
    finally:
        if partial.is_file() and not partial.stat().st_size:
            partial.unlink(missing_ok=True)


@contextmanager
def _failures_of(target: Path) -> Iterator[None]:
    """Say what the disk could not do."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)):
            said = translate("download.full", folder=target.parent)
            raise DownloadError(said, "space") from None
        why = error.strerror or error
        raise SfumatoError(translate("download.unwritable", path=target, why=why)) from None
