"""Wishes that would silently have no effect are refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sfumato.errors import SfumatoError
from sfumato.training.sections import FROZEN, Conditioning, Recipe, Start

OF_ENCODER = ("model", "revision", "features", "tokens", "template")
"""Of the section ``conditioning``, what another encoder or kind has no use for."""


def check_conditioning(stated: Conditioning, kind: str) -> None:
    """Nothing may be stated that this kind of conditioning would pass over.

    Raises:
        SfumatoError: naming the field.
    """
    if kind == "auto":
        return
    told = f'encoder = "{stated.encoder}"' if kind == "text" else f'kind = "{kind}"'
    frozen = kind == "text" and stated.encoder in FROZEN
    for field, used in (
        ("model", frozen),
        ("revision", frozen),
        ("features", kind == "text" and stated.encoder == "tfidf"),
        ("template", kind == "text"),
    ):
        value = getattr(stated, field)
        if not used and value != Conditioning.model_fields[field].default:
            raise SfumatoError(
                f"conditioning.{field} = {value!r} has no meaning with {told}. "
                "Leave it out, or choose conditioning that has a use for it."
            )


def check_size(model: Recipe, start: Start, wishes: Mapping[str, Mapping[str, Any]]) -> None:
    """A network that is taken keeps its numbers, whatever its size is called.

    Raises:
        SfumatoError: for another size.
    """
    size = wishes.get("network", {}).get("size")
    taken = "network" in start.take
    if taken and size not in (None, model.network.size):
        raise SfumatoError(
            f"network.size = {size}, but the network of {start.model or start.inner} is "
            f"{model.network.size} and keeps its numbers. Leave the size out, or do not take the "
            "network (start.take)."
        )


def without_anothers(model: Recipe, wishes: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What of a model's conditioning goes where another encoder or kind is wished for."""
    said, own = wishes.get("conditioning", {}), model.conditioning
    fields = Conditioning.model_fields
    named = ((said.get(name), getattr(own, name)) for name in ("kind", "encoder"))
    if any(wish not in (None, "auto", mine) for wish, mine in named):
        return {name: fields[name].default for name in OF_ENCODER}
    return {"revision": None} if said.get("model") else {}
