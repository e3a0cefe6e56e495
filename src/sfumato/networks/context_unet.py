"""The class-conditional U-Net of teaching courses: context * features + time, twice.

Two halvings and then one vector for the whole picture, from which the way up begins; made for
28 x 28 and 32 x 32.  The context, a class or any other vector, and the time enter on the way up
only, each through a small network of its own: ``context * features + time``.  Feature maps that
a class has no use for are multiplied by zero, which is why a linear map of the label is enough.

The form is that of the conditional MNIST example of T. Pearce (2022) and of the courses that
followed it.  Different here: the residual blocks are also modulated by the time, because how
strong an edge is says nothing unless one knows how strong the noise is; they begin as the
identity; a label enters as a learned vector, and an absent one as the learned null, where
others multiply by zero.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sfumato.conditioning.condition import Condition
from sfumato.networks.layers import TimeEmbedding, normalized, zero_init
from sfumato.networks.unet_blocks import ResBlock, Up, padded

MULTIPLE = 4
"""Of the sides: they are halved twice."""


class ContextUNet(nn.Module):
    """(x (B, C, H, W), time (B,) in 0..1000, Condition) -> (B, C, H, W); 0 at initialisation.

    Of the condition it uses the vector alone, which is all there is to a label.

    Args:
        channels: C of the pictures.
        side: H = W; padded inside to a multiple of 4.
        width: channels at the full side; twice as many at a quarter of it.
        depth: residual blocks of each stage.
        condition_width: D of the condition.
    Attributes:
        reads_tokens: false, so whatever makes them learns nothing.
    """

    reads_tokens = False

    def __init__(
        self,
        channels: int,
        side: int,
        width: int = 64,
        depth: int = 1,
        condition_width: int = 256,
    ) -> None:
        super().__init__()
        one, two = width, 2 * width
        self.low = -(-side // MULTIPLE)
        told = max(32, width)
        self.time = TimeEmbedding(two)
        self.told = nn.Linear(two, told)
        self.embed = nn.Conv2d(channels, one, 3, padding=1)
        self.enter = _Stage(one, one, depth, told)
        self.down1 = _Stage(one, one, depth, told)
        self.down2 = _Stage(one, two, depth, told)
        # every place of the lowest side gets its own matrix, so this also tells where it is
        self.spread = nn.Linear(two, two * self.low**2)
        # about one at first: the context neither hides nor favours a feature
        self.context1 = _embedding(condition_width, two, about=1)
        self.context2 = _embedding(condition_width, one, about=1)
        self.time1, self.time2 = _embedding(two, two), _embedding(two, one)
        self.grow1, self.up1 = Up(2 * two, one), _Stage(one, one, depth, told)
        self.grow2, self.up2 = Up(2 * one, one), _Stage(one, one, depth, told)
        self.leave = nn.Conv2d(2 * one, one, 3, padding=1)
        self.final = nn.Conv2d(one, channels, 3, padding=1)
        zero_init(self.final)

    def forward(self, x: Tensor, time: Tensor, condition: Condition) -> Tensor:
        height, width = x.shape[-2:]
        side = MULTIPLE * self.low
        if height > side or width > side:
            raise ValueError(f"built for sides up to {side}, not {height} x {width}")
        x = padded(F.pad(x, (0, side - width, 0, side - height)), MULTIPLE)
        vector, when = condition.vector, F.silu(self.time(time))
        told = F.silu(self.told(when))
        full = self.enter(self.embed(x), told)
        half = F.avg_pool2d(self.down1(full, told), 2)
        quarter = F.avg_pool2d(self.down2(half, told), 2)

        whole = F.silu(quarter.mean((2, 3)))
        x = self.spread(whole).unflatten(1, (self.low, self.low, -1)).movedim(-1, 1)
        x = _told(F.silu(_norm(x)), self.context1(vector), self.time1(when))
        x = self.up1(self.grow1(torch.cat([x, quarter], 1)), told)
        x = _told(F.silu(_norm(x)), self.context2(vector), self.time2(when))
        x = self.up2(self.grow2(torch.cat([x, half], 1)), told)
        x = self.leave(torch.cat([x, full], 1))
        return self.final(F.silu(_norm(x)))[..., :height, :width].float()


def _told(features: Tensor, context: Tensor, time: Tensor) -> Tensor:
    """context * features + time for features (B, C, H, W), the others (B, C)."""
    by, plus = (vector.to(features.dtype)[..., None, None] for vector in (context, time))
    return torch.addcmul(plus, by, features)


def _norm(x: Tensor) -> Tensor:
    return normalized(x.movedim(1, -1)).movedim(-1, 1)


def _embedding(inputs: int, outputs: int, about: float = 0.0) -> nn.Sequential:
    last = nn.Linear(outputs, outputs)
    nn.init.constant_(last.bias, about)
    return nn.Sequential(nn.Linear(inputs, outputs), nn.GELU(), last)


class _Stage(nn.Module):
    """Residual blocks at one side."""

    def __init__(self, inputs: int, outputs: int, depth: int, told: int) -> None:
        super().__init__()
        widths = [inputs, *[outputs] * depth]
        self.blocks = nn.ModuleList(
            ResBlock(a, b, told) for a, b in zip(widths[:-1], widths[1:], strict=True)
        )

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x, told)
        return x
