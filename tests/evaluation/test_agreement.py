"""Ranks, shares, ratios to the ceiling, and chance."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sfumato.evaluation.agreement import agreement, by, chance, columns, own_columns, ranks


@given(seed=st.integers(0, 10_000))
@settings(deadline=None, max_examples=30)
def test_a_rank_is_the_place_in_the_sorted_list(seed):
    draw = np.random.default_rng(seed)
    scores, own = draw.normal(size=(6, 9)), draw.integers(0, 9, 6)
    truth = [
        sorted(row, reverse=True).index(row[place]) for row, place in zip(scores, own, strict=True)
    ]
    assert ranks(scores, own).tolist() == truth


def test_a_judge_that_scores_everything_alike_gives_no_points():
    found = ranks(np.zeros((4, 10)), np.arange(4))
    assert found.tolist() == [9, 9, 9, 9]


def test_only_labels_that_exist_compete():
    labels = ("cat", "dog", "fish", "bird")
    chosen = columns(labels, ["fish", None, "cat", "fish", "whale"])
    assert chosen.tolist() == [0, 2]
    assert own_columns(labels, chosen, ["fish", "dog", None, "cat"]).tolist() == [1, -1, -1, 0]
    scores = np.log([[0.1, 0.6, 0.2, 0.1]])  # "dog" is likelier, but nobody can ask for it
    assert ranks(scores[:, chosen], np.array([1])).tolist() == [0]


def test_shares_and_their_ratio_to_the_ceiling():
    made = np.array([0, 3, 7, 9, 0, 30, 4, 5])  # 2 first, 4 among the first five
    real = np.array([0, 0, 0, 2, 9, 9, 1, 0])  # 4 first, 6 among the first five
    found = agreement(made, real, 0)
    assert found["count"] == 8
    assert found["top1"]["value"] == 2 / 8
    assert found["top5"]["value"] == 4 / 8
    assert found["top1"]["real"] == 4 / 8
    assert found["top5"]["real"] == 6 / 8
    assert found["top5"]["ratio"]["value"] == pytest.approx((4 / 8) / (6 / 8))
    assert found["top5"]["ratio"]["low"] < 4 / 6 < found["top5"]["ratio"]["high"]


def test_as_good_as_real_is_a_ratio_of_one_without_doubt():
    same = np.random.default_rng(0).integers(0, 12, 200)
    ratio = agreement(same, same, 0)["top5"]["ratio"]
    assert (ratio["value"], ratio["low"], ratio["high"]) == (1, 1, 1)


def test_chance_is_the_share_of_labels():
    draw = np.random.default_rng(1)
    own = draw.integers(0, 20, 3000)
    scores = draw.normal(size=(3000, 20))
    scores[np.arange(3000), own] += 100  # a perfect judge of perfect samples
    assert (ranks(scores, own) == 0).all()
    found = chance(scores, own, 0)
    assert found["top1"] == pytest.approx(1 / 20, abs=0.01)
    assert found["top5"] == pytest.approx(5 / 20, abs=0.02)


def test_groups_are_apart_and_small_ones_are_left_out():
    names = ["a"] * 10 + ["b"] * 12 + ["c"] * 9
    made = np.array([0] * 10 + [50] * 12 + [0] * 9)
    things = [*"aabbccddee", *"aabbccddeeff", *"aabbccdde"]
    found = by(names, made, np.zeros(31, dtype=int), 0, things)
    assert list(found) == ["a", "b"]
    assert found["a"]["top5"]["value"] == 1
    assert found["b"]["top5"]["value"] == 0
    assert (found["b"]["count"], found["b"]["things"]) == (12, 6)


def test_designs_of_one_thing_are_no_independent_pictures():
    """Three designs succeed and fail together: a third of the pictures' information."""
    hits = np.repeat(np.random.default_rng(0).random(60) < 0.6, 3)
    made, real = np.where(hits, 0, 50), np.zeros(180, dtype=int)
    things = [i // 3 for i in range(180)]
    alone, grouped = agreement(made, real, 0), agreement(made, real, 0, things=things)
    for name in ("top5", "top1"):
        for one, other in (
            (alone[name], grouped[name]),
            (alone[name]["ratio"], grouped[name]["ratio"]),
        ):
            assert one["value"] == other["value"]
            wider = (other["high"] - other["low"]) / (one["high"] - one["low"])
            assert wider == pytest.approx(np.sqrt(3), rel=0.2)
