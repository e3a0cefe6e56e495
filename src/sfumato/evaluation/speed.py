"""Seconds and memory of drawing on this machine, measured in a process of its own.

    python -m sfumato.evaluation.speed MODEL DEVICE PROMPT

prints one JSON object.  A process of its own, because the peak of memory would otherwise be
that of the evaluation, with all its real pictures.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from sfumato import errors
from sfumato.errors import SfumatoError
from sfumato.model import load
from sfumato.training.machine import peak_memory

REPEATS = 3
MANY = 16


def measure(model: str, device: str, prompt: str) -> dict[str, Any]:
    """Load a model and draw one and sixteen pictures at its default steps; see `speed_of`."""
    begin = time.perf_counter()
    loaded = load(model or None, device)
    found: dict[str, Any] = {"load": time.perf_counter() - begin}
    for name, count in (("one", 1), ("sixteen", MANY)):
        taken = []
        for _ in range(REPEATS + 1):
            begin = time.perf_counter()
            loaded.generate(prompt, count=count)
            taken.append(time.perf_counter() - begin)
        found |= {f"first {name}": taken[0], name: statistics.median(taken[1:])}
    found |= {"peak bytes": peak_memory(), **loaded.defaults}
    found["busy"] = load_average()
    return found


def speed_of(model: str, device: str, prompt: str, timeout: float) -> dict[str, Any] | None:
    """Seconds to load, for one picture and for sixteen (median of three after a first one), and
    the peak of physical memory; None where it took longer than ``timeout`` seconds.

    Args:
        model: a model's folder; empty for the embedded one.
    Raises:
        SfumatoError: if the process failed.
    """
    root = str(Path(errors.__file__).parents[1])
    known = [part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part]
    try:
        done = subprocess.run(  # noqa: S603 - our own module, arguments as a list
            [sys.executable, "-m", "sfumato.evaluation.speed", model, device, prompt],
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=timeout,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([root, *known]), "PYTHONUTF8": "1"},
        )
    except subprocess.TimeoutExpired:
        return None
    try:
        return dict(json.loads(done.stdout.splitlines()[-1]))
    except (ValueError, IndexError):
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise SfumatoError(f"The speed could not be measured: {last}") from None


def load_average() -> float | None:
    """How many processes wanted a core in the last minute; None where nobody says."""
    try:
        return round(os.getloadavg()[0], 2)
    except (OSError, AttributeError):
        return None


if __name__ == "__main__":
    sys.stdout.write(json.dumps(measure(*sys.argv[1:4])) + "\n")
