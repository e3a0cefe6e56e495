"""Processes that train together: how they meet, and whose word counts."""

from __future__ import annotations

from accelerate import Accelerator, PartialState
from accelerate.state import AcceleratorState

from sfumato.errors import SfumatoError


def company(device: str) -> PartialState:
    """The processes that were started together, often only this one.

    Args:
        device: "cpu", "cuda", "mps".
    """
    if PartialState().initialized and (PartialState().device.type == "cpu") != (device == "cpu"):
        _forget()
    return PartialState(cpu=device == "cpu")


def accelerator_for(device: str, precision: str) -> Accelerator:
    """An accelerator of its own for a training.

    Accelerate keeps one state a Python process, which would hold a second training in a
    notebook to the device and precision of the first.

    Args:
        device: "cpu", "cuda", "mps".  precision: "fp32", "bf16", "fp16".
    Raises:
        SfumatoError: for a precision that the device does not have.
    """
    cpu, mixed = device == "cpu", {"fp32": "no"}.get(precision, precision)
    if cpu and precision == "fp16":
        raise SfumatoError("fp16 needs a GPU. Take bf16 or fp32.")
    company(device)
    if AcceleratorState().initialized and AcceleratorState().mixed_precision != mixed:
        AcceleratorState._reset_state()
    try:
        return Accelerator(cpu=cpu, mixed_precision=mixed)
    except ValueError as error:
        raise SfumatoError(f"{precision} does not work here ({error}). Take fp32.") from error
