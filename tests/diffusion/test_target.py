from __future__ import annotations

import pytest
import torch
from truths import ANSWERS, FAMILIES

from sfumato.diffusion import TARGETS
from sfumato.diffusion.target import like, noise_in

PAIRS = [(a, b) for a in TARGETS for b in TARGETS]


@pytest.fixture
def case(schedule, pictures):
    """(x0, eps, alpha, sigma, x_t) in float64 with B, C, H, W all different."""
    x0 = pictures(1, 5, 3, 4, 7, dtype=torch.float64)
    eps = pictures(2, 5, 3, 4, 7, dtype=torch.float64)
    alpha, sigma = schedule(torch.tensor([0.02, 0.3, 0.5, 0.8, 0.97], dtype=torch.float64))
    x_t = torch.stack([a * x + s * e for x, e, a, s in zip(x0, eps, alpha, sigma, strict=True)])
    return x0, eps, alpha, sigma, x_t


def test_the_four_kinds_are_known_by_name():
    assert list(TARGETS) == list(ANSWERS)


def test_target_is_what_the_papers_ask_for(kind, case):
    x0, eps, alpha, sigma, _ = case
    made = TARGETS[kind].target(x0, eps, alpha, sigma)
    for i in range(5):
        torch.testing.assert_close(made[i], ANSWERS[kind](x0[i], eps[i], alpha[i], sigma[i]))


def test_recover_undoes_target(kind, case):
    x0, eps, alpha, sigma, x_t = case
    y = torch.stack([ANSWERS[kind](*each) for each in zip(x0, eps, alpha, sigma, strict=True)])
    found_x0, found_eps = TARGETS[kind].recover(y, x_t, alpha, sigma)
    torch.testing.assert_close(found_x0, x0)
    torch.testing.assert_close(found_eps, eps)
    torch.testing.assert_close(TARGETS[kind].recover_x0(y, x_t, alpha, sigma), x0)


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_any_answer_converts_into_any_other_and_back(first, second, case):
    x0, eps, alpha, sigma, x_t = case
    a, b = TARGETS[first], TARGETS[second]
    y = a.target(x0, eps, alpha, sigma)
    there = b.target(*a.recover(y, x_t, alpha, sigma), alpha, sigma)
    torch.testing.assert_close(there, b.target(x0, eps, alpha, sigma))
    back = a.target(*b.recover(there, x_t, alpha, sigma), alpha, sigma)
    torch.testing.assert_close(back, y)


def test_error_scale_is_the_derivative(kind, schedule):
    # an answer moved by 1 moves the clean picture by error_scale: autodiff is the judge
    for t in (0.05, 0.4, 0.9):
        alpha, sigma = schedule(t)
        y = torch.zeros(1, 1, 1, 1, dtype=torch.float64, requires_grad=True)
        x_t = torch.full((1, 1, 1, 1), 0.3, dtype=torch.float64)
        (slope,) = torch.autograd.grad(TARGETS[kind].recover_x0(y, x_t, alpha, sigma).sum(), y)
        scale = TARGETS[kind].error_scale(alpha, sigma)
        assert scale.shape == ()
        assert float(scale) == pytest.approx(abs(float(slope)), rel=1e-9)


def test_error_scale_has_one_number_a_picture(kind):
    alpha, sigma = FAMILIES["cosine"](torch.tensor([0.2, 0.6, 0.9]))
    scales = TARGETS[kind].error_scale(alpha, sigma)
    alone = [TARGETS[kind].error_scale(a, s) for a, s in zip(alpha, sigma, strict=True)]
    torch.testing.assert_close(scales, torch.stack(alone))


@pytest.mark.parametrize("shape", [(3, 1, 4, 5), (4, 3, 4, 4), (3, 3, 3, 3), (2, 6), (1, 2, 3, 4)])
def test_batch_equals_one_by_one_also_where_sides_equal_the_batch(kind, shape, pictures):
    target, batch = TARGETS[kind], shape[0]
    x0, eps, y, x_t = (pictures(seed, *shape) for seed in range(4))
    alpha, sigma = FAMILIES["linear"](torch.linspace(0.1, 0.9, batch))
    made = target.target(x0, eps, alpha, sigma)
    got_x0, got_eps = target.recover(y, x_t, alpha, sigma)
    for i in range(batch):
        one = slice(i, i + 1)
        torch.testing.assert_close(made[one], target.target(x0[one], eps[one], alpha[i], sigma[i]))
        alone = target.recover(y[one], x_t[one], alpha[i], sigma[i])
        torch.testing.assert_close(got_x0[one], alone[0])
        torch.testing.assert_close(got_eps[one], alone[1])


def test_like_takes_the_pictures_type_and_shape():
    picture = torch.zeros(3, 2, 5, 5, dtype=torch.float32)
    levels = like(torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64), picture)
    assert levels.shape == (3, 1, 1, 1) and levels.dtype == torch.float32
    assert levels.flatten().tolist() == [1.0, 2.0, 3.0]
    assert like(torch.tensor(2.0, dtype=torch.float64), picture).shape == ()


def test_pure_noise_is_read_by_every_kind(kind, pictures):
    # alpha = 0, sigma = 1: v is -x0, the flow velocity is eps - x0, and eps says nothing
    x0, eps = pictures(1, 2, 1, 3, 3), pictures(2, 2, 1, 3, 3)
    alpha, sigma = torch.tensor([0.0, 0.0]), torch.tensor([1.0, 1.0])
    y = TARGETS[kind].target(x0, eps, alpha, sigma)
    found_x0, found_eps = TARGETS[kind].recover(y, eps, alpha, sigma)
    torch.testing.assert_close(found_x0, torch.zeros_like(x0) if kind == "eps" else x0)
    torch.testing.assert_close(found_eps, eps)


def test_a_clean_picture_is_itself_whatever_the_answer(kind, pictures):
    # sigma = 0, alpha = 1: no noise can be read from a picture without noise
    x, y = pictures(1, 2, 1, 3, 3), pictures(2, 2, 1, 3, 3)
    alpha, sigma = torch.tensor([1.0, 1.0]), torch.tensor([0.0, 0.0])
    x0, eps = TARGETS[kind].recover(y, x, alpha, sigma)
    assert torch.equal(x0, y if kind == "x0" else x)
    assert torch.equal(eps, y if kind == "eps" else torch.zeros_like(x))


def test_the_ends_do_not_poison_the_gradients(kind, pictures):
    y = pictures(1, 2, 1, 3, 3).requires_grad_()
    alpha, sigma = torch.tensor([0.0, 1.0]), torch.tensor([1.0, 0.0])
    x0, eps = TARGETS[kind].recover(y, pictures(2, 2, 1, 3, 3), alpha, sigma)
    (x0 + eps).sum().backward()
    assert bool(y.grad.isfinite().all())


def test_noise_in_finds_the_noise(pictures):
    x0, eps = pictures(1, 2, 1, 3, 3), pictures(2, 2, 1, 3, 3)
    x_t = torch.stack([0.6 * x0[0] + 0.8 * eps[0], x0[1]])
    found = noise_in(x_t, x0, torch.tensor([0.6, 1.0]), torch.tensor([0.8, 0.0]))
    torch.testing.assert_close(found[0], eps[0])
    assert torch.equal(found[1], torch.zeros_like(eps[1]))
