"""The process that draws SVG for `sfumato.data.svg`: documents in, PNG out, until the end.

A frame is four bytes of length and the content; an answer has "+" or "-" before it.
"""

from __future__ import annotations

import sys
from contextlib import suppress

_MEMORY = 2 << 30


def main() -> None:
    """Draw what comes; end with the input."""
    import resvg_py

    from sfumato.data.svg import SIDE

    _limit()
    into, out = sys.stdin.buffer, sys.stdout.buffer
    while len(head := into.read(4)) == 4:
        document = into.read(int.from_bytes(head, "big"))
        try:
            # without dpi a quarter of the clip art, sized in millimetres, fails
            content = (
                b"+",
                bytes(
                    resvg_py.svg_to_bytes(
                        svg_string=document.decode("utf-8", "replace"),
                        width=SIDE,
                        dpi=96,
                        skip_system_fonts=True,
                    )
                ),
            )
        except Exception as error:
            content = b"-", " ".join(str(error).split()).encode()
        out.write(content[0] + len(content[1]).to_bytes(4, "big") + content[1])
        out.flush()


def _limit() -> None:
    if sys.platform != "win32":
        import resource

        with suppress(ValueError, OSError):  # macOS refuses; there the clock is the only limit
            resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))


if __name__ == "__main__":
    main()
