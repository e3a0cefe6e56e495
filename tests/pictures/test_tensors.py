"""Tensor to picture, against numbers worked out by hand and exact round trips."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sfumato.errors import SfumatoError
from sfumato.pictures.tensors import HAZE, to_pictures

MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def batch_of(levels, count=1):
    """The inverse: uint8 (H, W) or (H, W, C), straight colour, to (count, C, H, W) in [-1, 1]."""
    unit = torch.from_numpy(np.atleast_3d(levels)).float().permute(2, 0, 1) / 255
    if len(unit) == 4:
        unit = torch.cat([unit[:3] * unit[3:], unit[3:]])
    return (unit * 2 - 1).expand(count, -1, -1, -1)


def test_ends_and_middle_are_exact():
    x = torch.tensor([-1.0, 1.0, -2.0, 3.0, 0.0, -1 + 2 * 100.4 / 255, -1 + 2 * 100.6 / 255])
    levels = np.asarray(to_pictures(x.reshape(1, 1, 1, 7))[0]).ravel().tolist()
    assert levels == [0, 255, 0, 255, 128, 100, 101]


def test_premultiplied_becomes_straight():
    # half-transparent orange (255, 128, 0): premultiplied colour is half of it
    alpha = 128 / 255
    unit = torch.tensor([1.0 * alpha, 128 / 255 * alpha, 0.0, alpha])
    picture = to_pictures((unit * 2 - 1).reshape(1, 4, 1, 1))[0]
    assert picture.mode == "RGBA"
    assert picture.getpixel((0, 0)) == (255, 128, 0, 128)


def test_colour_brighter_than_its_alpha_is_clipped():
    unit = torch.tensor([0.9, 0.1, 0.0, 0.4])
    picture = to_pictures((unit * 2 - 1).reshape(1, 4, 1, 1))[0]
    assert picture.getpixel((0, 0)) == (255, 64, 0, 102)


def test_haze_is_cleaned_and_what_is_seen_stays():
    unit = torch.full((2, 4, 1, 1), 0.01)
    unit[0, 3] = HAZE * 0.99
    unit[1, 3] = HAZE * 1.01
    hazy, seen = to_pictures(unit * 2 - 1)
    assert hazy.getpixel((0, 0)) == (0, 0, 0, 0)
    assert seen.getpixel((0, 0))[3] == 4


@pytest.mark.parametrize("channels", [1, 3, 4])
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_round_trip_is_exact(channels, data):
    height, width = data.draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    shape = (height, width) if channels == 1 else (height, width, channels)
    levels = data.draw(arrays(np.uint8, shape))
    if channels == 4:  # what no PNG of ours holds: haze, and colour under nothing
        levels[levels[..., 3] < 4] = 0
    after = to_pictures(batch_of(levels, 2))[1]
    assert after.mode == MODES[channels]
    assert np.array_equal(np.asarray(after), levels)


@pytest.mark.parametrize("alpha", range(256))
def test_every_alpha_but_haze_comes_back(alpha):
    before = np.array([[[255, 1, 128, alpha]]], dtype=np.uint8)
    after = to_pictures(batch_of(before))[0].getpixel((0, 0))
    assert after == ((0, 0, 0, 0) if alpha < 4 else (255, 1, 128, alpha))


def test_each_picture_of_a_batch_is_its_own():
    g = torch.Generator().manual_seed(0)
    x = torch.rand(3, 3, 5, 7, generator=g) * 2 - 1
    together = [picture.tobytes() for picture in to_pictures(x)]
    alone = [to_pictures(x[i : i + 1])[0].tobytes() for i in range(3)]
    assert together == alone and len(set(alone)) == 3
    assert to_pictures(x)[0].size == (7, 5)


def test_half_precision_is_taken():
    x = torch.tensor([-1.0, 1.0]).reshape(1, 1, 1, 2)
    assert to_pictures(x.bfloat16())[0].tobytes() == to_pictures(x)[0].tobytes()


def test_not_finite_is_said():
    x = torch.zeros(1, 3, 2, 2)
    x[0, 1, 0, 1] = float("nan")
    with pytest.raises(SfumatoError, match="not finite"):
        to_pictures(x)


@pytest.mark.parametrize("shape", [(3, 4, 4), (1, 2, 4, 4), (1, 5, 4, 4)])
def test_wrong_shapes_are_refused(shape):
    with pytest.raises(ValueError, match="expected"):
        to_pictures(torch.zeros(shape))
