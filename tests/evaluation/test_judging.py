"""A judge learns what its pictures show, and is measured on others."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shapes import KINDS, Shapes, shape

from sfumato.errors import SfumatoError
from sfumato.evaluation import judging
from sfumato.evaluation.judging import MANY, held_out, shares, train_judge
from sfumato.evaluation.things import things_of

FRESH = range(1000, 1020)


def rightly(judge, channels=4):
    images = np.stack([shape(kind, n, channels=channels) for n in FRESH for kind in KINDS])
    truth = [judge.labels.index(kind) for _ in FRESH for kind in KINDS]
    return float(np.mean(judge.scores(images).argmax(1) == truth))


@pytest.fixture
def clock(monkeypatch):
    """A second passes at every look, so that a training's length is the same on any machine."""
    seconds = itertools.count()
    monkeypatch.setattr(judging, "time", SimpleNamespace(monotonic=lambda: float(next(seconds))))


def test_fresh_shapes_are_recognised_by_the_discriminant():
    judge = train_judge(Shapes(each=MANY - 1), 10.0)  # too few to learn from: it does not take long
    assert judge.about.training["seen"] == 0
    assert judge.about.kind == "labels"
    assert rightly(judge) > 0.9


def test_fresh_shapes_are_recognised_after_learning(clock):
    told = []
    source = Shapes(each=MANY + 4)
    judge = train_judge(source, 0.4, progress=lambda phase, share: told.append((phase, share)))
    assert judge.about.training["seen"] > 500
    assert list(dict.fromkeys(phase for phase, _ in told)) == ["reading", "solving", "learning"]
    assert all(0 <= share < 1 for _, share in told)
    assert judge.network.correction[2].weight.any()  # zero before
    assert rightly(judge) > 0.9


def test_pictures_that_measured_join_the_discriminant(monkeypatch):
    solved, solve = [], judging.solve

    def watched(network, found, allowed):
        solved.append(len(allowed))
        solve(network, found, allowed)

    monkeypatch.setattr(judging, "solve", watched)
    source = Shapes(each=12)
    aside = held_out([KINDS.index(source[i].label) for i in range(len(source))], 0)
    assert aside
    judge = train_judge(source, 1e-6)
    assert judge.accuracy["count"] == len(aside)
    assert judge.about.training["pictures"] == len(source)
    assert solved == [len(source) - len(aside), len(source)]


def test_opaque_and_grey_pictures_are_recognised_too():
    assert rightly(train_judge(Shapes(channels=3), 1e-6), 3) > 0.9
    grey = train_judge(Shapes(channels=1), 1e-6)
    squares = np.stack([shape("red square", n, channels=1) for n in FRESH])
    assert np.mean(grey.scores(squares).argmax(1) == KINDS.index("red square")) > 0.9


def test_without_labels_every_picture_is_its_own_class():
    source = Shapes(each=6, labelled=False)
    judge = train_judge(source, 1e-6)
    assert judge.about.kind == "instances"
    assert judge.labels == tuple(source[i].origin for i in range(len(source)))
    images = np.stack([source[i].image for i in range(len(source))])
    assert judge.scores(images).argmax(1).tolist() == list(range(len(source)))
    assert judge.accuracy["count"] == len(source) and judge.accuracy["top5"] > 0.6
    # the features still say what is alike: the nearest other picture is mostly of the same kind
    features = judge.features(images)
    likeness = features @ features.T - 1e9 * np.eye(len(features))
    assert np.mean(likeness.argmax(1) // 6 == np.arange(len(features)) // 6) > 0.7


def test_captions_that_pictures_share_are_things():
    class Captioned(Shapes):
        def __getitem__(self, index):
            found = super().__getitem__(index)
            return replace(found, label=None, captions=(f"a {found.label}", "a drawing"))

    judge = train_judge(Captioned(each=6), 1e-6)
    assert judge.about.kind == "labels"
    said = (" | ".join(sorted((f"a {kind}", "a drawing"))) for kind in KINDS)
    assert judge.labels == tuple(sorted(said))


@pytest.mark.parametrize(
    ("labels", "captions", "things"),
    [
        (["x", None], ["a", "a"], ["x", None]),
        ([None] * 6, "aaabbb", ["a", "a", "a", "b", "b", "b"]),
        ([None] * 6, "aaaabc", [None] * 6),  # two pictures a thing are too few
        ([None] * 6, "aaaaaa", [None] * 6),  # nothing to tell apart
        ([], [], []),
    ],
)
def test_what_pictures_show(labels, captions, things):
    assert things_of(labels, [(one,) for one in captions]) == tuple(things)


def test_the_order_of_captions_is_no_other_thing():
    two = [("a", "b"), ("b", "a"), ("a", "b"), ("c",), ("c",), ("c", "c")]
    assert things_of([None] * 6, two) == ("a | b",) * 3 + ("c",) * 3


def test_the_same_seed_makes_the_same_judge_in_the_same_number_of_steps(clock):
    one, same, other = (train_judge(Shapes(each=MANY + 2), 0.1, seed) for seed in (3, 3, 4))
    assert one.hash == same.hash != other.hash


def test_training_leaves_the_callers_random_numbers_alone():
    import torch

    torch.manual_seed(5)
    train_judge(Shapes(each=4), 1e-6)
    after = torch.rand(3)
    torch.manual_seed(5)
    assert torch.equal(after, torch.rand(3))


def test_one_thing_alone_cannot_be_told_apart():
    class Lonely(Shapes):
        def __getitem__(self, index):
            return super().__getitem__(0)

    with pytest.raises(SfumatoError, match="nothing to tell apart"):
        train_judge(Lonely(), 1e-6)


@given(st.lists(st.integers(0, 40), min_size=1, max_size=400), st.integers(0, 9))
def test_what_is_held_out_leaves_two_of_each(numbers, seed):
    chosen = held_out(numbers, seed)
    assert chosen == sorted(set(chosen)) == held_out(numbers, seed)
    before, gone = Counter(numbers), Counter(numbers[i] for i in chosen)
    assert all(before[number] - count >= 2 for number, count in gone.items())


def test_about_a_twentieth_is_held_out():
    assert 0.04 < len(held_out([0, 1] * 5000, 0)) / 10_000 < 0.06


@given(st.lists(st.sampled_from("abcdefg"), min_size=1, max_size=60), st.integers(1, 60))
def test_of_a_large_set_every_label_has_its_share(names, limit):
    chosen = shares(names, limit, 0)
    assert chosen == sorted(set(chosen)) and len(chosen) == min(limit, len(names))
    taken, there = Counter(names[i] for i in chosen), Counter(names)
    # nobody has two more than another who still had some
    for name in there:
        if taken[name] < there[name]:
            assert all(taken[name] >= other - 1 for other in taken.values())


def test_of_very_many_pictures_a_part_is_solved_on(monkeypatch):
    monkeypatch.setattr(judging, "_SOLVED", 24)
    judge = train_judge(Shapes(each=MANY + 5), 1e-6)
    assert judge.accuracy["count"] > 0
    assert rightly(judge) > 0.9


def test_of_more_pictures_than_memory_holds_a_part_is_read(monkeypatch):
    monkeypatch.setattr(judging, "_MEMORY", 30 * 4 * 16 * 16)
    judge = train_judge(Shapes(each=MANY), 1e-6)
    assert judge.about.training["pictures"] == 30
    assert rightly(judge) > 0.9
