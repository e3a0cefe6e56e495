"""Ctrl-C while libraries are imported: "Interrupted." and 130, never half a module."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from sfumato.interfaces.cli.interrupts import patient_imports

SLOW = """
import signal, time
signal.raise_signal(signal.SIGINT)   # as if a person pressed Ctrl-C just now
for _ in range({times}):
    time.sleep(0.02)
    signal.raise_signal(signal.SIGINT)
done = True
"""


@pytest.fixture
def slow(tmp_path, monkeypatch):
    """Write a module whose import is interrupted; gives its name."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def module(name, times):
        (tmp_path / f"{name}.py").write_text(SLOW.format(times=times))
        return name

    yield module
    for name in ("slow_a", "slow_b", "slow_c"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(("name", "times"), [("slow_a", 0), ("slow_b", 8)])
def test_an_import_is_finished_first(slow, name, times):
    slow(name, times)
    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        with patient_imports():
            __import__(name)
            time.sleep(10)
    assert sys.modules[name].done
    assert time.monotonic() - begin < 5
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_the_last_import_of_all_is_no_excuse(slow):
    slow("slow_c", 0)
    with pytest.raises(KeyboardInterrupt):
        with patient_imports():
            __import__("slow_c")
    time.sleep(0.2)  # and nothing comes later


def test_outside_imports_it_is_at_once():
    with pytest.raises(KeyboardInterrupt):
        with patient_imports():
            signal.raise_signal(signal.SIGINT)
            raise AssertionError("this is too late")


@pytest.mark.parametrize("handler", [signal.SIG_IGN, lambda *_: None])
def test_who_handles_it_otherwise_goes_on_doing_so(handler):
    before = signal.signal(signal.SIGINT, handler)
    try:
        with patient_imports():
            assert signal.getsignal(signal.SIGINT) is handler
            signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_other_threads_are_left_alone():
    seen = []

    def work():
        with patient_imports():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]


@pytest.mark.skipif(sys.platform == "win32", reason="signals of Unix")
@pytest.mark.parametrize(
    ("command", "moments"),
    [
        (("generate", "a"), (0.0, 0.5)),
        (("train", "pictures", "-o", "run"), (0.2, 1.0)),
    ],
)
def test_a_real_process_says_so_and_ends_with_130(
    environment, pictures, model_folder, tmp_path, command, moments
):
    """Moments are seconds after the first line, which comes before torch is imported."""
    (tmp_path / "pictures").symlink_to(pictures)
    for moment in moments:
        process = subprocess.Popen(
            [sys.executable, "-m", "sfumato", *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**environment, "PYTHONFAULTHANDLER": "1"},
            cwd=tmp_path,
            # a suite in the background may have been told to ignore it
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        first = process.stderr.readline()
        assert first.startswith(("Loading", "Preparing")), first
        time.sleep(moment)
        os.kill(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=120)
        assert (process.returncode, said) == (130, "Interrupted.\n"), moment
