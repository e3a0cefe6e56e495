"""A data set of one's own from a picture search: found, judged, compared, captioned.

What a search names is only an address.  Whether a picture is behind it, its own bytes say: they
are decoded, whatever the name or the server's header claims.  Copies of a picture at other
addresses, sizes and qualities are recognised by `sfumato.data.duplicates`.
"""

from __future__ import annotations

import hashlib
import html
import re
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from sfumato.data.captions import clean_captions, named_by
from sfumato.data.decode import UnreadablePicture, open_picture, to_pixels
from sfumato.data.duplicates import DISTANCE, signature, similar_pairs
from sfumato.data.online.addresses import parse
from sfumato.data.online.client import Answer, Client, DownloadError, Limits
from sfumato.data.online.collected import ASIDE, Collected, opened
from sfumato.data.online.download import require_space
from sfumato.data.online.search import Found, ImageSearch, SearchOptions, writable
from sfumato.errors import SfumatoError
from sfumato.locale import translate

PICTURE_LIMITS = Limits(connect=5, read=10, total=30, tries=2, longest_wait=10, at_once=6)
"""A picture of a stranger is waited for only so long; there are others."""

LARGEST_FILE = 20_000_000
"""Bytes of one picture."""

_SIDE = 64  # the side at which pictures are compared, as in `sfumato data check`
_BLANK = 1.0  # standard deviation in levels of 255
_ENDINGS = {"PNG": "png", "WEBP": "webp", "GIF": "gif", "BMP": "bmp", "TIFF": "tif"}
_LOST = 8  # so many unknown hosts in a row are no accident: the network is gone
_NO_TRAINING = {"noai", "noimageai"}


class Unfit(Exception):
    """A picture that is not taken. Its only argument is the kind: "broken", "small", ..."""


@dataclass
class Summary:
    """How a collection went.

    Attributes:
        query: what was searched.
        folder: where the pictures are.
        wanted: how many there shall be.
        total: how many there are now.
        counts: outcome -> addresses of this call: "kept", "duplicate", "broken", "small",
            "blank", or a kind of `DownloadError`.
        interrupted: Ctrl-C ended it.
        trouble: why the search ended early; empty if it did not.
        torn: the file that an unfinished last line of `metadata.jsonl` was set aside into.
    """

    query: str
    folder: Path
    wanted: int
    total: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    interrupted: bool = False
    trouble: str = ""
    torn: Path | None = None

    def to_dict(self) -> dict[str, Any]:
        """The same in types that JSON knows."""
        return {
            "query": self.query,
            "folder": str(self.folder),
            "wanted": self.wanted,
            "total": self.total,
            "counts": dict(self.counts),
            "interrupted": self.interrupted,
            "trouble": self.trouble,
        }


@dataclass(frozen=True)
class _Picture:
    content: bytes
    ending: str
    width: int
    height: int
    signature: tuple[np.ndarray, np.ndarray]


def collect(
    query: str,
    folder: Path,
    count: int,
    search: ImageSearch,
    client: Client,
    options: SearchOptions | None = None,
    smallest: int = 128,
    watch: Callable[[Summary], None] | None = None,
) -> Summary:
    """Gather pictures for some words until there are ``count``; an earlier call is continued.

    The caption (column "text") is the picture's title, or the words where it has none that says
    anything; both stand in the row, with the source page, the address, the licence as far as it
    is known (null where not), the SHA-256 and the date.

    Args:
        query: the words.
        folder: where to; it may hold pictures of other searches.
        count: pictures for these words in the folder, at the end.
        search: names addresses.
        client: asks for them; it is used up by an interruption.
        options: for the search.
        smallest: a picture whose shorter side has fewer pixels is not taken.
        watch: is told of every address that is done with.

    Raises:
        SfumatoError: there is not a single picture because the search or the network failed, or
            the folder cannot be used, or another program collects into it.
    """
    words = " ".join(writable(query).split())
    if not words:
        raise SfumatoError(translate("collect.no_words"))
    with opened(folder) as store:
        summary = Summary(words, folder, count, total=store.count(words))
        summary.torn = folder / ASIDE if store.torn else None
        if summary.total < count:
            found = search.find(words, options or SearchOptions())
            _fill(store, summary, found, client, smallest, watch)
    if summary.trouble and not summary.total:
        with suppress(OSError):  # a folder that was made for nothing
            folder.rmdir()
        raise SfumatoError(summary.trouble)
    return summary


def _fill(
    store: Collected,
    summary: Summary,
    named: Iterator[Found],
    client: Client,
    smallest: int,
    watch: Callable[[Summary], None] | None,
) -> None:
    """Gather what is missing; how it ended stands in the summary."""
    folder, count = summary.folder, summary.wanted
    require_space(folder, 500_000 * (count - summary.total))
    alike = _Alike()
    for path in store.pictures():
        try:
            alike.add(_signature(path))
        except UnreadablePicture:  # `sfumato data check` will say so
            continue
    found = _until_trouble(named, summary)
    with ThreadPoolExecutor(client.limits.at_once) as pool:
        waiting: deque[tuple[Found, Future[_Picture]]] = deque()
        try:
            _gather(summary, store, alike, found, waiting, pool, client, smallest, watch)
        except KeyboardInterrupt:
            summary.interrupted = True
        except SfumatoError as error:
            summary.trouble = str(error)
        finally:
            if waiting:
                client.cancel()
                pool.shutdown(cancel_futures=True)


def _until_trouble(found: Iterator[Found], summary: Summary) -> Iterator[Found]:
    """What is found; when the search fails, what is under way may still come to its end."""
    try:
        yield from found
    except SfumatoError as error:
        summary.trouble = str(error)


def _gather(
    summary: Summary,
    store: Collected,
    alike: _Alike,
    found: Iterator[Found],
    waiting: deque[tuple[Found, Future[_Picture]]],
    pool: ThreadPoolExecutor,
    client: Client,
    smallest: int,
    watch: Callable[[Summary], None] | None,
) -> None:
    lost = 0
    asked: set[str] = set()
    while summary.total < summary.wanted:
        # never more under way than are wanted, so nothing is fetched in vain
        room = min(2 * client.limits.at_once, summary.wanted - summary.total)
        while len(waiting) < room and (one := next(found, None)) is not None:
            url = _normal(one.url)
            if url not in store.tried and url not in asked:
                asked.add(url)
                waiting.append((one, pool.submit(_fetch, one.url, client, smallest)))
        if not waiting:
            return
        one, future = waiting[0]
        try:
            picture = future.result()
            outcome = _settle(one, picture, summary, store, alike)
        except (DownloadError, UnreadablePicture, Unfit) as error:
            outcome = _kind(error)
            if outcome in ("space", "stopped"):
                raise
            lost = lost + 1 if outcome == "offline" else 0
            if lost >= _LOST:
                raise
            if outcome != "offline":  # what could not even be looked up may be asked for again
                store.done(_normal(one.url), outcome)
        waiting.popleft()
        summary.counts[outcome] += 1
        if watch:
            watch(summary)


def _fetch(url: str, client: Client, smallest: int) -> _Picture:
    content = client.read(url, LARGEST_FILE, _demand_consent)
    with open_picture(content) as image:
        width, height = image.size
        if min(width, height) < smallest:
            raise Unfit("small")
        ending = _ENDINGS.get(image.format or "", "jpg")
        pixels = to_pixels(image, _SIDE, 3)
    if pixels.std(axis=(1, 2)).max() < _BLANK:
        raise Unfit("blank")
    return _Picture(content, ending, width, height, signature(pixels))


def _settle(
    found: Found, picture: _Picture, summary: Summary, store: Collected, alike: _Alike
) -> str:
    digest = hashlib.sha256(picture.content).hexdigest()
    url = _normal(found.url)
    name = f"{slug(summary.query)}-{digest[:12]}.{picture.ending}"
    if digest in store.hashes or name in store.names or alike.knows(picture.signature):
        store.done(url, "duplicate")
        return "duplicate"
    row = {
        "file_name": name,
        "text": caption(found.title, summary.query),
        "title": found.title,
        "query": summary.query,
        "page": found.page,
        "url": url,
        "source": found.source,
        "licence": found.licence,
        "width": picture.width,
        "height": picture.height,
        "sha256": digest,
        "collected": datetime.now(timezone.utc).date().isoformat(),
    }
    store.keep(picture.content, row)
    alike.add(picture.signature)
    summary.total += 1
    return "kept"


def _demand_consent(answer: Answer) -> None:
    """Heed a server that asks not to train on its pictures (the header X-Robots-Tag)."""
    said = ",".join(answer.headers.get_all("X-Robots-Tag") or ()).lower()
    if _NO_TRAINING & set(re.split(r"[\s,:;]+", said)):
        raise DownloadError(
            f"{answer.url} asks not to be used for training. Take other pictures.", "declined"
        )


def _kind(error: Exception) -> str:
    if isinstance(error, DownloadError):
        return error.kind
    return str(error) if isinstance(error, Unfit) else "broken"


def _normal(url: str) -> str:
    try:
        return parse(url).url
    except DownloadError:
        return url


def slug(query: str) -> str:
    """Words for a file's name: letters and digits of any language, joined by hyphens."""
    words = re.findall(r"[^\W_]+", query.lower())
    return "-".join(words)[:40].strip("-") or "picture"


def caption(title: str, query: str) -> str:
    """What a title says without addresses and the site's name, or the query.

    "Blue door in Porto | Example Photos" becomes "Blue door in Porto"; of parts that are set
    apart by bars or dashes the longest is taken.
    """
    plain = re.sub(r"(https?://|www\.)\S+", " ", html.unescape(title))
    parts = re.split(r"\s+[|·•»:–—-]+\s+", " ".join(clean_captions(plain)))
    best = max(parts, key=len).strip(" .…-|")
    best = re.sub(r"\.(jpe?g|png|webp|gif|bmp|tiff?)$", "", best, flags=re.IGNORECASE)
    # a file's name like IMG_2041 says nothing; `named_by` knows the kinds of them
    whose = named_by(PurePath(best.replace("/", " ").replace(".", " ") or "x"), "")[1]
    letters = sum(sign.isalpha() for sign in best)
    return best[:300].rstrip() if letters >= 3 and whose == "file" else query


class _Alike:
    """Kept pictures, to be compared with each new one."""

    def __init__(self) -> None:
        self._bits: list[np.ndarray] = []
        self._copies: list[np.ndarray] = []

    def add(self, one: tuple[np.ndarray, np.ndarray]) -> None:
        self._bits.append(one[0])
        self._copies.append(one[1])

    def knows(self, one: tuple[np.ndarray, np.ndarray]) -> bool:
        if not self._bits:
            return False
        bits, copy = one
        apart = (np.stack(self._bits) != bits).sum(axis=1)
        return any(
            similar_pairs(np.stack([self._bits[i], bits]), np.stack([self._copies[i], copy]))
            for i in np.nonzero(apart <= DISTANCE)[0]
        )


def _signature(path: Path) -> tuple[np.ndarray, np.ndarray]:
    with open_picture(path) as image:
        return signature(to_pixels(image, _SIDE, 3))
