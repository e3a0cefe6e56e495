"""What a report's numbers depend on: hashes of weights and code, versions, the machine."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
from datetime import datetime, timezone
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from sfumato import __version__
from sfumato.manifest import MANIFEST
from sfumato.model import TextToImage
from sfumato.storage import EMBEDDED
from sfumato.training.files import sha256
from sfumato.training.machine import threads_allowed

DRAWING = (
    "diffusion", "networks", "conditioning", "model.py", "architecture.py", "pictures",
)  # fmt: skip
"""The rooms whose code decides how a picture comes out."""

_LIBRARIES = ("torch", "numpy", "pillow", "tokenizers", "safetensors")


def weights_hash(model: TextToImage) -> str:
    """SHA-256 over recipe and tensors, however the model was stored."""
    digest = hashlib.sha256(model.recipe.model_dump_json().encode())
    for module in filter(None, (model.prompted, model.autoencoder)):
        for name, tensor in sorted(module.state_dict().items()):
            digest.update(f"{name}{tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().float().contiguous().numpy().tobytes())
    return digest.hexdigest()


def code_hash(*rooms: str) -> str:
    """SHA-256 over the package's Python files, by name.

    Args:
        rooms: only files below these names ("diffusion", "model.py"); all where none is given.
    """
    digest = hashlib.sha256()
    with as_file(files("sfumato")) as root:
        for path in sorted(root.rglob("*.py")):
            name = path.relative_to(root).as_posix()
            if not rooms or name.split("/")[0] in rooms:
                digest.update(f"{name} {sha256(path)}\n".encode())
    return digest.hexdigest()


def manifest_of(path: str | Path | None) -> dict[str, str]:
    """File -> SHA-256 as the model's manifest states; empty for a run without a model yet."""
    if path is None:
        with as_file(files("sfumato").joinpath(EMBEDDED)) as folder:
            return _stated(folder)
    return _stated(Path(path)) or _stated(Path(path) / "model")


def surroundings() -> dict[str, Any]:
    """Versions, processor and date."""
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "sfumato": __version__,
        "code": code_hash(),
        "python": platform.python_version(),
        "libraries": {name: importlib.metadata.version(name) for name in _LIBRARIES},
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "threads": threads_allowed(),
    }


def _stated(folder: Path) -> dict[str, str]:
    try:
        listed = json.loads((folder / MANIFEST).read_bytes())["files"]
        return {str(name): str(entry["sha256"]) for name, entry in listed.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
