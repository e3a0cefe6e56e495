"""Bootstrap intervals: how often they hold the truth, and what they depend on."""

import numpy as np
import pytest

from sfumato.evaluation.intervals import interval, mean, ratio


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
