from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from truths import FAMILIES

from sfumato.diffusion import Flow, grid, linear_betas

SPACINGS = ["uniform", "log-snr", "karras"]


@settings(max_examples=200)
@given(
    st.integers(1, 300),
    st.sampled_from(SPACINGS),
    st.sampled_from(sorted(FAMILIES)),
    st.floats(1, 15),
)
def test_from_one_down_to_zero(steps, spacing, family, rho):
    times = grid(steps, FAMILIES[family], spacing, rho)
    assert times.shape == (steps + 1,) and times.dtype == torch.float64
    assert times[0] == 1.0 and times[-1] == 0.0
    assert bool((times.diff() < 0).all())


@pytest.mark.parametrize("steps", [1, 7, 50, 64, 1000])
def test_uniform_times(steps):
    expected = [(steps - k) / steps for k in range(steps + 1)]
    np.testing.assert_allclose(grid(steps, Flow()), expected, atol=1e-15)


def test_uniform_is_the_default():
    assert torch.equal(grid(9, linear_betas()), grid(9, linear_betas(), "uniform"))


def test_equal_steps_in_log_snr():
    schedule = linear_betas()
    times = grid(20, schedule, "log-snr")
    values = schedule.log_snr(times[1:-1])
    # from the noisiest level within the range, here -10, to 10 in 19 equal steps
    np.testing.assert_allclose(values, np.linspace(-10, 10, 20)[1:], atol=1e-8)


def test_the_noisy_end_of_a_schedule_that_stops_early():
    # a schedule whose noisiest level is inside the range starts from that level
    schedule = FAMILIES["scaled-linear"]
    noisiest = math.log(0.0046601 / (1 - 0.0046601))
    values = schedule.log_snr(grid(11, schedule, "log-snr")[:-1])
    np.testing.assert_allclose(values, np.linspace(noisiest, 10, 11), atol=2e-5)


@pytest.mark.parametrize("rho", [1.0, 3.0, 7.0])
def test_karras_power_law(rho):
    # 2206.00364, eq. 5, with sigma_max = e^5 and sigma_min = e^-5
    n, high, low = 12, math.exp(5), math.exp(-5)
    sigmas = [
        (high ** (1 / rho) + i / (n - 1) * (low ** (1 / rho) - high ** (1 / rho))) ** rho
        for i in range(n)
    ]
    alpha, sigma = Flow()(grid(n, Flow(), "karras", rho)[1:-1])
    np.testing.assert_allclose(sigma / alpha, sigmas[1:], rtol=1e-9)


def test_karras_rho_is_seven_by_default():
    assert torch.equal(grid(12, Flow(), "karras"), grid(12, Flow(), "karras", 7.0))


@pytest.mark.parametrize("spacing", SPACINGS)
def test_one_step_goes_from_noise_to_picture(spacing):
    assert grid(1, linear_betas(), spacing).tolist() == [1.0, 0.0]


def test_bad_arguments_are_refused():
    for steps in (0, -3):
        with pytest.raises(ValueError, match="at least 1 step"):
            grid(steps, Flow())
    with pytest.raises(ValueError, match="unknown spacing"):
        grid(5, Flow(), "quadratic")
    for rho in (0.0, -7.0, math.nan):
        with pytest.raises(ValueError, match="rho"):
            grid(5, Flow(), "karras", rho)


@pytest.mark.parametrize("spacing", ["log-snr", "karras"])
@pytest.mark.parametrize("clean", [-2.0, 5.0, 8.0])
def test_the_clean_end_is_where_it_is_asked_for(spacing, clean):
    times = grid(9, Flow(), spacing, clean=clean)
    assert float(Flow().log_snr(times[-2])) == pytest.approx(clean)
    assert (times[1:] < times[:-1]).all() and times[-1] == 0


def test_a_walk_that_ends_before_it_begins_is_refused():
    with pytest.raises(ValueError, match="cannot end at -10"):
        grid(9, Flow(), "log-snr", clean=-10.0)
