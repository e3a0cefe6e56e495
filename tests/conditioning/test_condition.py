from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sfumato.conditioning.condition import Condition


def same(one, other):
    return len(one) == len(other) and all(
        torch.equal(a, b) and torch.equal(c, d) for (a, c), (b, d) in zip(one, other, strict=True)
    )


@pytest.mark.parametrize(("first", "second"), [([2, 1], [4]), ([4], [2, 1]), ([3], [3])])
def test_joined_is_one_batch_after_the_other(make_condition, words, first, second):
    a, b = make_condition(1, first), make_condition(5, second)
    both = a.joined(b)
    assert len(both) == len(first) + len(second)
    assert both.mask.shape == both.tokens.shape[:2]
    assert same(words(both), words(a) + words(b))


def test_what_is_padded_is_masked(make_condition):
    both = make_condition(1, [2]).joined(make_condition(5, [4]))
    assert both.mask.tolist() == [[True, True, False, False], [True] * 4]


@settings(max_examples=30, deadline=None)
@given(
    keep=st.lists(st.booleans(), min_size=1, max_size=6),
    length=st.integers(1, 4),
    null_length=st.integers(1, 4),
    one_null=st.booleans(),
)
def test_drop_puts_the_null_in_place_sample_by_sample(keep, length, null_length, one_null):
    # mistake 7: whole batches dropped together
    batch = len(keep)

    def numbers(start, rows, tokens):
        values = torch.arange(start, start + rows * tokens * 2.0).reshape(rows, tokens, 2)
        return Condition(values[:, 0] + 0.5, values, torch.ones(rows, tokens, dtype=torch.bool))

    own = numbers(0, batch, length)
    null = numbers(1000, 1 if one_null else batch, null_length)
    dropped = own.drop(torch.tensor(keep), null)
    for i, kept in enumerate(keep):
        source, row = (own, i) if kept else (null, 0 if one_null else i)
        assert torch.equal(dropped.vector[i], source.vector[row])
        assert torch.equal(dropped.tokens[i][dropped.mask[i]], source.tokens[row])


def test_drop_changes_nothing_in_place(make_condition):
    own, null = make_condition(1, [3, 2]), make_condition(9, [1])
    before = own.tokens.clone(), own.vector.clone(), own.mask.clone()
    own.drop(torch.tensor([False, True]), null)
    assert all(
        torch.equal(a, b) for a, b in zip(before, (own.tokens, own.vector, own.mask), strict=True)
    )


def test_gradients_go_to_the_words_or_to_the_null(make_condition):
    own, null = make_condition(1, [3, 3]), make_condition(9, [1])
    vector, null_vector = own.vector.requires_grad_(), null.vector.requires_grad_()
    own.drop(torch.tensor([True, False]), null).vector.sum().backward()
    assert vector.grad.any(1).tolist() == [True, False]
    assert torch.equal(null_vector.grad, torch.ones_like(null_vector))


def test_a_condition_is_a_value(make_condition):
    with pytest.raises(AttributeError):
        make_condition(1, [2]).vector = torch.zeros(1)
