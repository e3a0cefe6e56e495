"""The scripts in examples/, imported by path, in a quick and quiet surrounding."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import tiny

import sfumato
from sfumato.training import run as training_run
from sfumato.training import start
from sfumato.training.journal import Journal

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="session")
def example() -> Callable[[str], ModuleType]:
    """``example("main_train")`` is the module of that file."""

    def load(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture(scope="module")
def quick():
    """No curves and sheets, full precision, one thread, English."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Journal, "draw", lambda _: None)
        patch.setattr(Journal, "sheet", lambda *_, **__: False)
        patch.setattr(start, "bf16_pays", lambda _: (False, "a test"))
        patch.setattr(training_run, "threads_allowed", lambda: 1)
        patch.setenv("SFUMATO_LANG", "en")
        yield


@pytest.fixture(scope="session")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight captioned pictures of 16 x 16."""
    return tiny.squares(tmp_path_factory.mktemp("examples") / "squares", 8)


@pytest.fixture(scope="session")
def script() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs an example in a process of its own."""

    def run(name: str, *arguments: object, **env: str) -> subprocess.CompletedProcess[str]:
        surroundings = {
            **os.environ,
            "SFUMATO_LANG": "en",
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(Path(sfumato.__file__).parents[1]),
            **env,
        }
        command = [sys.executable, str(EXAMPLES / f"{name}.py"), *map(str, arguments)]
        return subprocess.run(
            command, capture_output=True, text=True, timeout=300, env=surroundings
        )

    return run
