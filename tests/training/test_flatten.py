from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from sfumato.errors import SfumatoError
from sfumato.training.flatten import flatten_state, unflatten_state


def same(a: Any, b: Any) -> bool:
    """Equal in structure, type and every bit."""
    if type(a) is not type(b):
        return False
    if isinstance(a, Tensor):
        if a.dtype != b.dtype or a.shape != b.shape:
            return False
        raw = [t.contiguous().view(-1).view(torch.uint8).tolist() for t in (a, b)]
        return raw[0] == raw[1]
    if isinstance(a, dict):
        pairs = zip(a.items(), b.items(), strict=True) if len(a) == len(b) else [((0, 0), (1, 1))]
        return all(same(k, m) and same(v, w) for (k, v), (m, w) in pairs)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return repr(a) == repr(b)


def through_json(state: Any) -> Any:
    tensors, tree = flatten_state(state)
    tensors = {name: tensor.clone() for name, tensor in tensors.items()}
    return unflatten_state(tensors, json.loads(json.dumps(tree, allow_nan=False)))


dtypes = [torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.int64, torch.bool]
tensors = st.builds(
    lambda dtype, shape: torch.arange(2, 2 + int(np.prod(shape))).reshape(shape).to(dtype),
    st.sampled_from(dtypes),
    st.lists(st.integers(0, 3), max_size=3),
)
keys = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
trees = st.recursive(
    plain | tensors,
    lambda below: (
        st.lists(below, max_size=4)
        | st.lists(below, max_size=4).map(tuple)
        | st.dictionaries(keys, below, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(state=trees)
def test_any_tree_comes_back_exactly(state: Any) -> None:
    assert same(through_json(state), state)


def test_the_comparison_of_this_file_can_fail() -> None:
    for other in ({1: 2.0}, {"1": 2}, {1: 2, 3: 4}, [1], {1: True}):
        assert not same({1: 2}, other)
    assert not same(torch.zeros(1), -torch.zeros(1))
    assert not same((1,), [1])


@pytest.mark.parametrize(
    "make",
    [
        lambda p: torch.optim.AdamW(p, lr=1e-3, betas=(0.9, 0.95)),
        lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
        lambda p: torch.optim.AdamW(p, lr=torch.tensor(1e-3), amsgrad=True, foreach=False),
    ],
)
def test_a_real_optimiser_continues_bit_by_bit(make: Any) -> None:
    torch.manual_seed(0)
    first, second = nn.Linear(3, 2), nn.Linear(3, 2)
    optimiser, resumed = make(first.parameters()), make(second.parameters())

    def step(module: nn.Module, optimiser: torch.optim.Optimizer, seed: int) -> None:
        x = torch.randn(4, 3, generator=torch.Generator().manual_seed(seed))
        optimiser.zero_grad()
        module(x).square().mean().backward()
        optimiser.step()

    for seed in range(3):
        step(first, optimiser, seed)
    second.load_state_dict(first.state_dict())
    resumed.load_state_dict(through_json(optimiser.state_dict()))
    assert same(resumed.state_dict(), optimiser.state_dict())
    step(first, optimiser, 9)
    step(second, resumed, 9)
    assert same(dict(second.state_dict()), dict(first.state_dict()))


def test_names_are_readable_and_never_shared() -> None:
    a, b, c = (torch.full((1,), float(i)) for i in range(3))
    state = {"state": {0: {"exp_avg": a}}, 1: b, "1": c, "__metadata__": a}
    tensors, tree = flatten_state(state)
    assert set(tensors) == {"state.0.exp_avg", "1", "1#2", "metadata"}
    assert same(unflatten_state(tensors, tree), state)


@pytest.mark.parametrize("value", [np.float64(1), object(), {1}, b"x"])
def test_what_json_cannot_hold_is_refused_with_its_place(value: Any) -> None:
    with pytest.raises(TypeError, match=r"groups\.0\.lr holds a"):
        flatten_state({"groups": [{"lr": value}]})


@pytest.mark.parametrize(
    "tree", [{"tensor": "absent"}, {"dict": 3}, {"call": "x"}, {"float": "x"}, {"a": 1, "b": 2}]
)
def test_a_damaged_tree_is_refused(tree: Any) -> None:
    with pytest.raises(SfumatoError, match="damaged"):
        unflatten_state({}, [tree])
