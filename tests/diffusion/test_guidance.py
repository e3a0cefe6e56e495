from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import pytest
import torch

from sfumato.diffusion import Flow, Guided, Thresholded


@dataclass(frozen=True)
class Values:
    """A condition that is the guess itself, (B, C, H, W)."""

    guess: torch.Tensor

    def joined(self, other: Values) -> Values:
        return Values(torch.cat([self.guess, other.guess]))


class Follower:
    """A denoiser that answers with its condition, plus a little of what it was shown."""

    schedule = Flow()

    def __init__(self):
        self.rows, self.conditions, self.times = [], [], []

    def calls(self, t):
        return 1

    def __call__(self, x_t, t, condition=None):
        self.rows.append(len(x_t))
        self.conditions.append(condition)
        self.times.append(t)
        t = torch.as_tensor(t).double().expand(len(x_t)).reshape(-1, 1, 1, 1)
        return (condition.guess + 0.1 * t * x_t).float()


@pytest.fixture
def setting(pictures):
    """(denoiser, x_t, condition, null, conditional guess, unconditional guess) at t = 0.5."""
    x_t = pictures(1, 3, 2, 4, 5)
    condition, null = Values(pictures(2, 3, 2, 4, 5)), Values(0.5 * pictures(3, 3, 2, 4, 5))
    return (
        Follower(),
        x_t,
        condition,
        null,
        condition.guess + 0.05 * x_t,
        null.guess + 0.05 * x_t,
    )


HALF = torch.tensor(0.5)


def test_scale_one_is_the_conditional_guess_and_one_call(setting):
    denoiser, x_t, condition, null, _, _ = setting
    guided = Guided(denoiser, null, 1.0, rescale=0.7)
    assert torch.equal(guided(x_t, HALF, condition), Follower()(x_t, HALF, condition))
    assert denoiser.rows == [3] and denoiser.conditions == [condition]
    assert guided.calls(HALF) == 1 and guided.schedule is denoiser.schedule


def test_scale_zero_is_the_unconditional_guess(setting):
    denoiser, x_t, condition, null, _, unconditional = setting
    torch.testing.assert_close(Guided(denoiser, null, 0.0)(x_t, HALF, condition), unconditional)


@pytest.mark.parametrize("scale", [-1.0, 0.5, 3.0, 7.5])
def test_the_guess_moves_along_the_difference(setting, scale):
    denoiser, x_t, condition, null, conditional, unconditional = setting
    guided = Guided(denoiser, null, scale)
    expected = (1 - scale) * unconditional + scale * conditional
    torch.testing.assert_close(guided(x_t, HALF, condition), expected, atol=1e-5, rtol=1e-5)
    assert denoiser.rows == [6] and guided.calls(HALF) == 2


def test_calls_multiply_when_wrapped(setting):
    denoiser, _, _, null, _, _ = setting
    twice = Guided(Guided(denoiser, null, 3.0), null, 2.0)
    assert twice.calls(HALF) == 4
    assert Thresholded(Guided(denoiser, null, 3.0)).calls(HALF) == 2


@pytest.mark.parametrize(
    ("t", "interval", "guides"),
    [
        (0.5, (0.2, 0.8), True),
        (0.2, (0.2, 0.8), False),
        (0.8, (0.2, 0.8), False),
        (0.1, (0.2, 0.8), False),
        (0.9, (0.2, 0.8), False),
        (1.0, (0.2, 1.0), True),
        (0.0, (0.0, 0.8), True),
        (1.0, (0.0, 1.0), True),
        (1.0, (0.2, 0.99), False),
    ],
)
def test_guidance_acts_inside_its_interval_only(setting, t, interval, guides):
    denoiser, x_t, condition, null, _, _ = setting
    guided = Guided(denoiser, null, 4.0, interval)
    t = torch.tensor(t, dtype=torch.float64)
    guess = guided(x_t, t, condition)
    assert denoiser.rows == [6 if guides else 3]
    assert guided.calls(t) == (2 if guides else 1)
    plain = denoiser(x_t, t, condition)
    assert torch.equal(guess, plain) != guides


def test_each_picture_of_a_batch_has_its_own_time(setting):
    denoiser, x_t, condition, null, _, _ = setting
    guided = Guided(denoiser, null, 4.0, (0.2, 0.8), rescale=0.5)
    t = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    together = guided(x_t, t, condition)
    assert guided.calls(t) == 2
    for i in range(3):
        one = slice(i, i + 1)
        alone = Guided(denoiser, Values(null.guess[one]), 4.0, (0.2, 0.8), rescale=0.5)(
            x_t[one], t[i], Values(condition.guess[one])
        )
        torch.testing.assert_close(together[one], alone)


def test_rescale_by_hand(setting):
    denoiser, x_t, condition, null, conditional, unconditional = setting
    phi = 0.7
    found = Guided(denoiser, null, 7.0, rescale=phi)(x_t, HALF, condition).numpy()
    for i in range(3):
        c, u = conditional[i].numpy(), unconditional[i].numpy()
        plain = u + 7 * (c - u)
        pulled = plain * np.std(c, ddof=1) / np.std(plain, ddof=1)
        np.testing.assert_allclose(found[i], phi * pulled + (1 - phi) * plain, rtol=1e-4, atol=1e-5)


def test_full_rescale_has_the_spread_of_the_conditional_picture(setting):
    denoiser, x_t, condition, null, conditional, _ = setting
    found = Guided(denoiser, null, 7.0, rescale=1.0)(x_t, HALF, condition)
    torch.testing.assert_close(found.flatten(1).std(1), conditional.flatten(1).std(1))


def test_a_flat_guess_survives_the_rescale():
    flat = Values(torch.full((1, 1, 2, 2), 0.5))
    found = Guided(Follower(), flat, 3.0, rescale=1.0)(torch.zeros(1, 1, 2, 2), HALF, flat)
    assert bool(found.isfinite().all())


def test_static_threshold_clips(pictures):
    guess = 2 * pictures(1, 2, 1, 5, 5)
    found = Thresholded(Follower())(torch.zeros(2, 1, 5, 5), HALF, Values(guess))
    np.testing.assert_array_equal(found.numpy(), np.minimum(np.maximum(guess.numpy(), -1), 1))


@pytest.mark.parametrize("quantile", [0.5, 0.9, 0.995, 1.0])
def test_dynamic_threshold_by_hand(quantile, pictures):
    guess = pictures(1, 3, 2, 5, 6)
    guess = guess * torch.tensor([0.2, 1.0, 4.0]).reshape(3, 1, 1, 1)
    found = Thresholded(Follower(), quantile)(torch.zeros_like(guess), HALF, Values(guess))
    for i in range(3):
        s = max(float(np.quantile(np.abs(guess[i].numpy()), quantile)), 1.0)
        expected = np.clip(guess[i].numpy(), -s, s) / s
        np.testing.assert_allclose(found[i], expected, rtol=1e-5)


def test_a_picture_within_range_passes_both_thresholds(pictures):
    guess = pictures(1, 2, 1, 4, 4).tanh()
    for quantile in (None, 0.995):
        found = Thresholded(Follower(), quantile)(torch.zeros_like(guess), HALF, Values(guess))
        assert torch.equal(found, guess)


def test_threshold_passes_time_condition_and_schedule_on(pictures):
    denoiser = Follower()
    wrapped = Thresholded(denoiser)
    condition, t = Values(pictures(1, 2, 1, 2, 2)), torch.tensor(0.25)
    wrapped(torch.zeros(2, 1, 2, 2), t, condition)
    assert denoiser.conditions == [condition] and denoiser.times == [t]
    assert wrapped.schedule is denoiser.schedule and wrapped.calls(t) == 1


def test_the_floor_of_a_bounded_guess_of_noise():
    # facts: the least squared error of a [-1, 1]-bounded predictor of N(0, 1) is 0.15067957
    count = 200_000
    law = NormalDist()
    z = torch.tensor([law.inv_cdf((i + 0.5) / count) for i in range(count)]).reshape(1, 1, 1, -1)
    bounded = Thresholded(Follower())(torch.zeros_like(z), HALF, Values(z))
    assert float((z - bounded).square().mean()) == pytest.approx(0.15067957, abs=3e-5)


@pytest.mark.parametrize(
    "wrong",
    [
        {"scale": float("nan")},
        {"scale": float("inf")},
        {"interval": (0.5, 0.5)},
        {"interval": (0.8, 0.2)},
        {"rescale": -0.1},
        {"rescale": 1.1},
    ],
)
def test_impossible_guidance_is_refused(wrong):
    with pytest.raises(ValueError, match="guidance needs"):
        Guided(Follower(), None, **({"scale": 2.0} | wrong))


@pytest.mark.parametrize("quantile", [-0.1, 1.5])
def test_impossible_thresholds_are_refused(quantile):
    with pytest.raises(ValueError, match="quantile"):
        Thresholded(Follower(), quantile)
