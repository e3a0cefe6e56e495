"""Which addresses of the network a program may talk to on a stranger's word.

An address in a list of search results, or in a redirect, may lead into the user's own network: to
a router, to a service on this very machine, to the keys of a cloud computer at 169.254.169.254.
So a name is looked up once, every address that it stands for is judged, and the connection goes
to one that was judged: a name server that answers differently the second time gains nothing.
"""

from __future__ import annotations

import ipaddress
import socket
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from urllib.parse import quote, urlsplit, urlunsplit

from sfumato.errors import SfumatoError
from sfumato.locale import translate

#: As `socket.getaddrinfo`: (host, port, type) to a list of (family, type, protocol, _, address).
Resolver = Callable[..., "list[tuple[int, int, int, str, tuple[object, ...]]]"]

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
# relays of 6to4 and the protocols' own addresses (RFC 7526, RFC 6890), which Python calls global
_RELAYS = (ipaddress.IPv4Network("192.88.99.0/24"), ipaddress.IPv4Network("192.0.0.0/24"))


class DownloadError(SfumatoError):
    """Why nothing came, in one sentence with the cure.

    Attributes:
        kind: for counting: "address", "offline", "connection", "slow", "missing", "server",
            "large", "redirects", "declined", "checksum", "space".
        again: whether another try may help.
        wait: seconds that the server wants us to wait before it, if it said so.
    """

    def __init__(
        self, sentence: str, kind: str, again: bool = False, wait: float | None = None
    ) -> None:
        super().__init__(sentence)
        self.kind, self.again, self.wait = kind, again, wait


@dataclass(frozen=True)
class Target:
    """A parsed address.

    Attributes:
        scheme: "http" or "https".
        host: in ASCII, lower case.
        port: from 1 to 65535.
        path: what to ask for, beginning with "/", every odd letter escaped.
        url: the whole in normal form, without a fragment.
    """

    scheme: str
    host: str
    port: int
    path: str
    url: str

    @property
    def place(self) -> str:
        """host:port, by which a user may trust a place of his own network."""
        return f"{self.host}:{self.port}"


def parse(url: str) -> Target:
    """Take an address apart.

    Raises:
        DownloadError: not http or https, no host, a password in it, or not an address at all.
    """
    shown = repr(url if len(url) <= 120 else url[:117] + "...")
    if any(ord(sign) < 32 or ord(sign) == 127 for sign in url):
        raise DownloadError(translate("network.control", url=shown), "address")
    no_address = DownloadError(translate("network.no_address", url=shown), "address")
    try:
        parts = urlsplit(url.strip())
        host, port = (parts.hostname or "").rstrip("."), parts.port
        if parts.scheme in ("http", "https") and host and ":" not in host:
            host = host.encode("idna").decode("ascii").lower()
        # what is escaped already stays as it is ("%" is safe), spaces and Cyrillic are escaped
        path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
        query = quote(parts.query, safe="/%:@!$&'()*+,;=~-._?[]")
    except ValueError:  # half a surrogate pair is one, too
        raise no_address from None
    if parts.scheme not in ("http", "https") or not host or not host.isascii() or port == 0:
        raise no_address
    if parts.username is not None or parts.password is not None:
        raise DownloadError(translate("network.user", host=host), "address")
    usual = 443 if parts.scheme == "https" else 80
    where = f"[{host}]" if ":" in host else host
    if port and port != usual:
        where += f":{port}"
    asked = urlunsplit(("", "", path, query, ""))
    if asked.startswith("//"):  # or it would be read as a host
        asked = "/" + asked.lstrip("/")
    return Target(parts.scheme, host, port or usual, asked, f"{parts.scheme}://{where}{asked}")


def is_public(address: str) -> bool:
    """Whether a numeric address belongs to the open Internet.

    Not public are loopback, private, link-local, shared, multicast, reserved and unspecified
    ones, those of relays, and IPv6 addresses that carry such an IPv4 address inside (mapped,
    6to4, Teredo, NAT64).
    """
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    inside: list[ipaddress.IPv4Address] = []
    if isinstance(ip, ipaddress.IPv4Address):
        if any(ip in relays for relays in _RELAYS):
            return False
    else:
        if ip.ipv4_mapped is not None:
            return is_public(str(ip.ipv4_mapped))
        if ip in _NAT64:
            return is_public(str(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)))
        if ip.is_site_local:
            return False
        inside += [ip.sixtofour] if ip.sixtofour else []
        inside += list(ip.teredo) if ip.teredo else []
    closed = ip.is_multicast or ip.is_reserved or ip.is_unspecified or ip.is_link_local
    return ip.is_global and not closed and all(is_public(str(one)) for one in inside)


def connect(
    target: Target,
    deadline: float,
    longest: float,
    trusted: Collection[str] = (),
    resolver: Resolver | None = None,
) -> socket.socket:
    """A connection to where an address leads, if it may be talked to.

    Args:
        target: the address.
        deadline: of `time.monotonic`; later nothing is tried.
        longest: seconds that one try may take.
        trusted: "host:port" pairs that may be anywhere, also in the user's own network.
        resolver: instead of `socket.getaddrinfo`.

    Raises:
        DownloadError: refused, unknown, or nobody answers there.
    """
    found = _look_up(target, min(longest, deadline - time.monotonic()), resolver)
    if target.place not in trusted:
        for _, _, _, _, where in found:
            if not is_public(str(where[0])):
                raise DownloadError(
                    translate("network.inside", host=target.host, address=where[0]), "address"
                )
    last: OSError | None = None
    for family, kind, protocol, _, where in found:
        left = min(longest, deadline - time.monotonic())
        if left <= 0:
            break
        try:
            connection = socket.socket(family, kind, protocol)
        except OSError as error:  # no IPv6 here
            last = error
            continue
        try:
            connection.settimeout(left)
            connection.connect(where)
            return connection
        except OSError as error:
            connection.close()
            last = error
        except BaseException:
            connection.close()
            raise
    why = (last.strerror or str(last)) if last else translate("network.in_time")
    said = translate("network.silent", host=target.host, why=why)
    raise DownloadError(said, "connection", again=True)


def _look_up(
    target: Target, longest: float, resolver: Resolver | None
) -> list[tuple[int, int, int, str, tuple[object, ...]]]:
    """All addresses of a name; looked up aside, because the system's call knows no time limit."""
    answer: list[object] = []

    def ask() -> None:
        try:
            look = resolver or socket.getaddrinfo
            answer.append(look(target.host, target.port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            answer.append(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(max(0.0, longest))
    found = answer[0] if answer else TimeoutError(translate("network.in_time"))
    if isinstance(found, list) and found:
        return found
    why = getattr(found, "strerror", None) or str(found)
    raise DownloadError(translate("network.unknown", host=target.host, why=why), "offline")
