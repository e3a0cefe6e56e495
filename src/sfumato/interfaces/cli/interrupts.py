"""Ctrl-C while libraries are imported: remembered until the import is over.

Torch and its kin call Python from C++ while they load.  An exception that arises there ends the
process without a word, or leaves half a module behind, so it has to wait a second or two.
"""

from __future__ import annotations

import _thread
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_AGAIN = 0.05  # seconds until it is looked again whether the import is over
_MACHINERY = "<frozen importlib._bootstrap>"  # its frames stand below every module being loaded


@contextmanager
def patient_imports() -> Iterator[None]:
    """Inside the block Ctrl-C is `KeyboardInterrupt` as ever, but never in the midst of an import.

    In the main thread only, and only where Ctrl-C is Python's: who ignores it, or handles it in
    another way, goes on doing so.
    """
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    ):
        yield
        return
    patience = _Patience()
    signal.signal(signal.SIGINT, patience.interrupt)
    try:
        yield
    finally:
        patience.over = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if patience.waiting:  # the import was the last that was done
        raise KeyboardInterrupt


class _Patience:
    """A handler of SIGINT that asks again as long as something is being imported."""

    def __init__(self) -> None:
        self.over = False
        self.waiting = False
        self._below = _imports(sys._getframe())  # whoever imports us as a part of something

    def interrupt(self, number: int, frame: FrameType | None) -> None:
        if _imports(frame) == self._below:
            self.waiting = False
            raise KeyboardInterrupt
        if not self.waiting:
            self.waiting = True
            timer = threading.Timer(_AGAIN, self._again)
            timer.daemon = True
            timer.start()

    def _again(self) -> None:
        """In a thread of its own: have the main thread call its handler once more."""
        if self.over:
            return
        self.waiting = False
        if hasattr(signal, "pthread_kill"):  # a signal indeed, which also ends a sleep
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        else:
            _thread.interrupt_main()


def _imports(frame: FrameType | None) -> int:
    """How many frames of the import machinery a stack holds."""
    count = 0
    while frame is not None:
        count += frame.f_code.co_filename == _MACHINERY
        frame = frame.f_back
    return count
