"""The patch U-Net: convolutions at two scales, attention to the text at the lower one.

A U-Net (Ronneberger et al., 1505.04597) that starts with a pixel-unshuffle, so that no layer
runs at the full side: residual blocks at side / patch and at half of it, skips between the two
halves, pixel-shuffle at the end.  Blocks are modulated and gated by time and pooled text as in
DiT (2212.09748), and the text tokens are attended together with the image tokens.

Inside, pictures are (B, H, W, C): norms reduce the last axis, tokens are a reshape away, and
the convolutions see the same memory as channels-last.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sfumato.conditioning.condition import Condition
from sfumato.networks.layers import (
    SelfAttention,
    TimeEmbedding,
    compute_dtype,
    grid_positions,
    normalized,
    zero_init,
)

HEAD_WIDTH = 64


class PatchUNet(nn.Module):
    """(x (B, C, H, W), time (B,) in 0..1000, Condition) -> (B, C, H, W); 0 at initialisation.

    The parameters are about those of a `PatchTransformer` of the same width and depth.

    Args:
        channels: C of pictures or latents.
        side: H = W; padded inside to a multiple of 2 * patch.
        patch: side of the patches that become the channels of the upper level.
        width: channels of the lower level; the upper level has half of them.
        depth: half of it are blocks at the lower level, a quarter at the upper level on each
            side of it (at least one).
        condition_width: D of the condition.
        heads: of the attention; by default one for every 64 channels.

    Raises:
        ValueError: if width is no multiple of 8 and of heads.
    """

    def __init__(
        self,
        channels: int,
        side: int,
        patch: int = 4,
        width: int = 256,
        depth: int = 8,
        condition_width: int = 256,
        heads: int | None = None,
    ) -> None:
        super().__init__()
        heads = heads or max(1, width // HEAD_WIDTH)
        if width % 8 or width % heads:
            raise ValueError(f"the width must be a multiple of 8 and of {heads}, not {width}")
        self.patch = patch
        self.low = -(-side // (2 * patch))
        upper = width // 2
        pixels = channels * patch**2
        self.embed = nn.Conv2d(pixels, upper, 3, padding=1)
        self.time = TimeEmbedding(width)
        self.text = nn.Linear(condition_width, width)
        # all blocks share the first half of their modulation: a quarter of the parameters
        rank = max(32, width // 4)
        self.told = nn.Linear(width, rank)

        count = max(1, depth // 4)
        self.down = nn.ModuleList(_ConvBlock(upper, rank) for _ in range(count))
        self.shrink = nn.Conv2d(upper, width, 2, stride=2)
        self.positions = nn.Parameter(grid_positions(self.low, self.low, width) * 0.5)
        self.middle = nn.ModuleList()
        for _ in range(max(1, depth // 2)):
            self.middle.append(_ConvBlock(width, rank))
            self.middle.append(_AttentionBlock(width, heads, rank, condition_width))
        self.grow = nn.ConvTranspose2d(width, upper, 2, stride=2)
        self.joins = nn.ModuleList(nn.Linear(2 * upper, upper) for _ in range(count))
        self.up = nn.ModuleList(_ConvBlock(upper, rank) for _ in range(count))

        self.final_modulation = nn.Linear(rank, 2 * upper)
        self.final = nn.Conv2d(upper, pixels, 3, padding=1)
        zero_init(self.final_modulation)
        zero_init(self.final)

    def forward(self, x: Tensor, time: Tensor, condition: Condition) -> Tensor:
        height, width = x.shape[-2:]
        side = 2 * self.low * self.patch
        if height > side or width > side:
            raise ValueError(f"built for sides up to {side}, not {height} x {width}")
        x = F.pad(x, (0, side - width, 0, side - height))
        x = convolved(self.embed, F.pixel_unshuffle(x, self.patch).movedim(1, -1))
        told = F.silu(self.told(F.silu(self.time(time) + self.text(condition.vector))))
        skips = []
        for block in self.down:
            x = block(x, told)
            skips.append(x)
        x = convolved(self.shrink, x)
        x = x + self.positions.to(x.dtype).unflatten(0, x.shape[1:3])
        context = condition.tokens.to(compute_dtype(x))
        for conv, attention in zip(self.middle[::2], self.middle[1::2], strict=True):
            x = attention(conv(x, told), told, context, condition.mask)
        x = convolved(self.grow, x)
        for join, block in zip(self.joins, self.up, strict=True):
            x = block(join(torch.cat([x, skips.pop()], -1)), told)
        scale, shift = self.final_modulation(told)[:, None, None].chunk(2, -1)
        x = convolved(self.final, F.silu(normalized(x) * (1 + scale) + shift))
        return F.pixel_shuffle(x.movedim(-1, 1), self.patch)[..., :height, :width].float()


def convolved(conv: nn.Module, x: Tensor) -> Tensor:
    """conv, made for (B, C, H, W), on x (B, H, W, C); without a copy where it keeps the layout."""
    return conv(x.movedim(-1, 1)).movedim(1, -1)


class _ConvBlock(nn.Module):
    """x + gate conv(silu(conv(silu(modulated norm x)))); the identity at first."""

    def __init__(self, width: int, rank: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.modulation = nn.Linear(rank, 3 * width)
        zero_init(self.modulation)

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        modulation = self.modulation(told)[:, None, None].to(x.dtype)
        scale, shift, gate = modulation.chunk(3, -1)
        inner = F.silu(torch.addcmul(shift, normalized(x), 1 + scale))
        inner = convolved(self.conv2, F.silu(convolved(self.conv1, inner)))
        return torch.addcmul(x, gate, inner)


class _AttentionBlock(nn.Module):
    """x + gate attention(modulated norm x) over image and text tokens; the identity at first."""

    def __init__(self, width: int, heads: int, rank: int, condition_width: int) -> None:
        super().__init__()
        self.attention = SelfAttention(width, heads, condition_width)
        self.modulation = nn.Linear(rank, 3 * width)
        zero_init(self.modulation)

    def forward(self, x: Tensor, told: Tensor, context: Tensor, mask: Tensor) -> Tensor:
        modulation = self.modulation(told)[:, None, None].to(x.dtype)
        scale, shift, gate = modulation.chunk(3, -1)
        inner = torch.addcmul(shift, normalized(x), 1 + scale).flatten(1, 2)
        inner = self.attention(inner, None, context, mask).unflatten(1, x.shape[1:3])
        return torch.addcmul(x, gate, inner)
