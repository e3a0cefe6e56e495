"""Searching pictures on the web: what a search is, and the one that is built in."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Any, Protocol

from sfumato.errors import SfumatoError
from sfumato.locale import translate

SAFE = ("on", "moderate", "off")
SIZES = ("any", "small", "medium", "large")
_PAGES = 30  # no search gives more than a few
_TRIES = 2


@dataclass(frozen=True)
class SearchOptions:
    """What a search is told beside the words.

    Attributes:
        safe: "on", "moderate" or "off"; for pictures DuckDuckGo treats the first two alike.
        region: country and language like "us-en" or "ru-ru"; "wt-wt" is no region.
        size: "any", "small", "medium" or "large", as the search understands it.

    Raises:
        SfumatoError: another value.
    """

    safe: str = "moderate"
    region: str = "wt-wt"
    size: str = "any"

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z]{2}-[a-z]{2}", self.region):
            raise SfumatoError(translate("search.region", region=repr(self.region)))
        for value, known in ((self.safe, SAFE), (self.size, SIZES)):
            if value not in known:
                said = translate("search.value", value=repr(value), known=", ".join(known))
                raise SfumatoError(said)


@dataclass(frozen=True)
class Found:
    """One picture that a search names.

    Attributes:
        url: of the picture itself.
        page: the page it stands on.
        title: what the search calls it.
        source: who led there.
        width, height: in pixels as the search says; 0 where it does not.
        licence: where it is known; None says that it is not.

    Letters that no file can hold (halves of surrogate pairs) are replaced in all texts.
    """

    url: str
    page: str = ""
    title: str = ""
    source: str = ""
    width: int = 0
    height: int = 0
    licence: str | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, str):
                object.__setattr__(self, field.name, writable(value))


class ImageSearch(Protocol):
    """Any search for pictures."""

    def find(self, query: str, options: SearchOptions) -> Iterator[Found]:
        """What is found for some words, best first.

        Raises:
            SfumatoError: it does not answer; the sentence says what to do.
        """
        ...


class DuckDuckGo:
    """DuckDuckGo's pictures through the package `ddgs`, which needs no key.

    Args:
        timeout: seconds for one page of results.
        open_search: gives what has `images` like `ddgs.DDGS`; for tests.
    """

    def __init__(self, timeout: int = 15, open_search: Callable[[], Any] | None = None) -> None:
        self._timeout = timeout
        self._open = open_search or self._ddgs

    def find(self, query: str, options: SearchOptions) -> Iterator[Found]:
        """See `ImageSearch`; page after page, each address once."""
        search = self._open()
        seen: set[str] = set()
        for page in range(1, _PAGES + 1):
            fresh = [
                found
                for found in map(_found, self._page(search, query, options, page))
                if found.url and found.url not in seen
            ]
            if not fresh:
                return
            seen.update(found.url for found in fresh)
            yield from fresh

    def _page(
        self, search: Any, query: str, options: SearchOptions, page: int
    ) -> list[dict[str, Any]]:
        more = {} if options.size == "any" else {"size": options.size.capitalize()}
        for left in reversed(range(_TRIES)):
            try:
                # no other backend of ddgs heeds the safe search
                found = search.images(
                    query,
                    region=options.region,
                    safesearch=options.safe,
                    page=page,
                    max_results=None,
                    backend="duckduckgo",
                    **more,
                )
                return [one for one in found or () if isinstance(one, dict)]
            except Exception as error:  # ddgs passes on whatever its own parts raise
                why = " ".join(str(error).split())
                if "No results" in why:
                    return []
                if not left:
                    # what its parts say is long and not meant for people; --debug shows it
                    raise SfumatoError(translate("search.silent")) from error
        return []

    def _ddgs(self) -> Any:
        try:
            from ddgs import DDGS
        except ImportError:
            raise SfumatoError(translate("search.ddgs")) from None
        return DDGS(timeout=self._timeout)


def writable(text: str) -> str:
    """The text, halves of surrogate pairs joined or, where one stands alone, replaced."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _found(row: dict[str, Any]) -> Found:
    def text(name: str) -> str:
        value = row.get(name)
        return value.strip() if isinstance(value, str) else ""

    def number(name: str) -> int:
        value = str(row.get(name) or "")
        return int(value) if value.isascii() and value.isdigit() and len(value) < 7 else 0

    return Found(
        url=text("image"),
        page=text("url"),
        title=text("title"),
        source=text("source"),
        width=number("width"),
        height=number("height"),
    )
