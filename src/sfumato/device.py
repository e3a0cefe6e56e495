"""Which processor does the work."""

from __future__ import annotations

import torch

from sfumato.errors import SfumatoError


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
