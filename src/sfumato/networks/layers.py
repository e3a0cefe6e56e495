"""Parts shared by the networks.

Written for processors as well as for GPUs: the residual stream keeps the compute dtype, norms
are a few elementwise operations in it, and attention is the plain softmax on a processor, where
the fused kernel's backward is several times slower at these lengths.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def compute_dtype(x: Tensor) -> torch.dtype:
    """The dtype in which autocast would run a matrix product with x, else x's own."""
    kind = x.device.type
    # the meta device, on which shapes and operations are counted, knows no autocast
    if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):
        return torch.get_autocast_dtype(kind)
    return x.dtype


def zero_init(layer: nn.Linear | nn.Conv2d) -> nn.Linear | nn.Conv2d:
    """Zero weights and bias: a residual branch that starts as the identity."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def normalized(x: Tensor, eps: float = 1e-6) -> Tensor:
    """x divided by its root mean square over the last axis (Zhang & Sennrich 1910.07467)."""
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps)


class RMSNorm(nn.Module):
    """`normalized` with a learned gain for each channel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return normalized(x) * self.weight.to(x.dtype)


class SwiGLU(nn.Module):
    """(silu(x W_g) * x W_u) W_d with an inner width of 8/3 (Shazeer 2020, 2002.05202)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        hidden = (8 * width // 3 + 15) // 16 * 16
        self.gate_up = nn.Linear(width, 2 * hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.gate_up(x).chunk(2, -1)
        return self.down(F.silu(gate) * up)


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """softmax(q k^T / sqrt(d)) v for (B, heads, L, d); mask (B, Lk) bool hides keys."""
    hidden = mask[:, None, None] if mask is not None else None
    if q.device.type != "cpu":
        return F.scaled_dot_product_attention(q, k, v, attn_mask=hidden)
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
    if hidden is not None:
        scores = scores.masked_fill(~hidden, torch.finfo(scores.dtype).min)
    # autocast would carry the scores to float32 and back, a third of the attention's time
    with torch.autocast("cpu", enabled=False):
        weights = scores.softmax(-1)
    return weights @ v


def split_heads(x: Tensor, heads: int) -> Tensor:
    """(B, L, heads * d) -> (B, heads, L, d)."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def merge_heads(x: Tensor) -> Tensor:
    """(B, heads, L, d) -> (B, L, heads * d)."""
    return x.transpose(1, 2).flatten(2)


class SelfAttention(nn.Module):
    """Attention of a sequence to itself and, where given, to extra key-value tokens.

    Queries and keys are normalised with a learned gain (QK-norm, 2302.05442), which keeps the
    scores bounded in half precision.

    Args:
        width: of the sequence.  heads: few and wide ones are fastest on processors.
        context_width: width of the extra tokens, None for none.
    """

    def __init__(self, width: int, heads: int, context_width: int | None = None) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.context = nn.Linear(context_width, 2 * width, bias=False) if context_width else None
        self.q_norm = RMSNorm(width // heads)
        self.k_norm = RMSNorm(width // heads)
        self.out = nn.Linear(width, width, bias=False)

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        context: Tensor | None = None,
        context_mask: Tensor | None = None,
    ) -> Tensor:
        """x (B, L, width), mask (B, L); context (B, M, context_width), context_mask (B, M)."""
        q, k, v = (split_heads(part, self.heads) for part in self.qkv(x).chunk(3, -1))
        if self.context is not None and context is not None:
            extra = (split_heads(part, self.heads) for part in self.context(context).chunk(2, -1))
            k, v = (torch.cat([own, more], 2) for own, more in zip((k, v), extra, strict=True))
            if context_mask is not None:
                own = mask if mask is not None else x.new_ones(x.shape[:2], dtype=torch.bool)
                mask = torch.cat([own, context_mask], 1)
        return self.out(merge_heads(attend(self.q_norm(q), self.k_norm(k), v, mask)))


class TimeEmbedding(nn.Module):
    """Sinusoids of the time in 0..1000 through a two-layer network (DDPM, 2006.11239)."""

    def __init__(self, width: int, frequencies: int = 128) -> None:
        super().__init__()
        rates = torch.exp(-math.log(10_000) * torch.arange(frequencies) / frequencies)
        self.register_buffer("rates", rates, persistent=False)
        self.mlp = nn.Sequential(
            nn.Linear(2 * frequencies, width), nn.SiLU(), nn.Linear(width, width)
        )

    def forward(self, time: Tensor) -> Tensor:
        """time (B,) in 0..1000 -> (B, width)."""
        assert isinstance(self.rates, Tensor)
        # float32 whatever the weights' type: bf16 cannot tell 999 from 1000
        phase = time.float()[:, None] * self.rates.float()
        waves = torch.cat([phase.cos(), phase.sin()], 1)
        return self.mlp(waves.to(next(self.mlp.parameters()).dtype))


def grid_positions(height: int, width: int, channels: int) -> Tensor:
    """Fixed two-dimensional sinusoids (height * width, channels), half for each axis."""
    quarter = channels // 4
    rates = torch.exp(-math.log(100.0) * torch.arange(quarter) / quarter)
    row = torch.arange(height)[:, None, None] * rates
    column = torch.arange(width)[None, :, None] * rates
    parts = [f(axis).expand(height, width, quarter) for axis in (row, column) for f in _WAVES]
    return torch.cat(parts, -1).flatten(0, 1)


_WAVES = (torch.sin, torch.cos)
