"""What the judge sees: edges by direction, colours by place, a mirrored picture a little less."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from sfumato.evaluation.recognizer import (
    DIRECTIONS,
    MIRRORED,
    Recognizer,
    Strokes,
    edge_directions,
    in_cells,
)


def ramp(angle, side=24):
    """A plane that rises by 1 a pixel in the direction of the angle."""
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    return (columns * math.cos(angle) + rows * math.sin(angle))[None].float()


@pytest.mark.parametrize("turns", range(2 * DIRECTIONS))
def test_a_slope_falls_into_its_direction(turns):
    found = edge_directions(ramp(turns * math.pi / DIRECTIONS))[0, :, 1:-1, 1:-1]
    # central differences of a unit slope are 2, and opposite slopes are one line
    expected = torch.zeros(DIRECTIONS)
    expected[turns % DIRECTIONS] = 2
    torch.testing.assert_close(found.mean((1, 2)), expected, atol=2e-3, rtol=0)


@pytest.mark.parametrize("angle", np.linspace(0, 2 * math.pi, 23))
def test_directions_share_the_magnitude(angle):
    found = edge_directions(ramp(angle))[0, :, 1:-1, 1:-1]
    torch.testing.assert_close(found.sum(0), torch.full((22, 22), 2.0), atol=2e-3, rtol=0)
    assert (found.mean((1, 2)) > 1e-2).sum() <= 2


def plain_cells(plane, cell):
    """The windows of `in_cells`, pixel by pixel."""
    side = len(plane)
    weights = [min(k + 1, 2 * cell - k) for k in range(2 * cell)]
    result = np.zeros((side // cell, side // cell))
    for i in range(side // cell):
        for j in range(side // cell):
            for a, down in enumerate(weights):
                for b, right in enumerate(weights):
                    y, x = i * cell + a - cell // 2, j * cell + b - cell // 2
                    if 0 <= y < side and 0 <= x < side:
                        result[i, j] += plane[y, x] * down * right
    return result / sum(weights) ** 2


@pytest.mark.parametrize("cell", [2, 3, 4])
def test_cells_are_weighted_means(cell):
    planes = torch.rand(2, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    found = in_cells(planes, cell)
    for n in range(2):
        for p in range(3):
            expected = plain_cells(planes[n, p].numpy(), cell)
            np.testing.assert_allclose(found[n, p].numpy(), expected, rtol=1e-4)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("canvas", [16, 32, 48])
def test_strokes_have_the_promised_width(channels, canvas):
    pictures = torch.rand(2, channels, canvas, canvas, generator=torch.Generator().manual_seed(0))
    strokes = Strokes(channels, canvas)
    found = strokes(pictures)
    assert found.shape == (2, strokes.width)
    assert found.isfinite().all()
    alone = torch.cat([strokes(pictures[:1]), strokes(pictures[1:])])
    torch.testing.assert_close(found, alone)


def test_a_canvas_that_cells_do_not_fit_is_refused():
    with pytest.raises(ValueError, match="multiple of 16, not 40"):
        Strokes(4, 40)


def test_colours_count_however_they_are_placed():
    strokes = Strokes(4, 16)
    red, blue = (torch.zeros(1, 4, 16, 16) for _ in range(2))
    red[:, 0], red[:, 3], blue[:, 2], blue[:, 3] = 1, 1, 1, 1
    half = torch.cat([red[..., :8], blue[..., 8:]], 3)
    shares = strokes(half)[:, -27:].square() / 9 - 1e-4
    torch.testing.assert_close(shares.sum(), torch.tensor(1.0), atol=1e-4, rtol=0)
    assert shares.topk(2).values.min() > 0.4
    turned = strokes(half.transpose(2, 3))[:, -27:].square() / 9 - 1e-4
    torch.testing.assert_close(turned, shares)


def awake(**settings):
    torch.manual_seed(0)
    network = Recognizer(4, 5, 2, canvas=16, features=32, **settings)
    network.projection.normal_(generator=torch.Generator().manual_seed(1))
    return network


def test_logits_are_cosines_with_the_nearest_prototype():
    network = awake()
    pictures = torch.rand(3, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    features, logits = network(pictures)
    assert logits.shape == (3, 5) and features.shape == (3, 32)
    for n in range(3):
        for label in range(5):
            cosines = [
                torch.nn.functional.cosine_similarity(features[n], prototype, dim=0).item()
                for prototype in network.prototypes[label]
            ]
            assert logits[n, label].item() == pytest.approx(20 * max(cosines), abs=1e-3)


def test_a_mirrored_picture_counts_a_little_less():
    network = awake()
    pictures = torch.rand(4, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    features, logits = network.judged(pictures)
    plain_features, plain = network(pictures)
    _, mirrored = network(pictures.flip(3))
    assert torch.equal(features, plain_features)
    for n in range(4):
        for label in range(5):
            expected = max(plain[n, label].item(), mirrored[n, label].item() - MIRRORED)
            assert logits[n, label].item() == pytest.approx(expected, abs=1e-4)


def test_an_unlearned_correction_changes_nothing():
    network = awake()
    strokes = torch.rand(3, network.strokes.width, generator=torch.Generator().manual_seed(0))
    features, _ = network.looked(strokes)
    projected = (strokes - network.mean) @ network.projection
    expected = projected / projected.norm(dim=1, keepdim=True) * 32**0.5
    torch.testing.assert_close(features, expected, atol=1e-4, rtol=1e-4)


def test_everything_that_should_learn_does():
    network = awake()
    with torch.no_grad():
        network.correction[2].weight.normal_()
    pictures = torch.rand(16, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    network(pictures)[1].square().sum().backward()
    assert [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []
