"""Checkpoints that survive power cuts, full disks and ``kill -9``.

A checkpoint is a folder::

    images-00128000/
      weights.safetensors  ema.safetensors  optimizer.safetensors   one file a group of tensors
      state.json                                                    plain values
      manifest.json                  format, sequence number, size and SHA-256 of each file

It is written under another name in the same folder, flushed to the disk, the manifest last, and
then renamed: a folder under its final name is complete, and one that the disk has damaged since
is recognised by its hashes. The order of checkpoints is the manifest's sequence number, never the
clock or the name. Nothing is ever unpickled.
"""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load as parse_tensors
from torch import Tensor

from sfumato.errors import SfumatoError
from sfumato.training import files
from sfumato.training.flatten import flatten_state, unflatten_state

__all__ = [
    "Checkpoint",
    "best",
    "flatten_state",
    "latest",
    "load",
    "load_latest",
    "mark_best",
    "save",
    "unflatten_state",
]

FORMAT = 1
MANIFEST, STATE, LATEST, BEST = "manifest.json", "state.json", "latest.json", "best.json"
PARTIAL, REPLACED = ".partial", ".replaced"
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9_-])?")
_FILE = re.compile(r"[A-Za-z0-9_-]+\.(?:safetensors|json)")
_GROUP = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds. ``notes``: one sentence for each damaged one passed over."""

    tensors: dict[str, dict[str, Tensor]]
    state: dict[str, Any]
    path: Path
    notes: tuple[str, ...] = ()


def save(
    folder: Path,
    name: str,
    tensors: dict[str, dict[str, Tensor]],
    state: dict[str, Any],
    keep: int,
    seconds: float | None = None,
) -> Path:
    """Write ``folder/name`` whole or not at all, and delete what is older than the last ``keep``.

    ``tensors``: group -> name -> tensor on any device; ``state``: what JSON holds exactly (no
    tuples, no keys other than str, no NaN). The one marked best is kept besides. ``seconds``: that
    the training has taken so far, which is no part of its state. Returns the path.

    Raises SfumatoError with the real cause (disk full, no permission, ...), after which the
    earlier checkpoints are untouched; ValueError or TypeError if the arguments cannot be kept.
    """
    folder = Path(folder)
    text = _exact_json(state)
    if not _NAME.fullmatch(name) or name.endswith(REPLACED):
        raise ValueError(f"{name!r} cannot be a checkpoint's name")
    if bad := [group for group in tensors if not _GROUP.fullmatch(group)]:
        raise ValueError(f"{bad[0]!r} cannot be the name of a group of tensors")
    if keep < 1:
        raise ValueError(f"keep must be at least 1, not {keep}")
    final, partial = folder / name, folder / f".{name}{PARTIAL}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _sweep(folder)
        size = sum(t.nbytes for group in tensors.values() for t in group.values()) + len(text)
        files.require_space(folder, size, f"the checkpoint {name}")
        partial.mkdir()
        for group, named in tensors.items():
            files.write_tensors(partial / f"{group}.safetensors", named)
        files.write_bytes(partial / STATE, text)
        manifest = {
            "format": FORMAT,
            "sequence": max([0, *(number for number, _ in _numbered(folder))]) + 1,
            "files": {
                path.name: {"bytes": path.stat().st_size, "sha256": files.sha256(path)}
                for path in sorted(partial.iterdir())
            },
        }
        files.write_bytes(partial / MANIFEST, json.dumps(manifest, indent=1).encode())
        files.flush_folder(partial)
        _move_in(partial, final)
        said: dict[str, Any] = {"checkpoint": name}
        if seconds is not None:
            said["seconds"] = seconds
        files.replace_bytes(folder / LATEST, json.dumps(said).encode())
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise SfumatoError(
            f"The checkpoint {final} could not be written: {files.cause(error)}. "
            "Earlier checkpoints are untouched; repair this and resume."
        ) from error
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    _prune(folder, final, keep)
    return final


def load(folder: Path) -> Checkpoint:
    """Read one checkpoint after checking every size and hash.

    Raises SfumatoError that says what is wrong with it. Loading executes nothing.
    """
    folder = Path(folder)
    contents: dict[str, bytes] = {}
    for name, entry in _manifest(folder)["files"].items():
        contents[name] = _checked(folder / name, entry)
    try:
        state = json.loads(contents.pop(STATE))
        # Parsed from the very bytes that were hashed, not from a file that may change meanwhile.
        tensors = {
            name.removesuffix(".safetensors"): parse_tensors(contents.pop(name))
            for name in list(contents)
            if name.endswith(".safetensors")
        }
    except (KeyError, ValueError, RecursionError, SafetensorError) as error:
        raise SfumatoError(f"The checkpoint {folder} is damaged: {error}. Use another.") from error
    return Checkpoint(tensors=tensors, state=state, path=folder)


def load_latest(run: Path) -> Checkpoint | None:
    """The newest intact checkpoint of a folder; None if there has never been one.

    Damaged ones are passed over and named in ``notes``. Raises SfumatoError if none is intact.
    """
    notes: list[str] = []
    candidates = _candidates(Path(run))
    for path in candidates:
        try:
            found = load(path)
        except SfumatoError as error:
            notes.append(f"{error} Passed over {path.name}.")
            continue
        return Checkpoint(found.tensors, found.state, found.path, tuple(notes))
    if not candidates:
        return None
    raise SfumatoError(f"None of the {len(candidates)} checkpoints in {run} is intact: {notes[0]}")


def latest(run: Path) -> Path | None:
    """The newest complete checkpoint of a folder, hashes unchecked, or None.

    It comes from the manifests themselves: a kill between the renaming and the writing of
    ``latest.json``, which is for people and other tools, loses nothing.
    """
    numbered = _numbered(Path(run))
    return numbered[0][1] if numbered else None


def seconds_of(run: Path) -> float:
    """How long a training had taken at its newest checkpoint; 0 where nobody noted it."""
    try:
        return max(0.0, float(json.loads((Path(run) / LATEST).read_bytes())["seconds"]))
    except (OSError, ValueError, KeyError, TypeError):
        return 0.0


def best(run: Path) -> Path | None:
    """The checkpoint last marked best, if it is still there."""
    try:
        name = json.loads((Path(run) / BEST).read_bytes())["checkpoint"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        return None
    path = Path(run) / name
    return path if (path / MANIFEST).is_file() else None


def mark_best(run: Path, name: str, score: float | None = None) -> None:
    """Point ``best.json`` at a checkpoint, which is then never pruned. ``score`` is for people."""
    if not (Path(run) / name / MANIFEST).is_file():
        raise SfumatoError(f"There is no checkpoint {name} in {run}. Save it before marking it.")
    try:
        files.replace_bytes(
            Path(run) / BEST, json.dumps({"checkpoint": name, "score": score}).encode()
        )
    except OSError as error:
        raise SfumatoError(
            f"{Path(run) / BEST} could not be written: {files.cause(error)}."
        ) from error


def _exact_json(state: dict[str, Any]) -> bytes:
    text = json.dumps(state, allow_nan=False, indent=1)
    if json.loads(text) != state:
        raise TypeError("the state would come back changed from JSON: tuples or keys not str?")
    return text.encode()


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        entries = manifest["files"]
        if manifest["format"] != FORMAT:
            raise ValueError(f"format {manifest['format']!r}, where {FORMAT} is known")
        if not isinstance(manifest["sequence"], int) or STATE not in entries:
            raise ValueError("incomplete manifest")
        for name, entry in entries.items():
            # A manifest may come from a stranger: no name in it may lead out of the folder.
            if not _FILE.fullmatch(name) or not isinstance(entry["bytes"], int):
                raise ValueError(f"entry {name!r}")
    except FileNotFoundError as error:
        raise SfumatoError(f"The checkpoint {folder} has no manifest, so it is torn.") from error
    except OSError as error:
        raise SfumatoError(
            f"The checkpoint {folder} cannot be read: {files.cause(error)}."
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise SfumatoError(f"The manifest of {folder} is damaged: {error}.") from error
    return dict(manifest)


def _checked(path: Path, entry: dict[str, Any]) -> bytes:
    try:
        size = path.stat().st_size
        if size != entry["bytes"]:
            raise SfumatoError(f"{path} is damaged: {size} bytes instead of {entry['bytes']}.")
        content = path.read_bytes()
    except OSError as error:
        raise SfumatoError(f"{path} cannot be read: {files.cause(error)}.") from error
    if files.sha256(content) != entry.get("sha256"):
        raise SfumatoError(f"{path} is damaged: its SHA-256 is not the one in the manifest.")
    return content


def _candidates(folder: Path) -> list[Path]:
    """All that look like checkpoints: torn ones, so that they are named, then newest first."""
    numbered = [path for _, path in _numbered(folder)]
    torn = [p for p in files.folders(folder) if p not in numbered and (p / STATE).exists()]
    return sorted(torn) + numbered


def _numbered(folder: Path) -> list[tuple[int, Path]]:
    found: list[tuple[int, Path]] = []
    for path in files.folders(folder):
        try:
            found.append((_manifest(path)["sequence"], path))
        except SfumatoError:
            continue
    return sorted(found, key=lambda pair: pair[0], reverse=True)


def _move_in(partial: Path, final: Path) -> None:
    """Rename into place; an older folder of that name steps aside, still loadable, until then."""
    aside = final.with_name(final.name + REPLACED)
    if final.exists():
        shutil.rmtree(aside, ignore_errors=True)
        files.replace(final, aside)
    files.replace(partial, final)
    files.flush_folder(final.parent)
    shutil.rmtree(aside, ignore_errors=True)


def _delete(path: Path) -> None:
    """Under another name first: a kill in between leaves nothing that looks like a checkpoint."""
    aside = path.with_name(f".{path.name}{PARTIAL}")
    try:
        files.replace(path, aside)
    except OSError:
        return  # held open by another program; the next time will do
    shutil.rmtree(aside, ignore_errors=True)


def _sweep(folder: Path) -> None:
    """Delete what a killed process left half written."""
    for path in folder.glob(f".*{PARTIAL}"):
        shutil.rmtree(path, ignore_errors=True)


def _prune(folder: Path, newest: Path, keep: int) -> None:
    """Delete numbered checkpoints beyond the last ``keep`` intact ones; the best one stays."""
    kept, marked = 0, best(folder)
    for _, path in _numbered(folder):
        if path == newest:  # hashed a moment ago
            kept += 1
            continue
        if kept < keep and _intact(path):
            kept += 1
        elif path != marked:
            _delete(path)


def _intact(folder: Path) -> bool:
    try:
        return all(
            files.sha256(folder / name) == entry["sha256"]
            for name, entry in _manifest(folder)["files"].items()
        )
    except (SfumatoError, OSError, KeyError):
        return False
