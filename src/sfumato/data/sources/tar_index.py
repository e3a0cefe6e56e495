"""What a WebDataset tar holds and where: (key, offset, size, captions, label) of each sample.

A sample is the run of neighbouring members with one key, the name up to the first dot of its
last part: key.jpg with key.txt, key.json and key.cls (Aizman, Maltby and Breuel, "High
Performance I/O for Large Scale Deep Learning", 2020, section V).  The tar is walked once; the
result is kept in the user's cache and used again while the tar has the same size and time.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from sfumato.data.captions import clean_captions, decode_text
from sfumato.data.places import user_cache_folder
from sfumato.data.scan import EXTENSIONS
from sfumato.errors import SfumatoError

LARGEST_PICTURE = 1 << 28
"""Members above this many bytes are not read as pictures (256 MiB)."""

LARGEST_TEXT = 1 << 20
_LARGEST_HEADER = 1 << 20
_FORMAT = 1
_REMARKS = 1000  # kept of one tar; more only say the same again
_TEXT_KEYS = ("caption", "captions", "text", "txt", "prompt")
_LABEL_KEYS = ("label", "class", "cls")
_PACKED = {b"\x1f\x8b": "gzip", b"BZ": "bzip2", b"\xfd7": "xz", b"(\xb5": "zstd"}


@dataclass(frozen=True, slots=True)
class Sample:
    """One picture inside a tar.

    Attributes:
        key: its name without ending.
        ending: of the picture's member, ".jpg".
        offset, size: where its bytes lie in the tar.
        captions: perhaps none.
        label: its class, or None.
    """

    key: str
    ending: str
    offset: int
    size: int
    captions: tuple[str, ...] = ()
    label: str | None = None


@dataclass
class TarIndex:
    """The samples of one tar in its order, and what was odd: (member, reason)."""

    samples: list[Sample] = field(default_factory=list)
    remarks: list[tuple[str, str]] = field(default_factory=list)


def index_of(path: Path) -> TarIndex:
    """The index of a tar, from the cache or made now.

    Raises:
        SfumatoError: not a plain tar, or it cannot be read.
    """
    try:
        state = path.stat()
    except OSError as error:
        raise SfumatoError(f"{path} cannot be read ({error.strerror}).") from None
    place = str(path.resolve())
    name = hashlib.blake2b(place.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()
    kept = user_cache_folder() / "tars" / f"{name}.json"
    stamp = {"format": _FORMAT, "size": state.st_size, "time": state.st_mtime_ns}
    index = _load(kept, stamp)
    if index is None:
        index = build_index(path)
        _keep(kept, {**stamp, **asdict(index)})
    return index


def build_index(path: Path) -> TarIndex:
    """Walk a tar from its first member to its last; nothing is unpacked.

    Links, devices and sparse members are left out with a remark, and so is what is cut off.

    Raises:
        SfumatoError: not a plain tar.
    """
    result = TarIndex()
    members: list[tarfile.TarInfo] = []
    key = None
    try:
        with path.open("rb") as file:
            for member in _members(path, file, result):
                own = _key(member.name)
                if own != key and members:
                    _add(file, key or "", members, result)
                    members = []
                key = own
                members.append(member)
            if members:
                _add(file, key or "", members, result)
    except OSError as error:
        raise SfumatoError(f"{path} cannot be read ({error.strerror or error}).") from None
    return result


def _members(path: Path, file: BinaryIO, result: TarIndex) -> Iterator[tarfile.TarInfo]:
    length = os.fstat(file.fileno()).st_size
    head = file.read(2)
    file.seek(0)
    if head in _PACKED:
        raise SfumatoError(
            f"{path} is packed with {_PACKED[head]}, so its pictures cannot be reached one by "
            "one. Unpack it to a plain .tar."
        )
    try:
        archive = tarfile.open(fileobj=_Modest(file), mode="r:")  # noqa: SIM115 - the file is closed by its opener
    except (tarfile.TarError, EOFError, ValueError) as error:
        what = "is empty" if length == 0 else f"is no tar file ({error})"
        raise SfumatoError(f"{path} {what}. Take another copy of it.") from None
    while True:
        try:
            # the archive lends its file: the reading of texts in between moves it, which
            # tarfile does not mind, as it seeks before every header
            member = archive.next()
        except (tarfile.TarError, EOFError, ValueError, OverflowError, RecursionError) as error:
            _remark(result, path.name, f"is cut off or broken after {archive.offset} bytes "
                    f"({error}); what stands before is used")  # fmt: skip
            return
        if member is None:
            _judge_end(path, file, archive.offset, result)
            return
        archive.members.clear()  # type: ignore[attr-defined]  # tarfile would keep every one
        if member.isdir():
            continue
        if not member.isreg() or member.issparse():
            _remark(result, member.name, "is a link, a device or sparse; not followed")
        elif member.offset_data + member.size > length:
            _remark(result, member.name, "is cut off; left out")
        else:
            yield member


class _Modest(io.BufferedIOBase):
    """A file for `tarfile`, which reads a header of any length that it claims as one."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def read(self, size: int | None = -1) -> bytes:
        if size is None or not 0 <= size <= _LARGEST_HEADER:
            raise tarfile.ReadError(f"a header claims {size} bytes")
        return self._file.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


def _judge_end(path: Path, file: BinaryIO, offset: int, result: TarIndex) -> None:
    # tarfile takes a damaged header for the end
    file.seek(offset)
    block = file.read(512)
    if not block or block.strip(b"\0"):
        reason = f"is cut off or broken after {offset} bytes; what stands before is used"
        _remark(result, path.name, reason)


def _add(file: BinaryIO, key: str, members: list[tarfile.TarInfo], result: TarIndex) -> None:
    pictures = [m for m in members if PurePosixPath(m.name).suffix.lower() in EXTENSIONS]
    # key.jpg before key.depth.jpg
    pictures.sort(key=lambda member: member.name.count("."))
    if not pictures:
        if not PurePosixPath(key).name.startswith("."):
            _remark(result, key, "has no picture; left out")
        return
    picture = pictures[0]
    captions: tuple[str, ...] = ()
    told: tuple[str, ...] = ()
    label = None
    for member in members:
        ending = PurePosixPath(member.name).name.split(".", 1)[-1].lower()
        if ending not in ("txt", "text", "caption", "json", "cls"):
            continue
        if member.size > LARGEST_TEXT:
            _remark(result, member.name, f"has {member.size} bytes, too long for a text; not read")
            continue
        file.seek(member.offset_data)
        text = decode_text(file.read(member.size))[0]
        if ending == "cls":
            label = " ".join(text.split())[:200] or None
        elif ending == "json":
            told, own = _told(text, member.name, result)
            label = label or own
        else:
            captions = clean_captions(text.splitlines())
    name = PurePosixPath(picture.name).suffix.lower()
    where = picture.offset_data, picture.size
    result.samples.append(Sample(key, name, *where, captions or told, label))


def _told(text: str, name: str, result: TarIndex) -> tuple[tuple[str, ...], str | None]:
    """The captions and the label in a sample's JSON."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict):
        _remark(result, name, "is not a JSON object; not used")
        return (), None
    captions = next((c for key in _TEXT_KEYS if (c := clean_captions(values.get(key)))), ())
    label = next((values[key] for key in _LABEL_KEYS if key in values), None)
    if isinstance(label, bool) or not isinstance(label, int | str):
        return captions, None
    return captions, " ".join(str(label).split())[:200] or None


def _key(name: str) -> str:
    folder, _, last = name.rpartition("/")
    # ".hidden" belongs to the system (macOS' "._a.jpg"); it has no key of its own
    stem = last if last.startswith(".") else last.split(".", 1)[0]
    return f"{folder}/{stem}" if folder else stem


def _remark(result: TarIndex, member: str, reason: str) -> None:
    if len(result.remarks) < _REMARKS:
        result.remarks.append((member[:200], reason))


def _load(kept: Path, stamp: dict[str, int]) -> TarIndex | None:
    """A kept index; None where it is missing, of another state of the tar, or damaged."""
    try:
        values: Any = json.loads(kept.read_bytes())
        if any(values[key] != wanted for key, wanted in stamp.items()):
            return None
        samples = [
            Sample(str(s["key"]), str(s["ending"]), int(s["offset"]), int(s["size"]),
                   tuple(map(str, s["captions"])), None if s["label"] is None else str(s["label"]))
            for s in values["samples"]
        ]  # fmt: skip
        remarks = [(str(member), str(reason)) for member, reason in values["remarks"]]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    if any(s.offset < 0 or s.size < 0 or s.offset + s.size > stamp["size"] for s in samples):
        return None
    return TarIndex(samples, remarks)


def _keep(kept: Path, values: dict[str, Any]) -> None:
    beside = kept.with_suffix(f".{os.getpid()}.partial")
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(json.dumps(values, ensure_ascii=False), "utf-8", "surrogatepass")
        beside.replace(kept)
    except (OSError, ValueError):  # without a cache it only takes longer the next time
        beside.unlink(missing_ok=True)
