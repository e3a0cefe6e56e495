"""Distances between sets of features, each against an independent truth."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sfumato.evaluation.distances import (
    frechet,
    halves,
    kernel,
    kernel_resampled,
    nearest,
    nearest_other,
    precision_recall,
)


def gaussian(mean, covariance, count, seed):
    """Samples whose mean and covariance are exactly the asked ones."""
    x = np.random.default_rng(seed).normal(size=(count, len(mean)))
    x -= x.mean(0)
    # whiten by the sample's own Cholesky factor, then colour
    own = np.linalg.cholesky(np.cov(x.T).reshape(len(mean), -1))
    x = x @ np.linalg.inv(own).T
    return x @ np.linalg.cholesky(np.asarray(covariance, dtype=float)).T + mean


def rotation(size, seed):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(size, size)))[0]


def test_frechet_of_commuting_gaussians_is_the_closed_form():
    # diagonal covariances: |mu - nu|^2 + sum (sqrt a - sqrt b)^2
    mu, nu, a, b = np.array([1.0, -2, 0.5]), np.array([0.0, 1, 0.5]), [4.0, 1, 9], [1.0, 2, 0.25]
    one, other = gaussian(mu, np.diag(a), 50, 1), gaussian(nu, np.diag(b), 80, 2)
    truth = ((mu - nu) ** 2).sum() + ((np.sqrt(a) - np.sqrt(b)) ** 2).sum()
    assert frechet(one, other) == pytest.approx(truth, rel=1e-9)


def test_frechet_of_any_two_by_two_covariances():
    # tr sqrt(M) of a 2x2 matrix with positive eigenvalues is sqrt(tr M + 2 sqrt det M)
    a, b = np.array([[2.0, 0.7], [0.7, 1.0]]), np.array([[1.0, -0.4], [-0.4, 3.0]])
    m = a @ b
    cross = np.sqrt(np.trace(m) + 2 * np.sqrt(np.linalg.det(m)))
    truth = 0.25 + np.trace(a) + np.trace(b) - 2 * cross
    one, other = gaussian([0, 0], a, 60, 3), gaussian([0.3, 0.4], b, 60, 4)
    assert frechet(one, other) == pytest.approx(truth, rel=1e-9)


@given(seed=st.integers(0, 10_000), size=st.integers(2, 9))
@settings(deadline=None, max_examples=20)
def test_frechet_does_not_see_rotations_and_shifts(seed, size):
    draw = np.random.default_rng(seed)
    one = draw.normal(size=(30, size)) @ draw.normal(size=(size, size))
    other = draw.normal(size=(40, size)) + draw.normal(size=size)
    turn, shift = rotation(size, seed), draw.normal(size=size) * 10
    far = frechet(one, other)
    assert far > 1e-3
    assert frechet(one @ turn + shift, other @ turn + shift) == pytest.approx(far, rel=1e-6)
    assert frechet(other, one) == pytest.approx(far, rel=1e-6)
    assert frechet(one, one[::-1]) == pytest.approx(0, abs=1e-6)
    assert frechet(3 * one, 3 * other) == pytest.approx(9 * far, rel=1e-6)


def test_frechet_of_fewer_samples_than_features_is_finite_and_biased_upwards():
    draw = np.random.default_rng(0)
    few = [frechet(draw.normal(size=(12, 20)), draw.normal(size=(12, 20))) for _ in range(5)]
    many = [frechet(draw.normal(size=(900, 20)), draw.normal(size=(900, 20))) for _ in range(5)]
    assert np.isfinite(few).all()
    assert min(few) > 5 * max(many) > 0


def test_kernel_is_the_double_loop():
    draw = np.random.default_rng(5)
    x, y = draw.normal(size=(7, 4)), draw.normal(size=(9, 4)) + 0.5

    def k(a, b):
        return (sum(p * q for p, q in zip(a, b, strict=True)) / 4 + 1) ** 3

    n, m = len(x), len(y)
    own = sum(k(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    theirs = sum(k(y[i], y[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    across = sum(k(a, b) for a in x for b in y) / (n * m)
    assert kernel(x, y) == pytest.approx(own + theirs - 2 * across, rel=1e-10)


def test_kernel_is_unbiased_and_frechet_is_not():
    draw = np.random.default_rng(6)
    found = [kernel(draw.normal(size=(20, 6)), draw.normal(size=(20, 6))) for _ in range(400)]
    error = np.std(found) / np.sqrt(len(found))
    assert abs(np.mean(found)) < 3 * error
    assert min(found) < 0


def moments_apart(mu):
    """Kernel distance of N(0, 1) and N(mu, 1) in one dimension, by the moments' closed form.

    (xy + 1)^3 is the sum of binomials times (xy)^j, so the distance is that of the moments.
    """
    gaps = {1: mu, 2: mu**2, 3: mu**3 + 3 * mu}
    return 3 * gaps[1] ** 2 + 3 * gaps[2] ** 2 + gaps[3] ** 2


def test_kernel_of_gaussians_is_the_closed_form():
    draw = np.random.default_rng(11)
    found = [kernel(draw.normal(size=(50, 1)), draw.normal(size=(70, 1)) + 0.4) for _ in range(900)]
    error = np.std(found) / np.sqrt(len(found))
    assert error < 0.1
    assert np.mean(found) == pytest.approx(moments_apart(0.4), abs=3 * error)


def test_resampled_kernel_distances_cover_the_truth():
    draw = np.random.default_rng(7)
    inside = 0
    for turn in range(40):
        one, other = draw.normal(size=(80, 1)), draw.normal(size=(80, 1)) + 0.4
        resampled = kernel_resampled(one, other, 60, turn)
        shift = kernel(one, other) - resampled.mean()
        low, high = np.quantile(resampled + shift, [0.025, 0.975])
        inside += low <= moments_apart(0.4) <= high
    assert 32 <= inside <= 40


def brute_precision(samples, real, k):
    flags = []
    for point in samples:
        hit = False
        for i, centre in enumerate(real):
            others = sorted(np.linalg.norm(centre - o) for j, o in enumerate(real) if j != i)
            hit |= np.linalg.norm(point - centre) <= others[k - 1]
        flags.append(hit)
    return flags


@given(seed=st.integers(0, 10_000), k=st.integers(1, 4))
@settings(deadline=None, max_examples=15)
def test_precision_and_recall_are_brute_force(seed, k):
    draw = np.random.default_rng(seed)
    samples, real = draw.normal(size=(14, 3)), draw.normal(size=(11, 3)) * 0.7 + 0.3
    precise, recalled = precision_recall(samples, real, k)
    assert precise.tolist() == brute_precision(samples, real, k)
    assert recalled.tolist() == brute_precision(real, samples, k)


def test_precision_is_high_and_recall_low_for_samples_of_one_kind():
    draw = np.random.default_rng(8)
    real = np.concatenate([draw.normal(size=(60, 2)), draw.normal(size=(60, 2)) + 50])
    precise, recalled = precision_recall(draw.normal(size=(120, 2)), real)
    assert precise.mean() > 0.9
    assert recalled.mean() < 0.55


def test_nearest_is_brute_force_over_many_blocks():
    draw = np.random.default_rng(9)
    one, other = draw.normal(size=(1100, 3)), draw.normal(size=(70, 3))
    distance, place = nearest(one, other)
    all_of_them = np.linalg.norm(one[:, None] - other[None], axis=2)
    assert place.tolist() == all_of_them.argmin(1).tolist()
    assert distance == pytest.approx(all_of_them.min(1))
    own = np.linalg.norm(one[:, None] - one[None], axis=2) + np.diag(np.full(len(one), np.inf))
    assert nearest_other(one) == pytest.approx(own.min(1))


def test_a_double_is_at_distance_zero():
    x = np.random.default_rng(10).normal(size=(20, 5)) * 1e3
    x[7] = x[3]
    assert nearest_other(x)[[3, 7]] == pytest.approx(0, abs=1e-3)
    assert nearest_other(x)[0] > 1


def test_halves_are_disjoint_seeded_and_of_the_asked_size():
    real = np.arange(21.0)[:, None]
    seen = []

    def note(one, other):
        seen.append((one, other))
        return float(one.sum())

    first = halves(note, real, seed=3, times=4)
    for one, other in seen:
        assert len(one) == 10
        assert sorted([*one[:, 0], *other[:, 0]]) == real[:, 0].tolist()
    assert len(set(first)) > 1
    assert halves(note, real, seed=3, times=4).tolist() == first.tolist()
    assert halves(note, real, seed=4, times=4).tolist() != first.tolist()
    halves(note, real, seed=3, times=1, sizes=(5, 7))
    assert len(seen[-1][0]) == 5


@pytest.mark.parametrize("distance", [frechet, kernel])
@pytest.mark.parametrize(
    "shapes", [((5, 3), (5, 4)), ((1, 3), (5, 3)), ((5, 3), (1, 3)), ((5,), (5,))]
)
def test_other_shapes_are_refused(distance, shapes):
    with pytest.raises(ValueError, match="needed"):
        distance(*(np.zeros(shape) for shape in shapes))
