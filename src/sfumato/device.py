"""Which processor does the work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from sfumato.errors import SfumatoError

MEMORY = ("out of memory", "not enough memory", "allocate", "buffer size", "storage size")
"""What torch says, in its many ways, where there is too little."""


@contextmanager
def enough_memory() -> Iterator[None]:
    """Whoever asks for more memory than there is gets a sentence.

    Raises:
        SfumatoError: instead of torch's errors of that kind.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        said = str(error).lower()
        if isinstance(error, MemoryError) or any(word in said for word in MEMORY):
            raise SfumatoError(
                "There is not enough memory to draw this. Ask for fewer or smaller pictures at "
                "once, take a smaller model, or --device cpu."
            ) from error
        raise


def pick_device(device: str) -> torch.device:
    """The device named, or for "auto" an accelerator where there is one.

    Raises:
        SfumatoError: if the device named is not here.
    """
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        float(torch.ones((), device=device))  # work is done and comes back
        return torch.device(device)
    except (RuntimeError, AssertionError) as error:  # a build without that device asserts
        raise SfumatoError(
            f"The device {device!r} is not usable on this machine. Take --device cpu."
        ) from error
