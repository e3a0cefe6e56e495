"""One exchange with a server: how long each wait may be, and what is said when it fails."""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sfumato.data.online.addresses import DownloadError
from sfumato.locale import translate

_BUFFER = 1 << 16


@dataclass(frozen=True)
class Limits:
    """What is put up with.

    Attributes:
        connect: seconds to find and reach a server.
        read: seconds without a single byte.
        total: seconds for one answer as a whole, redirects included.
        redirects: how many are followed.
        tries: how often one thing is asked for, where another try may help.
        first_wait: seconds before the second try; doubled before each further one.
        longest_wait: seconds; a server that wants a longer pause is left alone.
        at_once: answers that are read at the same time.
        at_once_from_one: the same from one server.
    """

    connect: float = 10.0
    read: float = 30.0
    total: float = 12 * 3600.0
    redirects: int = 5
    tries: int = 4
    first_wait: float = 1.0
    longest_wait: float = 60.0
    at_once: int = 4
    at_once_from_one: int = 2


class Timed:
    """What `http.client` needs of a socket; every wait is cut to the time that is left."""

    def __init__(self, connection: socket.socket, read: float, deadline: float) -> None:
        self._connection, self._read, self._deadline = connection, read, deadline

    def _set(self) -> None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("it takes too long as a whole")
        self._connection.settimeout(min(self._read, left))

    def sendall(self, content: bytes) -> None:
        self._set()
        self._connection.sendall(content)

    def makefile(self, *_: Any, **__: Any) -> io.BufferedReader:
        return io.BufferedReader(_Incoming(self), _BUFFER)

    def receive(self, into: Any) -> int:
        self._set()
        return self._connection.recv_into(into)

    def close(self) -> None:
        """The client closes the real one."""


class _Incoming(io.RawIOBase):
    def __init__(self, timed: Timed) -> None:
        self._timed = timed

    def readable(self) -> bool:
        return True

    def readinto(self, into: Any) -> int:
        return self._timed.receive(into)


def encrypted(connection: socket.socket, host: str, tls: ssl.SSLContext) -> socket.socket:
    """The connection with TLS, once the server has proved to be ``host``.

    Raises:
        OSError: it could not, or does not speak TLS.
    """
    try:
        return tls.wrap_socket(connection, server_hostname=host)
    except BaseException:
        connection.close()
        raise


@contextmanager
def complaints(host: str) -> Iterator[None]:
    """Whatever the network throws becomes a `DownloadError`."""
    try:
        yield
    except DownloadError:
        raise
    except TimeoutError:
        raise DownloadError(translate("network.slow", host=host), "slow", True) from None
    except ssl.SSLCertVerificationError as error:
        said = translate("network.tls", host=host, why=error.verify_message)
        raise DownloadError(said, "connection") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        why = " ".join(str(getattr(error, "strerror", None) or error).split())[:120]
        said = translate("network.broken", host=host, why=why or type(error).__name__)
        raise DownloadError(said, "connection", again=True) from None
