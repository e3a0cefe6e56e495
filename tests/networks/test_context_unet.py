"""What is particular to the class-conditional U-Net; the rest is in test_every_network."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from sfumato.networks import context_unet
from sfumato.networks.context_unet import ContextUNet


def context(**settings):
    torch.manual_seed(0)
    told = {"channels": 1, "side": 28, "width": 8, "condition_width": 24} | settings
    return ContextUNet(**told)


@pytest.mark.parametrize(
    ("channels", "side", "low"), [(1, 28, 7), (3, 32, 8), (1, 30, 8), (4, 8, 2)]
)
def test_two_halvings_to_one_vector_and_back(make_condition, normals, channels, side, low):
    network, seen = context(channels=channels, side=side), {}
    for name in ("enter", "down1", "down2", "spread", "grow1", "up1", "grow2", "up2"):
        part = getattr(network, name)
        part.register_forward_hook(
            lambda m, i, output, name=name: seen.update({name: tuple(output.shape[1:3])})
        )
    output = network(
        normals(0, 2, channels, side, side), torch.tensor([1.0, 2.0]), make_condition(1, [1, 1])
    )
    assert output.shape == (2, channels, side, side)
    assert seen == {
        "enter": (8, 4 * low),
        "down1": (8, 4 * low),
        "down2": (16, 2 * low),
        "spread": (16 * low**2,),
        "grow1": (8, 2 * low),
        "up1": (8, 2 * low),
        "grow2": (8, 4 * low),
        "up2": (8, 4 * low),
    }


def test_context_multiplies_and_time_is_added(make_condition, normals, awake, monkeypatch):
    network, calls = awake(context()), []
    real = context_unet._told

    def listening(features, by, plus):
        calls.append((features, by, plus, real(features, by, plus)))
        return calls[-1][-1]

    monkeypatch.setattr(context_unet, "_told", listening)
    condition, time = make_condition(1, [1, 1, 1]), torch.tensor([3.0, 250.0, 999.0])
    network(normals(0, 3, 1, 28, 28), time, condition)
    assert [tuple(features.shape[1:]) for features, *_ in calls] == [(16, 7, 7), (8, 14, 14)]
    for number, (features, by, plus, told) in enumerate(calls, 1):
        for b in range(3):
            expected = by[b, :, None, None] * features[b] + plus[b, :, None, None]
            torch.testing.assert_close(told[b], expected)
        # the one comes from the vector alone, the other from the time alone
        embed = getattr(network, f"context{number}")
        torch.testing.assert_close(by, embed(condition.vector))
        when = nn.functional.silu(network.time(time))
        torch.testing.assert_close(plus, getattr(network, f"time{number}")(when))


def test_a_context_begins_near_one():
    network, vectors = context(width=32), torch.randn(50, 24)
    for embed in (network.context1, network.context2):
        assert abs(float(embed(vectors).detach().mean()) - 1) < 0.1


def test_only_the_vector_is_used(make_condition, normals, awake):
    network, x = awake(context()), normals(0, 1, 1, 28, 28)
    condition, time = make_condition(1, [3]), torch.tensor([500.0])
    expected = network(x, time, condition)
    other = replace(condition, tokens=condition.tokens + 1)
    assert torch.equal(network(x, time, other), expected)
    other = replace(condition, vector=condition.vector + 1)
    assert (network(x, time, other) - expected).abs().max() > 1e-3


def test_smaller_pictures_are_padded_and_larger_ones_refused(make_condition, normals, awake):
    network, time = awake(context()), torch.tensor([500.0])
    output = network(normals(0, 1, 1, 20, 27), time, make_condition(1, [1]))
    assert output.shape == (1, 1, 20, 27) and output.std() > 0.01
    with pytest.raises(ValueError, match="up to 28, not 29 x 28"):
        network(normals(0, 1, 1, 29, 28), time, make_condition(1, [1]))


def test_every_pixel_reaches_every_pixel(make_condition, normals, awake):
    network = awake(context())
    x = normals(0, 1, 1, 28, 28).requires_grad_()
    network(x, torch.tensor([100.0]), make_condition(1, [1]))[0, :, 0, 0].sum().backward()
    assert (x.grad.abs().sum((0, 1)) > 0).all()


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_any_depth(make_condition, normals, awake, depth):
    network = awake(context(depth=depth))
    assert len(network.up1.blocks) == depth
    output = network(normals(0, 1, 1, 28, 28), torch.tensor([9.0]), make_condition(1, [1]))
    assert output.std() > 0.01
