"""What one step does, against Bayes' rule, the papers' formulas and the exact flow."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from truths import FAMILIES

from sfumato.diffusion import (
    DDIM,
    DDPM,
    SAMPLERS,
    DPMSolver2M,
    Euler,
    Flow,
    Heun,
    Mixture,
    State,
    cosine,
    grid,
    linear_betas,
    noised,
    sample,
    start,
)
from sfumato.diffusion.randomness import normal

JUMPS = [(1.0, 0.9), (0.8, 0.75), (0.7, 0.2), (0.3, 0.01)]
DETERMINISTIC = {"ddim": DDIM(), "euler": Euler(), "heun": Heun(), "dpm++2m": DPMSolver2M()}


class Fixed:
    """A denoiser that always answers with the same picture."""

    def __init__(self, x0, schedule):
        self.x0, self.schedule, self.times = x0, schedule, []

    def calls(self, t):
        return 1

    def __call__(self, x_t, t, condition=None):
        self.times.append(float(t))
        return self.x0.expand_as(x_t).to(x_t)


def at(x: torch.Tensor, t: float, **more) -> State:
    return State(x, t, tuple(range(len(x))), 11, **more)


def bayes(schedule, x_t: float, x0: float, t: float, s: float) -> tuple[float, float]:
    """Mean and standard deviation of q(x_s | x_t, x_0), by summing q(x_s | x_0) q(x_t | x_s) on
    a fine line.  The transition is the one that carries the marginal at s into that at t."""
    (alpha_t, sigma_t), (alpha_s, sigma_s) = (
        [float(level) for level in schedule(time)] for time in (t, s)
    )
    a = alpha_t / alpha_s
    b = sigma_t**2 - (a * sigma_s) ** 2
    x_s = np.linspace(alpha_s * x0 - 9 * sigma_s, alpha_s * x0 + 9 * sigma_s, 200_001)
    log_density = -((x_s - alpha_s * x0) ** 2) / (2 * sigma_s**2) - (x_t - a * x_s) ** 2 / (2 * b)
    density = np.exp(log_density - log_density.max())
    density /= density.sum()
    mean = (x_s * density).sum()
    return mean, math.sqrt(((x_s - mean) ** 2 * density).sum())


@pytest.mark.parametrize(("t", "s"), JUMPS)
@pytest.mark.parametrize("sampler", [DDPM(), DDIM(eta=1.0)], ids=["ddpm", "ddim-1"])
def test_ancestral_steps_draw_from_the_exact_posterior(schedule, sampler, t, s):
    x = torch.tensor([-1.2, 0.1, 0.9], dtype=torch.float64).reshape(3, 1, 1, 1)
    x0 = torch.tensor(0.4)
    after = sampler.step(Fixed(x0, schedule), at(x, t, index=5), s).x.flatten()
    noise = normal((1, 1, 1), range(3), 11, "step", 5).flatten()
    for x_t, x_s, z in zip(x.flatten(), after, noise, strict=True):
        mean, std = bayes(schedule, float(x_t), 0.4, t, s)
        assert float(x_s) == pytest.approx(mean + std * float(z), abs=2e-6)


def test_ddpm_is_the_papers_algorithm_on_its_own_chain():
    # algorithm 2 of 2006.11239, in eps, with both of its variances
    betas = np.linspace(1e-4, 0.02, 1000)
    abar = np.concatenate([[1.0], np.cumprod(1 - betas)])
    x0, x_t = 0.4, -0.7
    for k in (1000, 500, 100, 2):
        beta = betas[k - 1]
        eps = (x_t - math.sqrt(abar[k]) * x0) / math.sqrt(1 - abar[k])
        mean = (x_t - beta / math.sqrt(1 - abar[k]) * eps) / math.sqrt(1 - beta)
        z = float(normal((1, 1, 1), [0], 11, "step", 0))
        tilde = (1 - abar[k - 1]) / (1 - abar[k]) * beta
        for name, variance in (("beta", beta), ("posterior", tilde)):
            state = at(torch.full((1, 1, 1, 1), x_t, dtype=torch.float64), k / 1000)
            denoiser = Fixed(torch.tensor(x0, dtype=torch.float64), linear_betas())
            after = DDPM(name).step(denoiser, state, (k - 1) / 1000)
            assert float(after.x) == pytest.approx(mean + math.sqrt(variance) * z, abs=1e-9)


@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
def test_ddim_is_the_papers_equation(eta):
    # 2010.02502, eqs. 12 and 16, for a jump over many steps of the chain
    schedule, x0, x_t = cosine(), 0.4, -0.7
    for t, s in ((1.0, 0.8), (0.7, 0.2), (0.3, 0.299)):
        a_t, a_s = (float(schedule(u)[0]) ** 2 for u in (t, s))
        sig = eta * math.sqrt((1 - a_s) / (1 - a_t)) * math.sqrt(1 - a_t / a_s)
        eps = (x_t - math.sqrt(a_t) * x0) / math.sqrt(1 - a_t)
        z = float(normal((1, 1, 1), [0], 11, "step", 0))
        expected = math.sqrt(a_s) * x0 + math.sqrt(1 - a_s - sig**2) * eps + sig * z
        state = at(torch.full((1, 1, 1, 1), x_t, dtype=torch.float64), t)
        denoiser = Fixed(torch.tensor(x0, dtype=torch.float64), schedule)
        assert float(DDIM(eta).step(denoiser, state, s).x) == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize(("t", "s"), JUMPS)
def test_with_the_beta_variance_unit_data_stay_exact(schedule, t, s):
    # for data N(0, 1) the exact x_s given x_t has the forward variance, on any schedule:
    # a step from the marginal at t must land in the marginal at s
    exact = Mixture.gaussian(0.0, 1.0, (1, 1, 1), schedule)
    (alpha_t, sigma_t), (alpha_s, sigma_s) = schedule(t), schedule(s)
    total_t, total_s = float(alpha_t**2 + sigma_t**2), float(alpha_s**2 + sigma_s**2)
    one = torch.ones(1, 1, 1, 1, dtype=torch.float64)
    ahead, behind = (DDPM("beta").step(exact, at(sign * one, t), s).x for sign in (1, -1))
    gain = float(ahead - behind) / 2
    spread = (float(ahead + behind) / 2) / float(normal((1, 1, 1), [0], 11, "step", 0))
    assert gain**2 * total_t + spread**2 == pytest.approx(total_s, rel=1e-6)


@pytest.mark.parametrize("walker", [*SAMPLERS.values(), DDIM(1.0), DDPM("beta")], ids=repr)
def test_walks_do_not_depend_on_the_scale_of_the_schedule(walker):
    # the straight path and its variance-preserving twin share every log-SNR, so x / norm agrees
    flow, twin = Flow(), _Twin(Flow())
    ends = []
    for schedule in (flow, twin):
        oracle = Mixture.gaussian(0.4, 0.5, (1, 2, 2), schedule)
        state = start((1, 2, 2), [0, 1], 3)
        *_, last = sample(oracle, state, torch.linspace(1, 0.3, 8, dtype=torch.float64), walker)
        alpha, sigma = schedule(0.3)
        ends.append(last.x / float(torch.hypot(alpha, sigma)))
    torch.testing.assert_close(ends[0], ends[1], atol=1e-5, rtol=1e-5)


class _Twin(Flow):
    """The variance-preserving schedule with the log-SNR of another."""

    def __init__(self, base):
        object.__setattr__(self, "base", base)

    def __call__(self, t):
        alpha, sigma = self.base(t)
        return alpha / torch.hypot(alpha, sigma), sigma / torch.hypot(alpha, sigma)


@pytest.mark.parametrize("name", DETERMINISTIC)
def test_a_point_is_walked_to_along_its_straight_line(schedule, name):
    # if the guess never changes, x_s = alpha_s x0 + sigma_s eps exactly, whatever the method
    x0 = torch.linspace(-1, 1, 12, dtype=torch.float64).reshape(1, 1, 3, 4)
    eps = normal((1, 3, 4), [0], 0, "eps").double()
    alpha, sigma = schedule(0.8)
    state = at(alpha * x0 + sigma * eps, 0.8)
    denoiser = Fixed(x0, schedule)
    for s in (0.6, 0.35, 0.1):
        state = DETERMINISTIC[name].step(denoiser, state, s)
        alpha, sigma = schedule(s)
        torch.testing.assert_close(state.x, alpha * x0 + sigma * eps)


def test_euler_is_ddim_without_noise(schedule):
    oracle = Mixture(torch.tensor([[-0.5], [0.8]]), torch.tensor([0.1, 0.3]), schedule)
    times = grid(13, schedule)
    x = normal((1,), range(50), 0, "start").double()
    walks = [
        [step.x for step in sample(oracle, at(x, 1.0), times, sampler)]
        for sampler in (DDIM(), Euler())
    ]
    for a, b in zip(*walks, strict=True):
        torch.testing.assert_close(a, b, atol=1e-10, rtol=1e-8)


def test_ddim_with_all_its_noise_is_ddpm(schedule):
    oracle = Mixture(torch.tensor([[-0.5], [0.8]]), torch.tensor([0.1, 0.3]), schedule)
    times = grid(13, schedule)
    x = normal((1,), range(50), 0, "start").double()
    walks = [
        [step.x for step in sample(oracle, at(x, 1.0), times, sampler)]
        for sampler in (DDIM(1.0), DDPM())
    ]
    for a, b in zip(*walks, strict=True):
        torch.testing.assert_close(a, b, atol=1e-7, rtol=1e-6)


def test_dpm_solver_is_the_papers_second_order_step():
    # 2211.01095, algorithm 2, with an own log-SNR and history
    schedule = linear_betas()
    r, t, s = 0.8, 0.55, 0.4
    before, now = torch.tensor(-0.3), torch.tensor(0.5)
    (a_r, s_r), (a_t, s_t), (a_s, s_s) = ([float(v) for v in schedule(u)] for u in (r, t, s))
    lam_r, lam_t, lam_s = (math.log(a / b) for a, b in ((a_r, s_r), (a_t, s_t), (a_s, s_s)))
    h, ratio = lam_s - lam_t, (lam_t - lam_r) / (lam_s - lam_t)
    drift = (1 + 1 / (2 * ratio)) * 0.5 - 1 / (2 * ratio) * -0.3
    expected = s_s / s_t * 0.9 - a_s * (math.exp(-h) - 1) * drift
    x = torch.full((1, 1, 1, 1), 0.9, dtype=torch.float64)
    state = at(x, t, memory=(r, before.reshape(1, 1, 1, 1).double()))
    after = DPMSolver2M().step(Fixed(now, schedule), state, s)
    assert float(after.x) == pytest.approx(expected, abs=1e-7)
    assert after.memory is not None and after.memory[0] == t


def test_dpm_solver_starts_and_ends_at_first_order():
    oracle = Mixture.gaussian(0.7, 0.3, (1, 2, 2), Flow())
    x = normal((1, 2, 2), [0], 0, "start").double()
    first = DPMSolver2M().step(oracle, at(x, 1.0), 0.8)
    torch.testing.assert_close(first.x, DDIM().step(oracle, at(x, 1.0), 0.8).x)
    # from t = 1 of the flow the last step in lambda was infinite: it carries no history
    second = DPMSolver2M().step(oracle, first, 0.6)
    torch.testing.assert_close(second.x, DDIM().step(oracle, first, 0.6).x)
    third = DPMSolver2M().step(oracle, second, 0.4)
    assert not torch.allclose(third.x, DDIM().step(oracle, second, 0.4).x)
    # a memory of the same or a later time, after going back, is not extrapolated from
    for memory in (0.6, 0.5):
        stale = dataclasses.replace(second, memory=(memory, torch.zeros_like(x)))
        torch.testing.assert_close(
            DPMSolver2M().step(oracle, stale, 0.4).x, DDIM().step(oracle, second, 0.4).x
        )


@pytest.mark.parametrize("name", DETERMINISTIC)
def test_the_last_deterministic_step_returns_the_guess(schedule, name):
    x0 = normal((3, 4, 5), [0, 1], 0, "x0")
    state = at(normal((3, 4, 5), [0, 1], 1, "x"), 0.13, memory=(0.2, torch.zeros_like(x0)))
    after = DETERMINISTIC[name].step(Fixed(x0, schedule), state, 0.0)
    assert torch.equal(after.x, x0) and torch.equal(after.x0, x0)


@pytest.mark.parametrize("sampler", [DDPM(), DDPM("beta"), DDIM(1.0)], ids=repr)
def test_no_noise_is_added_at_the_last_step(schedule, sampler):
    x0 = normal((3, 4, 5), [0, 1], 0, "x0")
    after = sampler.step(Fixed(x0, schedule), at(normal((3, 4, 5), [0, 1], 1, "x"), 0.13), 0.0)
    torch.testing.assert_close(after.x, x0, atol=1e-6, rtol=1e-6)


def test_noise_belongs_to_the_step_and_the_sample():
    x = torch.zeros(2, 1, 8, 8)
    oracle = Mixture.gaussian(0.0, 1.0, (1, 8, 8), Flow())
    first = DDPM().step(oracle, at(x, 0.8), 0.5).x
    assert torch.equal(first, DDPM().step(oracle, at(x, 0.8), 0.5).x)
    later = DDPM().step(oracle, at(x, 0.8, index=1), 0.5).x
    other = DDPM().step(oracle, State(x, 0.8, (0, 1), 12), 0.5).x
    for a, b in ((first, later), (first, other), (first[:1], first[1:])):
        assert abs(float(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1])) < 0.5
    swapped = DDPM().step(oracle, State(x, 0.8, (1, 0), 11), 0.5).x
    assert torch.equal(swapped, first.flip(0))


@pytest.mark.parametrize(
    ("t", "s"), [(0.5, 0.5), (0.3, 0.5), (0.5, -0.1), (1.1, 0.5), (float("nan"), 0.2)]
)
def test_steps_go_down_in_time(t, s):
    for sampler in SAMPLERS.values():
        with pytest.raises(ValueError, match="must go down in time"):
            sampler.step(Fixed(torch.tensor(0.0), Flow()), at(torch.zeros(1, 1, 1, 1), t), s)


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="variance"):
        DDPM("gamma")
    for eta in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="eta"):
            DDIM(eta)


@pytest.mark.parametrize("samples", [(), (0,), (0, 1, 2)])
def test_a_state_has_one_index_a_picture(samples):
    with pytest.raises(ValueError, match="as many indices"):
        State(torch.zeros(2, 1, 4, 4), 1.0, samples, 0)


def test_start_is_noise_by_index():
    state = start((3, 4, 5), range(2, 5), 7)
    assert state.t == 1.0 and state.index == state.evaluations == 0 and state.samples == (2, 3, 4)
    assert torch.equal(state.x[1:2], start((3, 4, 5), [3], 7).x)
    assert not torch.equal(state.x, start((3, 4, 5), range(2, 5), 8).x)
    wide = start((1, 100, 100), [0], 0).x
    assert float(wide.std()) == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("name", ["flow", "linear"])
def test_noised_pictures_stand_at_their_time(name):
    schedule = FAMILIES[name]
    x0 = normal((1, 4, 5), [0, 1], 0, "x0")
    state = noised(x0, schedule, 0.4, torch.tensor([5, 6]), 9)
    alpha, sigma = (float(level) for level in schedule(0.4))
    torch.testing.assert_close(state.x, alpha * x0 + sigma * normal((1, 4, 5), [5, 6], 9, "start"))
    assert (state.t, state.samples, state.seed) == (0.4, (5, 6), 9)
    assert torch.equal(noised(x0, Flow(), 1.0, [5, 6], 9).x, start((1, 4, 5), [5, 6], 9).x)
    assert torch.equal(noised(x0, schedule, 0.0, [5, 6], 9).x, x0)
