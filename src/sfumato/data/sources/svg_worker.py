"""The process that draws SVG for `sfumato.data.sources.svg`: documents in, PNG out, until the end.

A frame is four bytes of length and the content; an answer has "+" or "-" before it.  The first
answer, without a question, says whether the renderer could be loaded.

Started as a file with Python's ``-I`` and the arguments SIDE PATH...: the paths are the only
places that modules are taken from, so that the current folder never is one.
"""

from __future__ import annotations

import sys
from contextlib import suppress

_MEMORY = 2 << 30


def main(side: int) -> None:
    """Draw what comes, ``side`` pixels wide; end with the input."""
    into = sys.stdin.buffer
    try:
        import resvg_py
    except Exception as error:  # not there, or its binary part is damaged
        _answer(b"-", _text(error))
        return
    _limit()
    _answer(b"+", b"")
    while len(head := into.read(4)) == 4:
        document = into.read(int.from_bytes(head, "big"))
        try:
            # without dpi a quarter of the clip art, sized in millimetres, fails
            drawn = resvg_py.svg_to_bytes(
                svg_string=document.decode("utf-8", "replace"),
                width=side,
                dpi=96,
                skip_system_fonts=True,
            )
            sign, content = b"+", bytes(drawn)
        except Exception as error:
            sign, content = b"-", _text(error)
        _answer(sign, content)


def _answer(sign: bytes, content: bytes) -> None:
    sys.stdout.buffer.write(sign + len(content).to_bytes(4, "big") + content)
    sys.stdout.buffer.flush()


def _text(error: Exception) -> bytes:
    return " ".join(str(error).split()).encode("utf-8", "replace")


def _limit() -> None:
    if sys.platform != "win32":
        import resource

        with suppress(ValueError, OSError):  # macOS refuses; there the clock is the only limit
            resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))


if __name__ == "__main__":
    sys.path[:] = sys.argv[2:]
    main(int(sys.argv[1]))
