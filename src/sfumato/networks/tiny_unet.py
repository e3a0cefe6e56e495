"""The tiny U-Net: 3 -> 16 -> 32 -> 64, 64 -> 128 -> 64, and back; for the weakest machines.

The convolutions are those of a well-known teaching network: three stages of two convolutions
and a pooling, two convolutions in the middle, three transposed ones on the way up, with skips
at a half and a quarter of the side; 232,451 numbers for pictures of three channels.  What is
added is what that network lacked:

- it is told the time and the pooled text, which modulate every norm, and it attends to the
  tokens of the text in the middle;
- its norm looks at one pixel, where a batch norm would mix the pictures of a batch;
- the finest features cross to the output at the full side.  Noise differs from pixel to pixel
  and cannot be found again after a pooling;
- the second convolution of a stage and the middle are residual and begin as the identity;
- the output is unbounded.  A tanh cannot represent noise: it leaves an error of 0.15.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sfumato.conditioning.condition import Condition
from sfumato.networks.layers import compute_dtype, zero_init
from sfumato.networks.unet_blocks import AttentionBlock, TimeAndText, modulated, padded

MULTIPLE = 8
"""Of the sides: three stages halve them."""
TOLD = 64


class TinyUNet(nn.Module):
    """(x (B, C, H, W), time (B,) in 0..1000, Condition) -> (B, C, H, W); 0 at initialisation.

    Without fixed positions: it runs on any H and W, padded inside to multiples of 8.

    Args:
        channels: C of the pictures.
        width: channels of the first stage; 2 and 4 times as many in the others, 8 in the middle.
        depth: residual convolutions of a stage.
        heads: of the attention in the middle.
        condition_width: D of the condition.

    Raises:
        ValueError: if 4 * width is no multiple of heads.
    """

    def __init__(
        self,
        channels: int,
        width: int = 16,
        depth: int = 1,
        heads: int = 1,
        condition_width: int = 256,
    ) -> None:
        super().__init__()
        one, two, four, eight = width, 2 * width, 4 * width, 8 * width
        if four % heads:
            raise ValueError(f"4 * width must be a multiple of {heads}, not {four}")
        self.told = TimeAndText(2 * TOLD, condition_width, TOLD)
        self.encoder = nn.ModuleList(
            _Stage(*pair, depth) for pair in ((channels, one), (one, two), (two, four))
        )
        self.middle = _InnerBlock(four, eight)
        self.attention = AttentionBlock(four, heads, condition_width)
        self.decoder = nn.ModuleList([_Grow(four, two), _Grow(2 * two, one)])
        self.last = nn.Linear(TOLD, 4 * one)
        self.final = nn.ConvTranspose2d(2 * one, channels, 2, stride=2)
        self.details_modulation = nn.Linear(TOLD, 2 * one)
        self.details = nn.Conv2d(one, channels, 3, padding=1)
        nn.init.zeros_(self.final.weight)
        nn.init.zeros_(self.final.bias)  # type: ignore[arg-type]
        zero_init(self.details)

    def forward(self, x: Tensor, time: Tensor, condition: Condition) -> Tensor:
        height, width = x.shape[-2:]
        x = padded(x, MULTIPLE)
        told = self.told(time, condition)
        seen = []
        finest = None
        for stage in self.encoder:
            x = stage(x, told)
            finest = x if finest is None else finest
            x = F.avg_pool2d(x, 2)
            seen.append(x)
        assert finest is not None
        x = self.middle(x, told)
        x = self.attention(x, condition.tokens.to(compute_dtype(x)), condition.mask)
        for grow, skip in zip(self.decoder, (seen[1], seen[0]), strict=True):
            x = torch.cat([grow(x, told), skip], 1)
        x = self.final(F.silu(modulated(x, self.last(told))))
        x = x + self.details(F.silu(modulated(finest, self.details_modulation(told))))
        return x[..., :height, :width].float()


class _Stage(nn.Module):
    """A convolution to the new width and residual ones behind it."""

    def __init__(self, inputs: int, outputs: int, depth: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.blocks = nn.ModuleList(_ConvBlock(outputs) for _ in range(depth))

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        x = self.conv(x)
        for block in self.blocks:
            x = block(x, told)
        return x


class _ConvBlock(nn.Module):
    """x + conv(silu(modulated norm x)); the identity at initialisation."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)
        self.modulation = nn.Linear(TOLD, 2 * width)
        zero_init(self.conv)

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        return x + self.conv(F.silu(modulated(x, self.modulation(told))))


class _InnerBlock(nn.Module):
    """The middle: x + two convolutions through a wider layer; the identity at initialisation."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.wide = nn.Conv2d(width, inner, 3, padding=1)
        self.conv = nn.Conv2d(inner, width, 3, padding=1)
        self.modulation = nn.Linear(TOLD, 2 * width)
        self.inner_modulation = nn.Linear(TOLD, 2 * inner)
        zero_init(self.conv)

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        inner = self.wide(F.silu(modulated(x, self.modulation(told))))
        return x + self.conv(F.silu(modulated(inner, self.inner_modulation(told))))


class _Grow(nn.Module):
    """To twice the side, by a transposed convolution of the modulated norm."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(inputs, outputs, 2, stride=2)
        self.modulation = nn.Linear(TOLD, 2 * inputs)

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        result: Tensor = self.conv(F.silu(modulated(x, self.modulation(told))))
        return result
