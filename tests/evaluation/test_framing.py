"""What is drawn fills the frame, wherever and however small it was."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sfumato.evaluation.framing import canvas_for, framed, frames_of


def box(left, top, width, height, side=64):
    picture = torch.zeros(1, 4, side, side)
    picture[:, 0, top : top + height, left : left + width] = 1
    picture[:, 3, top : top + height, left : left + width] = 1
    return picture


@given(st.integers(16, 48), st.integers(16, 48), st.floats(0, 1), st.floats(0, 1), st.booleans())
def test_a_box_is_centred_and_fills_the_frame(width, height, right, down, stray):
    left, top = round(right * (64 - width)), round(down * (64 - height))
    picture = box(left, top, width, height)
    if stray:
        picture[:, 3, 0, 0] = 1  # one pixel is not the drawing
    maps = frames_of(picture)[0]
    assert maps[0, 0] == maps[1, 1] and maps[0, 1] == maps[1, 0] == 0
    # the centre of the canvas shows the centre of the box, in [-1, 1] from edge to edge
    assert maps[0, 2] == pytest.approx((2 * left + width) / 64 - 1, abs=1e-5)
    assert maps[1, 2] == pytest.approx((2 * top + height) / 64 - 1, abs=1e-5)
    # and the longer side spans 94% of it
    assert maps[0, 0] == pytest.approx(max(width, height) / 64 / 0.94, abs=1e-5)


def test_place_and_size_are_forgotten():
    one, other = (framed(b, 48) for b in (box(2, 5, 20, 30), box(24, 3, 40, 60)))
    assert (one - other).abs().mean() < 0.01
    assert one[0, 3].mean().item() == pytest.approx(0.94**2 * 2 / 3, abs=0.03)


@pytest.mark.parametrize("channels", [1, 3])
def test_without_transparency_everything_is_looked_at(channels):
    picture = torch.rand(2, channels, 24, 24, generator=torch.Generator().manual_seed(0))
    assert torch.equal(frames_of(picture), torch.eye(2, 3).repeat(2, 1, 1))
    # a canvas of the same side shows the picture, softened by the four samples
    assert (framed(picture, 24) - picture).abs().mean() < 0.2
    constant = torch.full((1, channels, 24, 24), 0.3)
    torch.testing.assert_close(framed(constant, 16)[..., 1:-1, 1:-1], constant[..., :14, :14])


def test_empty_pictures_and_dots_are_no_trouble():
    empty = torch.zeros(1, 4, 64, 64)
    assert torch.equal(frames_of(empty)[0], torch.eye(2, 3))
    assert frames_of(box(30, 30, 2, 2))[0, 0, 0] == 0.25


@pytest.mark.parametrize(("side", "canvas"), [(4, 16), (16, 16), (28, 32), (33, 48), (512, 48)])
def test_the_canvas_is_no_larger_than_needed(side, canvas):
    assert canvas_for(side) == canvas
