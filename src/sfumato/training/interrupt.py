"""Stopping between two steps: Ctrl-C or a polite kill once, and nothing is lost."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Stop:
    """Whether somebody has asked to stop; the second Ctrl-C interrupts at once."""

    def __init__(self) -> None:
        self.asked = False
        self.over = False

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked or self.over:
            raise KeyboardInterrupt
        self.asked = True


@contextmanager
def stoppable() -> Iterator[Stop]:
    """Inside the block SIGINT and SIGTERM set ``Stop.asked`` (in the main thread only)."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {n: signal.signal(n, stop._ask) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        stop.over = True
        # another thread that leaves the block may not give handlers back
        mine = threading.current_thread() is threading.main_thread()
        for number, handler in before.items() if mine else ():
            # None: somebody other than Python had set it, and it cannot be given back
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
