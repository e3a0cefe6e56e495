"""Drawings in SVG from strangers: what they are called, whether to draw them, and drawing them.

A drawing is a program for its renderer.  The XML is read without entities; a drawing that shows
other files or embedded photographs is refused; and drawing happens in a process of its own with
a limit of time and memory, because a renderer that runs out of memory ends its whole process.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from xml.parsers import expat

from sfumato.data.decode import UnreadablePicture, unreadable
from sfumato.errors import SfumatoError

LARGEST = 4 << 20
"""Drawings above this many bytes are refused (4 MiB)."""

SIDE = 256  # pixels across of what is drawn
SECONDS = 20.0
_START = 60.0  # seconds for the renderer to be loaded
_DEEPEST = 500  # elements inside each other
_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_DC = "http://purl.org/dc/elements/1.1/"


@dataclass(frozen=True)
class About:
    """What a drawing says of itself in its RDF; empty where it says nothing."""

    title: str = ""
    keywords: tuple[str, ...] = ()


def about(document: bytes) -> About:
    """The title and keywords of a drawing (Dublin Core, as Inkscape and Sodipodi write them).

    Raises:
        UnreadablePicture: too large, not XML, not SVG, with entities, or showing other pictures.
    """
    if len(document) > LARGEST:
        raise UnreadablePicture(f"too large: {len(document)} bytes, the limit is {LARGEST}")
    if not document.strip():
        raise unreadable("empty")
    reader = _Reader()
    try:
        reader.parser.Parse(document, True)
    except expat.ExpatError as error:
        raise UnreadablePicture(f"not well-formed XML ({error})") from None
    except (ValueError, LookupError) as error:  # an encoding that Python does not know
        raise UnreadablePicture(f"cannot be read as XML ({error})") from None
    title = " ".join(reader.title.split())
    words = tuple(dict.fromkeys(" ".join(word.split()) for word in reader.keywords))
    return About(title, tuple(word for word in words if word))


class _Reader:
    """Takes the RDF apart and stops at what is not allowed."""

    def __init__(self) -> None:
        self.title = ""
        self.keywords: list[str] = []
        self._open: list[str] = []
        self.parser = expat.ParserCreate(namespace_separator=" ")
        self.parser.buffer_text = True
        self.parser.EntityDeclHandler = self._entity
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text

    def _entity(self, *_: object) -> None:
        raise UnreadablePicture("defines entities; such drawings are not opened")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        plain = name.rpartition(" ")[2]
        if not self._open and plain != "svg":
            raise UnreadablePicture(f"not an SVG drawing (it is <{plain[:40]}>)")
        if plain in ("image", "feImage"):
            raise UnreadablePicture(f"shows another picture (<{plain}>); only drawings are taken")
        if len(self._open) >= _DEEPEST:
            raise UnreadablePicture(f"nests more than {_DEEPEST} elements")
        self._open.append(name)
        if self._open[-3:] == [f"{_DC} subject", f"{_RDF} Bag", f"{_RDF} li"]:
            self.keywords.append("")

    def _end(self, name: str) -> None:
        self._open.pop()

    def _text(self, text: str) -> None:
        # the title of the work, not those of its author and publisher, which lie deeper
        if self._open[-1] == f"{_DC} title" and self._open[-2].endswith(" Work"):
            self.title += text
        elif self._open[-3:] == [f"{_DC} subject", f"{_RDF} Bag", f"{_RDF} li"]:
            self.keywords[-1] += text


_WORKER = Path(__file__).resolve().with_name("svg_worker.py")


class Draughtsman:
    """A process that draws SVG, begun anew whenever a drawing ends it.

    Use it in a `with` block.

    Raises:
        SfumatoError: the renderer is not installed.
    """

    def __init__(self, seconds: float = SECONDS) -> None:
        demand_renderer()
        self._seconds = seconds
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Draughtsman:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    def draw(self, document: bytes) -> bytes:
        """The drawing as PNG, `SIDE` pixels wide, transparent where nothing is drawn.

        Raises:
            UnreadablePicture: it cannot be drawn, or not within the limits.
            SfumatoError: the renderer cannot start.
        """
        process = self._running()
        frame = len(document).to_bytes(4, "big") + document
        drawn, answer = _asked(process, frame, self._seconds)
        if drawn is None:
            self._end()
            raise UnreadablePicture(
                f"takes more than {self._seconds:g} seconds or too much memory to draw"
            )
        if not drawn:
            raise UnreadablePicture(f"cannot be drawn ({answer.decode('utf-8', 'replace')[:120]})")
        return answer

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self._end()
            self._process = subprocess.Popen(  # noqa: S603 - our own file, no shell
                [sys.executable, "-I", str(_WORKER), str(SIDE), *_paths()],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            ready, why = _asked(self._process, b"", _START)
            if not ready:
                self._end()
                said = why.decode("utf-8", "replace")[:200] or "it ends or never answers"
                raise SfumatoError(
                    f"The renderer of drawings cannot start ({said}). Install it anew: "
                    'pip install --force-reinstall "sfumato[clipart]".'
                )
        return self._process

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with suppress(OSError):  # what was not written any more
                    pipe.close()


def _asked(
    process: subprocess.Popen[bytes], frame: bytes, seconds: float
) -> tuple[bool | None, bytes]:
    """The worker's answer: (well or not, content); (None, b"") where it gives none in time."""
    assert process.stdin is not None and process.stdout is not None
    watch = threading.Timer(seconds, process.kill)
    watch.start()
    try:
        process.stdin.write(frame)
        process.stdin.flush()
        head = process.stdout.read(5)
        size = int.from_bytes(head[1:], "big")
        answer = process.stdout.read(size) if len(head) == 5 else b""
    except OSError:
        return None, b""
    finally:
        watch.cancel()
    return (head[:1] == b"+", answer) if len(head) == 5 and len(answer) == size else (None, b"")


def _paths() -> list[str]:
    """Where modules are taken from, without the current folder: drawings may lie in it."""
    here = Path.cwd().resolve()
    return [str(path) for entry in sys.path if (path := Path(entry).resolve()) != here]


def demand_renderer() -> None:
    """Look whether drawings can be drawn.

    Raises:
        SfumatoError: `resvg_py` is not installed.
    """
    from importlib.util import find_spec

    if find_spec("resvg_py") is None:
        raise SfumatoError(
            'Drawings need resvg-py. Install it: pip install "sfumato[clipart]", or take the '
            "pictures of Debian's openclipart-png."
        )
