from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from sfumato.networks.autoencoder import Autoencoder, ResidualBlock, reconstruction_loss


@pytest.fixture
def make():
    def build(channels=4, latent_channels=6, width=16, factor=8):
        torch.manual_seed(0)
        return Autoencoder(channels, latent_channels, width, factor)

    return build


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize(("height", "width"), [(8, 8), (64, 64), (24, 40)])
@pytest.mark.parametrize("factor", [4, 8])
def test_shapes(make, normals, channels, height, width, factor):
    autoencoder = make(channels, factor=factor)
    pictures = normals(0, 2, channels, height, width)
    latents = autoencoder.encode(pictures)
    assert latents.shape == (2, 6, height // factor, width // factor)
    assert latents.dtype == torch.float32
    assert autoencoder.decode(latents).shape == pictures.shape


@pytest.mark.parametrize(("height", "width"), [(8, 12), (12, 8), (4, 4), (63, 64)])
def test_sides_that_are_no_multiple_of_8_raise(make, normals, height, width):
    with pytest.raises(ValueError, match=f"multiples of 8.*{height}.*{width}"):
        make().encode(normals(0, 1, 4, height, width))


def test_every_residual_block_is_the_identity_at_initialisation(make, normals, awake):
    autoencoder = make()
    changes = []
    blocks = [m for m in autoencoder.modules() if isinstance(m, ResidualBlock)]
    for block in blocks:
        block.register_forward_hook(
            lambda module, inputs, output: changes.append(not torch.equal(inputs[0], output))
        )
    pictures = normals(0, 2, 4, 16, 24)
    autoencoder(pictures, torch.zeros(2, 6, 2, 3))
    assert changes == [False] * len(blocks) and len(blocks) == 8
    changes.clear()
    awake(autoencoder)(pictures, torch.zeros(2, 6, 2, 3))
    assert changes == [True] * len(blocks)


def test_a_batch_is_its_pictures_one_by_one(make, normals, awake):
    autoencoder = awake(make())
    pictures, disturbance = normals(0, 3, 4, 24, 16), 0.1 * normals(1, 3, 6, 3, 2)
    output, latents = autoencoder(pictures, disturbance)
    for i in range(3):
        one, latent = autoencoder(pictures[i : i + 1], disturbance[i : i + 1])
        torch.testing.assert_close(output[i : i + 1], one, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(latents[i : i + 1], latent, atol=1e-5, rtol=1e-5)


def test_the_training_pass_decodes_the_disturbed_latents(make, normals):
    autoencoder = make()
    pictures, disturbance = normals(0, 2, 4, 16, 16), normals(1, 2, 6, 2, 2)
    output, latents = autoencoder(pictures, disturbance)
    assert torch.equal(latents, autoencoder.encode(pictures))
    assert torch.equal(output, autoencoder.decode(latents + disturbance))
    assert (output - autoencoder.decode(latents)).abs().max() > 1e-3


def test_normalized_latents_have_unit_variance_and_decode_as_before(make, normals, awake):
    autoencoder = awake(make())
    pictures = 0.5 * normals(0, 32, 4, 32, 32) + 0.3
    raw = autoencoder.encode(pictures)
    assert (raw.std((0, 2, 3)) - 1).abs().max() > 0.1
    before = autoencoder.decode(raw)
    autoencoder.normalize(raw.mean((0, 2, 3)), raw.std((0, 2, 3)))
    latents = autoencoder.encode(pictures)
    torch.testing.assert_close(latents.mean((0, 2, 3)), torch.zeros(6), atol=1e-4, rtol=0.0)
    torch.testing.assert_close(latents.std((0, 2, 3)), torch.ones(6), atol=1e-4, rtol=0.0)
    # the statistics cancel: the same latent still means the same picture
    torch.testing.assert_close(autoencoder.decode(latents), before, atol=1e-4, rtol=1e-4)


def test_the_statistics_are_saved_with_the_weights_and_do_not_learn(make):
    autoencoder = make()
    autoencoder.normalize(torch.arange(6.0), torch.arange(1.0, 7.0))
    copy = make()
    copy.load_state_dict(autoencoder.state_dict())
    assert copy.mean.tolist() == [0, 1, 2, 3, 4, 5]
    assert copy.std.tolist() == [1, 2, 3, 4, 5, 6]
    assert not {"mean", "std"} & {name for name, _ in autoencoder.named_parameters()}


def test_a_channel_that_never_varies_stays_finite(make, normals):
    autoencoder = make()
    autoencoder.normalize(torch.zeros(6), torch.zeros(6))
    assert autoencoder.encode(normals(0, 1, 4, 8, 8)).isfinite().all()


def test_no_norm_washes_colours_out(make, normals, awake):
    # a decoder with a norm over the picture would forget how strong the latents are
    autoencoder = awake(make())
    latents = normals(0, 1, 6, 2, 2)
    weak, strong = autoencoder.decode(latents), autoencoder.decode(10 * latents)
    assert strong.std() > 3 * weak.std()


def test_bf16_is_close_to_fp32(make, normals, awake):
    autoencoder = awake(make(width=32))
    pictures = normals(0, 2, 4, 32, 32)
    exact, exact_latents = autoencoder(pictures, torch.zeros(2, 6, 4, 4))
    with torch.autocast("cpu", torch.bfloat16):
        rough, latents = autoencoder(pictures, torch.zeros(2, 6, 4, 4))
    assert rough.dtype == latents.dtype == torch.float32
    assert 1e-5 < (latents - exact_latents).norm() / exact_latents.norm() < 0.03
    assert 1e-5 < (rough - exact).norm() / exact.norm() < 0.03


def test_every_parameter_learns(make, normals, awake):
    autoencoder = awake(make())
    output, _ = autoencoder(normals(0, 2, 4, 16, 16), torch.zeros(2, 6, 2, 2))
    output.square().sum().backward()
    idle = [name for name, p in autoencoder.named_parameters() if not p.grad.any()]
    assert idle == []


def test_it_learns_to_give_a_picture_back(make, normals):
    autoencoder = make(channels=3, width=32)
    pictures = nn.functional.interpolate(normals(0, 4, 3, 4, 4), scale_factor=4)
    optimizer = torch.optim.AdamW(autoencoder.parameters(), 5e-3)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        output, _ = autoencoder(pictures, torch.zeros(4, 6, 2, 2))
        loss = reconstruction_loss(output, pictures).mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 3


def plain_loss(output, picture):
    """The stated loss of one picture (C, H, W), difference by difference."""
    d = (output - picture).double().numpy()
    channels, height, width = d.shape
    level = [abs(v) + v * v for v in d.flat]
    across = [
        abs(d[c, y, x + 1] - d[c, y, x])
        for c in range(channels)
        for y in range(height)
        for x in range(width - 1)
    ]
    down = [
        abs(d[c, y + 1, x] - d[c, y, x])
        for c in range(channels)
        for y in range(height - 1)
        for x in range(width)
    ]
    return np.mean(level) + np.mean(across) + np.mean(down)


@pytest.mark.parametrize("shape", [(2, 3, 4, 6), (3, 1, 3, 3), (4, 4, 2, 5)])
def test_the_loss_is_the_stated_one_picture_by_picture(normals, shape):
    output, pictures = normals(0, *shape), normals(1, *shape)
    loss = reconstruction_loss(output, pictures)
    expected = [plain_loss(one, other) for one, other in zip(output, pictures, strict=True)]
    assert loss.shape == shape[:1]
    torch.testing.assert_close(loss.double(), torch.tensor(np.array(expected)))


def test_the_loss_of_a_perfect_picture_is_zero(normals):
    pictures = normals(0, 2, 3, 8, 8)
    assert not reconstruction_loss(pictures, pictures).any()
    # a constant shift has no gradients: |d| + d^2 alone
    shifted = reconstruction_loss(pictures + 0.5, pictures)
    torch.testing.assert_close(shifted, torch.full((2,), 0.75))
