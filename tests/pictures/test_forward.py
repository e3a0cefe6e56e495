"""The strip of the forward process shows exactly x_t."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sfumato.diffusion import Flow, cosine, linear_betas
from sfumato.diffusion.randomness import normal
from sfumato.pictures.forward import TIMES, forward_strip

SIDE, GAP = 16, 8
PICTURE = torch.rand(3, SIDE, SIDE, generator=torch.Generator().manual_seed(0)) * 2 - 1


def cells(strip, count, side=SIDE):
    """The pictures in the strip, (count, side, side, 3) in 0..255."""
    pixels = np.asarray(strip)[GAP : GAP + side]
    return np.stack([pixels[:, GAP + i * (side + GAP) :][:, :side] for i in range(count)])


def ddpm_levels(k, steps=1000):
    """alpha_bar by multiplying the chain's own steps, in plain numbers."""
    kept = 1.0
    for i in range(k):
        kept *= 1 - (1e-4 + i / (steps - 1) * (0.02 - 1e-4))
    return kept**0.5, (1 - kept) ** 0.5


@settings(max_examples=12)
@given(st.lists(st.integers(0, 1000), min_size=1, max_size=4), st.integers(0, 9))
def test_each_cell_is_the_picture_at_that_time(ks, seed):
    strip = forward_strip(PICTURE, linear_betas(1000), [k / 1000 for k in ks], seed, cell=SIDE)
    eps = normal(PICTURE.shape, [0], seed, "start")[0].numpy().astype(float)
    shown = cells(strip, len(ks))
    for k, cell in zip(ks, shown, strict=True):
        alpha, sigma = ddpm_levels(k)
        x = np.clip(alpha * PICTURE.numpy() + sigma * eps, -1, 1).transpose(1, 2, 0)
        assert np.abs(cell - (x + 1) * 127.5).max() < 0.51, "no more than the rounding"


@pytest.mark.parametrize("schedule", [Flow(), cosine(), linear_betas(100)])
def test_from_the_picture_to_noise_whatever_the_schedule(schedule):
    shown = cells(forward_strip(PICTURE, schedule, cell=SIDE), len(TIMES))
    clean = (PICTURE.numpy().transpose(1, 2, 0) + 1) * 127.5
    likeness = [np.corrcoef(cell.ravel(), clean.ravel())[0, 1] for cell in shown]
    assert likeness == sorted(likeness, reverse=True)
    assert likeness[0] > 0.999 and abs(likeness[-1]) < 0.15


def test_grey_and_transparent_pictures_and_wrong_times():
    for channels in (1, 4):
        assert forward_strip(torch.zeros(channels, 8, 8), Flow()).mode == "RGB"
    with pytest.raises(ValueError, match="time must lie in"):
        forward_strip(PICTURE, Flow(), [1.5])
