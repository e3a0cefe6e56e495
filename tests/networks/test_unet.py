"""What is particular to the U-Net and to its parts; the rest is in test_every_network."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from sfumato.networks.unet import UNet, level_sides
from sfumato.networks.unet_blocks import (
    AttentionBlock,
    Down,
    ResBlock,
    Up,
    each_pixel,
    modulated,
    padded,
)


def small(**settings):
    torch.manual_seed(0)
    settings = {"channels": 2, "side": 16, "width": 8, "depth": 1, "heads": 2} | settings
    return UNet(**settings, condition_width=24)


@pytest.mark.parametrize(
    ("side", "sides"),
    [
        *[(64, [64, 32, 16, 8]), (32, [32, 16, 8, 4]), (128, [128, 64, 32, 16])],
        *[(28, [28, 14, 7]), (16, [16, 8, 4]), (8, [8, 4]), (4, [4]), (7, [7]), (9, [9, 5])],
    ],
)
def test_the_levels_of_a_side(side, sides):
    assert level_sides(side) == sides


@settings(max_examples=60)
@given(side=st.integers(1, 600))
def test_levels_halve_down_to_four_at_most_four_times(side):
    sides = level_sides(side)
    assert sides[0] == side and 1 <= len(sides) <= 4
    assert all(below == -(-above // 2) for above, below in zip(sides[:-1], sides[1:], strict=True))
    assert len(sides) == 4 or sides[-1] // 2 < 4
    assert side < 4 or sides[-1] >= 4


@pytest.mark.parametrize("side", [64, 28, 8])
def test_blocks_work_at_the_sides_and_widths_of_their_level(make_condition, normals, side):
    network, seen = small(side=side, depth=2), []
    for block in network.modules():
        if isinstance(block, ResBlock | AttentionBlock):
            block.register_forward_hook(
                lambda m, i, output: seen.append((type(m), *output.shape[1:3]))
            )
    network(normals(0, 1, 2, side, side), torch.tensor([1.0]), make_condition(1, [3]))
    sides = level_sides(side)
    expected = []
    for number, at in enumerate(sides):
        level = [(ResBlock, 8 * (4 - len(sides) + number + 1), at)] * 2
        attention = (AttentionBlock, *level[0][1:])
        expected.append([*level, attention] if at <= 16 else level)
    lowest = expected[-1][-1][1:]
    middle = [(ResBlock, *lowest), (AttentionBlock, *lowest), (ResBlock, *lowest)]
    up = expected[::-1]
    assert seen == sum(expected, []) + middle + sum(up, [])


def test_pixels_and_latents_of_a_size_have_about_as_many_parameters():
    counts = []
    with torch.device("meta"):
        for channels, side in ((4, 64), (3, 32), (16, 8)):
            network = UNet(channels, side, 64, 1, 2, 256)
            counts.append(sum(p.numel() for p in network.parameters()))
    assert all(8e6 < count < 12e6 for count in counts), counts


def test_details_cross_by_the_skips(make_condition, normals, awake):
    network, condition = awake(small()), make_condition(1, [3])
    x, time = normals(0, 1, 2, 16, 16), torch.tensor([100.0])
    # the lower levels shut off: what is left of the picture came across
    nn.init.zeros_(network.grow[0].conv.weight)
    a, b = network(x, time, condition), network(x.flip(3), time, condition)
    assert (a - b).abs().max() > 0.01
    with torch.no_grad():
        for join in network.joins[0]:
            join.weight[:, join.out_features :] = 0
    a, b = network(x, time, condition), network(x.flip(3), time, condition)
    torch.testing.assert_close(a, b)


def test_every_skip_is_used_once_and_at_its_own_level(make_condition, normals, awake):
    # silencing one join's skip half must change the output, for each of them
    network, condition = awake(small(depth=2)), make_condition(1, [3])
    x, time = normals(0, 1, 2, 16, 16), torch.tensor([100.0])
    before = network(x, time, condition)
    joins = [join for level in network.joins for join in level]
    assert len(joins) == 2 * 3
    for join in joins:
        kept = join.weight.detach().clone()
        with torch.no_grad():
            join.weight[:, join.out_features :] = 0
            assert (network(x, time, condition) - before).abs().max() > 1e-4
            join.weight.copy_(kept)


def test_the_last_block_down_meets_the_first_block_up(make_condition, normals, awake):
    network, gave, joined = awake(small(side=32, depth=2)), [], []
    for block in network.down[0].blocks:  # no attention here: a block's output is the skip
        block.register_forward_hook(lambda m, i, output: gave.append(output))
    for join in network.joins[0]:
        join.register_forward_hook(lambda m, i, o: joined.append(i[0].movedim(-1, 1)))
    network(normals(0, 1, 2, 32, 32), torch.tensor([100.0]), make_condition(1, [3]))
    assert not torch.equal(*gave)
    for output, met in zip(gave, joined[::-1], strict=True):
        assert torch.equal(output, met[:, output.shape[1] :])


def test_every_pixel_reaches_every_pixel(make_condition, normals, awake):
    network, condition = awake(small(side=32)), make_condition(1, [3])
    x = normals(0, 1, 2, 32, 32).requires_grad_()
    network(x, torch.tensor([100.0]), condition)[0, :, 0, 0].sum().backward()
    assert (x.grad.abs().sum((0, 1)) > 0).all()


@pytest.mark.parametrize(("height", "width"), [(16, 16), (32, 8), (19, 45), (3, 5)])
def test_other_sides_than_its_own(make_condition, normals, awake, height, width):
    network = awake(small())
    x = normals(0, 2, 2, height, width)
    output = network(x, torch.tensor([5.0, 900.0]), make_condition(1, [3, 1]))
    assert output.shape == x.shape and output.std() > 0.01


def test_heads_that_do_not_divide_the_width_raise():
    with pytest.raises(ValueError, match="multiple of 3, not 8"):
        small(heads=3)


# ---- the parts


def test_a_residual_block_is_its_formula(normals):
    torch.manual_seed(0)
    block = ResBlock(6, 10, 5)
    nn.init.normal_(block.conv2.weight)
    x, told = normals(0, 2, 6, 4, 7), normals(1, 2, 5)
    scale, shift = (told @ block.modulation.weight.T + block.modulation.bias).split(6, 1)
    size = (x.double() ** 2).mean(1, keepdim=True).sqrt().float()
    inner = F.silu(x / size * (1 + scale[:, :, None, None]) + shift[:, :, None, None])
    inner = F.conv2d(inner, block.conv1.weight, block.conv1.bias, padding=1)
    inner = F.conv2d(F.silu(inner), block.conv2.weight, block.conv2.bias, padding=1)
    skip = torch.einsum("oi,bihw->bohw", block.skip.weight, x) + block.skip.bias[:, None, None]
    torch.testing.assert_close(block(x, told), skip + inner, atol=1e-4, rtol=1e-4)


def test_the_parts_begin_as_the_identity(normals):
    torch.manual_seed(0)
    x, tokens = normals(0, 2, 8, 4, 6), normals(1, 2, 3, 5)
    assert torch.equal(ResBlock(8, 8, 5)(x, normals(2, 2, 5)), x)
    attention = AttentionBlock(8, 2, 5)
    assert torch.equal(attention(x, tokens, torch.ones(2, 3, dtype=torch.bool)), x)
    assert torch.equal(AttentionBlock(8, 2, None)(x), x)
    wider = ResBlock(8, 12, 5)
    assert torch.equal(wider(x, normals(2, 2, 5)), each_pixel(wider.skip, x))


def test_attention_knows_pixels_by_what_they_hold_and_not_by_where_they_are(normals, awake):
    torch.manual_seed(0)
    block = awake(AttentionBlock(8, 2, 5))
    x, tokens, mask = normals(0, 2, 8, 4, 6), normals(1, 2, 3, 5), torch.ones(2, 3) > 0
    order = torch.randperm(24)
    shuffled = x.flatten(2)[..., order].unflatten(2, (4, 6))
    expected = block(x, tokens, mask).flatten(2)[..., order].unflatten(2, (4, 6))
    torch.testing.assert_close(block(shuffled, tokens, mask), expected, atol=1e-5, rtol=1e-5)
    assert (expected - shuffled).abs().max() > 0.01


def test_up_begins_as_nearest_neighbours_and_down_halves(normals):
    torch.manual_seed(0)
    up, x = Up(6, 4), normals(0, 2, 6, 3, 5)
    assert torch.equal(up(x), F.interpolate(up(x)[..., ::2, ::2], scale_factor=2))
    assert up(x).std() > 0.1
    assert Down(6, 4)(normals(0, 2, 6, 8, 10)).shape == (2, 4, 4, 5)


def test_the_norm_sees_one_pixel(normals):
    x, told = normals(0, 2, 6, 3, 5), torch.zeros(2, 12)
    torch.testing.assert_close(modulated(x, told).square().mean(1), torch.ones(2, 3, 5))
    loud = x.clone()
    loud[..., 0, 0] *= 100
    torch.testing.assert_close(modulated(loud, told), modulated(x, told))


def test_channels_stay_last_in_memory(normals):
    # a copy at every convolution would cost a tenth of the speed
    x = padded(normals(0, 2, 8, 5, 6), 4)
    assert x.shape == (2, 8, 8, 8)
    last = {"memory_format": torch.channels_last}
    told = normals(1, 2, 5)
    parts = [ResBlock(8, 8, 5), ResBlock(8, 12, 5)]
    outputs = [x, *(part(x, told) for part in parts), Down(8, 8)(x), Up(8, 8)(x)]
    outputs += [AttentionBlock(8, 2, None)(x), modulated(x, normals(1, 2, 16))]
    assert all(output.is_contiguous(**last) for output in outputs)
