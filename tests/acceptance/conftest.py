"""Real processes, started from a server that has already imported what takes seconds."""

from __future__ import annotations

import multiprocessing
import socket
from collections.abc import Callable, Iterator
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
import worker
from tiny import squares


@pytest.fixture(scope="session")
def forks() -> ForkServerContext:
    if "forkserver" not in multiprocessing.get_all_start_methods():
        pytest.skip("this system cannot fork")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(worker.PRELOADED)
    first = context.Process(target=worker.ready)
    first.start()
    first.join()
    return context


@pytest.fixture
def start(forks: ForkServerContext) -> Iterator[Callable[..., BaseProcess]]:
    """Start a function in a process of its own; none outlives the test."""
    started: list[BaseProcess] = []

    def begin(work: Callable[..., None], *told: Any) -> BaseProcess:
        process = forks.Process(target=work, args=told)
        process.start()
        started.append(process)
        return process

    yield begin
    for process in started:
        if process.is_alive():
            process.kill()
        process.join()


@pytest.fixture
def together(start: Callable[..., BaseProcess]) -> Callable[..., None]:
    """Run a function in two processes that know of each other, to their end."""

    def run(work: Callable[..., None], *told: Any) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        both = [start(work, rank, 2, port, *told) for rank in range(2)]
        for process in both:
            process.join(120)
        assert [process.exitcode for process in both] == [0, 0]

    return run


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return squares(tmp_path_factory.mktemp("data") / "squares")
