from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest
import torch

from sfumato.diffusion import Flow, Mixture, linear_betas


def line_mixture(schedule):
    """Three unequal components on a line."""
    means = torch.tensor([-1.0, 0.2, 0.9]).reshape(3, 1)
    return Mixture(means, torch.tensor([0.3, 0.1, 0.5]), schedule, torch.tensor([0.5, 0.2, 0.3]))


@pytest.mark.parametrize("t", [0.05, 0.3, 0.7, 0.99])
def test_guess_is_the_posterior_mean_by_integration(schedule, t):
    # E[x0 | x_t] = int x0 p(x0) p(x_t | x0) / int p(x0) p(x_t | x0), summed on a fine line
    alpha, sigma = (float(level) for level in schedule(t))
    x0 = np.linspace(-4, 4, 160_001)
    prior = sum(
        w / s * np.exp(-((x0 - m) ** 2) / (2 * s**2))
        for m, s, w in [(-1.0, 0.3, 0.5), (0.2, 0.1, 0.2), (0.9, 0.5, 0.3)]
    )
    for x_t in (-1.3, -0.2, 0.4, 1.6):
        log_likelihood = -((x_t - alpha * x0) ** 2) / (2 * sigma**2)
        joint = prior * np.exp(log_likelihood - log_likelihood.max())
        expected = (x0 * joint).sum() / joint.sum()
        guess = line_mixture(schedule)(torch.tensor([[x_t]], dtype=torch.float64), t)
        assert float(guess) == pytest.approx(expected, abs=1e-6)


def test_guess_is_the_least_squares_answer_on_drawn_data():
    # among samples whose x_t is near a value, the mean of their x0 is what the oracle says
    rng = np.random.default_rng(0)
    which = rng.choice(3, 2_000_000, p=[0.5, 0.2, 0.3])
    x0 = np.array([-1.0, 0.2, 0.9])[which] + np.array([0.3, 0.1, 0.5])[which] * rng.normal(
        size=len(which)
    )
    x_t = 0.6 * x0 + 0.4 * rng.normal(size=len(which))
    for centre in (-0.6, 0.0, 0.7):
        near = np.abs(x_t - centre) < 0.01
        guess = line_mixture(Flow())(torch.tensor([[centre]]), 0.4)
        error = 4 * x0[near].std() / math.sqrt(near.sum())
        assert float(guess) == pytest.approx(x0[near].mean(), abs=error)


def test_posterior_says_which_component_it_was():
    schedule, t = Flow(), 0.5
    share = line_mixture(schedule).posterior(torch.tensor([[-0.5], [0.5]]), torch.tensor(t))
    for row, x_t in zip(share, (-0.5, 0.5), strict=True):
        expected = np.array(
            [
                w * math.exp(-((x_t - 0.5 * m) ** 2) / (2 * v)) / math.sqrt(v)
                for m, s, w in [(-1.0, 0.3, 0.5), (0.2, 0.1, 0.2), (0.9, 0.5, 0.3)]
                for v in [0.25 * s**2 + 0.25]
            ]
        )
        np.testing.assert_allclose(row, expected / expected.sum(), rtol=1e-6)


def test_posterior_of_pictures_with_unequal_spreads(pictures):
    # N(x; alpha m, v I) has one factor 1 / sqrt(v) for each of the six pixels
    means, stds = pictures(1, 3, 1, 2, 3, dtype=torch.float64), [0.1, 0.4, 1.0]
    x_t = pictures(2, 4, 1, 2, 3, dtype=torch.float64)
    share = Mixture(means, torch.tensor(stds), Flow()).posterior(x_t, torch.tensor(0.4))
    for i in range(4):
        density = []
        for mean, std in zip(means, stds, strict=True):
            law = NormalDist(0, math.sqrt(0.36 * std**2 + 0.16))
            density.append(math.prod(map(law.pdf, (x_t[i] - 0.6 * mean).flatten().tolist())))
        np.testing.assert_allclose(share[i], np.array(density) / sum(density), rtol=1e-5)


def test_finite_data_set_by_brute_force(schedule, pictures):
    data = pictures(1, 6, 2, 3, 4, dtype=torch.float64)
    x_t = pictures(2, 3, 2, 3, 4, dtype=torch.float64)
    t = torch.tensor([0.2, 0.5, 0.95], dtype=torch.float64)
    guesses = Mixture.of_pictures(data, schedule)(x_t, t)
    for i in range(3):
        alpha, sigma = (float(level) for level in schedule(float(t[i])))
        logits = [float(-((x_t[i] - alpha * d) ** 2).sum() / (2 * sigma**2)) for d in data]
        shares = np.exp(np.array(logits) - max(logits))
        expected = sum(s * d for s, d in zip(shares / shares.sum(), data, strict=True))
        torch.testing.assert_close(guesses[i], expected)


def test_gaussian_in_closed_form(schedule):
    oracle = Mixture.gaussian(0.7, 0.3, (1, 2, 3), schedule)
    alpha, sigma = (float(level) for level in schedule(0.4))
    x_t = torch.linspace(-1, 1, 12, dtype=torch.float64).reshape(2, 1, 2, 3)
    gain = alpha * 0.09 / (alpha**2 * 0.09 + sigma**2)
    torch.testing.assert_close(
        oracle(x_t, 0.4), 0.7 + gain * (x_t - alpha * 0.7), atol=1e-7, rtol=1e-6
    )
    assert oracle.calls(torch.tensor(0.4)) == 1


def test_pixels_share_one_component():
    # two pictures far apart: every pixel of the guess comes from the same one
    data = torch.stack([torch.full((1, 4, 4), -1.0), torch.full((1, 4, 4), 1.0)])
    x_t = torch.full((1, 1, 4, 4), 0.3)
    x_t[0, 0, 0, 0] = -0.3
    guess = Mixture.of_pictures(data, Flow())(x_t, 0.5)
    assert float(guess.max() - guess.min()) < 1e-6 and float(guess.min()) > 0.99


def test_without_noise_the_guess_is_the_picture_itself(pictures):
    data = pictures(1, 4, 1, 3, 3)
    x = data[[2, 0]] + 1e-4
    nearest = Mixture.of_pictures(data, linear_betas())(x, 0.0)
    torch.testing.assert_close(nearest, data[[2, 0]])
    blurred = Mixture(data, torch.full((4,), 0.5), linear_betas())
    torch.testing.assert_close(blurred(x, 0.0), x)


def test_in_pure_noise_the_guess_is_the_mean_of_the_data(pictures):
    data, noise = pictures(1, 5, 1, 3, 3), pictures(2, 3, 1, 3, 3)
    guess = Mixture.of_pictures(data, Flow())(noise, 1.0)
    torch.testing.assert_close(guess, data.mean(0, keepdim=True).expand(3, -1, -1, -1))


def test_batch_equals_one_by_one_and_keeps_the_type(pictures):
    data = pictures(1, 3, 3, 3, 3)
    oracle = Mixture(data, torch.tensor([0.1, 0.0, 0.4]), Flow())
    x_t, t = pictures(2, 3, 3, 3, 3), torch.tensor([0.2, 0.6, 0.9])
    together = oracle(x_t, t)
    assert together.dtype == torch.float32
    for i in range(3):
        torch.testing.assert_close(together[i : i + 1], oracle(x_t[i : i + 1], t[i]))
