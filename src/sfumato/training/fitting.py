"""Wishes that would silently have no effect are refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sfumato.errors import SfumatoError
from sfumato.training.sections import FROZEN, Conditioning, Recipe, Start, told

OF_ENCODER = ("model", "revision", "features", "tokens", "template")
"""Of the section ``conditioning``, what another encoder or kind has no use for."""


def check_conditioning(stated: Conditioning, kind: str) -> None:
    """Nothing may be stated that this kind of conditioning would pass over.

    Raises:
        SfumatoError: naming the field.
    """
    if kind == "auto":
        return
    chosen = f'encoder = "{stated.encoder}"' if kind == "text" else f'kind = "{kind}"'
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
                f"conditioning.{field} = {value!r} has no meaning with {chosen}. "
                "Leave it out, or choose conditioning that has a use for it."
            )


def check_network(model: Recipe, start: Start, wishes: Mapping[str, Mapping[str, Any]]) -> None:
    """A network that is taken is of its kind and keeps its numbers, whatever they are called.

    Raises:
        SfumatoError: for another size or, but for the inside of a matryoshka, another kind.
    """
    if "network" not in start.take:
        return
    for field in ("size",) if start.inner else ("name", "size"):
        wish, mine = wishes.get("network", {}).get(field), getattr(model.network, field)
        if wish not in (None, mine):
            raise SfumatoError(
                f"{told(f'network.{field}')} = {wish}, but the network of "
                f"{start.model or start.inner} is {mine} and stays so. Leave the option out, or do "
                "not take the network (start.take in a recipe)."
            )


FIXED = {
    "data": ("resolution", "channels"),
    "network": ("name", "width", "depth", "heads", "patch", "levels"),
    "conditioning": ("kind", "encoder", "tokens", "layers", "vocabulary", "features"),
    "latent": ("use", "factor", "channels", "width"),
}
"""Fields of a recipe that the shapes of weights depend on."""
SHAPED_BY = {
    "network": ("data", "network", "latent"),
    "text": ("conditioning", "network"),
    "autoencoder": ("data", "latent"),
}


def differing(part: str, theirs: Recipe, mine: Recipe) -> str:
    """Which settings keep a part of one model from fitting another: told in words, or ""."""
    found = []
    for section in SHAPED_BY[part]:
        for field in FIXED[section]:
            one, other = (getattr(getattr(r, section), field) for r in (theirs, mine))
            if one != other:
                found.append(f"{told(f'{section}.{field}')} is {one} there and {other} here")
    return ", ".join(found)


def without_anothers(model: Recipe, wishes: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What of a model's conditioning goes where another encoder or kind is wished for."""
    said, own = wishes.get("conditioning", {}), model.conditioning
    fields = Conditioning.model_fields
    named = ((said.get(name), getattr(own, name)) for name in ("kind", "encoder"))
    if any(wish not in (None, "auto", mine) for wish, mine in named):
        return {name: fields[name].default for name in OF_ENCODER}
    return {"revision": None} if said.get("model") else {}
