"""Variations stay pictures, and keep what tells things apart."""

from __future__ import annotations

import pytest
import torch
from shapes import shape

from sfumato.evaluation.framing import frames_of
from sfumato.evaluation.variations import vary


def varied(pictures, seed=0, canvas=32):
    return vary(pictures, frames_of(pictures), canvas, torch.Generator().manual_seed(seed))


def many(kind, channels=4):
    images = [torch.from_numpy(shape(kind, n, channels=channels)) for n in range(64)]
    return torch.stack(images).float() / 255


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_variations_are_pictures(channels):
    pictures = many("red disc", channels)
    found = varied(pictures)
    assert found.shape == (64, channels, 32, 32)
    assert found.min() >= 0 and found.max() <= 1
    assert torch.equal(found, varied(pictures))
    assert not torch.equal(found, varied(pictures, seed=1))


def test_no_two_variations_are_alike():
    found = varied(many("red disc")[:1].repeat(32, 1, 1, 1)).flatten(1)
    distances = torch.cdist(found, found) + 1e9 * torch.eye(32)
    assert distances.min() > 0.1


def test_a_red_thing_stays_red_and_a_blue_one_blue():
    for kind, strong, weak in (("red disc", 0, 2), ("blue disc", 2, 0)):
        found = varied(many(kind)).mean((2, 3))
        assert (found[:, strong] > 1.3 * found[:, weak]).float().mean() > 0.95


def test_the_drawing_stays_in_the_picture():
    found = varied(many("red square"))[:, 3].mean((1, 2))
    assert found.min() > 0.3  # it filled the frame before


def test_an_arrow_is_not_mirrored():
    arrow = torch.zeros(1, 4, 64, 64)
    for y in range(64):  # a triangle that points to the right
        arrow[:, :, y, 8 : 8 + max(1, 48 - round(1.5 * abs(32 - y)))] = 1
    found = varied(arrow.repeat(64, 1, 1, 1))[:, 3]
    assert (found[..., :16].sum((1, 2)) > found[..., 16:].sum((1, 2))).float().mean() > 0.95
