"""A picture network and the encoder of its conditions, as one module that learns together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from torch import Tensor, nn

from sfumato.conditioning.condition import Condition, Conditioner


@dataclass(frozen=True)
class Told:
    """What a training batch is told, before it is encoded.

    Attributes:
        ids: from the conditioner's ``ids``, (B, ...).
        keep: (B,) bool; false puts the learned null in place.
    """

    ids: Tensor
    keep: Tensor


class Prompted(nn.Module):
    """``(x, time, condition) -> y`` for a ready Condition, or for Told while training.

    The encoder runs inside `forward`, so that wrappers for many processes see its gradients.
    """

    def __init__(self, network: nn.Module, conditioner: nn.Module) -> None:
        super().__init__()
        self.network = network
        # a module and a Conditioner; the protocol is what everyone needs to know of it
        self.conditioner = cast(Conditioner, conditioner)

    def forward(self, x: Tensor, time: Tensor, told: Condition | Told) -> Tensor:
        if isinstance(told, Told):
            null = self.conditioner.null(1)
            told = self.conditioner(told.ids).drop(told.keep, null)
        return self.network(x, time, told)
