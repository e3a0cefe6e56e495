"""What is particular to the tiny U-Net; the rest is in test_every_network."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sfumato.networks.tiny_unet import TinyUNet

ORIGINAL = 233_379
"""Parameters of the teaching network that this one follows, told neither time nor text."""


def tiny(**settings):
    torch.manual_seed(0)
    return TinyUNet(**{"channels": 3, "condition_width": 24} | settings)


def convolutions(network):
    return {
        name: module
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d)
    }


def test_the_plan_of_channels():
    plan = [(c.in_channels, c.out_channels) for c in convolutions(tiny()).values()]
    assert plan == [
        *[(3, 16), (16, 16), (16, 32), (32, 32), (32, 64), (64, 64)],  # encoder
        *[(64, 128), (128, 64)],  # middle
        *[(64, 32), (64, 16), (32, 3)],  # decoder: two of them take a skip besides
        (16, 3),  # details
    ]


def test_the_convolutions_are_those_of_the_original():
    found = convolutions(tiny())
    details = found.pop("details")
    ours = sum(p.numel() for module in found.values() for p in module.parameters())
    # a batch norm after every convolution but the last had a gain and a bias for each channel;
    # our norms have none of their own, they are modulated by what the network is told
    norms = 2 * sum(module.out_channels for name, module in found.items() if name != "final")
    assert norms == 2 * (16 + 16 + 32 + 32 + 64 + 64 + 128 + 64 + 32 + 16)
    assert ours + norms == ORIGINAL
    # and noise needs a way past the pooling
    assert sum(p.numel() for p in details.parameters()) == 16 * 3 * 9 + 3


def test_everything_else_is_what_it_is_told():
    # by name, so that nothing slips in unseen
    found = convolutions(tiny())
    rest = {
        name.split(".")[0] if name.split(".")[0] in ("told", "attention") else name
        for name, _ in tiny().named_parameters()
        if name.rsplit(".", 1)[0] not in found
    }
    assert {name for name in rest if "modulation" not in name} == {
        "told",
        "attention",
        "last.weight",
        "last.bias",
    }


@pytest.mark.parametrize(("side", "sides"), [(64, [64, 32, 16, 8]), (28, [32, 16, 8, 4])])
def test_stages_halve_the_side(make_condition, normals, side, sides):
    network, seen = tiny(), []
    for stage in (*network.encoder, network.middle):
        stage.register_forward_hook(lambda m, i, output: seen.append(output.shape[-1]))
    network(normals(0, 1, 3, side, side), torch.tensor([1.0]), make_condition(1, [3]))
    assert seen == sides


@pytest.mark.parametrize(("height", "width"), [(8, 24), (13, 6), (1, 33)])
def test_any_height_and_width(make_condition, normals, awake, height, width):
    network, x = awake(tiny()), normals(0, 2, 3, height, width)
    output = network(x, torch.tensor([5.0, 900.0]), make_condition(1, [3, 1]))
    assert output.shape == x.shape and output.std() > 0.01


def test_noise_of_the_full_side_can_be_given_back(make_condition, normals):
    # through the pooling alone three quarters of it would be lost, whatever is learned
    network = tiny(channels=1)
    optimizer = torch.optim.AdamW(network.parameters(), 1e-2)
    condition = make_condition(1, [2] * 4)
    for step in range(80):
        x = normals(step, 4, 1, 16, 16)
        loss = (network(x, torch.full((4,), 1000.0), condition) - x).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.1


def test_the_output_is_unbounded(make_condition, normals, awake):
    # a tanh leaves an error of 0.15 on noise of variance 1
    network = awake(tiny(), std=1.0)
    output = network(normals(0, 1, 3, 16, 16), torch.tensor([9.0]), make_condition(1, [3]))
    assert output.abs().max() > 3


def test_width_and_depth_scale_the_plan():
    plan = [(c.in_channels, c.out_channels) for c in convolutions(tiny(width=8, depth=2)).values()]
    assert plan[:3] == [(3, 8), (8, 8), (8, 8)] and (32, 64) in plan
    with pytest.raises(ValueError, match="multiple of 3, not 32"):
        tiny(width=8, heads=3)
