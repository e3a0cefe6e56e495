from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from sfumato.networks.layers import (
    RMSNorm,
    SelfAttention,
    SwiGLU,
    TimeEmbedding,
    attend,
    compute_dtype,
    grid_positions,
    merge_heads,
    normalized,
    split_heads,
    zero_init,
)


@settings(max_examples=25, deadline=None)
@given(
    batch=st.integers(1, 3),
    heads=st.integers(1, 3),
    queries=st.integers(1, 6),
    keys=st.integers(1, 7),
    width=st.integers(1, 9),
    masked=st.booleans(),
    seed=st.integers(0, 999),
)
def test_attention_equals_torch_s_own(batch, heads, queries, keys, width, masked, seed):
    generator = torch.Generator().manual_seed(seed)
    q = torch.randn(batch, heads, queries, width, generator=generator, requires_grad=True)
    k = torch.randn(batch, heads, keys, width, generator=generator, requires_grad=True)
    v = torch.randn(batch, heads, keys, width, generator=generator, requires_grad=True)
    mask, expanded = None, None
    if masked:
        mask = torch.rand(batch, keys, generator=generator) < 0.6
        mask[:, 0] = True
        expanded = mask[:, None, None].expand(batch, heads, queries, keys)
    ours = attend(q, k, v, mask)
    theirs = F.scaled_dot_product_attention(q, k, v, attn_mask=expanded)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
    weight = torch.randn(ours.shape, generator=generator)
    for own, other in zip(
        torch.autograd.grad((ours * weight).sum(), (q, k, v)),
        torch.autograd.grad((theirs * weight).sum(), (q, k, v)),
        strict=True,
    ):
        torch.testing.assert_close(own, other, atol=1e-5, rtol=1e-5)


def test_attention_in_bf16_is_close_and_stays_bf16():
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 2, 4, 20, 16)
    mask = torch.arange(20) < torch.tensor([20, 7])[:, None]
    exact = attend(q, k, v, mask)
    with torch.autocast("cpu", torch.bfloat16):
        rough = attend(q.bfloat16(), k.bfloat16(), v.bfloat16(), mask)
    assert rough.dtype == torch.bfloat16
    assert (rough - exact).norm() / exact.norm() < 0.02


def test_scores_far_apart_do_not_overflow():
    q = torch.tensor([[[[1e4, 0.0]]]])
    k = torch.tensor([[[[1e4, 0.0], [-1e4, 0.0], [3e4, 0.0]]]])
    v = torch.tensor([[[[1.0], [2.0], [3.0]]]])
    hidden = torch.tensor([[True, True, False]])
    assert attend(q, k, v).item() == 3.0
    assert attend(q, k, v, hidden).item() == 1.0


def test_heads_are_split_and_merged_without_mixing():
    x = torch.arange(2 * 3 * 8.0).reshape(2, 3, 8)
    heads = split_heads(x, 4)
    assert heads.shape == (2, 4, 3, 2)
    assert torch.equal(heads[1, 2, 0], x[1, 0, 4:6])
    assert torch.equal(merge_heads(heads), x)


def test_rms_norm_equals_the_formula_and_torch_s_own():
    torch.manual_seed(1)
    x = torch.randn(3, 5, 12) * torch.tensor([0.01, 1.0, 100.0])[:, None, None]
    norm = RMSNorm(12)
    nn.init.normal_(norm.weight)
    rows = x.double().numpy().reshape(-1, 12)
    plain = [row / math.sqrt(sum(v * v for v in row) / 12 + 1e-6) for row in rows]
    expected = np.array(plain) * norm.weight.detach().double().numpy()
    expected = torch.tensor(expected, dtype=torch.float32).reshape(x.shape)
    torch.testing.assert_close(norm(x), expected)
    torch.testing.assert_close(norm(x), F.rms_norm(x, (12,), norm.weight, 1e-6))
    torch.testing.assert_close(normalized(x), F.rms_norm(x, (12,), eps=1e-6))


def test_rms_norm_keeps_bf16_and_leaves_zero_alone():
    norm = RMSNorm(8)
    assert norm(torch.randn(2, 8).bfloat16()).dtype == torch.bfloat16
    zero = torch.zeros(2, 8, requires_grad=True)
    norm(zero).sum().backward()
    assert not norm(zero).any() and bool(zero.grad.isfinite().all())


@pytest.mark.parametrize("width", [8, 24, 64, 256])
def test_swiglu_equals_the_formula(width):
    torch.manual_seed(2)
    layer = SwiGLU(width)
    hidden = layer.down.in_features
    assert hidden % 16 == 0
    assert 0 <= hidden - 8 * width / 3 < 17
    gate, up = layer.gate_up.weight.detach().double().numpy().reshape(2, hidden, width)
    down = layer.down.weight.detach().double().numpy()
    x = torch.randn(5, width)
    g, u = x.double().numpy() @ gate.T, x.double().numpy() @ up.T
    expected = (g / (1 + np.exp(-g)) * u) @ down.T
    torch.testing.assert_close(layer(x).double(), torch.tensor(expected), atol=1e-5, rtol=1e-5)


def plain_attention(layer, x, keys_values, visible):
    """One picture x (L, width), head by head in float64, for what `SelfAttention` computes."""
    width = x.shape[-1]
    weight = layer.qkv.weight.detach().double()
    q = x.double() @ weight[:width].T
    k = torch.cat([x.double() @ weight[width : 2 * width].T, *[p[0] for p in keys_values]])
    v = torch.cat([x.double() @ weight[2 * width :].T, *[p[1] for p in keys_values]])
    size, out = width // layer.heads, []
    for head in range(layer.heads):
        part = slice(head * size, (head + 1) * size)
        norms = []
        for rows, norm in ((q[:, part], layer.q_norm), (k[:, part], layer.k_norm)):
            length = (rows.square().mean(1, keepdim=True) + 1e-6).sqrt()
            norms.append(rows / length * norm.weight.detach().double())
        scores = (norms[0] @ norms[1].T / math.sqrt(size)).exp() * visible
        out.append(scores / scores.sum(1, keepdim=True) @ v[:, part])
    return torch.cat(out, 1) @ layer.out.weight.detach().double().T


def test_self_attention_sees_the_sequence_and_the_text_in_one_softmax():
    torch.manual_seed(3)
    layer = SelfAttention(12, 3, context_width=5)
    nn.init.normal_(layer.q_norm.weight)
    nn.init.normal_(layer.k_norm.weight)
    x, text = torch.randn(2, 4, 12), torch.randn(2, 6, 5)
    text_mask = torch.arange(6) < torch.tensor([6, 2])[:, None]
    ours = layer(x, None, text, text_mask)
    extra = text.double() @ layer.context.weight.detach().double().T
    for i in range(2):
        visible = torch.cat([torch.ones(4), text_mask[i].double()])
        expected = plain_attention(layer, x[i], [extra[i].chunk(2, -1)], visible)
        torch.testing.assert_close(ours[i].double(), expected, atol=1e-5, rtol=1e-5)


def test_self_attention_without_text():
    torch.manual_seed(4)
    layer = SelfAttention(12, 2)
    assert layer.context is None
    x, mask = torch.randn(2, 5, 12), torch.arange(5) < torch.tensor([5, 3])[:, None]
    for i in range(2):
        expected = plain_attention(layer, x[i], [], mask[i].double())
        torch.testing.assert_close(layer(x, mask)[i].double(), expected, atol=1e-5, rtol=1e-5)


def test_self_attention_with_both_masks():
    torch.manual_seed(5)
    layer = SelfAttention(12, 2, context_width=4)
    x, text = torch.randn(1, 5, 12), torch.randn(1, 3, 4)
    mask, text_mask = torch.arange(5)[None] < 4, torch.arange(3)[None] < 1
    short = layer(x[:, :4], None, text[:, :1])
    torch.testing.assert_close(layer(x, mask, text, text_mask)[:, :4], short)


def test_time_embedding_is_the_sinusoids_of_the_paper():
    layer = TimeEmbedding(8, frequencies=4)
    seen = []
    layer.mlp[0].register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    times = [0.0, 1.0, 500.5, 999.0, 1000.0]
    layer(torch.tensor(times, dtype=torch.float64))
    for row, time in zip(seen[0], times, strict=True):
        phases = [time / 10_000 ** (i / 4) for i in range(4)]
        expected = [math.cos(p) for p in phases] + [math.sin(p) for p in phases]
        torch.testing.assert_close(row, torch.tensor(expected), atol=1e-4, rtol=0.0)


def test_neighbouring_times_differ_in_bf16():
    # bf16 holds 8 bits: 999 and 1000 are one number to it, so the phase must not pass through it
    assert torch.tensor(999.0).bfloat16() == torch.tensor(1000.0).bfloat16()
    torch.manual_seed(0)
    layer = TimeEmbedding(32).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        one, other = layer(torch.tensor([999.0, 1000.0]))
    assert (one - other).abs().max() > 0.01


def test_positions_are_distinct_and_two_dimensional():
    height, width, channels = 5, 7, 16
    positions = grid_positions(height, width, channels)
    assert positions.shape == (35, 16)
    distances = torch.cdist(positions, positions) + 9 * torch.eye(35)
    assert distances.min() > 0.1
    grid = positions.reshape(height, width, channels)
    assert torch.equal(grid[..., :8], grid[:, :1, :8].expand(-1, width, -1))  # the row
    assert torch.equal(grid[..., 8:], grid[:1, :, 8:].expand(height, -1, -1))  # the column
    for row in range(height):
        for column in range(width):
            angles = [axis / 100 ** (i / 4) for axis in (row, column) for i in range(4)]
            sines, cosines = [math.sin(a) for a in angles], [math.cos(a) for a in angles]
            expected = sines[:4] + cosines[:4] + sines[4:] + cosines[4:]
            torch.testing.assert_close(grid[row, column], torch.tensor(expected))


def test_the_largest_grids_have_distinct_positions_too():
    positions = grid_positions(32, 32, 64)
    distances = torch.cdist(positions, positions) + 9 * torch.eye(1024)
    assert distances.min() > 0.1


def test_compute_dtype_follows_autocast():
    x = torch.zeros(1)
    assert compute_dtype(x) == torch.float32
    assert compute_dtype(x.half()) == torch.float16
    assert compute_dtype(x.to("meta")) == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        assert compute_dtype(x) == torch.bfloat16
        with torch.autocast("cpu", enabled=False):
            assert compute_dtype(x) == torch.float32


@pytest.mark.parametrize(
    "layer", [nn.Linear(3, 4), nn.Linear(3, 4, bias=False), nn.Conv2d(2, 3, 1)], ids=repr
)
def test_zero_init_zeroes_everything_and_returns_the_layer(layer):
    assert any(p.any() for p in layer.parameters())
    assert zero_init(layer) is layer
    assert not any(p.any() for p in layer.parameters())
