"""An exponential moving average of the weights, counted in images.

After each optimiser step with a batch of b images, of which n have been seen in all,

    average <- beta average + (1 - beta) weights,   beta = 0.5 ** (b / h),
    h = min(half_life, 0.05 n)

so that the average forgets half of its past every h images; the ramp of h at the start lets the
initial weights go at once (Karras et al. 2022, 2206.00364, appendix F). Counting in images makes
the average independent of the batch size.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from sfumato.errors import SfumatoError

RAMP = 0.05


def decay(images_seen: int, batch: int, half_life: float) -> float:
    """beta of the update after which ``images_seen`` images were seen, ``batch`` of them new.

    The first update has images_seen = batch. Result in [0, 1).
    """
    if not 0 < batch <= images_seen:
        raise ValueError(f"0 < batch <= images_seen expected, not {batch} and {images_seen}")
    return math.pow(0.5, batch / min(half_life, RAMP * images_seen))


def coverage(images: int, batch: int, half_life: float) -> float:
    """The share of the initial weights still inside the average after ``images`` images, in [0, 1].

    It is the product of the decays of all updates, batch by batch.
    """
    updates = images // batch
    ramped = min(updates, int(half_life / (RAMP * batch)))
    exponent = math.fsum(1 / (RAMP * k) for k in range(1, ramped + 1))
    return math.pow(0.5, exponent + (updates - ramped) * batch / half_life)


class Average:
    """The moving average of a module's parameters, always kept in float32.

    Update it *after* the optimiser step. ``state`` maps each parameter's name to its average, on
    the parameter's device; buffers are no part of it.
    """

    def __init__(self, module: nn.Module, half_life: float) -> None:
        """Start from the module's present weights; ``half_life`` in images."""
        if not half_life > 0:
            raise ValueError(f"half_life must be positive, not {half_life}")
        self.half_life = float(half_life)
        self.state: dict[str, Tensor] = {
            name: parameter.detach().to(torch.float32, copy=True)
            for name, parameter in module.named_parameters()
        }

    @torch.no_grad()
    def update(self, module: nn.Module, images_seen: int, batch: int) -> None:
        """Take the weights in, after the step that brought the images seen to ``images_seen``."""
        beta = decay(images_seen, batch, self.half_life)
        for name, parameter in self._parameters(module).items():
            self.state[name].lerp_(parameter.detach().to(torch.float32), 1 - beta)

    def coverage(self, images: int, batch: int) -> float:
        """See :func:`coverage`."""
        return coverage(images, batch, self.half_life)

    @contextmanager
    def applied(self, module: nn.Module) -> Iterator[nn.Module]:
        """Inside the block the module carries the average; afterwards its own weights, bitwise."""
        parameters = self._parameters(module)
        own = {name: parameter.detach().clone() for name, parameter in parameters.items()}
        try:
            self._write(parameters, self.state)
            yield module
        finally:
            self._write(parameters, own)

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take over a kept ``state``. Raises SfumatoError if names or shapes differ."""
        _compare(
            {n: t.shape for n, t in self.state.items()}, {n: t.shape for n, t in state.items()}
        )
        for name, average in self.state.items():
            average.copy_(state[name])

    def _parameters(self, module: nn.Module) -> dict[str, nn.Parameter]:
        parameters = dict(module.named_parameters())
        _compare(
            {n: t.shape for n, t in self.state.items()},
            {n: p.shape for n, p in parameters.items()},
        )
        return parameters

    @staticmethod
    @torch.no_grad()
    def _write(parameters: Mapping[str, nn.Parameter], values: Mapping[str, Tensor]) -> None:
        for name, parameter in parameters.items():
            parameter.copy_(values[name])


def _compare(mine: Mapping[str, torch.Size], other: Mapping[str, torch.Size]) -> None:
    if mine == other:
        return
    differing = sorted(n for n in mine.keys() | other.keys() if mine.get(n) != other.get(n))
    raise SfumatoError(
        f"The averaged weights belong to another network: {len(differing)} tensors differ, the "
        f"first is {differing[0]!r}. Use the recipe they were trained with."
    )
