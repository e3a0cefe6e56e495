from __future__ import annotations

import pytest
import torch
from truths import FAMILIES

from sfumato.diffusion import TARGETS, Denoiser, Flow, Mixture, linear_betas

MEANS = torch.tensor([[-0.6, 0.3, 0.1], [0.5, 0.4, -0.8]]).reshape(2, 1, 1, 3)


def mixture(schedule):
    return Mixture(MEANS, torch.tensor([0.2, 0.35]), schedule)


@pytest.mark.parametrize("data_std", [1.0, 0.5])
def test_a_perfect_network_of_any_kind_gives_the_exact_guess(
    schedule, kind, data_std, perfect_network, pictures
):
    oracle = mixture(schedule)
    denoiser = Denoiser(perfect_network(oracle, kind, data_std), schedule, TARGETS[kind], data_std)
    x_t, t = pictures(1, 4, 1, 1, 3), torch.tensor([0.05, 0.3, 0.6, 0.9], dtype=torch.float64)
    torch.testing.assert_close(denoiser(x_t, t), oracle(x_t, t), atol=2e-4, rtol=2e-4)


@pytest.mark.parametrize("walking", FAMILIES)
def test_the_schedule_can_be_swapped_after_training(schedule, walking, perfect_network, pictures):
    # the exact guess under the new schedule is known, and must come from the old network
    trained = Denoiser(
        perfect_network(mixture(schedule), "v", 0.6), schedule, TARGETS["v"], data_std=0.6
    )
    other = FAMILIES[walking]
    swapped = trained.walking(other)
    assert swapped.schedule is other and trained.schedule is schedule
    x_t, t = pictures(2, 3, 1, 1, 3), torch.tensor([0.1, 0.4, 0.7], dtype=torch.float64)
    reachable = other.log_snr(t) > schedule.log_snr(1.0)
    expected = mixture(other)(x_t, t)
    torch.testing.assert_close(
        swapped(x_t, t)[reachable], expected[reachable], atol=3e-4, rtol=3e-4
    )
    assert int(reachable.sum()) >= 2


def test_a_swap_reaches_both_ends_of_time(perfect_network, pictures):
    linear = linear_betas()
    trained = Denoiser(perfect_network(mixture(linear), "x0"), linear, TARGETS["x0"])
    noise = pictures(3, 2, 1, 1, 3)
    # flow at t = 1 is noisier than the last time of the chain: its network sees t = 1
    torch.testing.assert_close(
        trained.walking(Flow())(noise, torch.tensor(1.0)), trained(noise, torch.tensor(1.0))
    )
    assert trained.network.seen[-2][1].tolist() == [1000.0, 1000.0]


def test_unchanged_schedule_costs_no_rescaling(perfect_network, pictures):
    plain = Denoiser(perfect_network(mixture(Flow()), "flow"), Flow(), TARGETS["flow"])
    x_t, t = pictures(4, 2, 1, 1, 3), torch.tensor(0.5)
    torch.testing.assert_close(plain.walking(Flow())(x_t, t), plain(x_t, t))
    assert plain.calls(t) == 1


@pytest.mark.parametrize("shape", [(4, 2, 3, 5), (3, 3, 3, 3), (5, 1, 2, 5)])
def test_scalar_time_is_full_time_and_batch_is_one_by_one(kind, shape, pictures):
    def network(x, time, condition):
        assert time.shape == (len(x),)
        return x * (time / 700).cos().reshape(-1, 1, 1, 1) + condition.reshape(-1, 1, 1, 1)

    denoiser = Denoiser(network, linear_betas(), TARGETS[kind], 0.5).walking(Flow())
    batch = shape[0]
    x_t, condition = pictures(5, *shape), pictures(6, batch)
    t = torch.tensor(0.37, dtype=torch.float64)
    scalar = denoiser(x_t, t, condition)
    assert torch.equal(scalar, denoiser(x_t, t.expand(batch), condition))
    assert torch.equal(scalar, denoiser(x_t, 0.37, condition))
    t = torch.linspace(0.2, 0.8, batch, dtype=torch.float64)
    together = denoiser(x_t, t, condition)
    for i in range(batch):
        alone = denoiser(x_t[i : i + 1], t[i], condition[i : i + 1])
        torch.testing.assert_close(together[i : i + 1], alone)


def test_the_network_is_given_times_from_0_to_1000_and_the_condition(perfect_network, pictures):
    network = perfect_network(mixture(Flow()), "flow")
    denoiser = Denoiser(network, Flow(), TARGETS["flow"])
    condition = object()
    t = torch.tensor([0.001, 0.25, 1.0], dtype=torch.float64)
    denoiser(pictures(7, 3, 1, 1, 3), t, condition)
    _, time, seen = network.seen[-1]
    assert time.dtype == torch.float32
    torch.testing.assert_close(time, torch.tensor([1.0, 250.0, 1000.0]))
    assert seen is condition


@pytest.mark.parametrize("data_std", [0.25, 1.0, 2.0])
def test_the_network_sees_unit_variance_at_every_time(schedule, data_std, pictures):
    seen = []

    def network(x, time, condition):
        seen.append(x)
        return x

    denoiser = Denoiser(network, schedule, TARGETS["v"], data_std)
    x0 = data_std * pictures(8, 1, 1, 200, 200)
    for t in (0.0, 0.1, 0.5, 0.9, 1.0):
        alpha, sigma = (float(level) for level in schedule(t))
        denoiser.output(alpha * x0 + sigma * pictures(9, 1, 1, 200, 200), t)
        assert float(seen[-1].std()) == pytest.approx(1.0, abs=0.02)


def test_a_half_precision_answer_becomes_a_float32_guess(kind, pictures):
    denoiser = Denoiser(lambda x, time, c: x.bfloat16(), Flow(), TARGETS[kind])
    assert denoiser(pictures(1, 2, 1, 2, 2), 0.5).dtype == torch.float32


def test_times_out_of_range_are_refused(perfect_network, pictures):
    denoiser = Denoiser(perfect_network(mixture(Flow()), "x0"), Flow(), TARGETS["x0"])
    with pytest.raises(ValueError, match="time must lie in"):
        denoiser(pictures(1, 1, 1, 1, 3), torch.tensor(250.0))
