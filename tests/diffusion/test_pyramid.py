"""Packed pyramids: each level walks as an ordinary picture under its own shifted schedule."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from truths import ANSWERS

from sfumato.diffusion import (
    DDIM,
    DDPM,
    SAMPLERS,
    TARGETS,
    Denoiser,
    DiffusionLoss,
    Flow,
    Guided,
    LevelSchedule,
    Pyramid,
    State,
    Thresholded,
    cosine,
    grid,
    linear_betas,
    noised,
    sample,
    start,
    weight,
)
from sfumato.diffusion import sampler as sampler_module
from sfumato.diffusion.randomness import normal

SIDES = (8, 4, 2)
PYRAMID = Pyramid(SIDES)
WALKERS = {**SAMPLERS, "ddim-half": DDIM(0.5), "ddpm-beta": DDPM("beta")}
BASES = {"flow": Flow(), "cosine": cosine(), "linear": linear_betas()}
MEAN, STD = 0.4, 0.3


@pytest.fixture(params=BASES)
def base(request):
    return BASES[request.param]


def last(*args):
    *_, step = sample(*args)
    return step


class Exact:
    """E[x_0 | x_t] of N(MEAN, STD^2) in every number, whatever the shape of the levels."""

    def __init__(self, schedule):
        self.schedule = schedule

    def calls(self, t):
        return 1

    def __call__(self, x_t, t, condition=None):
        alpha, sigma = (level.to(x_t) for level in self.schedule(t))
        gain = alpha * STD**2 / (alpha**2 * STD**2 + sigma**2)
        return MEAN + gain * (x_t - alpha * MEAN)


# packing


@given(
    levels=st.integers(1, 4),
    lowest=st.integers(1, 5),
    batch=st.integers(1, 3),
    channels=st.integers(1, 4),
)
def test_what_is_packed_is_unpacked(levels, lowest, batch, channels):
    pyramid = Pyramid.halving(lowest * 2 ** (levels - 1), levels)
    assert pyramid.sides == tuple(lowest * 2**r for r in reversed(range(levels)))
    generator = torch.Generator().manual_seed(0)
    pictures = [torch.randn(batch, channels, s, s, generator=generator) for s in pyramid.sides]
    packed = pyramid.pack(pictures)
    assert packed.shape == (batch, channels, sum(pyramid.lengths))
    assert all(map(torch.equal, pyramid.unpack(packed), pictures))


def test_the_levels_of_a_picture_are_means_of_its_blocks(pictures):
    picture = pictures(0, 2, 3, 8, 8)
    top, middle, low = PYRAMID.unpack(PYRAMID.of(picture))
    assert torch.equal(top, picture)
    for level in (middle, low):
        side = level.shape[-1]
        block = 8 // side
        for i in range(side):
            for j in range(side):
                corner = picture[:, :, i * block : (i + 1) * block, j * block : (j + 1) * block]
                torch.testing.assert_close(level[:, :, i, j], corner.mean((2, 3)))


@pytest.mark.parametrize("sides", [(), (4, 8), (8, 8), (8, 3), (4, 0), (8, -2)])
def test_no_such_pyramid(sides):
    with pytest.raises(ValueError, match=r"side"):
        Pyramid(sides)


def test_a_side_that_cannot_be_halved_so_often():
    for side, levels in [(12, 4), (8, 0), (7, 2)]:
        with pytest.raises(ValueError, match="halved"):
            Pyramid.halving(side, levels)


def test_other_levels_are_not_packed(pictures):
    with pytest.raises(ValueError, match="sides"):
        PYRAMID.pack([pictures(0, 1, 1, 8, 8), pictures(0, 1, 1, 2, 2), pictures(0, 1, 1, 4, 4)])


# schedule


@pytest.mark.parametrize("power", [0.0, 1.0, 2.0])
@pytest.mark.parametrize("t", [0.0, 0.3, 1.0, (0.0, 0.2, 0.7, 1.0)])
def test_every_level_has_its_shifted_schedule(base, power, t):
    time = torch.tensor(t, dtype=torch.float64)
    schedule = LevelSchedule(base, SIDES, power)
    found = (*schedule(time), schedule.log_snr(time))
    for numbers in found:
        assert numbers.shape == (*(time.shape or (1,)), 1, 84) and numbers.dtype == torch.float64
    for level, side in enumerate(SIDES):
        own = base.shifted(side / 2, power)
        truth = (*own(time), own.log_snr(time))
        for numbers, expected in zip(found, truth, strict=True):
            part = numbers.split(PYRAMID.lengths, -1)[level]
            expected = expected.reshape(-1, 1, 1).expand_as(part)
            torch.testing.assert_close(part, expected, rtol=1e-9, atol=1e-9)


def test_the_snr_falls_with_the_side(base):
    t = torch.tensor([0.2, 0.6], dtype=torch.float64)
    snr = LevelSchedule(base, SIDES, 1.0).log_snr(t).exp()[:, 0]
    plain = base.log_snr(t).exp()
    for position, ratio in [(0, 4), (63, 4), (64, 2), (79, 2), (80, 1), (83, 1)]:
        torch.testing.assert_close(snr[:, position], plain / ratio)


def test_the_lowest_level_has_the_base_to_the_last_bit(base):
    t = torch.linspace(0, 1, 11, dtype=torch.float64)
    for mine, given_ in zip(LevelSchedule(base, SIDES)(t), base(t), strict=True):
        assert torch.equal(mine[:, 0, -1], given_)


@pytest.mark.parametrize("spacing", ["uniform", "log-snr", "karras"])
def test_times_are_spaced_by_the_lowest_level(base, spacing):
    found = grid(7, LevelSchedule(base, SIDES), spacing)
    assert torch.equal(found, grid(7, base, spacing))


def test_shifting_shifts_every_level(base):
    t = torch.tensor([0.4], dtype=torch.float64)
    shifted = LevelSchedule(base, SIDES).shifted(3, 2)
    expected = LevelSchedule(base, SIDES).log_snr(t) - 2 * math.log(3)
    torch.testing.assert_close(shifted.log_snr(t), expected)


# walks


@pytest.fixture
def by_level(monkeypatch):
    """by_level(level): ordinary walks draw the part of the pack's noise that is this level's."""

    def switch(level):
        side, lengths = SIDES[level], PYRAMID.lengths
        start_ = sum(lengths[:level])

        def draw(shape, *rest):
            whole = normal((shape[0], sum(lengths)), *rest)
            return whole[..., start_ : start_ + lengths[level]].unflatten(-1, (side, side))

        monkeypatch.setattr(sampler_module, "normal", draw)

    return switch


@pytest.mark.parametrize("name", WALKERS)
def test_a_pyramid_walks_level_by_level(base, name, by_level):
    walker, times = WALKERS[name], grid(6, base, "log-snr")
    state = start((2, 84), range(3), 5)
    steps = list(sample(Exact(LevelSchedule(base, SIDES)), state, times, walker))
    for level, side in enumerate(SIDES):
        by_level(level)
        x = PYRAMID.unpack(state.x)[level]
        own = Exact(base if side == 2 else base.shifted(side / 2))
        own_state = State(x, 1.0, state.samples, state.seed)
        for step, alone in zip(steps, sample(own, own_state, times, walker), strict=True):
            assert (step.t, step.s, step.evaluations) == (alone.t, alone.s, alone.evaluations)
            for mine, truth in [(step.x, alone.x), (step.x0, alone.x0)]:
                torch.testing.assert_close(PYRAMID.unpack(mine)[level], truth)


@pytest.mark.parametrize("name", WALKERS)
def test_one_level_walks_as_a_picture_to_the_last_bit(base, name):
    walker, times = WALKERS[name], grid(5, base)
    picture, packed = start((2, 8, 8), range(3), 5), start((2, 64), range(3), 5)
    end = last(Exact(base), picture, times, walker).x
    mine = last(Exact(LevelSchedule(base, (8,))), packed, times, walker).x
    assert torch.equal(mine.reshape(end.shape), end)


def test_the_noise_of_the_levels_is_independent():
    levels = PYRAMID.unpack(start((4, 84), range(4000), 1).x)
    # were a level the pooled noise of another one, its variance and correlation would tell
    pooled = torch.nn.functional.avg_pool2d(levels[0], 2)
    for level in levels:
        assert abs(float(level.var()) - 1) < 0.02
    both = torch.stack([pooled.flatten(), levels[1].flatten()])
    assert abs(float(torch.corrcoef(both)[0, 1])) < 0.01
    low = torch.stack([torch.nn.functional.avg_pool2d(levels[1], 2).flatten(), levels[2].flatten()])
    assert abs(float(torch.corrcoef(low)[0, 1])) < 0.02


def test_a_picture_is_carried_forward_level_by_level(base, pictures):
    x0 = PYRAMID.of(pictures(1, 2, 3, 8, 8))
    found = PYRAMID.unpack(noised(x0, LevelSchedule(base, SIDES), 0.4, [4, 7], 3).x)
    eps = PYRAMID.unpack(normal((3, 84), [4, 7], 3, "start"))
    for level, side in enumerate(SIDES):
        alpha, sigma = (float(one) for one in base.shifted(side / 2)(0.4))
        torch.testing.assert_close(
            found[level], alpha * PYRAMID.unpack(x0)[level] + sigma * eps[level]
        )


# the learned denoiser


@pytest.mark.parametrize("kind", ANSWERS)
def test_the_denoiser_reads_every_level_by_its_own_schedule(base, kind, pictures):
    schedule = LevelSchedule(base, SIDES)
    x_t, y = pictures(1, 3, 2, 84), pictures(2, 3, 2, 84)
    t = torch.tensor([0.1, 0.5, 0.8], dtype=torch.float64)
    seen = []
    denoiser = Denoiser(
        lambda x, time, c: seen.append((x, time)) or y, schedule, TARGETS[kind], 0.5
    )
    guess = PYRAMID.unpack(denoiser(x_t, t))
    for level, side in enumerate(SIDES):
        heard = []
        part = PYRAMID.unpack(y)[level]
        alone = Denoiser(
            lambda x, time, c, part=part, heard=heard: heard.append((x, time)) or part,
            base.shifted(side / 2),
            TARGETS[kind],
            0.5,
        )
        torch.testing.assert_close(guess[level], alone(PYRAMID.unpack(x_t)[level], t))
        torch.testing.assert_close(PYRAMID.unpack(seen[0][0])[level], heard[0][0])
        assert torch.equal(seen[0][1], heard[0][1])


@pytest.mark.parametrize("t", [0.3, (0.2, 0.6)])
def test_another_schedule_may_be_walked(pictures, t):
    # equal signal-to-noise ratios at every level: the same picture, only scaled
    time = torch.tensor(t, dtype=torch.float64)
    trained = LevelSchedule(linear_betas(), SIDES)

    def network(x, time, condition):
        return torch.tanh(x) * (time / 1000)[:, None, None]

    denoiser = Denoiser(network, trained, TARGETS["v"], 0.5)
    walking = denoiser.walking(Flow())
    assert walking.schedule == LevelSchedule(Flow(), SIDES)
    trained_t = linear_betas().time_of(Flow().log_snr(time))
    (a, _), (b, _) = walking.schedule(time), trained(trained_t)
    x_t = pictures(3, 2, 2, 84).double()
    torch.testing.assert_close(
        walking(x_t, time), denoiser(x_t * b / a, trained_t), atol=1e-5, rtol=1e-5
    )
    with pytest.raises(ValueError, match="cannot take the place"):
        denoiser.walking(LevelSchedule(Flow(), SIDES, 2.0))


# guidance and thresholds


class Two:
    """A condition and the empty one, side by side in a batch."""

    def __init__(self, guess):
        self.guess = guess

    def joined(self, other):
        return Two(torch.cat([self.guess, other.guess]))


class Told:
    """A denoiser that answers what it is told."""

    def __init__(self, schedule):
        self.schedule = schedule

    def calls(self, t):
        return 1

    def __call__(self, x_t, t, condition=None):
        return condition.guess


HALF = torch.tensor(0.5)


def test_guidance_is_rescaled_level_by_level(pictures):
    sizes = torch.cat([torch.full((n,), s) for n, s in zip(PYRAMID.lengths, (3, 1, 0.2))])  # noqa: B905
    condition, null = (Two(pictures(seed, 3, 2, 84) * sizes) for seed in (1, 2))
    x_t, schedule = pictures(3, 3, 2, 84), LevelSchedule(Flow(), SIDES)
    guided = Guided(Told(schedule), null, 4.0, rescale=0.7, lengths=PYRAMID.lengths)
    found = PYRAMID.unpack(guided(x_t, HALF, condition))
    for level in range(3):
        mine, none = (Two(PYRAMID.unpack(one.guess)[level]) for one in (condition, null))
        alone = Guided(Told(Flow()), none, 4.0, rescale=0.7)
        torch.testing.assert_close(
            found[level], alone(PYRAMID.unpack(x_t)[level], HALF, mine), atol=1e-5, rtol=1e-5
        )


@pytest.mark.parametrize("quantile", [None, 0.9])
def test_guesses_are_bounded_level_by_level(pictures, quantile):
    sizes = torch.cat([torch.full((n,), s) for n, s in zip(PYRAMID.lengths, (4, 1, 2))])  # noqa: B905
    guess = pictures(1, 3, 2, 84) * sizes
    bounded = Thresholded(Told(LevelSchedule(Flow(), SIDES)), quantile, PYRAMID.lengths)
    found = PYRAMID.unpack(bounded(guess, HALF, Two(guess)))
    for level in range(3):
        part = PYRAMID.unpack(guess)[level]
        alone = Thresholded(Told(Flow()), quantile)
        torch.testing.assert_close(found[level], alone(part, HALF, Two(part)))


def test_one_level_is_guided_and_bounded_as_a_picture_to_the_last_bit(pictures):
    condition, null = Two(2 * pictures(1, 3, 2, 8, 8)), Two(pictures(2, 3, 2, 8, 8))
    x_t = pictures(3, 3, 2, 8, 8)
    expected = Thresholded(Guided(Told(Flow()), null, 3.0, rescale=0.5), 0.9)(x_t, HALF, condition)
    flat, none = (Two(one.guess.flatten(2)) for one in (condition, null))
    guided = Guided(Told(LevelSchedule(Flow(), (8,))), none, 3.0, rescale=0.5, lengths=(64,))
    found = Thresholded(guided, 0.9, (64,))(x_t.flatten(2), HALF, flat)
    assert torch.equal(found.reshape(expected.shape), expected)


# loss


def network(x, time, condition):
    """Any network: it looks at picture and time."""
    return torch.sin(3 * x) * (1 + time / 1000).reshape(-1, *[1] * (x.ndim - 1))


@pytest.mark.parametrize("law", ["uniform", "min-snr", "velocity"])
@pytest.mark.parametrize("weights", [(), (1.0, 1.0, 1.0), (16.0, 4.0, 1.0)])
@pytest.mark.parametrize("kind", ANSWERS)
def test_the_loss_is_the_weighted_mean_of_the_levels(base, kind, weights, law, pictures):
    x0, eps = PYRAMID.of(pictures(1, 4, 3, 8, 8)), pictures(2, 4, 3, 84)
    t = torch.tensor([0.1, 0.3, 0.6, 0.9], dtype=torch.float64)
    denoiser = Denoiser(network, LevelSchedule(base, SIDES), TARGETS[kind], 0.5)
    loss = DiffusionLoss(denoiser, weight=law, lengths=PYRAMID.lengths, level_weights=weights)
    found = loss.at(x0, eps, t)
    shares = weights or (1.0, 1.0, 1.0)
    for i in range(4):  # picture by picture, level by level, number by number
        total = 0.0
        for level, side in enumerate(SIDES):
            alpha, sigma = base.shifted(side / 2)(t[i])
            a, s = float(alpha), float(sigma)
            clean = PYRAMID.unpack(x0)[level][i].double()
            noise = PYRAMID.unpack(eps)[level][i].double()
            x_t = a * clean + s * noise
            x_in = x_t / math.sqrt(a**2 * 0.25 + s**2)
            said = torch.sin(3 * x_in) * (1 + float(t[i]))
            error = said - ANSWERS[kind](clean, noise, a, s)
            worth = float(weight(TARGETS[kind], alpha, sigma, law))
            total += shares[level] * worth * float((error**2).sum()) / error.numel()
        assert float(found[i]) == pytest.approx(total / sum(shares), rel=1e-4)


@pytest.mark.parametrize("law", ["uniform", "min-snr", "velocity"])
def test_one_level_costs_what_a_picture_costs_to_the_last_bit(base, kind, law, pictures):
    x0 = pictures(1, 4, 3, 8, 8)
    plain = DiffusionLoss(Denoiser(network, base, TARGETS[kind], 0.5), weight=law)
    levels = Denoiser(network, LevelSchedule(base, (8,)), TARGETS[kind], 0.5)
    packed = DiffusionLoss(levels, weight=law, lengths=(64,), level_weights=(3.0,))
    expected, times = plain(x0, range(4))
    found, same = packed(x0.flatten(2), range(4))
    assert torch.equal(times, same)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)
    bare = DiffusionLoss(levels, weight=law, lengths=(64,))
    assert torch.equal(bare(x0.flatten(2), range(4))[0], expected)


@pytest.mark.parametrize("weights", [(1.0, 2.0), (1.0, 0.0, 1.0), (1.0, math.inf, 1.0)])
def test_levels_and_weights_must_match(weights):
    denoiser = Denoiser(network, LevelSchedule(Flow(), SIDES), TARGETS["v"])
    with pytest.raises(ValueError, match="3 levels need as many positive weights"):
        DiffusionLoss(denoiser, lengths=PYRAMID.lengths, level_weights=weights)


@pytest.mark.parametrize("base", BASES.values(), ids=BASES)
@given(t=st.floats(0.05, 0.95))
def test_the_lowest_level_is_the_base_also_backwards(base, t):
    levels = LevelSchedule(base, SIDES)
    lowest = levels.log_snr(t)[0, 0, -1]
    assert float(levels.time_of(lowest)) == pytest.approx(t, abs=1e-9)
    for found, wanted in zip(levels.levels_of(lowest), base(t), strict=True):
        assert float(found) == pytest.approx(float(wanted), abs=1e-9)


def test_levels_take_the_place_of_levels_only_if_they_are_the_same():
    mine = LevelSchedule(Flow(), SIDES)
    same = LevelSchedule(cosine(), SIDES)
    assert mine.over(same) is same
    assert mine.over(cosine()) == same
    for other in (LevelSchedule(cosine(), (8, 4)), LevelSchedule(cosine(), SIDES, power=2)):
        with pytest.raises(ValueError, match="cannot take the place"):
            mine.over(other)
