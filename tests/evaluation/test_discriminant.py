"""The discriminant against solutions found another way."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sfumato.evaluation.discriminant import class_means, discriminant, prototypes_of


@pytest.fixture
def drawn():
    dice = np.random.default_rng(0)
    mixing = dice.normal(size=(6, 6))
    labels = np.repeat([0, 1, 2, 3], [40, 60, 50, 30])
    centres = dice.normal(size=(4, 6)) * 2
    rows = dice.normal(size=(180, 6)) @ mixing + centres[labels]
    return torch.tensor(rows).float(), torch.tensor(labels)


def scatter(rows, labels, shrink):
    """(within, between) as sums over classes, in numpy."""
    x, y = rows.double().numpy(), labels.numpy()
    means = np.stack([x[y == k].mean(0) for k in range(4)])
    within = sum((x[y == k] - means[k]).T @ (x[y == k] - means[k]) for k in range(4)) / len(x)
    within = (1 - shrink) * within + shrink * np.trace(within) / 6 * np.eye(6)
    centred = means - means.mean(0)
    return within, centred.T @ centred


@pytest.mark.parametrize("shrink", [0.01, 0.3, 1.0])
def test_directions_solve_the_eigenvalue_problem(drawn, shrink):
    rows, labels = drawn
    found = discriminant(rows, labels, 3, shrink).double().numpy()
    within, between = scatter(rows, labels, shrink)
    values, vectors = np.linalg.eig(np.linalg.solve(within, between))
    order = np.argsort(-values.real)[:3]
    for k, column in enumerate(order):
        expected = vectors[:, column].real
        cosine = expected @ found[:, k] / np.linalg.norm(expected) / np.linalg.norm(found[:, k])
        assert abs(cosine) == pytest.approx(1, abs=1e-4)
    np.testing.assert_allclose(found.T @ within @ found, np.eye(3), atol=1e-4)


def test_two_classes_give_fishers_direction(drawn):
    rows, labels = drawn
    two = labels < 2
    rows, labels = rows[two], labels[two]
    found = discriminant(rows, labels, 1, 1e-6)[:, 0].double().numpy()
    x = rows.double().numpy()
    a, b = x[:40], x[40:]
    within = (a - a.mean(0)).T @ (a - a.mean(0)) + (b - b.mean(0)).T @ (b - b.mean(0))
    fisher = np.linalg.solve(within, a.mean(0) - b.mean(0))
    cosine = fisher @ found / np.linalg.norm(fisher) / np.linalg.norm(found)
    assert abs(cosine) == pytest.approx(1, abs=1e-4)


def test_many_classes_are_solved_as_few_are(drawn):
    """More classes than columns: the other of the two products is decomposed."""
    rows, labels = drawn
    few = rows[:, :3]  # four classes of three columns
    found = discriminant(few, labels, 3, 0.3).double().numpy()
    means = class_means(few, labels).double()
    apart = few.double() - means[labels]
    within = apart.T @ apart / len(few)
    within = 0.7 * within + 0.3 * within.trace() / 3 * torch.eye(3, dtype=torch.float64)
    between = (means - means.mean(0)).T @ (means - means.mean(0))
    np.testing.assert_allclose(found.T @ within.numpy() @ found, np.eye(3), atol=1e-4)
    spread = found.T @ between.numpy() @ found
    np.testing.assert_allclose(spread, np.diag(np.diag(spread)), atol=1e-3)
    assert (np.diff(np.diag(spread)) <= 0).all()


def test_directions_that_are_not_there_are_zero(drawn):
    found = discriminant(*drawn, 9, 0.3)
    assert found.shape == (6, 9)
    assert found[:, :3].any(0).all() and not found[:, 3:].any()


def test_columns_that_never_vary_are_no_trouble(drawn):
    rows, labels = drawn
    rows = torch.cat([rows, torch.ones(len(rows), 2)], 1)
    assert discriminant(rows, labels, 3, 0.3).isfinite().all()


def test_means_and_prototypes():
    rows = torch.tensor([[0.0], [10], [2], [20], [4]])
    labels = torch.tensor([0, 1, 0, 1, 0])
    assert class_means(rows, labels).tolist() == [[2], [15]]
    own = prototypes_of(rows, labels, 3, own=1.0)
    assert own[..., 0].tolist() == [[0, 2, 4], [10, 20, 10]]
    half = prototypes_of(rows, labels, 2)
    assert half[..., 0].tolist() == [[1, 2], [12.5, 17.5]]
