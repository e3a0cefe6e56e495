from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from truths import ANSWERS

from sfumato.diffusion import (
    TARGETS,
    Denoiser,
    DiffusionLoss,
    Flow,
    Mixture,
    cosine,
    linear_betas,
    time_at,
    times,
    weight,
)
from sfumato.diffusion.randomness import normal

WEIGHTS = ["uniform", "min-snr", "velocity"]


class Lookup:
    """An oracle network: it knows the clean pictures, reads the noise out of the noisy one it is
    shown, and answers with the true target."""

    def __init__(self, x0, kind, schedule):
        self.x0, self.kind, self.schedule = x0, kind, schedule

    def __call__(self, x, time, condition):
        alpha, sigma = (level.reshape(-1, 1, 1, 1) for level in self.schedule(time.double() / 1000))
        x_t = x.double() * (alpha**2 + sigma**2).sqrt()
        return ANSWERS[self.kind](self.x0, (x_t - alpha * self.x0) / sigma, alpha, sigma)


@pytest.mark.parametrize("weight_law", WEIGHTS)
def test_the_true_target_costs_nothing(kind, schedule, weight_law, pictures):
    # the noise is read from x_t: were it another than the target's, the loss would be about 1
    x0 = pictures(1, 6, 2, 3, 4, dtype=torch.float64)
    denoiser = Denoiser(Lookup(x0, kind, schedule), schedule, TARGETS[kind])
    loss = DiffusionLoss(denoiser, weight=weight_law)
    eps = pictures(2, 6, 2, 3, 4, dtype=torch.float64)
    values = loss.at(x0, eps, torch.linspace(0.05, 0.95, 6, dtype=torch.float64))
    assert values.shape == (6,)
    assert float(values.max()) < 1e-9


@pytest.mark.parametrize("weight_law", WEIGHTS)
@pytest.mark.parametrize("law", ["uniform", "logit-normal"])
def test_the_true_target_costs_exactly_nothing(kind, schedule, law, weight_law, pictures):
    # the oracle holds the very noise that belongs to the samples' indices and seed
    x0, indices = pictures(1, 5, 2, 3, 4), [40, 41, 42, 43, 44]
    eps = normal((2, 3, 4), indices, 9, "noise")

    def network(x, time, condition):
        return TARGETS[kind].target(x0, eps, *schedule(times(indices, 9, law)))

    loss, t = DiffusionLoss(
        Denoiser(network, schedule, TARGETS[kind]), times=law, weight=weight_law, seed=9
    )(x0, indices)
    assert loss.tolist() == [0.0] * 5
    assert torch.equal(t, times(indices, 9, law))


def test_the_noisy_picture_holds_the_noise_of_its_index(pictures):
    seen = []

    def network(x, time, condition):
        seen.append((x, time, condition))
        return x

    x0, condition = pictures(1, 3, 1, 4, 5), object()
    DiffusionLoss(Denoiser(network, cosine(), TARGETS["v"]), seed=5)(x0, [7, 8, 9], condition)
    x, time, given_condition = seen[0]
    alpha, sigma = cosine()(time.double() / 1000)
    for i, index in enumerate([7, 8, 9]):
        expected = alpha[i] * x0[i] + sigma[i] * normal((1, 4, 5), [index], 5, "noise")[0]
        torch.testing.assert_close(x[i], expected.float(), atol=1e-5, rtol=1e-4)
    assert given_condition is condition


def test_a_silent_network_costs_the_mean_square_of_the_target(kind, pictures):
    x0, eps = pictures(1, 4, 3, 4, 5), pictures(2, 4, 3, 4, 5)
    t = torch.tensor([0.1, 0.4, 0.6, 0.9], dtype=torch.float64)
    denoiser = Denoiser(lambda x, time, c: torch.zeros_like(x), cosine(), TARGETS[kind])
    values = DiffusionLoss(denoiser).at(x0, eps, t)
    alpha, sigma = (level.float() for level in cosine()(t))
    for i in range(4):
        y = ANSWERS[kind](x0[i], eps[i], alpha[i], sigma[i])
        assert float(values[i]) == pytest.approx(float((y**2).sum() / y.numel()), rel=1e-5)


def test_one_loss_a_picture_never_mixed(pictures):
    x0, eps = pictures(1, 3, 3, 3, 3), pictures(2, 3, 3, 3, 3)
    t = torch.tensor([0.2, 0.5, 0.8], dtype=torch.float64)
    loss = DiffusionLoss(
        Denoiser(lambda x, time, c: 0.5 * x, Flow(), TARGETS["flow"]), weight="min-snr"
    )
    before = loss.at(x0, eps, t)
    changed = x0.clone()
    changed[1] += 1
    after = loss.at(changed, eps, t)
    assert (before != after).tolist() == [False, True, False]


@settings(max_examples=30)
@given(st.lists(st.integers(1, 5), min_size=1, max_size=4), st.integers(0, 10**6))
def test_loss_does_not_depend_on_the_division_into_batches(sizes, first):
    total = sum(sizes)
    x0 = torch.linspace(-1, 1, total * 12).reshape(total, 3, 2, 2)
    denoiser = Denoiser(
        lambda x, time, c: x * (time / 500).cos().reshape(-1, 1, 1, 1), Flow(), TARGETS["flow"]
    )
    loss = DiffusionLoss(denoiser, times="logit-normal", weight="velocity", seed=2)
    together, t = loss(x0, range(first, first + total))
    at = 0
    for size in sizes:
        part, part_t = loss(x0[at : at + size], range(first + at, first + at + size))
        torch.testing.assert_close(part, together[at : at + size])
        assert torch.equal(part_t, t[at : at + size])
        at += size


def test_indices_may_be_anything_that_can_be_read_once(pictures):
    loss = DiffusionLoss(Denoiser(lambda x, time, c: x, Flow(), TARGETS["flow"]))
    x0 = pictures(1, 3, 1, 2, 2)
    listed = loss(x0, [4, 5, 6])
    for indices in (iter([4, 5, 6]), range(4, 7), torch.tensor([4, 5, 6])):
        assert torch.equal(loss(x0, indices)[0], listed[0])


@pytest.mark.parametrize("indices", [[], [1], [1, 2, 3]])
def test_one_index_a_picture(indices, pictures):
    loss = DiffusionLoss(Denoiser(lambda x, time, c: x, Flow(), TARGETS["flow"]))
    with pytest.raises(ValueError, match="as many indices"):
        loss(pictures(1, 2, 1, 2, 2), indices)


def test_seeds_change_times_and_noise(pictures):
    x0 = pictures(1, 3, 1, 2, 2)
    denoiser = Denoiser(lambda x, time, c: x, Flow(), TARGETS["flow"])
    (a, t_a), (b, t_b) = (DiffusionLoss(denoiser, seed=seed)(x0, [0, 1, 2]) for seed in (0, 1))
    assert bool((a != b).all()) and bool((t_a != t_b).all())


def test_a_better_guess_costs_less_and_the_exact_one_least(kind, pictures):
    # the exact denoiser minimises every weighted loss; scaled answers are worse
    schedule = linear_betas()
    oracle = Mixture.gaussian(0.2, 0.5, (1, 8, 8), schedule)
    x0 = 0.2 + 0.5 * pictures(1, 300, 1, 8, 8)

    def network(factor):
        def answer(x, time, condition):
            t = time.double() / 1000
            alpha, sigma = (level.reshape(-1, 1, 1, 1) for level in schedule(t))
            guess = oracle(x, t)
            return factor * ANSWERS[kind](guess, (x - alpha * guess) / sigma, alpha, sigma)

        return answer

    costs = {
        factor: float(
            DiffusionLoss(Denoiser(network(factor), schedule, TARGETS[kind]), weight="min-snr")(
                x0, range(300)
            )[0].mean()
        )
        for factor in (0.9, 1.0, 1.1)
    }
    assert costs[1.0] < costs[0.9] and costs[1.0] < costs[1.1]


# times


def test_uniform_times_cover_the_interval():
    t = times(range(1000), 0).sort().values
    np.testing.assert_allclose(t, (np.arange(1000) + 0.5) / 1000, atol=2e-3)
    assert t.dtype == torch.float64


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (-0.4, 0.8), (1.0, 0.5)])
def test_logit_normal_times_follow_their_law(mean, std):
    t = times(range(4000), 3, "logit-normal", mean, std)
    for bound in (0.05, 0.2, 0.4, 0.5, 0.6, 0.8, 0.95):
        z = (math.log(bound / (1 - bound)) - mean) / std
        expected = (1 + math.erf(z / math.sqrt(2))) / 2
        assert float((t < bound).double().mean()) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(("law", "mean", "std"), [("uniform", 0, 1), ("logit-normal", 0.4, 0.8)])
@pytest.mark.parametrize("share", [0.005, 0.3, 0.9])
def test_the_time_below_which_a_share_lies(law, mean, std, share):
    t = times(range(20_000), 5, law, mean, std)
    assert float((t < time_at(share, law, mean, std)).double().mean()) == pytest.approx(
        share, abs=2e-4
    )


def test_logit_normal_is_standard_by_default():
    assert torch.equal(times(range(9), 0, "logit-normal"), times(range(9), 0, "logit-normal", 0, 1))


@given(st.integers(0, 10**9), st.integers(2, 200), st.sampled_from(["uniform", "logit-normal"]))
def test_times_are_stratified(first, count, law):
    t = times(range(first, first + count), 1, law).numpy()
    if law == "logit-normal":  # back to the uniform scale
        t = np.array([(1 + math.erf(math.log(v / (1 - v)) / math.sqrt(2))) / 2 for v in t])
    gaps = np.diff(np.concatenate([[0.0], np.sort(t), [1.0]]))
    assert gaps.max() < 2 / count


@given(st.integers(0, 2**62), st.integers(0, 1000), st.sampled_from(["uniform", "logit-normal"]))
def test_times_stay_inside_the_open_interval(index, seed, law):
    assert 0 < times([index], seed, law).item() < 1


def test_the_extreme_draws_stay_inside_the_open_interval(monkeypatch):
    # 0 and the largest number below 1 are drawn once in 2^53: stand in for them
    ends = torch.tensor([0.0, 1 - 2**-53], dtype=torch.float64)
    monkeypatch.setattr("sfumato.diffusion.loss.stratified", lambda *_: ends)
    for law in ("uniform", "logit-normal"):
        low, high = times([0, 1], 0, law).tolist()
        assert 0 < low < 1e-2 and 0.99 < high < 1


def test_the_loss_draws_by_its_own_law_of_times(pictures):
    denoiser = Denoiser(lambda x, time, c: x, Flow(), TARGETS["flow"])
    loss = DiffusionLoss(denoiser, times="logit-normal", time_mean=2.0, time_std=0.3, seed=4)
    _, t = loss(pictures(1, 200, 1, 2, 2), range(200))
    logits = torch.log(t / (1 - t))
    assert float(logits.mean()) == pytest.approx(2.0, abs=0.01)
    assert float(logits.std()) == pytest.approx(0.3, abs=0.01)


def test_times_and_noise_do_not_know_each_other():
    t = times(range(3000), 0).numpy()
    noise = normal((4,), range(3000), 0, "noise").numpy()
    for column in noise.T:
        assert abs(np.corrcoef(t, column)[0, 1]) < 4 / 3000**0.5


# weights


@pytest.fixture
def levels():
    alpha, sigma = cosine()(torch.tensor([0.01, 0.2, 0.35, 0.5, 0.8, 0.99]))
    return alpha, sigma, (alpha / sigma) ** 2


@pytest.mark.parametrize("gamma", [1.0, 5.0])
def test_min_snr_weights_are_those_of_the_paper(levels, gamma):
    alpha, sigma, snr = levels
    capped = torch.minimum(snr, torch.tensor(gamma, dtype=torch.float64))
    for kind, expected in {
        "eps": capped / snr,
        "x0": capped,
        "v": capped / (snr + 1),
    }.items():
        found = weight(TARGETS[kind], alpha, sigma, "min-snr", gamma)
        torch.testing.assert_close(found, expected)


def test_gamma_is_five_by_default(levels):
    alpha, sigma, _ = levels
    assert float(weight(TARGETS["x0"], alpha, sigma, "min-snr").max()) == 5.0


def test_uniform_weight_is_one(levels, kind):
    alpha, sigma, _ = levels
    assert weight(TARGETS[kind], alpha, sigma).tolist() == [1.0] * 6


def test_velocity_weight_of_x0_on_the_straight_path():
    t = torch.tensor([0.001, 0.03, 0.05, 0.1, 0.5, 1.0], dtype=torch.float64)
    found = weight(TARGETS["x0"], *Flow()(t), "velocity")
    expected = [400.0, 400.0, 400.0, 100.0, 4.0, 1.0]  # 1 / max(t, 0.05)^2
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    later = weight(TARGETS["x0"], *Flow()(t), "velocity", time_min=0.2)
    np.testing.assert_allclose(later, [25.0, 25.0, 25.0, 25.0, 4.0, 1.0], rtol=1e-9)


def test_velocity_weight_leaves_the_velocity_alone():
    t = torch.tensor([0.05, 0.1, 0.5, 0.99], dtype=torch.float64)
    torch.testing.assert_close(
        weight(TARGETS["flow"], *Flow()(t), "velocity"), torch.ones(4, dtype=torch.float64)
    )
    # eps = x_t + (1 - t) velocity: an error of eps shows 1 / (1 - t) times in the velocity
    torch.testing.assert_close(weight(TARGETS["eps"], *Flow()(t), "velocity"), 1 / (1 - t) ** 2)


@pytest.mark.parametrize("law", ["min-snr", "velocity"])
def test_the_same_guess_costs_the_same_whatever_is_predicted(schedule, law, pictures):
    # a law stated for x0 must not depend on the terms in which the network answers
    x0, eps = pictures(1, 4, 1, 3, 5), pictures(2, 4, 1, 3, 5)
    error = 0.1 * pictures(3, 4, 1, 3, 5)
    t = torch.tensor([0.2, 0.4, 0.6, 0.8], dtype=torch.float64)
    alpha, sigma = (level.reshape(-1, 1, 1, 1) for level in schedule(t))

    def network(kind):
        x_t = alpha * x0 + sigma * eps
        guess = x0 + error
        return lambda x, time, c: ANSWERS[kind](guess, (x_t - alpha * guess) / sigma, alpha, sigma)

    costs = [
        DiffusionLoss(Denoiser(network(kind), schedule, TARGETS[kind]), weight=law).at(x0, eps, t)
        for kind in TARGETS
    ]
    for other in costs[1:]:
        torch.testing.assert_close(other, costs[0], rtol=1e-3, atol=1e-6)


def test_the_loss_applies_its_weight(pictures):
    x0, eps = pictures(1, 3, 1, 2, 2), pictures(2, 3, 1, 2, 2)
    t = torch.tensor([0.1, 0.3, 0.6], dtype=torch.float64)
    denoiser = Denoiser(lambda x, time, c: torch.zeros_like(x), cosine(), TARGETS["eps"])
    plain = DiffusionLoss(denoiser).at(x0, eps, t)
    snr = torch.exp(cosine().log_snr(t))
    for gamma in (1.0, 5.0):
        weighted = DiffusionLoss(denoiser, weight="min-snr", gamma=gamma).at(x0, eps, t)
        torch.testing.assert_close(weighted / plain, (snr.clamp(max=gamma) / snr).float())


def test_unknown_laws_are_refused(levels):
    alpha, sigma, _ = levels
    with pytest.raises(ValueError, match="unknown law of times"):
        times([0], 0, "cubic")
    with pytest.raises(ValueError, match="sigma"):
        times([0], 0, "logit-normal", std=0.0)
    with pytest.raises(ValueError, match="unknown weight"):
        weight(TARGETS["v"], alpha, sigma, "cubic")
