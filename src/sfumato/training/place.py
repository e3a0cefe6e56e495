"""Where a run may live: in a folder of its own."""

from __future__ import annotations

from pathlib import Path

from sfumato.conditioning.vocabulary import TERMS, TOKENIZER
from sfumato.data import is_named
from sfumato.errors import SfumatoError
from sfumato.training.words import ENCODER

OWN = {"data.json", "data-report.txt", ENCODER, TERMS, TOKENIZER}
"""What a run that was killed early may leave without a recipe."""
BESIDE = {".log", ".out", ".toml"}
"""What people put into the folder of a run before it begins: its output, a recipe."""
NAMED = 3
"""So many of the other files are named."""


def demand_place(folder: Path, data: str) -> None:
    """See that a new run may be written there; nothing is made yet.

    Samples and curves among the pictures would be trained on, and would change the data of every
    other run. Pictures inside the run's folder do no harm.

    Args:
        folder: of the run.
        data: the name of the data set; only that of a folder matters.
    Raises:
        SfumatoError: if the folder holds the pictures, lies among them, or is used otherwise.
    """
    here = folder.resolve()
    there = None if is_named(data) else Path(data).expanduser().resolve()
    if there and there.is_dir() and here.is_relative_to(there):
        where = "is" if here == there else "lies inside"
        raise SfumatoError(
            f"{folder} {where} the folder of the pictures, and what a run draws would count as "
            "pictures. Choose a folder outside of it for the run."
        )
    if here.exists() and not here.is_dir():
        raise SfumatoError(f"{folder} is a file. Choose a new folder for the run.")
    others = sorted(path.name for path in _inside(here) if not _ours(path, there))
    if others:
        more = ", …" if len(others) > NAMED else ""
        raise SfumatoError(
            f"{folder} holds other files ({', '.join(others[:NAMED])}{more}) and no run. "
            "Choose a new or an empty folder for the run."
        )


def _inside(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:  # not there yet; what cannot be read is told when it is written to
        return []


def _ours(path: Path, data: Path | None) -> bool:
    if path.name.startswith(".") or (path.name in OWN and path.is_file()):
        return True
    if data is not None and data.is_relative_to(path):
        return True
    return path.suffix in BESIDE and path.is_file()
