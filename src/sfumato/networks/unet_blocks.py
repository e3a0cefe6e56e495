"""The parts U-Nets are made of: residual blocks told time and text, attention, two resizers.

All take and give pictures (B, C, H, W).  They are fastest where C lies last in memory
(`channels_last` at the entrance of the network is enough, everything here keeps it): the norm
divides each pixel by the root mean square of its channels, which is a sum over neighbours in
memory, needs no statistics of the whole picture, and so never sees the padding of another pixel.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sfumato.conditioning.condition import Condition
from sfumato.networks.layers import SelfAttention, TimeEmbedding, normalized, zero_init


def each_pixel(function: nn.Module, x: Tensor) -> Tensor:
    """A function of the last axis, such as a linear layer, on the channels of x (B, C, H, W)."""
    return cast(Tensor, function(x.movedim(1, -1))).movedim(-1, 1)


def modulated(x: Tensor, scale_shift: Tensor) -> Tensor:
    """The norm of x (B, C, H, W), scaled by 1 + scale and shifted; scale_shift (B, 2 C)."""
    scale, shift = scale_shift.to(x.dtype)[:, None, None].chunk(2, -1)
    return torch.addcmul(shift, normalized(x.movedim(1, -1)), 1 + scale).movedim(-1, 1)


class TimeAndText(nn.Module):
    """What every block of a network is told: one vector of the time and the pooled text.

    The pooled text joins the time and, besides, all its tokens are attended: Imagen found the
    pooled one alone clearly worse (2205.11487).

    Args:
        width: inner width.
        condition_width: D of the condition.
        told_width: of the vector; narrow, because every block has a matrix of this height.
    """

    def __init__(self, width: int, condition_width: int, told_width: int) -> None:
        super().__init__()
        self.time = TimeEmbedding(width)
        self.text = nn.Linear(condition_width, width)
        self.told = nn.Linear(width, told_width)

    def forward(self, time: Tensor, condition: Condition) -> Tensor:
        """time (B,) in 0..1000 and a Condition -> (B, told_width)."""
        vector = F.silu(self.time(time) + self.text(condition.vector))
        return F.silu(self.told(vector))


class ResBlock(nn.Module):
    """skip(x) + conv(silu(conv(silu(modulated norm x)))); skip(x) alone at initialisation.

    The convolutions of BigGAN's and ADM's block (2105.05233) with one norm instead of two.

    Args:
        inputs, outputs: channels; where they are equal, skip(x) is x.
        told_width: of the vector that modulates the norm.
    """

    def __init__(self, inputs: int, outputs: int, told_width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.modulation = nn.Linear(told_width, 2 * inputs)
        self.skip = nn.Linear(inputs, outputs) if inputs != outputs else nn.Identity()
        zero_init(self.conv2)

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        """x (B, inputs, H, W), told (B, told_width) -> (B, outputs, H, W)."""
        inner = self.conv1(F.silu(modulated(x, self.modulation(told))))
        return each_pixel(self.skip, x) + self.conv2(F.silu(inner))


class AttentionBlock(nn.Module):
    """x + attention(norm x), over all pixels and the tokens of the text; x at initialisation.

    Pixels and tokens stand in one softmax, so a pixel that the text does not concern looks at
    other pixels instead.

    Args:
        width: C, a multiple of heads.
        heads: few and wide ones are fastest on processors.
        condition_width: D of the tokens; None for a network that is told none.
    """

    def __init__(self, width: int, heads: int, condition_width: int | None) -> None:
        super().__init__()
        self.attention = SelfAttention(width, heads, condition_width)
        zero_init(self.attention.out)

    def forward(
        self, x: Tensor, tokens: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """x (B, C, H, W), tokens (B, L, D), mask (B, L) true where a token exists."""
        inner = normalized(x.flatten(2).transpose(1, 2))
        inner = self.attention(inner, None, tokens, mask)
        return x + inner.transpose(1, 2).unflatten(2, x.shape[2:])


class Down(nn.Module):
    """(B, inputs, H, W) -> (B, outputs, H / 2, W / 2) by a convolution of stride 2; H, W even."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.conv(x))


class Up(nn.Module):
    """(B, inputs, H, W) -> (B, outputs, 2 H, 2 W): nearest neighbours at initialisation.

    A transposed convolution whose four taps, which do not overlap, begin equal.  It is the
    1 x 1 convolution with nearest-neighbour interpolation that can learn to place details, at a
    ninth of the cost of a 3 x 3 convolution at the larger side.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(inputs, outputs, 2, stride=2)
        with torch.no_grad():
            taps = nn.Linear(inputs, outputs, bias=False).weight.T
            self.conv.weight.copy_(taps[:, :, None, None].expand_as(self.conv.weight))

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.conv(x))


def padded(x: Tensor, multiple: int) -> Tensor:
    """x with zeros below and to the right up to sides that are multiples; C last in memory."""
    height, width = x.shape[-2:]
    x = F.pad(x, (0, -width % multiple, 0, -height % multiple))
    return x.contiguous(memory_format=torch.channels_last)
