"""What holds for every test."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator, Iterator

import pytest
from hypothesis import settings
from misbehaving_server import Server

from sfumato.cores import cores

# tests in several processes (`pytest -n`) share the cores: a thread more than there are can make
# a step ten times slower, and torch asks once, when it is first imported
if workers := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "0")):
    os.environ["OMP_NUM_THREADS"] = str(max(1, cores() // workers))

# a machine that is busy with something else is no failure of ours
settings.register_profile("default", deadline=None)
# the same examples for everyone, so that a red build can be repeated
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") == "true" else "default")

# a suite started in the background inherits a deaf ear for Ctrl-C, and so would every program
# that a test starts in order to interrupt it
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """As many as this process may use; eight at most, since each holds libraries of its own."""
    return min(cores(), 8)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """The tests of a file share what they prepare, so they stay together."""
    from xdist.scheduler import LoadFileScheduling

    return LoadFileScheduling(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where CI=true, a test that lacks its data or a library has failed: nothing passes unseen."""
    report = yield
    if os.environ.get("CI") == "true" and report.skipped and not hasattr(report, "wasxfail"):
        _, _, reason = report.longrepr if isinstance(report.longrepr, tuple) else ("", 0, "")
        if any(words in reason for words in ("not installed", "could not import")):
            report.outcome = "failed"
            report.longrepr = f"{item.nodeid}: {reason} (under CI=true this may not be skipped)"
    return report


@pytest.fixture
def server() -> Iterator[Server]:
    """A loopback server that can behave badly."""
    server = Server()
    yield server
    server.close()
