"""A stream of pictures, written once into tars on this machine, then read like any others.

Training needs to know which example stands at which position, and a stream has only a next
one.  So the stream is first stored: whole tars of a thousand samples, each closed before the
next begins.  Where the stream breaks off, the tar is closed with what came; whoever is killed
goes on after the last closed tar; a larger ``limit`` adds tars to what is there.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import sys
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from sfumato.data.example import Problem
from sfumato.data.places import data_root
from sfumato.data.sources.shards import ShardSource
from sfumato.errors import SfumatoError

MAX_BYTES = 20 << 30
"""A stored stream grows no larger than this without being asked to (20 GiB)."""

SHARD_SAMPLES, SHARD_BYTES = 1000, 256 << 20
_SPARE = 1 << 30  # bytes that stay free on the disk
_STATE = "store.json"
_REMARKS = 1000
_ENDINGS = {
    b"\x89PNG": ".png", b"\xff\xd8\xff": ".jpg", b"RIFF": ".webp", b"GIF8": ".gif",
    b"BM": ".bmp", b"II*\0": ".tiff", b"MM\0*": ".tiff",
}  # fmt: skip


@dataclass(frozen=True)
class Streamed:
    """One sample of a stream.

    Attributes:
        picture: an encoded picture; empty where the stream has none for this sample (it is
            stored all the same, so that positions stay right, and reported when read).
        captions: perhaps none.
        label: its class, or None.
    """

    picture: bytes
    captions: tuple[str, ...] = ()
    label: str | None = None


Samples = Callable[[int], Iterator[Streamed]]
"""Begins the stream anew at a position, counted in samples."""


def store_folder(name: str, identity: Mapping[str, Any]) -> Path:
    """Where a stream is stored: one folder for each thing that changes what it holds."""
    told = json.dumps(identity, sort_keys=True, ensure_ascii=True)
    digest = hashlib.blake2b(told.encode(), digest_size=8).hexdigest()
    readable = re.sub(r"[^\w.-]+", "-", name).strip("-.")[:60]
    return data_root() / "streams" / f"{readable}-{digest}"


def materialise(
    name: str,
    identity: Mapping[str, Any],
    samples: Samples,
    limit: int | None = None,
    max_bytes: int = MAX_BYTES,
    expected: int | None = None,
    folder: Path | None = None,
    notes: dict[str, Any] | None = None,
) -> Path:
    """Store a stream, or as much of it as is missing, and return its folder.

    Args:
        name: of the data set, for people.
        identity: what determines the samples (JSON values): its address, revision, columns.
        samples: begins the stream at a position.
        limit: how many samples are wanted, >= 1; None for all.
        max_bytes: the size of the store at which to stop.
        expected: how many samples there are, where that is known, for the progress bar.
        folder: where to store it; default `store_folder`.
        notes: what ``samples`` wants to be kept beside the tars (JSON values).  It holds what
            was kept when ``samples`` is called, and is kept again with each tar.  `stored` reads
            "remarks", a list of (what, reason), and "classes", names in order.

    Raises:
        SfumatoError: it would grow beyond ``max_bytes``, the disk is full or cannot be written.
    """
    from filelock import FileLock

    if limit is not None and limit < 1:
        raise SfumatoError(f"A stream of {limit} samples is none. Give a limit of 1 or more.")
    folder = folder or store_folder(name, identity)
    try:
        state = _state(folder)
        if not _enough(state, limit):
            folder.mkdir(parents=True, exist_ok=True)
            # processes that train together all come here: one writes, the others wait
            with FileLock(folder / ".lock"):
                state = _state(folder)
                if not _enough(state, limit):
                    notes = {} if notes is None else notes
                    notes.update(state["notes"])
                    state = {**state, "notes": notes}
                    _write(folder, name, identity, state, samples, limit, max_bytes, expected)
    except OSError as error:
        raise SfumatoError(
            f"{folder} cannot be written ({error.strerror or error}). Name another folder in "
            "the environment variable SFUMATO_DATA."
        ) from None
    return folder


def stored(
    folder: Path,
    name: str,
    size: int | None,
    channels: int | None,
    broken_share: float = 0.5,
    limit: int | None = None,
) -> ShardSource:
    """A stored stream as a `Source`; ``limit`` samples from its start, or all.

    Raises:
        SfumatoError: it holds nothing, or too many broken pictures.
    """
    state = _state(folder)
    remarks, classes = _noted(state["notes"])
    tars = [folder / _tar(number) for number in range(state["tars"])]
    if not tars:
        first = f" (the first problem: {remarks[0]})" if remarks else ""
        raise SfumatoError(f"{name} gave no samples{first}. Look at its address and its columns.")
    return ShardSource(
        tars, name, size or 64, channels, broken_share, limit, classes=classes, remarks=remarks
    )


def note(notes: dict[str, Any], what: str, reason: str) -> None:
    """Add a remark to the notes of a store; more than a thousand only say the same again."""
    remarks = notes.setdefault("remarks", [])
    if len(remarks) < _REMARKS:
        remarks.append([what[:200], reason])


def _noted(notes: dict[str, Any]) -> tuple[list[Problem], tuple[str, ...]]:
    try:
        remarks = [Problem(str(what), str(reason)) for what, reason in notes.get("remarks", [])]
        return remarks, tuple(map(str, notes.get("classes", [])))
    except (TypeError, ValueError):  # somebody wrote into the file
        return [], ()


def _write(
    folder: Path,
    name: str,
    identity: Mapping[str, Any],
    state: dict[str, Any],
    samples: Samples,
    limit: int | None,
    max_bytes: int,
    expected: int | None,
) -> None:
    from tqdm import tqdm

    for torn in folder.glob("*.partial"):
        torn.unlink()
    total = limit if expected is None else min(expected, limit or expected)
    stream = samples(state["samples"])
    with tqdm(total=total, initial=state["samples"], desc=f"storing {name}", unit=" pictures",
              disable=None, file=sys.stderr, leave=False) as bar:  # fmt: skip
        while not _enough(state, limit):
            wanted = SHARD_SAMPLES
            if limit is not None:
                wanted = min(wanted, limit - state["samples"])
            _room(folder, name, state, max_bytes)
            count, size, broken = _write_tar(folder, state, islice(stream, wanted), bar.update)
            short = count < wanted and size < SHARD_BYTES and broken is None
            state = {
                **state,
                "samples": state["samples"] + count,
                "tars": state["tars"] + (count > 0),
                "bytes": state["bytes"] + size,
                # nothing at all is a failure that may pass, not the whole
                "complete": short and state["samples"] + count > 0,
            }
            beside = folder / f"{_STATE}.partial"
            beside.write_text(json.dumps({**state, "identity": identity}, indent=1) + "\n", "utf-8")
            beside.replace(folder / _STATE)
            if broken is not None:
                raise broken
            if short:
                return


def _write_tar(
    folder: Path, state: dict[str, Any], samples: Iterator[Streamed], tell: Callable[[int], Any]
) -> tuple[int, int, BaseException | None]:
    """One tar, visible only when it is whole: (samples, bytes, what the stream broke off with)."""
    path = folder / _tar(state["tars"])
    beside = path.with_suffix(".partial")
    count = size = 0
    broken: BaseException | None = None
    with beside.open("wb") as file:
        with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
            # the size is asked first: a sample taken from the stream must be stored
            while size < SHARD_BYTES:
                try:
                    sample = next(samples, None)
                except BaseException as error:  # an interrupt as well: what came is kept
                    broken = error
                    break
                if sample is None:
                    break
                key = f"{state['samples'] + count:08d}"
                told: dict[str, Any] = {"caption": sample.captions}
                if sample.label is not None:
                    told["label"] = sample.label
                text = json.dumps(told, ensure_ascii=True).encode()
                for ending, content in ((_ending(sample.picture), sample.picture), (".json", text)):
                    member = tarfile.TarInfo(key + ending)
                    member.size = len(content)
                    archive.addfile(member, io.BytesIO(content))
                count += 1
                size = archive.offset
                tell(1)
        file.flush()
        os.fsync(file.fileno())
    if count:
        beside.replace(path)
    else:
        beside.unlink()
    return count, size, broken


def _room(folder: Path, name: str, state: dict[str, Any], max_bytes: int) -> None:
    if state["bytes"] >= max_bytes:
        raise SfumatoError(
            f"{name} does not end within {max_bytes / 2**30:.3g} GiB ({state['samples']} samples "
            f"are stored in {folder}). Train on these with limit={state['samples']}, or allow "
            "more with gigabytes=N, for example hf:owner/name?limit=1000."
        )
    free = shutil.disk_usage(folder).free
    if free < _SPARE + SHARD_BYTES:
        raise SfumatoError(
            f"The disk of {folder} has only {free / 2**30:.1f} GiB left. Make room, or name "
            "another folder in the environment variable SFUMATO_DATA."
        )


def _state(folder: Path) -> dict[str, Any]:
    empty: dict[str, Any] = {"samples": 0, "tars": 0, "bytes": 0, "complete": False, "notes": {}}
    try:
        told = {"notes": {}, **json.loads((folder / _STATE).read_bytes())}
        state = {key: type(value)(told[key]) for key, value in empty.items()}
    except (OSError, ValueError, KeyError, TypeError):
        return dict(empty)
    # a store that lost a tar begins anew
    whole = all((folder / _tar(number)).is_file() for number in range(min(state["tars"], 10**6)))
    return state if whole else dict(empty)


def _enough(state: dict[str, Any], limit: int | None) -> bool:
    whole = state["complete"] and state["samples"]
    return bool(whole) or (limit is not None and state["samples"] >= limit)


def _tar(number: int) -> str:
    return f"{number:06d}.tar"


def _ending(picture: bytes) -> str:
    return next((name for mark, name in _ENDINGS.items() if picture.startswith(mark)), ".jpg")
