"""One word for all processes, and one state for each training."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from accelerate import PartialState
from accelerate.state import AcceleratorState
from torch import Tensor

from sfumato.errors import SfumatoError
from sfumato.training import processes
from sfumato.training.processes import accelerator_for, agreed, company


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


def test_alone_everyone_agrees() -> None:
    alone = company("cpu")
    assert alone.num_processes == 1 and alone.is_main_process
    for told in [(True, 0.5, False), (False, 0.0, True)]:
        assert agreed(alone, *told) == told


def test_anyone_may_stop_and_the_first_decides_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """What two processes say, as `gather` brings it together."""
    both: Any = SimpleNamespace(num_processes=2, device=torch.device("cpu"))

    def heard(mine: tuple[Any, ...], other: tuple[Any, ...], first: bool) -> tuple[Any, ...]:
        def gather(said: Tensor) -> Tensor:
            assert said.shape == (1, 3) and said.dtype == torch.float64
            rows = [said, torch.tensor([other], dtype=torch.float64)]
            return torch.cat(rows if first else rows[::-1])

        monkeypatch.setattr(processes, "gather", gather)
        return agreed(both, *mine)

    one, two = (False, 2.0**40 + 8, True), (True, 7.0, False)
    assert heard(one, two, first=True) == (True, 2.0**40 + 8, True)
    assert heard(two, one, first=False) == (True, 2.0**40 + 8, True)
    assert heard((False, 1.0, False), (False, 2.0, True), first=True) == (False, 1.0, False)


def test_a_training_on_another_device_begins_anew() -> None:
    company("cpu")
    PartialState._shared_state["device"] = torch.device("cuda", 0)  # as after one on a GPU
    assert company("cpu").device.type == "cpu"


def test_a_precision_that_is_not_there_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SfumatoError, match="fp16 needs a GPU"):
        accelerator_for("cpu", "fp16")

    def refuse(**_: object) -> None:
        raise ValueError("this card knows no bf16.")

    monkeypatch.setattr(processes, "Accelerator", refuse)
    with pytest.raises(SfumatoError, match="bf16 does not work here: this card .* Take fp32"):
        accelerator_for("cpu", "bf16")
