from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sfumato.diffusion.randomness import as_indices, normal, seed_of, stratified, uniform


def test_values_are_the_same_in_every_run():
    # pinned: a change here changes every picture and every training of every user
    assert seed_of(0, "noise") == 870832620287813921
    np.testing.assert_allclose(
        normal((4, 4), [5], 3, "noise")[0, 0], [0.780855, 0.059685, -1.805263, 0.966325], atol=1e-5
    )
    np.testing.assert_allclose(
        uniform([0, 1, 2], 3, "drop"),
        [0.21662029470777, 0.37544666142761, 0.78932888214345],
        atol=1e-12,
    )
    np.testing.assert_allclose(
        stratified([0, 1, 2], 3, "time"),
        [0.41298705435777, 0.03102104310767, 0.64905503185756],
        atol=1e-12,
    )


def test_seeds_differ_by_every_part():
    seeds = [
        seed_of(0),
        seed_of(1),
        seed_of(-1),
        seed_of(0, "a"),
        seed_of(0, "a", "b"),
        seed_of(0, "a/b"),
        seed_of(0, "b", "a"),
        seed_of(0, "ab"),
        seed_of(0, 1),
        seed_of(0, "1"),
        seed_of(10),
        seed_of(1, 0),
    ]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_integers_of_numpy_are_integers():
    assert seed_of(np.int64(7), "a", np.int32(3)) == seed_of(7, "a", 3)


def test_indices_from_anything():
    assert as_indices(torch.tensor([3, 1])) == as_indices(range(3, 0, -2)) == [3, 1]
    assert as_indices(np.array([3, 1])) == as_indices(iter([3, 1])) == [3, 1]
    assert all(type(i) is int for i in as_indices(np.array([3, 1])))


@settings(max_examples=25)
@given(st.lists(st.integers(0, 2**40), min_size=1, max_size=6), st.integers(-(2**31), 2**31))
def test_a_sample_keeps_its_numbers_in_any_company(indices, seed):
    together = normal((3, 5), indices, seed, "noise")
    for row, i in zip(together, indices, strict=True):
        assert torch.equal(row, normal((3, 5), [i], seed, "noise")[0])
    for law in (uniform, stratified):
        values = law(indices, seed, "time")
        assert values.dtype == torch.float64
        assert values.tolist() == [law([i], seed, "time").item() for i in indices]
        assert bool(((values >= 0) & (values < 1)).all())


def test_shapes():
    assert normal((2, 3, 4), range(5), 0).shape == (5, 2, 3, 4)
    assert normal((2,), [], 0).shape == (0, 2)
    assert uniform([], 0).shape == stratified([], 0).shape == (0,)


def test_noise_is_standard_normal():
    noise = normal((16, 16), range(400), 0, "noise").double()
    assert float(noise.mean()) == pytest.approx(0, abs=0.013)  # 4 standard errors
    assert float(noise.std()) == pytest.approx(1, abs=0.009)
    assert float((noise**4).mean()) == pytest.approx(3, abs=0.13)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ((range(400), 0, ("noise",)), (range(1, 401), 0, ("noise",))),
        ((range(400), 0, ("noise",)), (range(400), 1, ("noise",))),
        ((range(400), 0, ("noise",)), (range(400), 0, ("start",))),
        ((range(400), 0, ("step", 1)), (range(400), 0, ("step", 2))),
    ],
)
def test_noise_is_independent_across_samples_seeds_and_purposes(first, second):
    a, b = (normal((16, 16), i, s, *p).flatten() for i, s, p in (first, second))
    correlation = float(torch.corrcoef(torch.stack([a, b]))[0, 1])
    assert abs(correlation) < 4 / len(a) ** 0.5


def test_no_two_of_many_samples_share_their_noise():
    first = normal((1,), range(20_000), 0, "noise").flatten()
    # values of 20,000 different 32-bit seeds; equal ones can only be chance (24-bit floats)
    assert len(first.unique()) > 19_950


def test_uniform_numbers_are_uniform_and_independent():
    u = uniform(range(20_000), 0, "drop").numpy()
    counts = np.histogram(u, 20, (0, 1))[0]
    assert ((counts - 1000) ** 2 / 1000).sum() < 45  # chi-square, 19 degrees, p < 0.001
    assert abs(np.corrcoef(u[:-1], u[1:])[0, 1]) < 4 / 20_000**0.5
    other = uniform(range(20_000), 1, "drop").numpy()
    assert abs(np.corrcoef(u, other)[0, 1]) < 4 / 20_000**0.5


@settings(max_examples=60)
@given(st.integers(0, 10**9), st.integers(2, 600), st.integers(0, 10**6))
def test_any_run_of_samples_leaves_no_gap(start, count, seed):
    u = np.sort(stratified(range(start, start + count), seed, "time"))
    gaps = np.diff(np.concatenate([[0.0], u, [1.0]]))
    assert gaps.max() < 2 / count


def test_the_offset_of_a_stratified_run_is_uniform_over_seeds():
    first = np.array([stratified([0], seed, "time").item() for seed in range(4000)])
    counts = np.histogram(first, 10, (0, 1))[0]
    assert ((counts - 400) ** 2 / 400).sum() < 30  # chi-square, 9 degrees, p < 0.001
