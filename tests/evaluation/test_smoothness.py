"""Correlation of neighbours: numpy's own, and known mixtures of a smooth picture and noise."""

import numpy as np
import pytest

from sfumato.evaluation.smoothness import neighbour_correlation


def test_the_same_as_numpys_on_pairs_listed_one_by_one():
    images = np.random.default_rng(0).integers(0, 256, (3, 3, 5, 7), dtype=np.uint8)
    for image, found in zip(images, neighbour_correlation(images), strict=True):
        grey = image.mean(0)
        pairs = [(grey[y, x], grey[y, x + 1]) for y in range(5) for x in range(6)]
        pairs += [(grey[y, x], grey[y + 1, x]) for y in range(4) for x in range(7)]
        assert found == pytest.approx(np.corrcoef(np.array(pairs).T)[0, 1])


@pytest.mark.parametrize("share", [0.0, 0.3, 0.6])
def test_noise_lowers_it_as_the_variances_say(share):
    draw = np.random.default_rng(1)
    ramp = np.linspace(-1, 1, 256)[None, :] * np.ones((256, 1))
    ramp /= ramp.std()
    mixed = np.sqrt(1 - share) * ramp + np.sqrt(share) * draw.normal(size=ramp.shape)
    images = np.round(128 + 30 * mixed).clip(0, 255).astype(np.uint8)[None, None]
    # the smooth part is nearly the same one pixel on, the noise is another
    assert neighbour_correlation(images)[0] == pytest.approx(1 - share, abs=0.02)


def test_one_colour_holds_no_noise_and_transparency_is_laid_on_white():
    flat = np.full((1, 3, 8, 8), 77, dtype=np.uint8)
    assert neighbour_correlation(flat)[0] == 1
    draw = np.random.default_rng(2)
    alpha = draw.integers(0, 256, (1, 1, 8, 8), dtype=np.uint8)
    black = np.concatenate([np.zeros((1, 3, 8, 8), np.uint8), alpha], 1)
    assert neighbour_correlation(black)[0] == pytest.approx(neighbour_correlation(255 - alpha)[0])
