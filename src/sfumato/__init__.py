"""Sfumato: from words to pictures, and from pictures to a model of your own.

>>> import sfumato
>>> model = sfumato.load()  # doctest: +SKIP
>>> model.generate("red heart", seed=7)[0].save("heart.png")  # doctest: +SKIP
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

# Threads that wait should sleep, not spin: beside another busy program spinning makes two
# threads fifty times slower (docs/log.md).  Torch reads this once, when it is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

if TYPE_CHECKING:
    from sfumato.errors import SfumatoError
    from sfumato.model import TextToImage, load
    from sfumato.training import train

__all__ = ["SfumatoError", "TextToImage", "__version__", "load", "train"]

__version__ = "0.1.0"

# torch takes seconds to import: a name is fetched when it is used, not before
_ROOMS = {
    "SfumatoError": "sfumato.errors",
    "TextToImage": "sfumato.model",
    "load": "sfumato.model",
    "train": "sfumato.training",
}


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module 'sfumato' has no attribute {name!r}")
    value = getattr(import_module(_ROOMS[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(_ROOMS))
