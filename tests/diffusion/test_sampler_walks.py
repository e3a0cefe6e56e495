"""Whole walks: where they end, how fast they converge, what they cost, how they resume."""

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
    TARGETS,
    Denoiser,
    DPMSolver2M,
    Euler,
    Flow,
    Guided,
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

MEAN, STD = 0.7, 0.3
WALKERS = {**SAMPLERS, "ddim-1": DDIM(1.0), "ddim-half": DDIM(0.5), "ddpm-beta": DDPM("beta")}


def last(*args):
    *_, step = sample(*args)
    return step


def standardised(shape: tuple[int, ...]) -> torch.Tensor:
    """Noise whose own mean and spread are exactly 0 and 1, so that they cannot blur a test."""
    noise = normal(shape, [0], 5, "start").double()
    return (noise - noise.mean()) / noise.std(correction=0)


# convergence


def exact(schedule, x, t: float, s: float):
    """The probability flow of N(MEAN, STD^2) data in closed form: standard scores are kept."""
    (alpha_t, sigma_t), (alpha_s, sigma_s) = (
        [float(level) for level in schedule(u)] for u in (t, s)
    )
    spread_t, spread_s = (
        math.sqrt(a**2 * STD**2 + b**2) for a, b in ((alpha_t, sigma_t), (alpha_s, sigma_s))
    )
    return alpha_s * MEAN + spread_s / spread_t * (x - alpha_t * MEAN)


def slope(schedule, sampler, top: float, bottom: float, steps=(32, 64, 128, 256)) -> float:
    """The order: minus the slope of log error against log steps, from 32 to 256 steps."""
    oracle = Mixture.gaussian(MEAN, STD, (1, 1, 1), schedule)
    x = torch.linspace(-2, 2, 9, dtype=torch.float64).reshape(9, 1, 1, 1)
    errors = []
    for n in steps:
        times = torch.linspace(top, bottom, n + 1, dtype=torch.float64)
        end = last(oracle, State(x, top, tuple(range(9)), 0), times, sampler).x
        errors.append(float((end - exact(schedule, x, top, bottom)).abs().max()))
    return -float(np.polyfit(np.log(steps), np.log(errors), 1)[0])


@pytest.mark.parametrize(
    ("sampler", "order"),
    [(DDIM(), 1), (Euler(), 1), (Heun(), 2), (DPMSolver2M(), 2)],
    ids=["ddim", "euler", "heun", "dpm++2m"],
)
@pytest.mark.parametrize(
    ("family", "top", "bottom"), [("flow", 1.0, 0.1), ("flow", 0.9, 0.2), ("linear", 0.6, 0.1)]
)
def test_order_of_convergence(family, top, bottom, sampler, order):
    order_found = slope(FAMILIES[family], sampler, top, bottom)
    assert order_found == pytest.approx(order, abs=0.15)


@pytest.mark.parametrize(
    ("sampler", "least"),
    [(DDIM(), 0.9), (Euler(), 0.9), (Heun(), 1.9), (DPMSolver2M(), 1.7)],
    ids=["ddim", "euler", "heun", "dpm++2m"],
)
def test_order_of_convergence_of_the_whole_walk(sampler, least):
    # equal steps of t are unequal in lambda near t = 0, where DPM-Solver's error is h^2 log(1/h)
    assert slope(Flow(), sampler, 1.0, 0.0, (128, 256, 512)) > least


# distributions


@pytest.mark.parametrize("name", [*SAMPLERS, "ddim-1"])
@pytest.mark.parametrize("family", ["flow", "linear", "cosine", "scaled-linear", "shifted-flow"])
def test_every_schedule_target_and_sampler_recovers_the_data(family, kind, name, perfect_network):
    schedule = FAMILIES[family]
    denoiser = Denoiser(
        perfect_network(Mixture.gaussian(MEAN, STD, (1, 40, 40), schedule), kind, STD),
        schedule,
        TARGETS[kind],
        data_std=STD,
    )
    # from the exact marginal at t = 1
    alpha, sigma = (float(level) for level in schedule(1.0))
    x = alpha * MEAN + math.hypot(alpha * STD, sigma) * standardised((1, 40, 40)).float()
    times = grid(60, schedule, "log-snr")
    end = last(denoiser, State(x, 1.0, (0,), 3), times, WALKERS[name]).x
    # second order, first order, and first order with drawn noise (1,600 pixels)
    within = {"heun": 0.003, "dpm++2m": 0.003, "ddim": 0.016, "euler": 0.016}.get(name, 0.033)
    assert float(end.mean()) == pytest.approx(MEAN, abs=0.008)
    assert float(end.std()) == pytest.approx(STD, abs=within)


@pytest.mark.parametrize(("steps", "published"), [(50, 0.472), (100, 0.486), (250, 0.494)])
def test_published_spread_of_ddim_without_noise(steps, published):
    assert spread(steps, DDIM()) == pytest.approx(published, abs=0.0015)


@pytest.mark.parametrize(("steps", "published"), [(50, 0.445), (100, 0.468), (250, 0.486)])
def test_published_spread_of_ddim_with_noise(steps, published):
    assert spread(steps, DDIM(1.0)) == pytest.approx(published, abs=0.004)


@pytest.mark.parametrize(("variance", "published"), [("beta", 0.501), ("posterior", 0.496)])
def test_published_spread_of_ddpm(variance, published):
    assert spread(1000, DDPM(variance)) == pytest.approx(published, abs=0.004)


def spread(steps: int, sampler) -> float:
    """Where data of standard deviation 0.5 end with the exact denoiser, DDPM's chain."""
    schedule = linear_betas()
    oracle = Mixture.gaussian(0.0, 0.5, (1, 160, 160), schedule)
    state = State(standardised((1, 160, 160)), 1.0, (0,), 0)
    return float(last(oracle, state, grid(steps, schedule), sampler).x.std())


@pytest.mark.parametrize("name", WALKERS)
def test_two_points_are_hit_in_their_proportions(name):
    # three quarters of the data at -0.5, one quarter at 0.5
    oracle = Mixture(
        torch.tensor([[[[-0.5]]], [[[0.5]]]]),
        torch.tensor([0.02, 0.02]),
        cosine(),
        torch.tensor([0.75, 0.25]),
    )
    end = last(oracle, start((1, 1, 1), range(600), 0), grid(40, cosine()), WALKERS[name]).x
    assert float((end > 0).double().mean()) == pytest.approx(0.25, abs=0.07)  # 4 errors
    assert float((end.abs() - 0.5).abs().max()) < 0.12


def test_swapping_the_schedule_after_training_walks_to_the_same_data(perfect_network):
    trained = Denoiser(
        perfect_network(Mixture.gaussian(MEAN, STD, (1, 40, 40), cosine()), "v"),
        cosine(),
        TARGETS["v"],
    )
    state = State(standardised((1, 40, 40)).float(), 1.0, (0,), 0)
    end = last(trained.walking(Flow()), state, grid(60, Flow()), Heun()).x
    assert float(end.mean()) == pytest.approx(MEAN, abs=0.01)
    assert float(end.std()) == pytest.approx(STD, abs=0.01)


# costs


class Counter:
    """Counts real calls of the denoiser it wraps, and the times it was called at."""

    def __init__(self, inner):
        self.inner, self.schedule, self.times = inner, inner.schedule, []

    def calls(self, t):
        return self.inner.calls(t)

    def __call__(self, x_t, t, condition=None):
        self.times.append(float(t))
        return self.inner(x_t, t, condition)


@pytest.mark.parametrize("steps", [1, 2, 7, 20])
@pytest.mark.parametrize("name", WALKERS)
def test_evaluations_follow_the_formula(name, steps):
    counter = Counter(Mixture.gaussian(0.0, 1.0, (1, 2, 2), Flow()))
    times = grid(steps, Flow())
    walk = list(sample(counter, start((1, 2, 2), [0], 0), times, WALKERS[name]))
    expected = 2 * steps - 1 if name == "heun" else steps
    assert len(counter.times) == walk[-1].evaluations == walk[-1].state.evaluations == expected
    assert [step.index for step in walk] == list(range(1, steps + 1))
    assert [step.t for step in walk] == times[:-1].tolist()
    assert [step.s for step in walk] == times[1:].tolist()
    assert all(step.state.t == step.s and step.state.index == step.index for step in walk)


def test_evaluations_count_guidance_inside_its_interval():
    class Both:
        def joined(self, other):
            return self

    oracle = Mixture.gaussian(0.0, 1.0, (1, 2, 2), Flow())
    guided = Guided(oracle, Both(), 3.0, interval=(0.25, 0.75))
    times = grid(8, Flow())  # 1, 0.875, ... : 0.625, 0.5 and 0.375 lie inside
    assert last(guided, start((1, 2, 2), [0], 0), times, DDIM(), Both()).evaluations == 8 + 3
    # Heun asks at 1, then twice at every time down to 0.125
    heun = last(guided, start((1, 2, 2), [0], 0), times, Heun(), Both())
    assert heun.evaluations == 15 + 3 * 2


def test_guesses_and_pictures_belong_together():
    counter = Counter(Mixture.gaussian(0.3, 0.5, (1, 2, 2), Flow()))
    state = start((1, 2, 2), [0], 0)
    for step in sample(counter, state, grid(5, Flow()), Heun()):
        guess = counter.inner(state.x, torch.tensor(step.t, dtype=torch.float64))
        assert torch.equal(step.x0, guess) and torch.equal(step.state.x0, guess)
        assert step.state.memory[0] == step.t and torch.equal(step.state.memory[1], guess)
        assert torch.equal(step.x, step.state.x)
        state = step.state


def test_the_condition_reaches_every_call():
    class Steered:
        schedule = Flow()

        def calls(self, t):
            return 1

        def __call__(self, x_t, t, condition=None):
            return condition.expand_as(x_t)

    condition = torch.full((1, 1, 1, 1), 0.25)
    for sampler in WALKERS.values():
        end = last(Steered(), start((1, 2, 2), [0], 0), grid(4, Flow()), sampler, condition).x
        torch.testing.assert_close(end, torch.full((1, 1, 2, 2), 0.25))


def test_no_gradients_are_kept():
    weight = torch.ones((), requires_grad=True)
    denoiser = Denoiser(lambda x, time, c: weight * x, Flow(), TARGETS["flow"])
    for step in sample(denoiser, start((1, 2, 2), [0], 0), grid(3, Flow()), Heun()):
        assert not step.x.requires_grad
        assert torch.is_grad_enabled()  # the listener's own work is not affected


# resuming and branching


@pytest.fixture
def bumpy():
    """A denoiser with structure, so that equal walks are not equal by chance."""
    means = normal((2, 3, 4), range(5), 0, "means").tanh()
    return Mixture(means, torch.tensor([0.1, 0.2, 0.3, 0.2, 0.1]), cosine())


@pytest.mark.parametrize("name", WALKERS)
def test_a_walk_resumes_from_every_kept_state(bumpy, name):
    times = grid(9, cosine())
    walk = list(sample(bumpy, start((2, 3, 4), [3, 8], 1), times, WALKERS[name]))
    for k, kept in enumerate(walk[:-1]):
        again = list(sample(bumpy, kept.state, times, WALKERS[name]))
        assert len(again) == len(walk) - k - 1
        for a, b in zip(again, walk[k + 1 :], strict=True):
            assert torch.equal(a.x, b.x) and torch.equal(a.x0, b.x0)
            assert (a.index, a.t, a.s, a.evaluations) == (b.index, b.t, b.s, b.evaluations)


@pytest.mark.parametrize("name", WALKERS)
def test_walking_changes_no_kept_state(bumpy, name):
    first = start((2, 3, 4), [0], 1)
    kept, copy = [first], [first.x.clone()]
    for step in sample(bumpy, first, grid(6, cosine()), WALKERS[name]):
        kept.append(step.state)
        copy.append(step.state.x.clone())
    assert all(torch.equal(state.x, x) for state, x in zip(kept, copy, strict=True))


def test_branching_from_one_state_leaves_the_other_branch_alone(bumpy):
    times = grid(8, cosine())
    walk = list(sample(bumpy, start((2, 3, 4), [0], 1), times, DDPM()))
    middle = walk[3].state
    other_seed = last(bumpy, dataclasses.replace(middle, seed=99), times, DDPM())
    edited = last(bumpy, dataclasses.replace(middle, x=-middle.x), times, DDPM())
    assert not torch.equal(other_seed.x, walk[-1].x) and not torch.equal(edited.x, walk[-1].x)
    assert torch.equal(last(bumpy, middle, times, DDPM()).x, walk[-1].x)


@pytest.mark.parametrize("second", WALKERS)
@pytest.mark.parametrize("first", WALKERS)
def test_samplers_can_be_switched_mid_way(first, second):
    schedule = Flow()
    oracle = Mixture.gaussian(MEAN, STD, (1, 40, 40), schedule)
    x = standardised((1, 40, 40))
    half, full = grid(40, schedule)[:21], grid(40, schedule)
    middle = last(oracle, State(x, 1.0, (0,), 0), half, WALKERS[first]).state
    assert middle.t == 0.5
    end = last(oracle, middle, full, WALKERS[second])
    assert end.index == 40 and end.s == 0.0
    assert float(end.x.mean()) == pytest.approx(MEAN, abs=0.03)
    assert float(end.x.std()) == pytest.approx(STD, abs=0.035)


def test_a_walk_goes_on_inside_another_grid():
    oracle = Counter(Mixture.gaussian(MEAN, STD, (1, 1, 1), Flow()))
    state = noised(torch.full((1, 1, 1, 1), 0.7), Flow(), 0.55, [0], 0)
    steps = list(sample(oracle, state, grid(10, Flow()), DDIM()))
    assert [step.s for step in steps] == pytest.approx([0.5, 0.4, 0.3, 0.2, 0.1, 0.0])
    assert steps[0].t == 0.55 == oracle.times[0]


def test_times_that_differ_by_rounding_are_one_time():
    # 0.3 of one grid and 0.3 of another: no step of 1e-17, which the history would magnify
    oracle = Mixture.gaussian(MEAN, STD, (1, 1, 1), Flow())
    x = torch.full((1, 1, 1, 1), 0.9, dtype=torch.float64)
    memory = (0.4, torch.full_like(x, 0.6))
    for nudge in (1e-16, -1e-16, 5e-10):
        state = State(x, 0.3 + nudge, (0,), 0, memory=memory)
        steps = list(sample(oracle, state, grid(10, Flow()), DPMSolver2M()))
        assert [step.s for step in steps] == pytest.approx([0.2, 0.1, 0.0])


def test_a_finished_walk_has_no_more_steps(bumpy):
    times = grid(4, cosine())
    end = last(bumpy, start((2, 3, 4), [0], 1), times, DDIM())
    assert list(sample(bumpy, end.state, times, DDIM())) == []


def test_times_that_do_not_decrease_are_refused(bumpy):
    for times in ([0.2, 0.5, 0.0], [0.5, 0.5, 0.0], [0.5, -0.5]):
        with pytest.raises(ValueError, match="must go down"):
            list(sample(bumpy, start((2, 3, 4), [0], 1), torch.tensor(times), DDIM()))


@pytest.mark.parametrize("name", WALKERS)
def test_a_picture_does_not_depend_on_its_company(bumpy, name):
    times = grid(6, cosine())
    four = last(bumpy, start((2, 3, 4), range(4), 1), times, WALKERS[name]).x
    for i in range(4):
        alone = last(bumpy, start((2, 3, 4), [i], 1), times, WALKERS[name]).x
        torch.testing.assert_close(four[i : i + 1], alone, atol=1e-6, rtol=1e-5)
    assert not torch.allclose(four[0], four[1], atol=0.05)
    again = last(bumpy, start((2, 3, 4), range(4), 1), times, WALKERS[name]).x
    assert torch.equal(four, again)


def test_every_sampler_has_a_name():
    assert {name: type(sampler) for name, sampler in SAMPLERS.items()} == {
        "ddpm": DDPM,
        "ddim": DDIM,
        "euler": Euler,
        "heun": Heun,
        "dpm++2m": DPMSolver2M,
    }
    assert SAMPLERS["ddpm"] == DDPM("posterior") and SAMPLERS["ddim"] == DDIM(0.0)
