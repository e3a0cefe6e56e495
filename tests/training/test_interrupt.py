"""Stopping politely, and at once when asked twice."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from sfumato.training.interrupt import Stop, stoppable

pytestmark = pytest.mark.skipif(os.name == "nt", reason="raises POSIX signals")


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Whatever a test does to them, and that the block gives them back."""
    before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    yield
    after = {n: signal.getsignal(n) for n in before}
    for number, handler in before.items():
        signal.signal(number, handler)
    assert after == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_the_second_interrupts(number: signal.Signals) -> None:
    with stoppable() as stop:
        assert not stop.asked
        signal.raise_signal(number)
        assert stop.asked
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)


def test_after_the_block_everything_is_as_before() -> None:
    with stoppable():
        pass
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    with pytest.raises(RuntimeError), stoppable():
        raise RuntimeError


def test_outside_the_main_thread_signals_are_left_alone() -> None:
    seen: list[object] = []

    def work() -> None:
        with stoppable() as stop:
            seen.append(signal.getsignal(signal.SIGINT))
            seen.append(stop)

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen[0] == before
    assert isinstance(seen[1], Stop) and not seen[1].asked


def test_a_handler_that_is_not_pythons_does_not_spoil_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Programs that embed Python set theirs in C, and `signal` then hands out None."""
    true = signal.signal
    with monkeypatch.context() as patch:
        patch.setattr(signal, "signal", lambda n, h: (true(n, h), None)[1])
        with stoppable():
            pass
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    signal.signal(signal.SIGINT, signal.default_int_handler)
