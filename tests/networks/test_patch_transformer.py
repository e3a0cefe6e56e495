"""What is particular to the transformer; the rest is in test_every_network."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from sfumato.networks.patch_transformer import PatchTransformer


def small(**settings):
    torch.manual_seed(0)
    return PatchTransformer(
        **{"channels": 2, "side": 12, "patch": 4, "width": 32, "depth": 2, "heads": 2} | settings,
        condition_width=24,
    )


def shuffled(x, order, patch=4):
    """The picture with its patches in another order."""
    patches = F.unfold(x, patch, stride=patch)
    return F.fold(patches[..., order], x.shape[-2:], patch, stride=patch)


def test_only_positions_tell_patches_apart(make_condition, normals, awake):
    network, condition = awake(small()), make_condition(1, [3, 2])
    x, time, order = normals(0, 2, 2, 12, 12), torch.tensor([10.0, 900.0]), torch.randperm(9)
    output = network(x, time, condition)
    moved = network(shuffled(x, order), time, condition)
    assert (moved - shuffled(output, order)).abs().max() > 0.01
    nn.init.zeros_(network.positions)
    output = network(x, time, condition)
    moved = network(shuffled(x, order), time, condition)
    torch.testing.assert_close(moved, shuffled(output, order), atol=2e-5, rtol=2e-5)


def test_a_patch_comes_out_where_it_went_in(make_condition, normals, awake):
    # with a final layer that undoes the embedding and blocks shut, the picture passes through
    network = small(channels=2, patch=4, width=32)
    nn.init.zeros_(network.positions)
    with torch.no_grad():
        nn.init.orthogonal_(network.embed.weight)
        nn.init.zeros_(network.embed.bias)
        network.final.weight.copy_(network.embed.weight.T)
    x = normals(0, 2, 2, 12, 12)
    output = network(x, torch.tensor([1.0, 2.0]), make_condition(1, [3, 2]))
    # the last norm divides each patch by its root mean square
    size = F.unfold(x, 4, stride=4).square().mean(1, keepdim=True).sqrt()
    expected = F.fold(F.unfold(x, 4, stride=4) / size, (12, 12), 4, stride=4)
    torch.testing.assert_close(output, expected, atol=1e-4, rtol=1e-4)


def test_the_bottleneck_limits_the_rank_of_the_embedding():
    direct, narrow = small(), small(bottleneck=5)
    assert isinstance(direct.embed, nn.Linear)
    first, second = narrow.embed
    assert torch.linalg.matrix_rank(second.weight @ first.weight) == 5
    assert torch.linalg.matrix_rank(direct.embed.weight) == 32


def test_any_number_of_text_tokens(make_condition, normals, awake):
    network = awake(small())
    x, time = normals(0, 1, 2, 12, 12), torch.tensor([5.0])
    outputs = [network(x, time, make_condition(1, [length])) for length in (1, 24, 77)]
    assert (outputs[0] - outputs[1]).abs().max() > 1e-4
    assert (outputs[1] - outputs[2]).abs().max() > 1e-4
