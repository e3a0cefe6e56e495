"""Nested optimiser states as flat tensors and JSON, and back, exactly.

``torch.optim`` keeps dicts keyed by integers, lists, tuples, tensors of several types and plain
numbers in one tree. Tensors go to safetensors under readable names; the tree goes to JSON, where
whatever JSON cannot say by itself is an object with one tag:

    {"tensor": name}   {"dict": [[key, value], ...]}   {"tuple": [...]}   {"float": "nan"}

Nothing is pickled. Values, shapes and types come back bit by bit; strides and the sharing of
storage between tensors do not.
"""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from sfumato.errors import SfumatoError


def flatten_state(state: Any) -> tuple[dict[str, Tensor], Any]:
    """Split a nested state into (name -> tensor, a tree that JSON can hold).

    Allowed are dict (keys str, int, float, bool or None), list, tuple, Tensor, int, float, str,
    bool and None. Anything else raises TypeError with its place.
    """
    tensors: dict[str, Tensor] = {}
    return tensors, _pack(state, "", tensors)


def unflatten_state(tensors: dict[str, Tensor], tree: Any) -> Any:
    """The inverse of :func:`flatten_state`; raises SfumatoError if the two do not fit."""
    try:
        return _unpack(tree, tensors)
    except (KeyError, TypeError, ValueError) as error:
        raise SfumatoError(
            f"The kept optimiser state is damaged ({error!r}). Resume from an earlier checkpoint."
        ) from error


def _pack(value: Any, place: str, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        name = _free_name(place or "value", tensors)
        tensors[name] = value
        return {"tensor": name}
    if isinstance(value, dict):
        pairs = [[_key(k, place), _pack(v, _below(place, k), tensors)] for k, v in value.items()]
        return {"dict": pairs}
    if isinstance(value, list):
        return [_pack(v, _below(place, i), tensors) for i, v in enumerate(value)]
    if type(value) is tuple:
        return {"tuple": [_pack(v, _below(place, i), tensors) for i, v in enumerate(value)]}
    return _key(value, place)


def _key(value: Any, place: str) -> Any:
    """A plain value, as itself where JSON has it exactly."""
    # Exact types: a numpy number or an enum would come back as something else.
    if type(value) is float and not math.isfinite(value):
        return {"float": repr(value)}
    if value is None or type(value) in (bool, int, float, str):
        return value
    raise TypeError(f"{place or 'the state'} holds a {type(value).__name__}, which cannot be kept")


def _unpack(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, list):
        return [_unpack(v, tensors) for v in value]
    if not isinstance(value, dict):
        return value
    if len(value) != 1:
        raise ValueError("an object with one tag expected")
    ((tag, body),) = value.items()
    if tag == "tensor":
        return tensors[body]
    if tag == "dict":
        return {_unpack(k, tensors): _unpack(v, tensors) for k, v in body}
    if tag == "tuple":
        return tuple(_unpack(v, tensors) for v in body)
    if tag == "float":
        return float(body)
    raise ValueError(f"unknown tag {tag!r}")


def _below(place: str, key: Any) -> str:
    return f"{place}.{key}" if place else str(key)


def _free_name(name: str, taken: dict[str, Tensor]) -> str:
    """``name``, or a numbered one: {1: a} and {"1": b} must not share a name."""
    if name == "__metadata__":  # reserved by safetensors
        name = "metadata"
    free, number = name, 1
    while free in taken:
        number += 1
        free = f"{name}#{number}"
    return free
