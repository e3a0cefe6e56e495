"""Processes that train together: how they meet, and whose word counts."""

from __future__ import annotations

import torch
from accelerate import Accelerator, PartialState
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedDataParallelKwargs, gather

from sfumato.errors import SfumatoError


def company(device: str) -> PartialState:
    """The processes that were started together, often only this one.

    Args:
        device: "cpu", "cuda", "mps".
    """
    known = PartialState._shared_state
    if known and (known["device"].type == "cpu") != (device == "cpu"):
        # Accelerate would stay with the device of this process' first training
        AcceleratorState._reset_state(reset_partial_state=True)
    return PartialState(cpu=device == "cpu")


def accelerator_for(device: str, precision: str, some_idle: bool = False) -> Accelerator:
    """The accelerator of a training.

    Accelerate keeps one state a Python process; it is begun anew where a second training, in
    a notebook, wants another device or precision than the first.

    Args:
        device: "cpu", "cuda", "mps".  precision: "fp32", "bf16", "fp16".
        some_idle: there are parameters that get no gradient, which other processes must not
            wait for.
    Raises:
        SfumatoError: for a precision that the device does not have.
    """
    if device == "cpu" and precision == "fp16":
        raise SfumatoError("fp16 needs a GPU. Take bf16 or fp32.")
    mixed = "no" if precision == "fp32" else precision
    company(device)
    if AcceleratorState._shared_state.get("_mixed_precision", mixed) != mixed:
        AcceleratorState._reset_state()
    try:
        wrapper = DistributedDataParallelKwargs(find_unused_parameters=some_idle)
        return Accelerator(cpu=device == "cpu", mixed_precision=mixed, kwargs_handlers=[wrapper])
    except ValueError as error:
        raise SfumatoError(f"{precision} does not work here: {error} Take fp32.") from error


def agreed(company: PartialState, stop: bool, rate: float, due: bool) -> tuple[bool, float, bool]:
    """What all processes do next, so that none waits for another in vain.

    Clocks and signals differ between processes: any of them may stop all, the rest is as the
    first one sees it.
    """
    if company.num_processes == 1:
        return stop, rate, due
    mine = torch.tensor([[stop, rate, due]], dtype=torch.float64, device=company.device)
    words = gather(mine).tolist()
    return any(word[0] for word in words), words[0][1], bool(words[0][2])
