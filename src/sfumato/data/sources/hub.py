"""Data sets of the Hugging Face Hub: ``hf:owner/name``, through the `datasets` library.

``hf:owner/name@revision:split?option&option=value``; revision, split and options may be left
out.  Options: ``streaming``, ``limit=N``, ``config=NAME``, ``image=COLUMN``, ``text=COLUMN``,
``gigabytes=N`` (how large a stored stream may grow).  With ``streaming`` or a ``limit`` only
the samples used are transferred, once, into tars on this machine (`sfumato.data.sources.stream`).
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sfumato.data.decode import UnreadablePicture
from sfumato.data.scan import Scan
from sfumato.data.sources.columns import Columns, choose, content_of, number_of, options_of
from sfumato.data.sources.parquet import say
from sfumato.data.sources.shards import LargeSource, ShardSource
from sfumato.data.sources.stream import MAX_BYTES, Streamed, materialise, stored
from sfumato.errors import SfumatoError

PREFIX = "hf:"
_ADDRESS = re.compile(
    r"(?P<name>[\w][\w.-]*(/[\w][\w.-]*)?)(@(?P<revision>[\w./-]+))?(:(?P<split>[\w.-]+))?"
    r"(\?(?P<options>.*))?"
)
_OPTIONS = ("streaming", "limit", "config", "image", "text", "gigabytes")
_TEST = ("test", "validation", "valid", "val")


@dataclass(frozen=True)
class Address:
    """A data set of the Hub, as `parse` understands it; None where nothing was said."""

    name: str
    revision: str | None = None
    split: str | None = None
    config: str | None = None
    image: str | None = None
    text: str | None = None
    streaming: bool = False
    limit: int | None = None
    max_bytes: int = MAX_BYTES


class HubSource(LargeSource):
    """A data set that `datasets` holds in memory-mapped files; see `Source`."""

    def __init__(
        self,
        name: str,
        table: Any,
        columns: Columns,
        size: int,
        channels: int | None,
        broken_share: float,
    ) -> None:
        found = Scan(Path(name), name)
        found.names = [f"{name}[{row}]" for row in range(len(table))]
        found.paths = [Path(name)] * len(table)
        kept = [column for column in (columns.text, columns.label) if column]
        rows = table.select_columns(kept) if kept else ({} for _ in found.names)
        say([columns.said(row) for row in rows], columns, found)
        self._pictures = table.select_columns([columns.image])
        self._column = columns.image
        self._begin(found, Path(name), size, channels, broken_share)

    def _stored(self, index: int) -> bytes:
        content = content_of(self._pictures[index][self._column])
        if not content:
            raise UnreadablePicture("has no bytes of its own (a mere path is not followed)")
        return content


def parse(address: str) -> Address:
    """Understand ``hf:owner/name@revision:split?options``.

    Raises:
        SfumatoError: not of this form, an unknown option, or a limit that is no number.
    """
    found = _ADDRESS.fullmatch(address.removeprefix(PREFIX))
    if found is None:
        raise SfumatoError(
            f"{address} is no address of a data set. Write hf:owner/name, perhaps with "
            "@revision, :split and ?limit=N."
        )
    options = options_of(found["options"] or "", _OPTIONS)
    limit = number_of(options, "limit")
    gigabytes = number_of(options, "gigabytes")
    return Address(
        found["name"],
        found["revision"],
        found["split"],
        options.get("config"),
        options.get("image"),
        options.get("text"),
        options.get("streaming", "no") not in ("no", "0", "false"),
        limit,
        gigabytes << 30 if gigabytes else MAX_BYTES,
    )


def hub_source(
    address: str,
    size: int | None = None,
    channels: int | None = None,
    split: str = "train",
    broken_share: float = 0.5,
) -> HubSource | ShardSource:
    """Open a data set of the Hub; see the module for its address.

    Args:
        address: ``hf:owner/name...``.
        size: side in pixels; default 64.
        channels, broken_share: see `FolderSource`.
        split: "train" (or what the address names), or "test" (the part called test or
            validation).

    Raises:
        SfumatoError: `datasets` is missing, or it finds no such data set.
    """
    asked = parse(address)
    if Path(asked.name).exists():  # the library would take it for the data set
        raise SfumatoError(
            f"{address} means a data set of the Hub, but a folder {asked.name} is here. Write "
            f"./{asked.name} for the folder, or work in another folder for the Hub's."
        )
    datasets = _datasets()
    part = _part(datasets, asked, split)
    if asked.streaming or asked.limit is not None:
        return _streamed(datasets, asked, part, size, channels, broken_share)
    table = _load(datasets, asked, part, streaming=False)
    columns = _columns(asked, table)
    table = _encoded(datasets, table, columns)
    return HubSource(f"{PREFIX}{asked.name}", table, columns, size or 64, channels, broken_share)


def _streamed(
    datasets: Any,
    asked: Address,
    part: str,
    size: int | None,
    channels: int | None,
    broken_share: float,
) -> ShardSource:
    notes: dict[str, Any] = {}

    def samples(start: int) -> Iterator[Streamed]:
        pinned = _pinned(datasets, asked, part, notes)
        stream = _load(datasets, pinned, part, streaming=True)
        columns = _columns(asked, stream)
        notes["classes"] = list(columns.names)
        stream = _encoded(datasets, stream, columns)
        try:
            for row in stream.skip(start) if start else stream:
                captions, label = columns.said(row)
                yield Streamed(content_of(row[columns.image]), captions, label)
        except Exception as error:  # the network's, Arrow's and the library's own kinds
            raise SfumatoError(
                f"The stream of {asked.name} broke off ({_short(error)}). What came so far is "
                "kept; run the same command again to go on."
            ) from None

    identity = {
        "hub": asked.name,
        "revision": asked.revision,
        "config": asked.config,
        "part": part,
        "image": asked.image,
        "text": asked.text,
    }
    name = f"{PREFIX}{asked.name}"
    folder = materialise(name, identity, samples, asked.limit, asked.max_bytes, notes=notes)
    return stored(folder, name, size, channels, broken_share, asked.limit)


def _datasets() -> Any:
    try:
        import datasets
    except ImportError:
        raise SfumatoError(
            "Data sets of the Hub need the library datasets. "
            'Install it: pip install "sfumato[hub]".'
        ) from None
    return datasets


@contextmanager
def _quiet() -> Iterator[None]:
    """Hold back the hub library's line about each attempt that fails: our sentence says it once.

    How often it tries again cannot be set.
    """
    logger = logging.getLogger("huggingface_hub")
    level = logger.level
    try:
        logger.setLevel(logging.CRITICAL)
        yield
    finally:
        logger.setLevel(level)


@_quiet()
def _part(datasets: Any, asked: Address, split: str) -> str:
    if split not in ("train", "test"):
        raise SfumatoError(f"A data set of the Hub has no part {split!r}. Take train or test.")
    if split == "train":
        return asked.split or "train"
    try:
        there = datasets.get_dataset_split_names(
            asked.name, config_name=asked.config, revision=asked.revision
        )
    except Exception as error:
        raise _not_found(asked, error) from None
    for name in _TEST:
        if name in there and name != asked.split:
            return name
    raise SfumatoError(f"{asked.name} has no test part (it has: {', '.join(there)}).")


def _pinned(datasets: Any, asked: Address, part: str, notes: dict[str, Any]) -> Address:
    """The address with the commit that the store was begun with, which ``notes`` keep.

    Raises:
        SfumatoError: there is no commit to go back to, and the files are others now.
    """
    kept = notes.get("origin") or {}
    if commit := kept.get("commit") or (None if kept else _commit(datasets, asked)):
        notes["origin"] = {"commit": commit}
        return replace(asked, revision=commit)
    now = _fingerprint(datasets, asked, part)
    if kept.get("fingerprint", now) != now:
        raise SfumatoError(
            f"{PREFIX}{asked.name} has changed since a part of it was stored. Name the revision "
            f"that you want: {PREFIX}{asked.name}@REVISION."
        )
    notes["origin"] = {"fingerprint": now}
    return asked


@_quiet()
def _commit(datasets: Any, asked: Address) -> str | None:
    """What the revision (or the newest one) is at this moment; None offline."""
    if datasets.config.HF_HUB_OFFLINE:
        return None
    try:
        from huggingface_hub import HfApi

        return HfApi().dataset_info(asked.name, revision=asked.revision, timeout=30).sha
    except Exception:  # the loading that follows tells what is wrong
        return None


@_quiet()
def _fingerprint(datasets: Any, asked: Address, part: str) -> str:
    """A hash over the state of the files that are read, as the library knows it."""
    try:
        made = datasets.load_dataset_builder(asked.name, asked.config, revision=asked.revision)
        files = (made.config.data_files or {}).get(part)
        state = repr((sorted(map(str, files)), files.origin_metadata) if files else made.hash)
    except Exception as error:
        raise _not_found(asked, error) from None
    return hashlib.blake2b(state.encode(), digest_size=16).hexdigest()


@_quiet()
def _load(datasets: Any, asked: Address, part: str, streaming: bool) -> Any:
    try:
        return datasets.load_dataset(
            asked.name, asked.config, split=part, revision=asked.revision, streaming=streaming
        )
    except Exception as error:  # dozens of kinds: the network's, the library's, the file's
        raise _not_found(asked, error) from None


def _columns(asked: Address, table: Any) -> Columns:
    features = table.features
    if features is None:  # a stream without a schema: its first row tells
        row: dict[str, Any] = next(iter(table), {})
        kinds = {
            name: "Image" if isinstance(v, dict) and "bytes" in v else "" for name, v in row.items()
        }
        return choose(
            asked.name, kinds, [n for n, k in kinds.items() if k], asked.image, asked.text, {}
        )
    pictures = [name for name, kind in features.items() if type(kind).__name__ == "Image"]
    pictures += [
        name
        for name, kind in features.items()
        if getattr(kind, "dtype", "") in ("binary", "large_binary")
        or (isinstance(kind, dict) and "bytes" in kind)
    ]
    names = {name: tuple(kind.names) for name, kind in features.items() if hasattr(kind, "names")}
    return choose(asked.name, features, pictures, asked.image, asked.text, names)


def _encoded(datasets: Any, table: Any, columns: Columns) -> Any:
    """The table without decoding: pictures are judged by our own rules."""
    kind = (table.features or {}).get(columns.image)
    if type(kind).__name__ == "Image":
        return table.cast_column(columns.image, datasets.Image(decode=False))
    return table


def _not_found(asked: Address, error: Exception) -> SfumatoError:
    return SfumatoError(
        f"{PREFIX}{asked.name} cannot be loaded ({_short(error)}). Check the address, its split "
        "and the network; offline, only what was loaded before is there."
    )


def _short(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else text[:197] + "..."
