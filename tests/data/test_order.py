"""The order of examples, against brute force."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfumato.data.order import indices, visits_of
from sfumato.data.sources.emoji import EmojiSource

seeds = st.integers(-(2**40), 2**40)
lengths = st.integers(1, 23)


@given(seeds, lengths, st.integers(0, 200), st.integers(0, 100))
def test_any_window_is_a_piece_of_the_one_by_one_order(seed, length, start, count):
    one_by_one = [indices(seed, i, 1, length)[0] for i in range(start, start + count)]
    assert indices(seed, start, count, length) == one_by_one


@given(seeds, lengths, st.integers(0, 6))
def test_every_epoch_shows_every_example_once(seed, length, epoch):
    assert sorted(indices(seed, epoch * length, length, length)) == list(range(length))


@given(seeds, lengths, st.integers(0, 60), st.lists(st.integers(0, 17), max_size=8))
def test_resuming_anywhere_continues_the_same_list(seed, length, start, pieces):
    whole = indices(seed, start, sum(pieces), length)
    parts, position = [], start
    for piece in pieces:
        parts += indices(seed, position, piece, length)
        position += piece
    assert parts == whole


def test_two_processes_share_the_batches_of_one():
    together = [indices(3, step * 8, 8, 20) for step in range(10)]
    first = [indices(3, step * 8, 4, 20) for step in range(10)]
    second = [indices(3, step * 8 + 4, 4, 20) for step in range(10)]
    assert [a + b for a, b in zip(first, second, strict=True)] == together


def test_epochs_and_seeds_have_orders_of_their_own():
    orders = {tuple(indices(seed, e * 50, 50, 50)) for seed in (0, 1, -1) for e in range(4)}
    assert len(orders) == 12
    assert tuple(range(50)) not in orders


def test_every_example_comes_first_equally_often():
    first = Counter(indices(0, epoch * 4, 1, 4)[0] for epoch in range(2000))
    # four binomial standard deviations around 500
    assert all(abs(first[i] - 500) < 4 * (2000 * 0.25 * 0.75) ** 0.5 for i in range(4))


@pytest.mark.parametrize("wrong", [(0, 0, 1, 0), (0, -1, 1, 5), (0, 0, -1, 5)])
def test_senseless_requests_are_refused(wrong):
    with pytest.raises(ValueError, match="no order"):
        indices(*wrong)


class Often:
    """Four examples, of which the third wants to be seen three times."""

    def __len__(self):
        return 4

    def visits(self, index):
        return 3 if index == 2 else 1


def test_a_source_may_ask_for_more_visits_and_most_do_not():
    assert Counter(visits_of(Often())) == {0: 1, 1: 1, 2: 3, 3: 1}
    assert visits_of([0, 1]) == ()


def test_emoji_whose_name_tells_a_colour_come_four_times():
    source = EmojiSource()
    often = Counter(visits_of(source))
    by_name = {source.metadata(i)["name_en"]: often[i] for i in range(len(source))}
    assert by_name["red heart"] == by_name["blue book"] == 4
    assert by_name["cactus"] == 1
    assert set(often.values()) == {1, 4} and len(often) == len(source)
