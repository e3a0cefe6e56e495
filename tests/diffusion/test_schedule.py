from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from truths import FAMILIES

from sfumato.diffusion import (
    SCHEDULES,
    Betas,
    Flow,
    cosine,
    linear_betas,
    scaled_linear_betas,
)

CHAINS = {
    "linear": (linear_betas(), np.linspace(1e-4, 0.02, 1000)),
    "linear-100": (linear_betas(100), np.linspace(1e-3, 0.2, 100)),
    "linear-7": (linear_betas(7), np.minimum(np.linspace(1e-4, 0.02, 7) * 1000 / 7, 0.999)),
    "stable-diffusion": (
        scaled_linear_betas(),
        np.linspace(math.sqrt(0.00085), math.sqrt(0.012), 1000) ** 2,
    ),
    "stable-diffusion-500": (
        scaled_linear_betas(500),
        np.linspace(math.sqrt(0.00085), math.sqrt(0.012), 500) ** 2 * 2,
    ),
}


def abar(schedule, t: float) -> float:
    return float(schedule(t)[0] ** 2)


@pytest.mark.parametrize(
    ("t", "value"), [(0.25, 0.524085), (0.5, 0.078587), (0.75, 0.003351), (1.0, 4.0358e-5)]
)
def test_linear_signal_at_the_published_points(t, value):
    assert abar(linear_betas(), t) == pytest.approx(value, rel=2e-4)


@pytest.mark.parametrize(("t", "value"), [(0.25, 0.84701), (0.5, 0.49384)])
def test_cosine_signal_at_the_published_points(t, value):
    assert abar(cosine(), t) == pytest.approx(value, abs=1e-5)


def test_stable_diffusion_keeps_half_a_percent_of_the_signal():
    assert abar(scaled_linear_betas(), 1.0) == pytest.approx(0.0046601, abs=5e-8)


@pytest.mark.parametrize(
    ("length", "value"), [(100, 0.364), (150, 0.219), (400, 0.0175), (500, 0.00635)]
)
def test_unscaled_short_chains_keep_signal(length, value):
    chain = Betas(tuple(np.linspace(1e-4, 0.02, length)))
    assert abar(chain, 1.0) == pytest.approx(value, rel=3e-3)


@pytest.mark.parametrize("length", [2, 10, 50, 100, 150, 400, 500, 1000, 4000])
def test_scaled_chains_end_in_noise_whatever_their_length(length):
    assert abar(linear_betas(length), 1.0) < 1e-3
    assert abar(scaled_linear_betas(length), 1.0) < 0.007
    assert abar(cosine(length), 1.0) < 1e-3


@pytest.mark.parametrize(
    ("k", "value"), [(1, 0.01), (10, 0.006416), (100, 0.006457), (500, 0.01046), (1000, 0.0200)]
)
def test_noise_coefficient_of_ddpms_step(k, value):
    schedule = linear_betas()
    now, before = abar(schedule, k / 1000), abar(schedule, (k - 1) / 1000)
    assert (1 - now / before) / math.sqrt(1 - now) == pytest.approx(value, rel=3e-3)


@pytest.mark.parametrize("name", CHAINS)
def test_composed_single_steps_equal_the_closed_form(name):
    # x_k = sqrt(1 - beta) x_{k-1} + sqrt(beta) z, followed for its mean and variance
    schedule, betas = CHAINS[name]
    mean, variance = 1.0, 0.0
    for k, beta in enumerate(betas, start=1):
        mean, variance = mean * math.sqrt(1 - beta), variance * (1 - beta) + beta
        alpha, sigma = schedule(k / len(betas))
        assert float(alpha) == pytest.approx(mean, rel=1e-9)
        assert float(sigma) ** 2 == pytest.approx(variance, rel=1e-9)


def test_cosine_follows_its_formula_where_no_beta_is_held():
    schedule, s = cosine(), 0.008

    def f(t: float) -> float:
        return math.cos((t + s) / (1 + s) * math.pi / 2) ** 2

    for k in (1, 10, 500, 900, 990):
        assert abar(schedule, k / 1000) == pytest.approx(f(k / 1000) / f(0), rel=1e-9)
    assert max(schedule.betas) == 0.999


def test_cosine_offset_is_an_argument():
    # with s = 0 the first beta is that of cos^2 itself
    assert cosine(100, offset=0.0).betas[0] == pytest.approx(math.sin(math.pi / 200) ** 2)


def test_log_signal_is_linear_between_the_steps_of_a_chain():
    schedule = linear_betas(10)
    for k in range(10):
        middle = abar(schedule, (k + 0.5) / 10)
        ends = abar(schedule, k / 10) * abar(schedule, (k + 1) / 10)
        assert middle == pytest.approx(math.sqrt(ends), rel=1e-12)


def test_flow_is_the_straight_path():
    alpha, sigma = Flow()(torch.tensor([0.0, 0.25, 1.0]))
    assert alpha.tolist() == [1.0, 0.75, 0.0]
    assert sigma.tolist() == [0.0, 0.25, 1.0]


def test_clean_at_zero_and_monotone(schedule):
    t = torch.linspace(0, 1, 2003, dtype=torch.float64)
    alpha, sigma = schedule(t)
    assert (alpha[0], sigma[0]) == (1.0, 0.0)
    assert bool((alpha.diff() <= 0).all()) and bool((sigma.diff() >= 0).all())
    assert bool((schedule.log_snr(t).diff() < 0).all())
    assert bool((alpha >= 0).all()) and bool((sigma <= 1).all())


def test_shape_kept_and_float64(schedule):
    for t in (0.3, torch.tensor(0.3), torch.full((2, 3), 0.3, dtype=torch.float32)):
        alpha, sigma = schedule(t)
        expected = t.shape if isinstance(t, torch.Tensor) else ()
        assert alpha.shape == sigma.shape == schedule.log_snr(t).shape == expected
        assert alpha.dtype == sigma.dtype == torch.float64


def test_log_snr_belongs_to_the_levels(schedule):
    t = torch.linspace(0.001, 0.999, 200, dtype=torch.float64)
    alpha, sigma = schedule(t)
    torch.testing.assert_close(schedule.log_snr(t), torch.log(alpha**2 / sigma**2))
    assert schedule.log_snr(0.0) == math.inf


@given(st.floats(0, 1))
def test_time_of_undoes_log_snr(t):
    for schedule in FAMILIES.values():
        there = schedule.time_of(schedule.log_snr(t))
        assert float(there) == pytest.approx(t, abs=1e-9)


@given(st.floats(-8, 20))
def test_log_snr_undoes_time_of(log_snr):
    for schedule in FAMILIES.values():
        if log_snr >= float(schedule.log_snr(1.0)):
            back = schedule.log_snr(schedule.time_of(torch.tensor(log_snr)))
            assert float(back) == pytest.approx(float(torch.tensor(log_snr)), abs=1e-6)


def test_unreachable_noise_levels_are_held_at_the_ends(schedule):
    time = schedule.time_of(torch.tensor([-math.inf, -80.0, 80.0, math.inf]))
    assert time[0] == 1.0 and time[3] == 0.0
    assert float(time[1]) == pytest.approx(1.0, abs=1e-12)
    assert float(time[2]) == pytest.approx(0.0, abs=1e-12)


def test_levels_of_any_log_snr_stay_in_the_family(schedule):
    log_snr = torch.tensor([-math.inf, -30.0, -3.0, 0.0, 3.0, 30.0, math.inf])
    alpha, sigma = schedule.levels_of(log_snr)
    reached = 2 * (alpha / sigma).log()
    torch.testing.assert_close(reached, log_snr.double())
    # each family keeps its own norm: alpha + sigma = 1, or alpha^2 + sigma^2 = 1
    some_alpha, some_sigma = schedule(torch.tensor(0.5))
    power = 1 if float(some_alpha + some_sigma) == pytest.approx(1) else 2
    torch.testing.assert_close(alpha**power + sigma**power, torch.ones(7, dtype=torch.float64))


@given(st.floats(0.2, 8), st.sampled_from([0.0, 0.5, 1.0, 2.0]), st.floats(0.01, 0.99))
def test_shift_divides_the_snr(ratio, power, t):
    for schedule in FAMILIES.values():
        alpha, sigma = schedule(t)
        shifted_alpha, shifted_sigma = schedule.shifted(ratio, power)(t)
        expected = (alpha / sigma) ** 2 / ratio**power
        torch.testing.assert_close((shifted_alpha / shifted_sigma) ** 2, expected)


def test_shift_raises_the_power_of_one_by_default():
    assert float(Flow().log_snr(0.3) - Flow().shifted(4).log_snr(0.3)) == pytest.approx(math.log(4))


@given(st.floats(0.1, 10), st.floats(0, 1))
def test_shifted_flow_is_the_resolution_shift_of_time(a, t):
    alpha, sigma = Flow().shifted(a, 2.0)(t)
    moved = a * t / (1 + (a - 1) * t)
    assert float(sigma) == pytest.approx(moved, abs=1e-9)
    assert float(alpha) == pytest.approx(1 - moved, abs=1e-9)


def test_equal_schedules_compare_equal_and_are_frozen():
    assert linear_betas(10) == linear_betas(10) != linear_betas(11)
    assert Flow().shifted(2) == Flow().shifted(2) != Flow().shifted(3)
    with pytest.raises(dataclasses.FrozenInstanceError):
        linear_betas(10).betas = (0.1,)


def test_every_name_makes_a_schedule():
    assert set(SCHEDULES) == {"flow", "linear", "cosine", "scaled-linear"}
    assert abar(SCHEDULES["linear"](), 1.0) == pytest.approx(4.0358e-5, rel=1e-4)
    assert abar(SCHEDULES["cosine"](), 0.5) == pytest.approx(0.49384, abs=1e-5)
    assert abar(SCHEDULES["scaled-linear"](), 1.0) == pytest.approx(0.0046601, abs=1e-7)
    assert float(SCHEDULES["flow"]()(0.25)[1]) == 0.25


@pytest.mark.parametrize("t", [-1e-9, 1 + 1e-9, math.nan, torch.tensor([0.5, 2.0])])
def test_times_outside_the_unit_interval_are_refused(schedule, t):
    with pytest.raises(ValueError, match="time must lie in"):
        schedule(t)


@pytest.mark.parametrize("betas", [(), (0.0, 0.1), (0.1, 1.0), (-0.1,), (math.nan,)])
def test_impossible_betas_are_refused(betas):
    with pytest.raises(ValueError, match="betas must be"):
        Betas(betas)


@pytest.mark.parametrize("make", [linear_betas, scaled_linear_betas, cosine])
@pytest.mark.parametrize("steps", [1, 0, -5])
def test_chains_shorter_than_two_are_refused(make, steps):
    with pytest.raises(ValueError, match="at least 2 steps"):
        make(steps)


@pytest.mark.parametrize("ratio", [0.0, -1.0, math.nan])
def test_impossible_shifts_are_refused(ratio):
    with pytest.raises(ValueError, match="side_ratio"):
        Flow().shifted(ratio)
