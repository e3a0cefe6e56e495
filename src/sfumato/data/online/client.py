"""One polite, bounded client of the web, for data sets and for pictures that a search found.

Everything that a server may do without end has an end here: connecting, answering, redirecting,
sending, and asking us to wait.  It stands on `http.client` alone, because only so the connection
can be made to an address that was judged before (`addresses`), and every single wait for bytes
can be measured against the time that is left.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from email.utils import parsedate_to_datetime
from urllib.parse import urljoin

from sfumato import __version__
from sfumato.data.online.addresses import DownloadError, Resolver, Target, connect, parse
from sfumato.data.online.exchange import Limits, Timed, complaints, encrypted
from sfumato.locale import translate

__all__ = ["USER_AGENT", "Answer", "Client", "DownloadError", "Limits"]

USER_AGENT = f"sfumato/{__version__}"
_REDIRECTS = (301, 302, 303, 307, 308)
_BUSY = (408, 425, 429, 500, 502, 503, 504)
_BLOCK = 1 << 16
_DIGITS = 15  # of a length; Python refuses to read thousands of them


class Answer:
    """A server's answer whose body has not been read yet.

    Attributes:
        url: where it came from, after all redirects.
        status: 200, 206 or 416; everything else is an error.
        headers: of the answer, by any spelling of their names.
        length: bytes that are announced, None if nothing is.
    """

    def __init__(self, url: str, response: http.client.HTTPResponse, client: Client) -> None:
        self.url, self.status, self.headers = url, response.status, response.headers
        stated = self.headers.get("Content-Length", "")
        sound = stated.isascii() and stated.isdigit() and len(stated) <= _DIGITS
        self.length = int(stated) if sound and not response.chunked else None
        self._response, self._client = response, client

    def blocks(self) -> Iterator[bytes]:
        """The body as it comes.

        Raises:
            DownloadError: it was cut off or came too slowly.
        """
        read = 0
        with complaints(_host(self.url)):
            while self.length is None or read < self.length:
                self._client.check_cancelled()
                left = _BLOCK if self.length is None else min(_BLOCK, self.length - read)
                block = self._response.read1(left)
                if not block:
                    break
                read += len(block)
                yield block
        if self.length is not None and read < self.length:
            raise broken_off(_host(self.url), read, self.length)


class Client:
    """Asks for things one knows the address of; one client serves several threads.

    Args:
        limits: what is put up with.
        trusted: "host:port" pairs that may lie in the user's own network (see
            `sfumato.data.online.addresses.connect`); a redirect to any other such place is refused.
        resolver: instead of `socket.getaddrinfo`.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        trusted: Collection[str] = (),
        resolver: Resolver | None = None,
    ) -> None:
        self.limits = limits or Limits()
        self._trusted, self._resolver = frozenset(trusted), resolver
        self._turn = threading.BoundedSemaphore(self.limits.at_once)
        self._turns: dict[str, threading.BoundedSemaphore] = {}
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._cancelled = threading.Event()
        self._tls: ssl.SSLContext | None = None

    def cancel(self) -> None:
        """End everything that other threads are waiting for; they get a `DownloadError`."""
        self._cancelled.set()
        with self._lock:
            for connection in self._open:
                with suppress(OSError):  # it may have ended by itself
                    connection.shutdown(socket.SHUT_RDWR)

    def check_cancelled(self) -> None:
        """Raise `DownloadError` once `cancel` was called."""
        if self._cancelled.is_set():
            raise DownloadError(translate("network.stopped"), "stopped")

    def pause(self, error: DownloadError, tried: int) -> None:
        """Wait before another try, as long as the server wants or a little longer each time.

        Args:
            error: of the last try.
            tried: how many failed in a row, from 1.

        Raises:
            DownloadError: the same error, where no further try is due.
        """
        wait = self.limits.first_wait * 2.0 ** (tried - 1)
        if error.wait is not None:
            wait = max(wait, error.wait)
        if not error.again or tried >= self.limits.tries or wait > self.limits.longest_wait:
            raise error
        self._cancelled.wait(wait)
        self.check_cancelled()

    def read(self, url: str, most: int, judge: Callable[[Answer], None] | None = None) -> bytes:
        """A body as a whole, tried several times where that may help.

        Args:
            url: its address.
            most: bytes; the body may not be longer, unpacked.
            judge: looks at the head of an answer and may raise.

        Raises:
            DownloadError: refused, not there, too large, too slow or broken.
        """
        tried = 0
        while True:
            try:
                with self.ask(url) as answer:
                    if judge is not None:
                        judge(answer)
                    return _body(answer, most)
            except DownloadError as error:
                tried += 1
                self.pause(error, tried)

    @contextmanager
    def ask(self, url: str, headers: Mapping[str, str] | None = None) -> Iterator[Answer]:
        """Ask once, follow redirects, and give the answer while the connection is open.

        Raises:
            DownloadError: refused, not there, too slow or broken; ``again`` says whether another
                try may help.
        """
        headers, spent = headers or {}, 0.0
        target = parse(url)
        for _ in range(self.limits.redirects + 1):
            self.check_cancelled()
            with ExitStack() as closing:
                closing.enter_context(self._turn_at(target))
                begun = time.monotonic()  # waiting for one's turn is not the server's fault
                deadline = begun + self.limits.total - spent
                response = self._exchange(target, headers, deadline, closing)
                if response.status not in _REDIRECTS:
                    _demand_success(response, target, "Range" in headers)
                    yield Answer(target.url, response, self)
                    return
                onward = _onward(target, response)
                spent += time.monotonic() - begun
            if target.scheme == "https" and onward.scheme == "http":
                where = repr(onward.url[:120])
                said = translate("network.downgrade", host=target.host, url=where)
                raise DownloadError(said, "redirects")
            target = onward
        times = self.limits.redirects
        raise DownloadError(
            translate("network.round", host=parse(url).host, times=times), "redirects"
        )

    @contextmanager
    def _turn_at(self, target: Target) -> Iterator[None]:
        with self._lock:
            fresh = threading.BoundedSemaphore(self.limits.at_once_from_one)
            turn = self._turns.setdefault(target.place, fresh)
        with turn, self._turn:
            yield

    def _exchange(
        self, target: Target, headers: Mapping[str, str], deadline: float, closing: ExitStack
    ) -> http.client.HTTPResponse:
        """Connect, ask, and wait for the head of the answer; ``closing`` ends the connection."""
        limits = self.limits
        with complaints(target.host):
            reached = min(deadline, time.monotonic() + limits.connect)
            connection = connect(target, reached, limits.connect, self._trusted, self._resolver)
            if target.scheme == "https":
                if self._tls is None:
                    self._tls = ssl.create_default_context()
                connection = encrypted(connection, target.host, self._tls)
            closing.callback(self._close, connection)
            with self._lock:
                self._open.add(connection)
            self.check_cancelled()  # `cancel` may have come before the connection was known
            talk = http.client.HTTPConnection(target.host, target.port)
            talk.sock = Timed(connection, limits.read, deadline)
            more = {
                "Host": target.url.split("/", 3)[2],
                "User-Agent": USER_AGENT,
                "Accept-Encoding": "identity",
                "Connection": "close",
            }
            talk.request("GET", target.path, headers={**more, **headers})
            return talk.getresponse()

    def _close(self, connection: socket.socket) -> None:
        with self._lock:
            self._open.discard(connection)
        connection.close()


def _host(url: str) -> str:
    return url.split("/", 3)[2]


def broken_off(where: str, read: int, promised: int) -> DownloadError:
    """What to raise where a body ends too early."""
    said = translate("network.broke_off", where=where, read=read, promised=promised)
    return DownloadError(said, "connection", again=True)


def _onward(target: Target, response: http.client.HTTPResponse) -> Target:
    """Where a redirect leads. Raises DownloadError."""
    stated = response.headers.get("Location", "")
    try:
        return parse(urljoin(target.url, stated))
    except ValueError:  # `urljoin` trips over "http://["
        said = translate("network.no_address", url=repr(stated[:120]))
        raise DownloadError(said, "address") from None


def _demand_success(response: http.client.HTTPResponse, target: Target, part: bool) -> None:
    status = response.status
    if status == 200 or (part and status in (206, 416)):
        return
    reason = "".join(sign for sign in response.reason if sign.isprintable())
    said = f"{status} {' '.join(reason.split())[:60]}".strip()
    if status in _BUSY:
        wait = _asked_to_wait(response.headers.get("Retry-After"))
        key = "network.busy_wait" if wait else "network.busy"
        sentence = translate(key, host=target.host, said=said, wait=f"{wait or 0:.0f}")
        raise DownloadError(sentence, "server", True, wait)
    if status in (404, 410):
        sentence = translate("network.missing", url=target.url[:200], said=said)
        raise DownloadError(sentence, "missing")
    raise DownloadError(translate("network.refuses", host=target.host, said=said), "server")


def _asked_to_wait(stated: str | None) -> float | None:
    """Seconds of a Retry-After header, which holds a number or a date (RFC 9110, 10.2.3)."""
    if not stated:
        return None
    if stated.isascii() and stated.isdigit():
        return float(stated[:9])
    try:
        return max(0.0, parsedate_to_datetime(stated).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None


def _body(answer: Answer, most: int) -> bytes:
    said = translate("network.large", url=answer.url[:200], size=f"{most / 1e6:.1f}")
    too_large = DownloadError(said, "large")
    if answer.length is not None and answer.length > most:
        raise too_large
    parts, size = [], 0
    for block in answer.blocks():
        parts.append(block)
        size += len(block)
        if size > most:
            raise too_large
    content = b"".join(parts)
    # we ask for it plain; some servers pack all the same
    if answer.headers.get("Content-Encoding", "").lower() not in ("gzip", "x-gzip", "deflate"):
        return content
    unpack = zlib.decompressobj(47)
    try:
        plain = unpack.decompress(content, most + 1)
    except zlib.error as error:
        said = translate("network.damaged", host=_host(answer.url), why=error)
        raise DownloadError(said, "connection", True) from None
    if len(plain) > most:
        raise too_large
    if not unpack.eof:
        said = translate("network.cut", host=_host(answer.url))
        raise DownloadError(said, "connection", True)
    return plain
