"""Matryoshka: a U-Net inside a U-Net inside a U-Net, denoising several resolutions together.

The innermost network is a `UNet` of the lowest side, with nearly all of the parameters and all
of the attention.  Every further level is a thin shell of twice the side around what is inside:
it hands its features down, halved, takes the features of the inside back, and has an output of
its own.  The large sides so cost little, and the shapes of a picture are settled where they are
small (Matryoshka diffusion, 2310.15111, section 3.2).

Whatever passes between a shell and its inside goes through layers that begin at zero.  A trained
network that gets a new shell therefore answers exactly as before, and its levels can be trained
one after the other (section 3.3 there).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sfumato.conditioning.condition import Condition
from sfumato.diffusion.pyramid import Pyramid
from sfumato.networks.layers import normalized, zero_init
from sfumato.networks.unet import UNet
from sfumato.networks.unet_blocks import Down, ResBlock, TimeAndText, Up, each_pixel, modulated

NARROWEST = 32
"""Channels below which shells do not halve. Shells of 16 channels left a grain on pictures of 64
pixels (docs/log.md)."""


class Matryoshka(nn.Module):
    """(packed pyramid (B, C, N), time (B,) in 0..1000, Condition) -> (B, C, N); 0 at first.

    With one level it is the plain `UNet` and takes ordinary pictures (B, C, H, W).

    Args:
        channels: C of the pictures.
        side: of the highest resolution; the levels below have side / 2, side / 4, ...
        levels: how many, at least 1.
        width: of the innermost `UNet`; a shell has half the channels of what is inside it, so
            that every level costs about the same; or, where that were fewer than `NARROWEST`,
            these, or as many as the inside where that is narrower still.
        depth: residual blocks of a level on the way down, and as many on the way up.
        heads: of the innermost network's attention.
        condition_width: D of the condition.
    Attributes:
        core: the innermost network.
        shells: of the levels around it, the innermost first, so that a network of fewer levels
            has the first of them.
        pyramid: how the levels are packed, highest resolution first.
    Raises:
        ValueError: if the side cannot be halved so often, or width is no multiple of heads.
    """

    def __init__(
        self,
        channels: int,
        side: int,
        levels: int = 2,
        width: int = 64,
        depth: int = 2,
        heads: int = 2,
        condition_width: int = 256,
    ) -> None:
        super().__init__()
        self.pyramid = Pyramid.halving(side, levels)
        self.core = UNet(channels, self.pyramid.sides[-1], width, depth, heads, condition_width)
        inner = self.core.embed.out_channels
        self.shells = nn.ModuleList()
        for _ in range(levels - 1):
            outer = min(inner, max(NARROWEST, inner // 2))
            self.shells.append(Shell(channels, outer, inner, depth, condition_width))
            inner = outer

    def forward(self, x: Tensor, time: Tensor, condition: Condition) -> Tensor:
        if not self.shells:
            return cast(Tensor, self.core(x, time, condition))
        *high, low = self.pyramid.unpack(x)
        crossing: list[Crossing] = []
        down = None
        shells = cast("list[Shell]", list(self.shells))
        for shell, level in zip(reversed(shells), high, strict=True):
            crossing.append(shell.enter(level, time, condition, down))
            down = crossing[-1].down
        features, told = self.core.features(low, time, condition, down)
        side = self.pyramid.sides[-1]
        outputs = [self.core.head(features, told)[..., :side, :side]]
        features = features[..., :side, :side]  # without the padding
        for shell, seen in zip(shells, reversed(crossing), strict=True):
            features, output = shell.leave(seen, features)
            outputs.append(output)
        return self.pyramid.pack([output.float() for output in reversed(outputs)])

    def nest(self, inner: nn.Module) -> None:
        """Take the weights of a trained network for the inside, which then answers as it did.

        Args:
            inner: a `Matryoshka` of at most as many levels, or a `UNet`, of this one's lowest
                side, width and depth.
        Raises:
            RuntimeError: if it does not fit.
        """
        given = inner if isinstance(inner, Matryoshka) else None
        core = given.core if given else inner
        self.core.load_state_dict(core.state_dict())
        shells = list(given.shells) if given else []
        if len(shells) > len(self.shells):
            raise RuntimeError(f"{len(shells)} shells do not fit into {len(self.shells)}")
        for mine, theirs in zip(self.shells, shells, strict=False):
            mine.load_state_dict(theirs.state_dict())

    def inside(self) -> list[nn.Module]:
        """Everything but the outermost shell; of a network with one level, nothing."""
        return [self.core, *list(self.shells)[:-1]] if self.shells else []


@dataclass(frozen=True)
class Crossing:
    """What a shell keeps while its inside works.

    Attributes:
        told: the vector of time and text.
        skips: features at the shell's side, one a block.
        low: its features at half the side.
        down: those that the inside gets, zero at first.
    """

    told: Tensor
    skips: list[Tensor]
    low: Tensor
    down: Tensor


class Shell(nn.Module):
    """One level around an inner network: a U-Net of two sides and no attention.

    Args:
        channels: C of the pictures.
        width: channels at the shell's own side.
        inner_width: channels of the inside's uppermost level, at half that side.
        depth: residual blocks on the way down, and as many on the way up.
        condition_width: D of the condition.
    """

    def __init__(
        self, channels: int, width: int, inner_width: int, depth: int, condition_width: int
    ) -> None:
        super().__init__()
        told = max(32, width)
        self.told = TimeAndText(4 * width, condition_width, told)
        self.embed = nn.Conv2d(channels, width, 3, padding=1)
        self.down = nn.ModuleList(ResBlock(width, width, told) for _ in range(depth))
        self.shrink = Down(width, inner_width)
        self.into = zero_init(nn.Linear(inner_width, inner_width))
        self.out_of = zero_init(nn.Linear(inner_width, inner_width))
        self.grow = Up(inner_width, width)
        self.joins = nn.ModuleList(nn.Linear(2 * width, width) for _ in range(depth))
        self.up = nn.ModuleList(ResBlock(width, width, told) for _ in range(depth))
        self.final_modulation = nn.Linear(told, 2 * width)
        self.final = zero_init(nn.Conv2d(width, channels, 3, padding=1))

    def enter(self, x: Tensor, time: Tensor, condition: Condition, down: Tensor | None) -> Crossing:
        """On the way down.

        Args:
            x: the level (B, C, H, W).
            down: features (B, width, H, W) from the shell around this one.
        """
        told = self.told(time, condition)
        x = self.embed(x.contiguous(memory_format=torch.channels_last))
        if down is not None:
            x = x + down
        skips = []
        for block in self.down:
            x = block(x, told)
            skips.append(x)
        low = self.shrink(x)
        return Crossing(told, skips, low, each_pixel(self.into, low))

    def leave(self, seen: Crossing, inner: Tensor) -> tuple[Tensor, Tensor]:
        """On the way up: (features (B, width, H, W), output (B, C, H, W)).

        Args:
            inner: the inside's last features (B, inner_width, H / 2, W / 2).
        """
        # the scale of the inside's features is its own affair
        taken = self.out_of(normalized(inner.movedim(1, -1))).movedim(-1, 1)
        x = self.grow(seen.low + taken)
        for join, block, skip in zip(self.joins, self.up, reversed(seen.skips), strict=True):
            x = block(each_pixel(join, torch.cat([x, skip], 1)), seen.told)
        told = self.final_modulation(seen.told)
        return x, self.final(F.silu(modulated(x, told)))
