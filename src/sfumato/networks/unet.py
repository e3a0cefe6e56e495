"""The U-Net: residual convolutions at up to four sides, attention to the text at the small ones.

A U-Net (Ronneberger et al., 1505.04597) in the form diffusion gave it (2006.11239, 2105.05233):
each level halves the side, what it saw crosses to the level of the same side on the way up, and
time and pooled text modulate every block.  Pixels and text tokens are attended together where
the side is at most 16.

The levels are counted from below: the lowest always has 4 * width channels, the next 3, 2 and
1 * width.  Latents of 8 x 8 so get two wide levels, pictures of 64 x 64 four of which the
uppermost is narrow, and both networks about the same number of parameters.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sfumato.conditioning.condition import Condition
from sfumato.networks.layers import compute_dtype, zero_init
from sfumato.networks.unet_blocks import (
    AttentionBlock,
    Down,
    ResBlock,
    TimeAndText,
    Up,
    each_pixel,
    modulated,
    padded,
)

MULTIPLIERS = (1, 2, 3, 4)
"""Of the width, for the levels of a network that has all four."""
LOWEST_SIDE = 4
ATTENTION_SIDE = 16


def level_sides(side: int) -> list[int]:
    """The side of every level, from the picture's own down to one of at least 4; at most four."""
    sides = [side]
    while len(sides) < len(MULTIPLIERS) and sides[-1] // 2 >= LOWEST_SIDE:
        sides.append(-(-sides[-1] // 2))
    return sides


class UNet(nn.Module):
    """(x (B, C, H, W), time (B,) in 0..1000, Condition) -> (B, C, H, W); 0 at initialisation.

    Without fixed positions: it runs on other sides than its own too, and on H != W.

    Args:
        channels: C of pictures or latents.
        side: H = W it is made for; decides the number of levels and where attention stands.
        width: a quarter of the channels of the lowest level.
        depth: residual blocks of a level on the way down, and as many on the way up.
        heads: of every attention.
        condition_width: D of the condition.

    Raises:
        ValueError: if width is no multiple of heads.
    """

    def __init__(
        self,
        channels: int,
        side: int,
        width: int = 64,
        depth: int = 2,
        heads: int = 2,
        condition_width: int = 256,
    ) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"the width must be a multiple of {heads}, not {width}")
        sides = level_sides(side)
        widths = [width * m for m in MULTIPLIERS[-len(sides) :]]
        self.multiple = 2 ** (len(sides) - 1)
        attends = [s <= ATTENTION_SIDE for s in sides]
        told = max(32, width)
        self.told = TimeAndText(4 * width, condition_width, told)
        self.embed = nn.Conv2d(channels, widths[0], 3, padding=1)

        def level(number: int) -> _Level:
            attention = heads if attends[number] else None
            return _Level(widths[number], depth, attention, told, condition_width)

        self.down = nn.ModuleList(level(i) for i in range(len(sides)))
        self.shrink = nn.ModuleList(Down(*pair) for pair in _pairs(widths))
        lowest = widths[-1]
        self.middle = _Level(lowest, 1, heads, told, condition_width)
        self.last = ResBlock(lowest, lowest, told)
        self.up = nn.ModuleList(level(i) for i in range(len(sides)))
        self.joins = nn.ModuleList(
            nn.ModuleList(nn.Linear(2 * w, w) for _ in range(depth)) for w in widths
        )
        self.grow = nn.ModuleList(Up(below, above) for above, below in _pairs(widths))
        self.final_modulation = nn.Linear(told, 2 * widths[0])
        self.final = nn.Conv2d(widths[0], channels, 3, padding=1)
        zero_init(self.final)

    def forward(self, x: Tensor, time: Tensor, condition: Condition) -> Tensor:
        height, width = x.shape[-2:]
        return self.head(*self.features(x, time, condition))[..., :height, :width]

    def features(
        self, x: Tensor, time: Tensor, condition: Condition, more: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """What the output is made of, padded: (B, C', H', W'), and the vector for `head`.

        Args:
            more: features (B, C', H, W) of a network around this one, added to the first ones.
        """
        x = self.embed(padded(x, self.multiple))
        if more is not None:
            x = x + padded(more, self.multiple)
        told = self.told(time, condition)
        tokens, mask = condition.tokens.to(compute_dtype(x)), condition.mask
        skips: list[list[Tensor]] = []
        for number, level in enumerate(self.down):
            if number:
                x = self.shrink[number - 1](x)
            seen: list[Tensor] = []
            x = level(x, told, tokens, mask, keep=seen)
            skips.append(seen)
        x = self.last(self.middle(x, told, tokens, mask), told)
        for number in reversed(range(len(self.up))):
            x = self.up[number](x, told, tokens, mask, skips[number], self.joins[number])
            if number:
                x = self.grow[number - 1](x)
        return x, told

    def head(self, x: Tensor, told: Tensor) -> Tensor:
        """The output (B, C, H', W') of the `features`."""
        return self.final(F.silu(modulated(x, self.final_modulation(told)))).float()


class _Level(nn.Module):
    """Residual blocks at one side, attention (or none) after them."""

    def __init__(
        self, width: int, depth: int, heads: int | None, told: int, condition_width: int
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(ResBlock(width, width, told) for _ in range(depth))
        self.attention = AttentionBlock(width, heads, condition_width) if heads else None

    def forward(
        self,
        x: Tensor,
        told: Tensor,
        tokens: Tensor,
        mask: Tensor,
        skips: list[Tensor] | None = None,
        joins: nn.ModuleList | None = None,
        keep: list[Tensor] | None = None,
    ) -> Tensor:
        """``joins`` take the ``skips``, the last one first; ``keep`` gets what each block gave."""
        for number, block in enumerate(self.blocks):
            if skips is not None and joins is not None:
                x = each_pixel(joins[number], torch.cat([x, skips[-1 - number]], 1))
            x = block(x, told)
            if self.attention is not None and number == len(self.blocks) - 1:
                x = self.attention(x, tokens, mask)
            if keep is not None:
                keep.append(x)
        return x


def _pairs(widths: list[int]) -> list[tuple[int, int]]:
    return list(zip(widths[:-1], widths[1:], strict=True))
