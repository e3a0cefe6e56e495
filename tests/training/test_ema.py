from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from sfumato.errors import SfumatoError
from sfumato.training.ema import Average, coverage, decay


def single(value: float, dtype: torch.dtype = torch.float32) -> nn.Module:
    module = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        module.weight.fill_(value)
    return module.to(dtype)


def put(module: nn.Module, value: float) -> None:
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.fill_(value)


def bits(module: nn.Module) -> list[bytes]:
    return [p.detach().view(torch.uint8).numpy().tobytes() for p in module.parameters()]


def test_mistake_6_ten_steps_equal_the_closed_form() -> None:
    """average_n = (prod beta) w_0 + sum_k (1 - beta_k) (prod_{j > k} beta_j) w_k."""
    batch, half_life, steps = 8, 2.0, 10
    weights = np.random.default_rng(0).normal(size=steps + 1)
    module = single(weights[0])
    average = Average(module, half_life)
    for k in range(1, steps + 1):
        put(module, weights[k])
        average.update(module, images_seen=k * batch, batch=batch)
    halvings = np.array([batch / min(half_life, k * batch / 20) for k in range(1, steps + 1)])
    betas = np.exp2(-halvings)
    later = np.append(np.cumprod(betas[::-1])[::-1], 1.0)  # later[k] = beta_{k+1} ... beta_n
    expected = later[0] * weights[0] + np.sum((1 - betas) * later[1:] * weights[1:])
    assert average.state["weight"].item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("batch", [1, 4, 16])
def test_mistake_6_slow_average_equals_the_closed_form_too(batch: int) -> None:
    """As above with decays that keep all ten weights alive, so that one late step would show."""
    start, half_life, steps = 100_000, 64.0, 10
    weights = np.random.default_rng(batch).normal(size=steps + 1)
    module = single(weights[0])
    average = Average(module, half_life)
    for k in range(1, steps + 1):
        put(module, weights[k])
        average.update(module, images_seen=start + k * batch, batch=batch)
    beta = 2 ** (-batch / half_life)
    expected = beta**steps * weights[0] + sum(
        (1 - beta) * beta ** (steps - k) * weights[k] for k in range(1, steps + 1)
    )
    assert average.state["weight"].item() == pytest.approx(expected, abs=1e-6)


def test_half_is_forgotten_after_a_half_life_whatever_the_batch() -> None:
    for batch in (1, 10, 100):
        module = single(1.0)
        average = Average(module, half_life=1000)
        put(module, 0.0)
        for seen in range(10**6 + batch, 10**6 + 1001, batch):
            average.update(module, seen, batch)
        assert average.state["weight"].item() == pytest.approx(0.5, abs=1e-5)


def test_the_ramp_limits_the_half_life_to_a_twentieth_of_the_images() -> None:
    assert decay(128, 128, 50_000) == 0.5**20  # the first update: nearly all of it is new
    assert 0 < decay(128, 128, 50_000) < decay(256, 128, 50_000)
    assert decay(10_000, 500, 50_000) == 0.5
    assert decay(1_000_000, 50_000, 50_000) == 0.5
    assert decay(9_000_000, 50_000, 50_000) == 0.5
    for seen, batch in ((0, 0), (7, 8), (8, 0)):
        with pytest.raises(ValueError, match="batch"):
            decay(seen, batch, 1.0)
    with pytest.raises(ValueError, match="half_life"):
        Average(single(1.0), 0)


@pytest.mark.parametrize(("batch", "half_life"), [(10, 20.0), (1, 3.0), (7, 4.5), (4, 1e-3)])
def test_coverage_is_what_is_left_of_the_initial_weights(batch: int, half_life: float) -> None:
    module = single(1.0).double()
    average = Average(module, half_life)
    average.state = {name: t.double() for name, t in average.state.items()}  # to see 1e-20
    put(module, 0.0)
    assert average.coverage(0, batch) == 1
    for step in range(1, 6):
        # lerp towards 0 is a product of betas, without rounding against 1 in double precision
        beta = decay(step * batch, batch, half_life)
        average.state["weight"].mul_(beta)
        left = average.state["weight"].item()
        assert math.isclose(coverage(step * batch, batch, half_life), left, rel_tol=1e-9)


def test_coverage_agrees_with_the_real_updates() -> None:
    module = single(1.0)
    average = Average(module, half_life=30.0)
    put(module, 0.0)
    for step in range(1, 4):
        average.update(module, 10_000 + 10 * step, 10)
    expected = coverage(600 + 30, 10, 30.0) / coverage(600, 10, 30.0)
    assert average.state["weight"].item() == pytest.approx(expected, rel=1e-5)


def test_half_precision_weights_are_averaged_in_float32() -> None:
    module = single(1.0, torch.bfloat16)
    average = Average(module, half_life=1000)
    put(module, 1.0078125)  # the next bfloat16; the average moves by far less than that
    for k in range(1, 11):
        average.update(module, 10**6 + k, 1)
    assert average.state["weight"].dtype == torch.float32
    expected = 1.0078125 - 0.0078125 * 2 ** (-10 / 1000)
    assert average.state["weight"].item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_applied_restores_the_weights_bitwise(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)).to(dtype)
    average = Average(module, half_life=100)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn(parameter.shape).to(dtype) / 3)
        module[0].weight[0, 0] = float("nan")
        module[0].weight[0, 1] = -0.0
    before = bits(module)
    own = [p.data_ptr() for p in module.parameters()]
    with average.applied(module) as same:
        assert same is module
        for name, parameter in module.named_parameters():
            assert torch.equal(parameter, average.state[name].to(dtype))
        assert bits(module) != before
    assert bits(module) == before
    assert own == [p.data_ptr() for p in module.parameters()]  # the optimiser's own tensors
    with pytest.raises(KeyError), average.applied(module):
        raise KeyError
    assert bits(module) == before


def test_the_average_is_not_the_module_and_the_module_not_the_average() -> None:
    module = single(1.0)
    average = Average(module, half_life=100)
    put(module, 5.0)
    assert average.state["weight"].item() == 1.0
    with average.applied(module):
        put(module, 7.0)
    assert average.state["weight"].item() == 1.0


def test_a_kept_state_continues_bit_by_bit() -> None:
    module, other = single(0.3), single(0.0)
    average, resumed = Average(module, 50), Average(other, 50)
    for k in range(1, 4):
        put(module, 1 / k)
        average.update(module, 8 * k, 8)
    resumed.load({name: t.clone() for name, t in average.state.items()})
    put(module, 0.7)
    put(other, 0.7)
    average.update(module, 32, 8)
    resumed.update(other, 32, 8)
    assert torch.equal(average.state["weight"], resumed.state["weight"])


def test_another_network_is_refused() -> None:
    average = Average(nn.Linear(2, 2), 10)
    with pytest.raises(SfumatoError, match="'bias'"):
        average.update(nn.Linear(2, 2, bias=False), 8, 8)
    with pytest.raises(SfumatoError, match="1 tensors differ"):
        average.load({"weight": torch.zeros(3, 2), "bias": torch.zeros(2)})
