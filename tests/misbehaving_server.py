"""A web server on this machine that behaves as it is told, mostly badly."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Behaviour = Callable[[BaseHTTPRequestHandler], None]


class Server:
    """Has url, place ("127.0.0.1:port"), routes (path -> behaviour), asked (path, headers)."""

    def __init__(self) -> None:
        self.routes: dict[str, Behaviour] = {}
        self.asked: list[tuple[str, dict[str, str]]] = []
        lock = threading.Lock()
        ours = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                with lock:
                    ours.asked.append((self.path, dict(self.headers)))
                try:
                    ours.routes.get(self.path, status(404))(self)
                except OSError:  # the client has had enough
                    pass
                finally:
                    self.close_connection = True

            def log_message(self, *_: object) -> None:
                pass

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False

            def handle_error(self, *_: object) -> None:
                pass

        self._http = Quiet(("127.0.0.1", 0), Handler)
        self.place = f"127.0.0.1:{self._http.server_port}"
        self.url = f"http://{self.place}"
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()

    def headers(self, path: str) -> list[dict[str, str]]:
        return [headers for asked, headers in self.asked if asked == path]


def head(handler: BaseHTTPRequestHandler, code: int = 200, **headers: object) -> None:
    handler.send_response(code)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), str(value))
    handler.end_headers()


def status(code: int, **headers: object) -> Behaviour:
    return lambda handler: head(handler, code, Content_Length=0, **headers)


def fine(content: bytes, **headers: object) -> Behaviour:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        head(handler, Content_Length=len(content), **headers)
        handler.wfile.write(content)

    return answer


def in_turn(*behaviours: Behaviour) -> Behaviour:
    """Each once; the last one for ever."""
    left = list(behaviours)
    return lambda handler: (left.pop(0) if len(left) > 1 else left[0])(handler)


class Busy:
    """Wraps behaviours and counts how many are at work at the same time."""

    def __init__(self) -> None:
        self.most = self._now = 0
        self._lock = threading.Lock()

    def __call__(self, behaviour: Behaviour) -> Behaviour:
        def answer(handler: BaseHTTPRequestHandler) -> None:
            with self._lock:
                self._now += 1
                self.most = max(self.most, self._now)
            time.sleep(0.1)
            with self._lock:  # before the answer, or the next could come first
                self._now -= 1
            behaviour(handler)

        return answer


def trickle(pause: float = 0.05) -> Behaviour:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        head(handler, Content_Length=10_000)
        for _ in range(400):
            handler.wfile.write(b"x")
            time.sleep(pause)

    return answer


def endless(sent: list[int], **headers: object) -> Behaviour:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        head(handler, **headers)
        for _ in range(2000):  # 128 MB, if nobody stops it
            handler.wfile.write(bytes(1 << 16))
            sent.append(1 << 16)

    return answer


def reset(handler: BaseHTTPRequestHandler) -> None:
    """End the connection as a crash does."""
    handler.wfile.flush()
    time.sleep(0.05)  # what was written shall arrive first
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()


def ranged(content: bytes, etag: str = '"1"', breaks_at: int | None = None) -> Behaviour:
    """As a good server, but it breaks off at a byte of the file, each time a new one later."""
    limit = [breaks_at]

    def answer(handler: BaseHTTPRequestHandler) -> None:
        asked = handler.headers.get("Range", "")
        start = int(asked[6:-1]) if asked else 0
        if asked and handler.headers.get("If-Range") not in (None, etag):
            start = 0
        if start >= len(content):
            head(handler, 416, Content_Range=f"bytes */{len(content)}", Content_Length=0)
            return
        where = {"Content_Range": f"bytes {start}-{len(content) - 1}/{len(content)}"}
        length = {"Content_Length": len(content) - start, "ETag": etag}
        head(handler, 206 if start else 200, **length, **(where if start else {}))
        end = limit[0]
        if end is not None and start < end < len(content):
            handler.wfile.write(content[start:end])
            limit[0] = end + breaks_at
            reset(handler)
        else:
            handler.wfile.write(content[start:])

    return answer
