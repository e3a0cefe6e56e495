"""What is particular to the U-Net; the rest is in test_every_network."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sfumato.networks.patch_unet import PatchUNet, convolved


def small(**settings):
    torch.manual_seed(0)
    settings = {"channels": 2, "side": 16, "patch": 2, "width": 32, "depth": 4} | settings
    return PatchUNet(**settings, condition_width=24)


@pytest.mark.parametrize(
    ("side", "patch", "upper", "lower"),
    [(64, 4, 16, 8), (28, 2, 14, 7), (32, 2, 16, 8), (8, 1, 8, 4), (30, 4, 8, 4), (7, 1, 8, 4)],
)
def test_blocks_work_at_the_stated_sides(make_condition, normals, side, patch, upper, lower):
    network = small(side=side, patch=patch)
    sides = []
    for block in (*network.down, *network.middle, *network.up):
        block.register_forward_hook(lambda m, i, output: sides.append(output.shape[1:3]))
    network(normals(0, 2, 2, side, side), torch.tensor([1.0, 2.0]), make_condition(1, [3, 2]))
    # a quarter, half (each a convolution and an attention) and a quarter of the depth
    assert sides == [(upper, upper), *[(lower, lower)] * 4, (upper, upper)]


def test_details_cross_by_the_skips(make_condition, normals, awake):
    network, condition = awake(small()), make_condition(1, [3])
    x, time = normals(0, 1, 2, 16, 16), torch.tensor([100.0])
    # the lower level shut off: what is left of the picture came across
    nn.init.zeros_(network.grow.weight)
    a, b = network(x, time, condition), network(x.flip(3), time, condition)
    assert (a - b).abs().max() > 0.01
    with torch.no_grad():
        for join in network.joins:
            join.weight[:, join.out_features :] = 0
    a, b = network(x, time, condition), network(x.flip(3), time, condition)
    torch.testing.assert_close(a, b)


def test_every_pixel_reaches_every_pixel(make_condition, normals, awake):
    # attention at the lower level spans the picture
    network, condition = awake(small(side=32)), make_condition(1, [3])
    x = normals(0, 1, 2, 32, 32).requires_grad_()
    network(x, torch.tensor([100.0]), condition)[0, :, 0, 0].sum().backward()
    assert (x.grad.abs().sum((0, 1)) > 0).all()


def test_text_is_attended_at_the_lower_level_only(make_condition, normals, awake):
    network, condition = awake(small()), make_condition(1, [3])
    nn.init.zeros_(network.grow.weight)
    tokens = condition.tokens.requires_grad_()
    network(normals(0, 1, 2, 16, 16), torch.tensor([9.0]), condition).sum().backward()
    assert not tokens.grad.any()


def test_convolved_is_the_convolution(normals):
    conv = nn.Conv2d(3, 5, 3, padding=1)
    x = normals(0, 2, 3, 4, 6)
    expected = conv(x).permute(0, 2, 3, 1)
    torch.testing.assert_close(convolved(conv, x.permute(0, 2, 3, 1)), expected)


def test_channels_last_memory_is_kept(normals):
    # a copy at every convolution would cost a tenth of the speed
    x = normals(0, 2, 4, 6, 8)
    assert convolved(nn.Conv2d(8, 8, 3, padding=1), x).is_contiguous()


@pytest.mark.parametrize("depth", [1, 2, 3, 5, 12])
def test_any_depth(make_condition, normals, awake, depth):
    network = awake(small(depth=depth))
    output = network(normals(0, 1, 2, 16, 16), torch.tensor([9.0]), make_condition(1, [3]))
    assert len(network.middle) // 2 == max(1, depth // 2)
    assert output.std() > 0.01


@pytest.mark.parametrize(("width", "heads"), [(100, None), (4, None), (64, 3)])
def test_a_width_that_does_not_divide_raises(width, heads):
    with pytest.raises(ValueError, match=f"multiple of 8 and of .*, not {width}"):
        small(width=width, heads=heads)


@pytest.mark.parametrize(("width", "heads"), [(32, 1), (64, 1), (128, 2), (192, 3), (320, 5)])
def test_a_head_for_every_64_channels(width, heads):
    assert small(width=width).middle[1].attention.heads == heads
    assert small(width=width, heads=8).middle[1].attention.heads == 8
