"""A public data set, brought to where its loader looks for it.

Downloads gather in a folder beside the target, NAME.download, and stay there when something goes
wrong, so that the next call goes on, and a person may add what was brought by hand; the target's
name appears once everything is verified and unpacked.  One program at a time does all this.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from sfumato.data.alone import alone, demand_own, open_plain
from sfumato.data.online.catalogue import Entry, Remote
from sfumato.data.online.client import Client, DownloadError
from sfumato.data.online.download import download, hash_of, require_space
from sfumato.data.online.unpack import Room, unpack
from sfumato.errors import SfumatoError
from sfumato.locale import translate

RECEIPT = ".sfumato.json"
"""In the folder of a fetched set: what was fetched, and how much it is."""

#: Called with what is being done (a file's name), the bytes done, and the bytes in all or None.
Watch = Callable[[str, int, "int | None"], None]


@dataclass(frozen=True)
class Fetched:
    """What is there now.

    Attributes:
        folder: where the data set lies.
        files: how many.
        size: bytes they hold.
        already: it was there before.
    """

    folder: Path
    files: int
    size: int
    already: bool


def fetch(
    entry: Entry,
    folder: Path,
    client: Client,
    mirror: str | None = None,
    watch: Watch | None = None,
) -> Fetched:
    """Bring a data set into ``folder``; what an interrupted call left is gone on with.

    Args:
        entry: what; with files (see `Entry`).
        folder: of this data set alone; it may not exist yet.
        client: asks; for a mirror in one's own network it must trust that.
        mirror: an address that holds the files under their names; then no other is asked.
        watch: is told how far it is.

    Raises:
        SfumatoError: nothing came, the folder holds something else, or another program fetches
            into it.
    """
    folder = Path(os.path.abspath(folder))
    there = installed(entry, folder)
    if there is not None:
        return there
    taken = translate("fetch.busy", name=entry.name, folder=folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with alone(folder.with_name(f".{folder.name}.lock"), taken):
            # another program may have ended just now
            return installed(entry, folder) or _fetch(entry, folder, client, mirror, watch)
    except OSError as error:
        why = error.strerror or error
        raise SfumatoError(translate("fetch.unwritable", folder=folder, why=why)) from None


def _fetch(
    entry: Entry, folder: Path, client: Client, mirror: str | None, watch: Watch | None
) -> Fetched:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SfumatoError(translate("fetch.occupied", name=entry.name, folder=folder))
    aside = folder.with_name(f"{folder.name}.download")
    aside.mkdir(exist_ok=True)
    demand_own(aside)
    # the archive and what is in it lie side by side for a while
    here = sum(one.stat().st_size for one in aside.iterdir() if one.is_file())
    require_space(aside, max(0, entry.size - here) + entry.unpacked)
    for remote in entry.files:
        _bring(entry, remote, aside, client, mirror, watch)
    ready = _unpacked(entry, aside, watch) if entry.unpacked else aside
    files, size = _count(ready)
    _write_receipt(entry, aside, ready, files, size)
    if folder.is_dir():
        folder.rmdir()
    os.replace(ready, folder)
    shutil.rmtree(aside, ignore_errors=True)
    return Fetched(folder, files, size, already=False)


def installed(entry: Entry, folder: Path) -> Fetched | None:
    """The data set as an earlier call left it, every byte counted; None if it is not whole.

    Files that are used as they come are hashed, whoever put them there.
    """
    if not folder.is_dir():
        return None
    if entry.files and not entry.unpacked:
        paths = [folder / remote.name for remote in entry.files]
        try:
            whole = all(r.digest.fits(p) for r, p in zip(entry.files, paths, strict=True))
        except OSError:
            return None
        return Fetched(folder, len(paths), entry.size, already=True) if whole else None
    try:
        receipt = json.loads((folder / RECEIPT).read_text("utf-8"))
        stated = (receipt["name"], receipt["files"], receipt["bytes"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    files, size = _count(folder)
    return Fetched(folder, files, size, True) if stated == (entry.name, files, size) else None


def _bring(
    entry: Entry,
    remote: Remote,
    aside: Path,
    client: Client,
    mirror: str | None,
    watch: Watch | None,
) -> None:
    urls = (f"{mirror.rstrip('/')}/{remote.name}",) if mirror else remote.urls
    target = aside / remote.name

    def progress(done: int, total: int | None) -> None:
        if watch:
            watch(remote.name, done, total or remote.size)

    failed: list[str] = []
    for url in urls:
        try:
            download(url, target, client, 2 * remote.size, remote.digest, progress)
            return
        except DownloadError as error:
            if error.kind in ("space", "stopped"):
                raise
            failed.append(str(error))
    others = [one.name for one in entry.files if not (aside / one.name).exists()]
    said = translate(
        "fetch.by_hand",
        name=remote.name,
        why=" ".join(dict.fromkeys(failed)),
        addresses=", ".join(remote.urls),
        folder=aside,
    )
    if others[1:]:
        said += " " + translate("fetch.by_hand_more", names=", ".join(others[1:]))
    raise SfumatoError(said)


def _unpacked(entry: Entry, aside: Path, watch: Watch | None) -> Path:
    ready = aside / "unpacked"
    shutil.rmtree(ready, ignore_errors=True)
    room = Room(total=2 * entry.unpacked, members=entry.members)
    for remote in entry.files:

        def progress(done: int, _: int | None, name: str = remote.name) -> None:
            if watch:
                watch(name, done, None)

        unpack(aside / remote.name, ready, room, progress)
    return ready


def _write_receipt(entry: Entry, aside: Path, ready: Path, files: int, size: int) -> None:
    receipt = {
        "name": entry.name,
        "page": entry.page,
        "fetched": datetime.now(timezone.utc).date().isoformat(),
        "sha256": {remote.name: hash_of(aside / remote.name) for remote in entry.files},
        "files": files,
        "bytes": size,
    }
    with open_plain(ready / RECEIPT, "wb") as file:
        file.write(json.dumps(receipt, indent=2).encode() + b"\n")


def _count(folder: Path) -> tuple[int, int]:
    """(files, bytes) below a folder, without what is hidden and without following links."""
    files = size = 0
    for where, _, names in os.walk(folder):
        for name in names:
            if not name.startswith("."):
                files += 1
                size += os.lstat(os.path.join(where, name)).st_size
    return files, size
