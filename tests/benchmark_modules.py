"""The scripts of benchmarks/ as modules: no package, and not in every copy of the tests."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


def benchmarks(*names: str) -> list[ModuleType]:
    """The modules of these names; where they are not, the tests that ask are skipped."""
    if not BENCHMARKS.is_dir():
        pytest.skip("benchmarks are not here", allow_module_level=True)
    sys.path.insert(0, str(BENCHMARKS))
    try:
        return [import_module(name) for name in names]
    finally:
        sys.path.remove(str(BENCHMARKS))
