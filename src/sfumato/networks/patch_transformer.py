"""The patch transformer: a picture as tokens, told the time and the text.

DiT's adaptive-norm-zero blocks (Peebles & Xie, 2212.09748) with RMSNorm, SwiGLU and QK-norm.
The text enters twice, as Imagen found best (2205.11487): pooled, in the vector that modulates
every block, and token by token, attended in one softmax together with the image tokens.

On latents the patch is 1.  On raw pixels the patch is large, the network should predict x_0,
and a narrow linear bottleneck embeds the patch (2511.13720).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sfumato.conditioning.condition import Condition
from sfumato.networks.layers import (
    SelfAttention,
    SwiGLU,
    TimeEmbedding,
    compute_dtype,
    grid_positions,
    normalized,
    zero_init,
)


class PatchTransformer(nn.Module):
    """(x (B, C, H, W), time (B,) in 0..1000, Condition) -> (B, C, H, W); 0 at initialisation.

    Args:
        channels: C of pictures or latents.
        side: H = W; padded inside to a multiple of the patch.
        patch: side of a patch.
        width, depth, heads: of the transformer.
        condition_width: D of the condition.
        bottleneck: inner width of the patch embedding, for raw pixels; None = direct.
    """

    def __init__(
        self,
        channels: int,
        side: int,
        patch: int = 1,
        width: int = 256,
        depth: int = 8,
        heads: int = 4,
        condition_width: int = 256,
        bottleneck: int | None = None,
    ) -> None:
        super().__init__()
        self.patch = patch
        self.grid = -(-side // patch)
        pixels = channels * patch**2
        self.embed: nn.Module = nn.Linear(pixels, width)
        if bottleneck is not None:
            self.embed = nn.Sequential(
                nn.Linear(pixels, bottleneck, bias=False), nn.Linear(bottleneck, width)
            )
        self.positions = nn.Parameter(grid_positions(self.grid, self.grid, width) * 0.5)
        self.time = TimeEmbedding(width)
        self.text = nn.Linear(condition_width, width)
        # all blocks share the first half of their modulation: a quarter of the parameters
        rank = max(32, width // 4)
        self.told = nn.Linear(width, rank)
        self.blocks = nn.ModuleList(
            _Block(width, heads, rank, condition_width) for _ in range(depth)
        )
        self.final_modulation = nn.Linear(rank, 2 * width)
        self.final = nn.Linear(width, pixels)
        zero_init(self.final_modulation)
        zero_init(self.final)

    def forward(self, x: Tensor, time: Tensor, condition: Condition) -> Tensor:
        height, width = x.shape[-2:]
        side = self.grid * self.patch
        if height > side or width > side:
            raise ValueError(f"built for sides up to {side}, not {height} x {width}")
        x = F.pad(x, (0, side - width, 0, side - height))
        tokens = F.pixel_unshuffle(x, self.patch).flatten(2).transpose(1, 2)
        tokens = self.embed(tokens)
        tokens = tokens + self.positions.to(tokens.dtype)
        vector = F.silu(self.time(time) + self.text(condition.vector))
        told = F.silu(self.told(vector))
        context = condition.tokens.to(compute_dtype(tokens))
        for block in self.blocks:
            tokens = block(tokens, told, context, condition.mask)
        scale, shift = self.final_modulation(told)[:, None].chunk(2, -1)
        tokens = self.final(normalized(tokens) * (1 + scale) + shift)
        picture = tokens.transpose(1, 2).unflatten(2, (self.grid, self.grid))
        return F.pixel_shuffle(picture, self.patch)[..., :height, :width].float()


class _Block(nn.Module):
    """x + gate attention(modulated norm x), then the same with the MLP; identity at first."""

    def __init__(self, width: int, heads: int, rank: int, condition_width: int) -> None:
        super().__init__()
        self.attention = SelfAttention(width, heads, condition_width)
        self.mlp = SwiGLU(width)
        self.modulation = nn.Linear(rank, 6 * width)
        zero_init(self.modulation)

    def forward(self, x: Tensor, told: Tensor, context: Tensor, mask: Tensor) -> Tensor:
        modulation = self.modulation(told)[:, None].to(x.dtype)
        scale1, shift1, gate1, scale2, shift2, gate2 = modulation.chunk(6, -1)
        inner = torch.addcmul(shift1, normalized(x), 1 + scale1)
        x = torch.addcmul(x, gate1, self.attention(inner, None, context, mask))
        inner = torch.addcmul(shift2, normalized(x), 1 + scale2)
        return torch.addcmul(x, gate2, self.mlp(inner))
