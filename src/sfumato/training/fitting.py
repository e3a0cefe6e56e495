"""Wishes that would silently have no effect are refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sfumato.errors import SfumatoError
from sfumato.training.sections import FROZEN, Conditioning, Recipe, Start, told

OF_ENCODER = ("model", "revision", "features", "tokens", "template")
"""Of the section ``conditioning``, what another encoder or kind has no use for."""


def idle(recipe: Recipe, kind: str) -> dict[tuple[str, str], str]:
    """Fields that are stated although nothing in the run looks at them, and what it is instead.

    What is left to the data ("auto") may come out otherwise with other data: then numbers of
    words are no mistake.

    Args:
        kind: of conditioning, "auto" where it is not known yet.
    Returns:
        (section, field) -> the setting that passes it over.
    """
    wanted, network = recipe.conditioning, recipe.network
    text, known = kind == "text", kind != "auto"
    said = known and (wanted.kind != "auto" or wanted.encoder != "scratch")
    reader = f'encoder = "{wanted.encoder}"' if text else f'kind = "{kind}"'
    frozen, learned = text and wanted.encoder in FROZEN, text and wanted.encoder == "scratch"
    matryoshka = network.name == "matryoshka"
    kind_of_network = f'name = "{network.name}"'
    levels = "levels = 1" if matryoshka else kind_of_network
    times = f'times = "{recipe.diffusion.times}"'
    uniform = recipe.diffusion.times == "uniform"
    table = (
        ("conditioning", "model", known and not frozen, reader),
        ("conditioning", "revision", known and not frozen, reader),
        ("conditioning", "features", known and not (text and wanted.encoder == "tfidf"), reader),
        ("conditioning", "template", known and not text, reader),
        ("conditioning", "encoder", known and not text, reader),
        ("conditioning", "layers", said and not learned, reader),
        ("conditioning", "vocabulary", said and not learned, reader),
        ("conditioning", "tokens", said and not text, reader),
        ("conditioning", "drop", said and kind == "none", reader),
        ("network", "heads", network.name == "context-unet", kind_of_network),
        ("network", "level_power", not matryoshka or network.levels == 1, levels),
        ("network", "level_weights", not matryoshka or network.levels == 1, levels),
        ("diffusion", "time_mean", uniform, times),
        ("diffusion", "chain", recipe.diffusion.schedule == "flow", 'schedule = "flow"'),
        ("diffusion", "time_std", uniform, times),
    )
    return {
        (section, field): instead
        for section, field, unused, instead in table
        if unused and getattr(getattr(recipe, section), field) != default(section, field)
    }


def default(section: str, field: str) -> Any:
    """What a field of a recipe is where nothing is said."""
    return getattr(getattr(Recipe(), section), field)


def check_use(recipe: Recipe, kind: str, heads: int) -> None:
    """Nothing may be stated that this run would pass over.

    Args:
        kind: of conditioning.
        heads: by the law; what is filled in where nothing is said is no statement.
    Raises:
        SfumatoError: naming the field.
    """
    tokens = recipe.conditioning.model_copy(update={"tokens": None}).length
    law = {"heads": heads, "tokens": tokens}
    for (section, field), instead in idle(recipe, kind).items():
        value = getattr(getattr(recipe, section), field)
        if value != law.get(field):
            raise SfumatoError(
                f"{told(f'{section}.{field}')} = {value!r} has no meaning with {section}."
                f"{instead}. Leave it out, or choose what has a use for it."
            )


def check_freeze(start: Start) -> None:
    """Only what comes from a model may be kept from learning.

    Raises:
        SfumatoError: naming the part.
    """
    option, model = told("start.freeze"), start.model or start.inner
    for part in start.freeze:
        needed = "network" if part == "inner" else part
        if part == "autoencoder":
            raise SfumatoError(
                f"{option} = autoencoder has no meaning: one that is taken from a model learns no "
                "more anyway, and without a model it has to learn. Leave it out."
            )
        if model is None:
            raise SfumatoError(
                f"{option} = {part} would keep random numbers, as no model is named to begin "
                f"with. Name one, {told('start.model')}, or leave {part} free."
            )
        if needed not in start.take:
            raise SfumatoError(
                f"{option} = {part} would keep random numbers, as the {needed} is not taken from "
                f"{model}. Add {needed} to {told('start.take')}, or leave {part} free."
            )


def check_network(model: Recipe, start: Start, wishes: Mapping[str, Mapping[str, Any]]) -> None:
    """A network that is taken is of its kind and keeps its numbers, whatever they are called.

    Raises:
        SfumatoError: for another size or, but for the inside of a matryoshka, another kind.
    """
    if "network" not in start.take:
        return
    name = wishes.get("network", {}).get("name")
    if start.inner and name not in (None, model.network.name):
        raise SfumatoError(
            f"{told('start.inner')} makes a {model.network.name}, and {told('network.name')} = "
            f"{name} asks for another network. Leave that option out."
        )
    for field in ("size",) if start.inner else ("name", "size"):
        wish, mine = wishes.get("network", {}).get(field), getattr(model.network, field)
        if wish not in (None, mine):
            raise SfumatoError(
                f"{told(f'network.{field}')} = {wish}, but the network of "
                f"{start.model or start.inner} is {mine} and stays so. Leave the option out, or "
                f"the network out of {told('start.take')}."
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


def reads(conditioning: Conditioning) -> str:
    """What reads the prompts: an encoder of text, classes, or nothing."""
    return conditioning.encoder if conditioning.kind == "text" else conditioning.kind
