"""Bootstrap intervals: how often they hold the truth, and what they depend on."""

import numpy as np
import pytest

from sfumato.evaluation.intervals import interval, mean, ratio, share


def test_the_mean_and_its_interval_agree_with_the_normal_law():
    values = np.random.default_rng(0).normal(5, 2, 400)
    found = mean(values, 0)
    assert found.value == pytest.approx(values.mean())
    half = 1.96 * values.std() / np.sqrt(400)
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.15)
    assert found.count == 400


def test_intervals_hold_the_truth_about_95_times_in_100():
    draw = np.random.default_rng(1)
    inside = 0
    for turn in range(100):
        found = mean(draw.random(60) < 0.3, turn)
        inside += found.low <= 0.3 <= found.high
    assert 86 <= inside <= 100


def test_the_seed_decides():
    values = np.random.default_rng(2).random(30)
    assert mean(values, 1, "a") == mean(values, 1, "a")
    assert mean(values, 1, "a") != mean(values, 2, "a")
    assert mean(values, 1, "a") != mean(values, 1, "b")


def test_a_ratio_resamples_pairs():
    below = np.random.default_rng(3).random(200) < 0.5
    # always exactly half of each other: paired, the ratio does not vary
    found = ratio(below * 0.5, below, 0)
    assert (found.value, found.low, found.high) == pytest.approx((0.5, 0.5, 0.5))
    # unrelated: it does
    other = np.random.default_rng(4).random(200) < 0.5
    loose = ratio(other, below, 0)
    assert loose.high - loose.low > 0.1
    assert np.isnan(ratio(np.ones(5), np.zeros(5), 0).value)


def test_a_centred_interval_loses_the_bias_of_resampling():
    resampled = np.linspace(11, 13, 101)
    plain, centred = interval(10, resampled, 5), interval(10, resampled, 5, centred=True)
    assert plain.low > 10
    assert (centred.low + centred.high) / 2 == pytest.approx(10)
    assert centred.high - centred.low == pytest.approx(plain.high - plain.low)


def test_an_interval_of_nothing_is_no_number():
    found = interval(1.0, np.array([np.nan, np.inf]), 3)
    assert found.value == 1
    assert np.isnan(found.low)
    assert np.isnan(found.high)


def test_members_of_a_cluster_are_drawn_together():
    """Clusters of two equal values are half as many values."""
    values = np.random.default_rng(0).normal(size=100)
    twice, names = np.repeat(values, 2), np.repeat(np.arange(100), 2).tolist()
    found, honest = mean(twice, 0, together=names), mean(values, 0)
    assert found.value == pytest.approx(honest.value) and found.count == 200
    assert found.high - found.low == pytest.approx(honest.high - honest.low, rel=0.15)
    loose = mean(twice, 0)
    assert loose.high - loose.low == pytest.approx(
        (honest.high - honest.low) / np.sqrt(2), rel=0.15
    )


def test_shares_of_nothing_and_everything_have_an_interval():
    """Against the roots of Wilson's own equation: |p - s| = z sqrt(p (1 - p) / n)."""
    for hits, count in ((0, 414), (414, 414), (3, 20), (255, 256)):
        found = share(np.arange(count) < hits)
        assert found.value == hits / count and found.count == count
        for p in (found.low, found.high):
            far = abs(p - found.value)
            assert far == pytest.approx(1.959964 * np.sqrt(p * (1 - p) / count), abs=1e-9)
        assert found.low < found.high
    assert share(np.zeros(414)).high == pytest.approx(0.0092, abs=1e-4)
