"""What every picture network promises, whatever is inside it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sfumato.conditioning.condition import Condition
from sfumato.networks.context_unet import ContextUNet
from sfumato.networks.patch_transformer import PatchTransformer
from sfumato.networks.patch_unet import PatchUNet
from sfumato.networks.tiny_unet import TinyUNet
from sfumato.networks.unet import UNet
from sfumato.networks.unet_blocks import each_pixel

CLOSE = {"atol": 2e-5, "rtol": 2e-5}
TIMES = torch.tensor([3.0, 250.0, 999.0])


def blocks_of(network):
    return [m for m in network.modules() if type(m).__name__.endswith("Block")]


def record_changes(network):
    """For every residual block, whether it gave back exactly what it got, as it is called.

    What a block of a new width got is seen through its skip.
    """
    changes = []

    def compare(module, inputs, output):
        skip = getattr(module, "skip", torch.nn.Identity())
        changes.append(not torch.equal(each_pixel(skip, inputs[0]), output))

    for block in blocks_of(network):
        block.register_forward_hook(compare)
    return changes


def test_the_output_is_zero_at_initialisation(make_network, make_condition, normals):
    for channels, side in ((1, 28), (3, 32), (4, 64)):
        network = make_network(channels, side)
        output = network(normals(0, 2, channels, side, side), TIMES[:2], make_condition(1, [3, 5]))
        assert output.shape == (2, channels, side, side)
        assert output.dtype == torch.float32
        assert not output.any()


def test_every_residual_block_is_the_identity_at_initialisation(
    make_network, make_condition, normals, awake
):
    # mistake 11: an initialisation of the whole network after its construction would undo this
    network = make_network(3, 16)
    changes = record_changes(network)
    x, condition = normals(0, 3, 3, 16, 16), make_condition(1, [3, 5, 1])
    network(x, TIMES, condition)
    assert changes == [False] * len(blocks_of(network))
    assert len(changes) >= 2
    changes.clear()
    awake(network)(x, TIMES, condition)
    assert changes == [True] * len(blocks_of(network))


@pytest.mark.parametrize(
    ("batch", "height", "width"), [(2, 9, 14), (3, 3, 16), (5, 5, 5), (1, 16, 16), (4, 16, 4)]
)
def test_batch_height_and_width_are_not_confused(
    make_network, make_condition, normals, awake, batch, height, width
):
    network = awake(make_network(3, 16))
    x = normals(0, batch, 3, height, width)
    time = torch.linspace(0, 1000, batch)
    condition = make_condition(1, [2 + i % 3 for i in range(batch)])
    together = network(x, time, condition)
    assert together.shape == x.shape
    assert together.std() > 0.01
    for i in range(batch):
        row = slice(i, i + 1)
        told = Condition(condition.vector[row], condition.tokens[row], condition.mask[row])
        torch.testing.assert_close(together[row], network(x[row], time[row], told), **CLOSE)


def test_padding_tokens_change_nothing(make_network, make_condition, normals, awake):
    network = awake(make_network(3, 16))
    reads = not isinstance(network, ContextUNet)  # the others are told tokens, this one a vector
    x = normals(0, 3, 3, 16, 16)
    condition = make_condition(1, [2, 4, 4], padding=3)
    expected = network(x, TIMES, condition)
    loud = torch.where(condition.mask[..., None], condition.tokens, 1e4)
    assert torch.equal(network(x, TIMES, replace(condition, tokens=loud)), expected)
    cut = replace(condition, tokens=condition.tokens[:, :4], mask=condition.mask[:, :4])
    torch.testing.assert_close(network(x, TIMES, cut), expected, **CLOSE)
    # and the mask is read at all
    seen = replace(condition, tokens=loud, mask=torch.ones_like(condition.mask))
    assert ((network(x, TIMES, seen) - expected).abs().max() > 1e-3) == reads


def test_text_and_time_reach_every_picture(make_network, make_condition, normals, awake):
    network = awake(make_network(3, 16))
    x = normals(0, 3, 3, 16, 16)
    condition = make_condition(1, [2, 4, 3])
    vector, tokens = condition.vector.requires_grad_(), condition.tokens.requires_grad_()
    time = TIMES.clone().requires_grad_()
    output = network(x, time, replace(condition, vector=vector, tokens=tokens))
    output.square().sum().backward()
    assert (vector.grad.norm(dim=1) > 1e-3).all()
    assert (time.grad.abs() > 1e-6).all()
    if isinstance(network, ContextUNet):
        assert tokens.grad is None
        return
    reach = tokens.grad.norm(dim=2)
    assert (reach[condition.mask] > 1e-5).all()
    assert not reach[~condition.mask].any()


def test_one_picture_is_told_nothing_about_another(make_network, make_condition, normals, awake):
    network = awake(make_network(3, 16))
    x = normals(0, 3, 3, 16, 16).requires_grad_()
    condition = make_condition(1, [2, 4, 3])
    vector, tokens = condition.vector.requires_grad_(), condition.tokens.requires_grad_()
    told = replace(condition, vector=vector, tokens=tokens)
    network(x, TIMES, told)[1].sum().backward()
    gradients = [x.grad, vector.grad, *([] if tokens.grad is None else [tokens.grad])]
    assert len(gradients) == 2 + (not isinstance(network, ContextUNet))
    for gradient in gradients:
        touched = gradient.flatten(1).any(1)
        assert touched.tolist() == [False, True, False]


def test_every_parameter_learns(make_network, make_condition, normals, awake):
    network = awake(make_network(3, 16))
    network(normals(0, 3, 3, 16, 16), TIMES, make_condition(1, [2, 4, 3])).square().sum().backward()
    idle = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert idle == []


def test_the_first_steps_open_the_whole_network(make_network, make_condition, normals):
    # zero at the start, but not stuck there: the layers open one after the other
    network = make_network(3, 16, patch=4)
    optimizer = torch.optim.AdamW(network.parameters(), 1e-2)
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    x, condition = normals(0, 3, 3, 16, 16), make_condition(1, [2, 4, 3])
    for _ in range(4):
        optimizer.zero_grad()
        (network(x, TIMES, condition) - x).square().mean().backward()
        assert all(bool(p.grad.isfinite().all()) for p in network.parameters())
        optimizer.step()
    moved = [
        name for name, p in network.named_parameters() if p.grad.any() and (p != before[name]).any()
    ]
    assert moved == list(before)


def test_pictures_follow_the_text_after_a_little_training(make_network, make_condition, normals):
    # the same noise must become one of two pictures, and only the text says which
    network = make_network(1, 8, patch=2, width=32)
    noise = normals(0, 1, 1, 8, 8).expand(2, -1, -1, -1)
    pictures = torch.sign(normals(1, 2, 1, 8, 8))
    condition = make_condition(2, [3, 2])
    optimizer = torch.optim.AdamW(network.parameters(), 1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        loss = (network(noise, TIMES[:2] * 0 + 900, condition) - pictures).square().mean()
        loss.backward()
        optimizer.step()
    assert loss < 0.1  # what ignores the text cannot fall below a half or so
    floor = (pictures - pictures.mean(0)).square().mean()
    assert floor > 0.3


def test_bf16_is_close_to_fp32(make_network, make_condition, normals, awake):
    network = awake(make_network(3, 16))
    x, condition = normals(0, 3, 3, 16, 16), make_condition(1, [2, 4, 3], padding=1)
    exact = network(x, TIMES, condition)
    with torch.autocast("cpu", torch.bfloat16):
        rough = network(x, TIMES, condition)
    assert rough.dtype == torch.float32
    difference = (rough - exact).norm() / exact.norm()
    assert 1e-5 < difference < 0.03  # it did run in another precision, and well


def test_a_picture_that_is_too_large_raises_where_places_are_learned(
    make_network, make_condition, normals, awake
):
    network = awake(make_network(3, 16))
    for height, width in ((16, 24), (24, 16), (17, 17)):
        x, condition = normals(0, 1, 3, height, width), make_condition(1, [2])
        if isinstance(network, UNet | TinyUNet):
            output = network(x, TIMES[:1], condition)
            assert output.shape == x.shape and bool(output.any())
        else:
            with pytest.raises(ValueError, match=f"16.*{height} x {width}"):
                network(x, TIMES[:1], condition)


def test_a_wrong_number_of_channels_raises(make_network, make_condition, normals):
    with pytest.raises(RuntimeError):
        make_network(3, 16)(normals(0, 1, 4, 16, 16), TIMES[:1], make_condition(1, [2]))


@settings(max_examples=12, deadline=None)
@given(
    channels=st.sampled_from([1, 3, 4, 16]),
    side=st.integers(4, 33),
    patch=st.sampled_from([1, 2, 4]),
    kind=st.sampled_from([PatchTransformer, PatchUNet, UNet, ContextUNet, TinyUNet]),
)
def test_any_side_fits(channels, side, patch, kind):
    torch.manual_seed(0)
    told = {PatchTransformer: (side, patch), PatchUNet: (side, patch), TinyUNet: ()}
    network = kind(channels, *told.get(kind, (side,)), width=16, depth=2, condition_width=8)
    torch.nn.init.normal_(network.final.weight)
    x = torch.randn(2, channels, side, side)
    told = Condition(torch.randn(2, 8), torch.randn(2, 3, 8), torch.ones(2, 3, dtype=torch.bool))
    output = network(x, torch.tensor([1.0, 500.0]), told)
    assert output.shape == x.shape
    # no edge is left out: every row and every column is written
    assert (output.abs().amax((0, 1, 2)) > 0).all()
    assert (output.abs().amax((0, 1, 3)) > 0).all()


def test_the_smallest_distance_in_time_is_seen(make_network, make_condition, normals, awake):
    # mistake 12: times of 0..1 in an embedding for 0..1000 would all look alike
    network = awake(make_network(3, 16))
    x, condition = normals(0, 1, 3, 16, 16), make_condition(1, [3])
    outputs = [network(x, torch.tensor([t]), condition) for t in (0.0, 1.0, 500.0, 999.0, 1000.0)]
    for i, one in enumerate(outputs):
        for other in outputs[i + 1 :]:
            assert (one - other).abs().max() > 1e-4


@pytest.mark.parametrize(
    ("width", "depth"),
    [(128, 4), (256, 8), (512, 12), (768, 16)],
    ids=["tiny", "small", "base", "large"],
)
def test_both_networks_of_a_size_have_about_as_many_parameters(width, depth):
    with torch.device("meta"):
        transformer = PatchTransformer(3, 64, 8, width, depth, width // 64, 256, bottleneck=128)
        unet = PatchUNet(3, 64, 4, width, depth, 256)
    one, other = (sum(p.numel() for p in m.parameters()) for m in (transformer, unet))
    assert 0.9 < one / other < 1.1


@pytest.mark.parametrize("kind", [PatchTransformer, PatchUNet])
def test_every_place_has_a_position_of_its_own_from_the_start(kind):
    positions = kind(2, 16, patch=4, width=32).positions.detach().flatten(0, -2)
    distances = torch.cdist(positions, positions) + 1e9 * torch.eye(len(positions))
    assert distances.min() > 0.1
