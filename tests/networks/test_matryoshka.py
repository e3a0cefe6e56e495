"""Networks inside networks: what nests, what passes between the levels, and what it costs."""

from __future__ import annotations

import copy
import itertools

import pytest
import torch
from torch import nn

from sfumato.diffusion import Pyramid
from sfumato.networks.matryoshka import Matryoshka, Shell
from sfumato.networks.unet import UNet

SETTINGS = {"width": 16, "depth": 1, "heads": 2, "condition_width": 24}


def built(side=32, levels=2, channels=3, **settings):
    torch.manual_seed(levels)
    return Matryoshka(channels, side, levels, **(SETTINGS | settings))


def pack(*levels):
    """Levels, highest resolution first."""
    return Pyramid(tuple(level.shape[-1] for level in levels)).pack(levels)


TIME = torch.tensor([30.0, 800.0])


@pytest.fixture
def told(make_condition):
    return make_condition(1, [3, 2])


@pytest.mark.parametrize("levels", [1, 2, 3, 4])
def test_the_levels_change_the_tree_of_modules(levels):
    network = built(64, levels)
    assert len(network.shells) == levels - 1
    assert network.pyramid.sides == tuple(64 // 2**r for r in range(levels))
    names = {name for name, _ in network.named_modules()}
    assert {f"shells.{r}.embed" for r in range(levels - 1)} <= names
    assert f"shells.{levels - 1}" not in names
    # the same network of the lowest side inside
    plain = UNet(3, 64 // 2 ** (levels - 1), **SETTINGS)
    shapes = {name: weight.shape for name, weight in plain.state_dict().items()}
    assert {name: weight.shape for name, weight in network.core.state_dict().items()} == shapes


@pytest.mark.parametrize(
    ("width", "channels"),
    [(16, [16, 16]), (32, [32, 32]), (48, [32, 32]), (64, [32, 32]), (128, [64, 32])],
)
def test_shells_halve_down_to_the_channels_that_keep_no_grain(width, channels):
    with torch.device("meta"):
        network = built(128, 3, width=width)
    assert network.core.embed.out_channels == width
    assert [shell.embed.out_channels for shell in network.shells] == channels


def test_every_level_adds_to_the_last():
    names = [set(built(8 * 2 ** (levels - 1), levels).state_dict()) for levels in (1, 2, 3, 4)]
    assert all(fewer < more for fewer, more in itertools.pairwise(names))


@pytest.mark.parametrize(("side", "levels"), [(8, 1), (16, 2), (48, 2), (64, 3), (64, 4), (40, 3)])
def test_all_levels_come_out_and_are_zero_at_first(normals, told, awake, side, levels):
    network = built(side, levels)
    sides = network.pyramid.sides
    shape = (2, 3, side, side) if levels == 1 else (2, 3, sum(network.pyramid.lengths))
    x = normals(0, *shape)
    output = network(x, TIME, told)
    assert output.shape == shape and output.dtype == torch.float32 and not output.any()
    output = awake(network)(x, TIME, told)
    parts = [output] if levels == 1 else network.pyramid.unpack(output)
    assert [part.shape[-1] for part in parts] == list(sides)
    assert all(part.std() > 0.01 for part in parts)


def test_one_level_is_the_plain_network(normals, told, awake):
    network, x = awake(built(16, 1)), normals(0, 2, 3, 16, 16)
    plain = UNet(3, 16, **SETTINGS)
    plain.load_state_dict(network.core.state_dict())
    assert torch.equal(network(x, TIME, told), plain(x, TIME, told))


@pytest.mark.parametrize("kind", ["unet", "matryoshka of one", "matryoshka of two"])
@pytest.mark.parametrize("new", [1, 2])
def test_a_trained_network_answers_as_before_inside_another(normals, told, awake, kind, new):
    has = 2 if kind.endswith("two") else 1
    inner = UNet(3, 16, **SETTINGS) if kind == "unet" else built(8 * 2**has, has)
    awake(inner)
    side = 16 if kind == "unet" else inner.pyramid.sides[0]
    x = normals(0, 2, 3, side, side)
    levels = [x, normals(7, 2, 3, side // 2, side // 2)][:has]
    expected = inner(x if has == 1 else pack(*levels), TIME, told)
    outer = built(side * 2**new, has + new)
    outer.nest(inner)
    above = [normals(9 + r, 2, 3, side * 2**r, side * 2**r) for r in range(new, 0, -1)]
    found = outer.pyramid.unpack(outer(pack(*above, *levels), TIME, told))[new:]
    found = found[0] if has == 1 else pack(*found)
    assert torch.equal(found, expected)


def test_only_the_zero_adapters_keep_the_inside_undisturbed(normals, told, awake):
    # once they have learned, the levels see each other, in both directions
    network = awake(built(32, 3))
    high, middle, low = (normals(r, 2, 3, s, s) for r, s in enumerate((32, 16, 8)))
    plain = network.pyramid.unpack(network(pack(high, middle, low), TIME, told))
    for seen, other in enumerate(
        [(-high, middle, low), (high, -middle, low), (high, middle, -low)]
    ):
        changed = network.pyramid.unpack(network(pack(*other), TIME, told))
        assert all(not torch.allclose(a, b) for a, b in zip(plain, changed, strict=True)), seen
    for shell in network.shells:
        nn.init.zeros_(shell.into.weight), nn.init.zeros_(shell.into.bias)
    plain = network.pyramid.unpack(network(pack(high, middle, low), TIME, told))
    changed = network.pyramid.unpack(network(pack(-high, middle, low), TIME, told))
    assert not torch.allclose(plain[0], changed[0])
    assert torch.equal(plain[1], changed[1]) and torch.equal(plain[2], changed[2])


def test_every_parameter_learns(normals, told, awake):
    network = awake(built(32, 3))
    x = normals(0, 2, 3, sum(network.pyramid.lengths))
    network(x, TIME, told).square().sum().backward()
    without = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []


def test_a_few_steps_wake_every_parameter_of_a_fresh_network(normals, told):
    """Zero adapters around a zero output are no deadlock."""
    network = built(16, 2)
    x, target = normals(0, 2, 3, 320), normals(1, 2, 3, 320)
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    first = copy.deepcopy(network.state_dict())
    for _ in range(6):
        optimizer.zero_grad()
        (network(x, TIME, told) - target).square().mean().backward()
        optimizer.step()
    still = [
        name for name, weight in network.state_dict().items() if torch.equal(weight, first[name])
    ]
    assert still == []


def test_every_level_hears_time_and_text(normals, told, awake, make_condition):
    network = awake(built(32, 2))
    for shell in network.shells:  # each for itself
        nn.init.zeros_(shell.into.weight), nn.init.zeros_(shell.into.bias)
        nn.init.zeros_(shell.out_of.weight), nn.init.zeros_(shell.out_of.bias)
    x = normals(0, 2, 3, 1280)
    plain = network.pyramid.unpack(network(x, TIME, told))
    for other in (network(x, TIME.flip(0), told), network(x, TIME, make_condition(5, [3, 2]))):
        for a, b in zip(plain, network.pyramid.unpack(other), strict=True):
            assert not torch.allclose(a, b)


def test_shells_are_thin_and_have_no_attention():
    network = built(128, 4, width=64)
    core = sum(p.numel() for p in network.core.parameters())
    assert sum(p.numel() for p in network.shells.parameters()) < 0.15 * core
    assert not [n for n, _ in network.shells.named_modules() if "attention" in n]
    assert isinstance(network.shells[0], Shell)


def test_what_does_not_fit_is_refused():
    with pytest.raises(RuntimeError):
        built(32, 2).nest(UNet(3, 16, **(SETTINGS | {"width": 32})))
    with pytest.raises(RuntimeError, match="do not fit into"):
        built(16, 2).nest(built(32, 3))
    with pytest.raises(ValueError, match="halved"):
        built(36, 4)


def test_the_inside_is_all_but_the_outermost_shell():
    network = built(32, 3)
    inside = {id(p) for part in network.inside() for p in part.parameters()}
    outermost = {id(p) for p in network.shells[-1].parameters()}
    assert inside | outermost == {id(p) for p in network.parameters()}
    assert not inside & outermost and built(8, 1).inside() == []


def test_bf16_is_close_to_fp32(normals, told, awake):
    network = awake(built(32, 2), std=0.02)
    x = normals(0, 2, 3, 1280)
    expected = network(x, TIME, told)
    with torch.autocast("cpu", torch.bfloat16):
        found = network(x, TIME, told)
    assert found.dtype == torch.float32
    assert float(((found - expected).std() / expected.std()).detach()) < 0.05
