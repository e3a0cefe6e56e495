"""The copy guard finds copies, and finds none among honest pictures."""

import numpy as np
import pytest

from sfumato.evaluation.copies import closest, guard, pixels
from sfumato.evaluation.distances import nearest


def test_honest_samples_are_as_near_as_honest_pictures():
    draw = np.random.default_rng(0)
    training = draw.normal(size=(800, 6))
    honest, _ = nearest(draw.normal(size=(400, 6)), training)
    made, _ = nearest(draw.normal(size=(400, 6)), training)
    found = guard(made, honest, 0)
    assert found["nearer than any"]["value"] < 0.02
    for name, share in (("5%", 0.05), ("50%", 0.5)):
        assert found["nearer than quantiles"][name]["value"] == pytest.approx(share, abs=0.07)
    assert found["honest pictures"] == 400


def test_copies_are_found():
    draw = np.random.default_rng(1)
    training = draw.normal(size=(300, 6))
    honest, _ = nearest(draw.normal(size=(200, 6)), training)
    samples = draw.normal(size=(100, 6))
    samples[:30] = training[:30] + draw.normal(size=(30, 6)) * 1e-3
    order, distance, place = closest(samples, training)
    found = guard(distance, honest, 0, paired=np.full(100, np.median(honest)))
    assert found["nearer than any"]["value"] == pytest.approx(0.3, abs=0.03)
    assert set(order[:30].tolist()) == set(range(30))
    assert place[:30].tolist() == list(range(30))
    assert found["nearer than own"]["value"] > 0.5


def test_pixels_are_a_distance_from_0_to_1():
    black = np.zeros((1, 4, 64, 64), dtype=np.uint8)
    white = np.full_like(black, 255)
    assert nearest(pixels(black), pixels(white))[0] == pytest.approx(1)
    one = np.random.default_rng(2).integers(0, 256, (3, 1, 8, 8), dtype=np.uint8)
    other = np.random.default_rng(3).integers(0, 256, (3, 1, 8, 8), dtype=np.uint8)
    apart = np.sqrt(((one.astype(float) - other) ** 2).mean((1, 2, 3))) / 255
    assert np.linalg.norm(pixels(one) - pixels(other), axis=1) == pytest.approx(apart, rel=1e-5)


@pytest.mark.parametrize("side", [28, 48, 65, 100])
def test_large_pictures_are_reduced_by_whole_numbers(side):
    images = np.random.default_rng(4).integers(0, 256, (2, 3, side, side), dtype=np.uint8)
    found = pixels(images)
    assert found.shape[1] <= 3 * 32 * 32
    assert np.isfinite(found).all()


@pytest.mark.slow
def test_intervals_know_that_the_honest_quantile_is_an_estimate():
    """Samples and honest pictures of one law: the 5% lie in the interval about 95 times in 100."""
    inside = 0
    for turn in range(80):
        draw = np.random.default_rng(turn)
        made, honest = draw.normal(size=300), draw.normal(size=300)
        found = guard(made, honest, turn)["nearer than quantiles"]["5%"]
        inside += found["low"] <= 0.05 <= found["high"]
    assert inside >= 70  # where the quantile is taken for known it is about 66


def test_designs_of_one_thing_are_resampled_together():
    draw = np.random.default_rng(0)
    made, honest = np.repeat(draw.normal(size=100), 3), np.repeat(draw.normal(size=100), 3)
    names = [i // 3 for i in range(300)]
    alone = guard(made, honest, 0)["nearer than quantiles"]["50%"]
    grouped = guard(made, honest, 0, things=(names, names))["nearer than quantiles"]["50%"]
    width = (grouped["high"] - grouped["low"]) / (alone["high"] - alone["low"])
    assert width == pytest.approx(np.sqrt(3), rel=0.25)
