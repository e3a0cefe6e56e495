"""Finished parts of an evaluation on the disk, so that an interruption costs at most a part.

::

    parts/plan.json       the key (what the report is about) and how many pictures each part draws
    parts/NAME.json       one finished part: numbers, and the pictures shown with them
    parts/real.safetensors  the judge's view of the real pictures
    samples/*.png         what was drawn (see `samples`), shared by all reports in the folder

A part is believed only if it was written under the same key.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from sfumato.pictures.files import write_whole


class Store:
    """The folder of one report.

    Args:
        folder: the report's folder, made if need be.
        key: a hash of all that the numbers depend on; parts of another key are ignored.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self.folder = folder
        self.key = key
        plan = self.read("plan")
        self.counts: dict[str, int] = {str(k): int(v) for k, v in (plan or {}).items()}

    @property
    def samples(self) -> Path:
        """Where drawn pictures are kept."""
        return self.folder / "samples"

    def read(self, name: str) -> dict[str, Any] | None:
        """A finished part, or None."""
        try:
            found = json.loads((self.folder / "parts" / f"{name}.json").read_bytes())
            return dict(found["part"]) if found["key"] == self.key else None
        except (OSError, ValueError, KeyError, TypeError):  # not there, damaged, or not ours
            return None

    def write(self, name: str, part: dict[str, Any]) -> None:
        """Keep a finished part."""
        text = json.dumps({"key": self.key, "part": part}, ensure_ascii=False)
        write_whole(self.folder / "parts" / f"{name}.json", text.encode())

    def decide(self, part: str, count: int) -> int:
        """How many pictures a part draws: what an earlier call decided, else ``count``."""
        if part not in self.counts:
            self.counts[part] = count
            self.write("plan", dict(self.counts))
        return self.counts[part]

    def arrays(self, name: str, key: str) -> dict[str, np.ndarray] | None:
        """Arrays kept under the same ``key``, which is their own, or None."""
        try:
            content = (self.folder / "parts" / f"{name}.safetensors").read_bytes()
            found = load(content)
        except (OSError, SafetensorError, ValueError):
            return None
        marked = found.pop("key", None)
        same = marked is not None and marked.tobytes().decode(errors="replace") == key
        return dict(found) if same else None

    def keep(self, name: str, arrays: dict[str, np.ndarray], key: str) -> None:
        """Keep arrays."""
        marked = {**arrays, "key": np.frombuffer(key.encode(), dtype=np.uint8)}
        write_whole(self.folder / "parts" / f"{name}.safetensors", save(marked))
