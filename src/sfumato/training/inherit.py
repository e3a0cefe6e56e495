"""Beginning with another model's weights: which parts are taken, and which of them learn."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from sfumato.architecture import Vocabulary, build_autoencoder, build_prompted
from sfumato.conditioning.frozen import Frozen
from sfumato.conditioning.labels import Labels
from sfumato.conditioning.pretrained import pretrained_again
from sfumato.conditioning.prompted import Prompted
from sfumato.conditioning.tfidf import TfIdf
from sfumato.conditioning.vocabulary import TERMS, vocabulary_behind
from sfumato.errors import SfumatoError
from sfumato.locale import translate
from sfumato.networks.autoencoder import Autoencoder
from sfumato.storage import Parts
from sfumato.training import checkpoint, words
from sfumato.training.fitting import OF_ENCODER, default, differing, idle, reads
from sfumato.training.nesting import INNER, around, freeze_inside, nest
from sfumato.training.recipe import changed
from sfumato.training.sections import Recipe, Start, told
from sfumato.training.unfinished import parts_at

EMBEDDED = "embedded"
SECTIONS = ("network", "conditioning", "latent", "diffusion", "sampling")
"""Of a recipe, what a model brings along; data and training are the new run's own."""


def origin(start: Start, folder: Path | None = None) -> Parts | None:
    """The model to begin with, None for random weights.

    Args:
        folder: of a training; once it has a checkpoint it needs no model to begin with.
    Raises:
        SfumatoError: if there is no intact model, or if two are named.
    """
    if start.model and start.inner:
        raise SfumatoError(
            f"A run begins with one model: {told('start.model')} takes it as it is, "
            f"{told('start.inner')} as the inside of a matryoshka. Name one of them."
        )
    given = start.model or start.inner
    if given is None or (folder and checkpoint.latest(folder)):
        return None
    return parts_at(None if given == EMBEDDED else given)


def inherited(parts: Parts, start: Start, levels: int | None = None) -> Recipe:
    """The recipe that a run begins with: the model's for all that its weights fix.

    Args:
        levels: of a matryoshka that the model becomes the inside of; one more than it has
            where nothing is said.
    Raises:
        SfumatoError: for a model that cannot be inside such a matryoshka.
    """
    given = parts.recipe
    recipe = (
        around(given, start, levels)
        if start.inner
        else changed(
            Recipe(),
            start=start.model_dump(),
            data=given.data.model_dump(include={"resolution", "channels"}),
            **{name: getattr(given, name).model_dump() for name in _sections(start)},
        )
    )
    encoder = vocabulary_behind(parts.prompted.conditioner).encoder
    if encoder is not None and "conditioning" in _sections(start):
        # a model does not say where it lies on this machine
        recipe = changed(
            recipe,
            conditioning={"model": encoder.place, "revision": encoder.identity.revision},
        )
    if given.latent.use and "autoencoder" in start.take:
        recipe = changed(recipe, latent={"images": 0})
    return recipe


def _sections(start: Start) -> tuple[str, ...]:
    """Of a model that only lends its autoencoder nothing but the latents binds the new run."""
    return SECTIONS if start.inner or {"network", "text"} & set(start.take) else ("latent",)


LEVELLED = ("name", "levels")
"""Of a network, what the law looks at for the grid: another one has a grid of its own."""


def on_top(model: Recipe, wishes: Mapping[str, Mapping[str, Any]]) -> Recipe:
    """The recipe of a model with the wishes for a new run; nothing of the model's stays unused."""
    said, own = wishes.get("conditioning", {}), model.conditioning
    named = ((said.get(name), getattr(own, name)) for name in ("kind", "encoder"))
    gone: dict[str, Any] = {"revision": None} if said.get("model") else {}
    if any(wish not in (None, "auto", mine) for wish, mine in named):
        gone = {name: default("conditioning", name) for name in OF_ENCODER}
    asked = changed(changed(model, conditioning=gone), **wishes)
    unused = set(idle(asked, asked.conditioning.kind))
    if any(getattr(asked.network, name) != getattr(model.network, name) for name in LEVELLED):
        unused.add(("sampling", "grid"))
    for section, field in unused:
        if field not in wishes.get(section, {}):
            asked = changed(asked, **{section: {field: default(section, field)}})
    return asked


def keep_tokenizer(parts: Parts | None, start: Start, kept: Path) -> None:
    """Put the vocabulary of a text encoder taken from a model where the run keeps its own.

    Raises:
        SfumatoError: if the disk refuses.
    """
    if parts is None or "text" not in start.take:
        return
    if not any(kept.with_name(name).exists() for name in (kept.name, TERMS, words.ENCODER)):
        words.keep(vocabulary_behind(parts.prompted.conditioner), kept)


def rehearse(recipe: Recipe, parts: Parts | None, classes: tuple[str, ...] = ()) -> list[str]:
    """Build and begin without any numbers: what cannot be is refused before something is written.

    Args:
        recipe: resolved.
        parts: to begin with; their numbers are gone afterwards.
        classes: of the data, for a recipe of labels.
    Returns:
        What a person should know about the beginning.
    Raises:
        SfumatoError: whatever `begin_with` would say, or the building.
    """
    vocabulary = _vocabulary(recipe, parts, classes)
    with torch.device("meta"):
        autoencoder = build_autoencoder(recipe)
        prompted = build_prompted(recipe, vocabulary)
    for given in (parts.prompted, parts.autoencoder) if parts else ():
        if given is not None:
            given.to("meta")
    notes = begin_with(autoencoder, parts, recipe.start, recipe) if autoencoder else []
    return notes + begin_with(prompted, parts, recipe.start, recipe)


def _vocabulary(recipe: Recipe, parts: Parts | None, classes: tuple[str, ...]) -> Vocabulary:
    """As far as anything depends on it: words that a run learns itself do not."""
    wanted = recipe.conditioning
    if wanted.kind == "labels":
        return Vocabulary(classes=classes)
    if wanted.kind == "none" or parts is None or "text" not in recipe.start.take:
        return Vocabulary()
    theirs = vocabulary_behind(parts.prompted.conditioner)
    if theirs.encoder is None or reads(wanted) != reads(parts.recipe.conditioning):
        return theirs
    return Vocabulary(encoder=pretrained_again(theirs.encoder.identity, wanted.model))


def begin_with(
    module: Prompted | Autoencoder,
    parts: Parts | None,
    start: Start,
    recipe: Recipe | None = None,
) -> list[str]:
    """Give a fresh module the weights of the parts taken, and stop the frozen ones from learning.

    Args:
        recipe: of the module; with it a complaint says what differs.
    Returns:
        What a person should know about it.
    Raises:
        SfumatoError: if they do not fit, or if nothing is left to learn.
    """
    notes: list[str] = []
    given: Prompted | Autoencoder | None = None
    if parts is not None:
        given = parts.autoencoder if isinstance(module, Autoencoder) else parts.prompted
    for name, mine in _pieces(module).items():
        if given is not None and name in start.take:
            theirs = _pieces(given)[name]
            if name == "network" and start.inner and parts is not None:
                nest(mine, theirs, parts.recipe)
            else:
                notes += _copy(name, mine, theirs, start, parts, recipe)
        if name in start.freeze:
            mine.requires_grad_(False)
    if INNER in start.freeze and isinstance(module, Prompted):
        freeze_inside(module.network)
    if isinstance(module, Prompted) and not any(p.requires_grad for p in module.parameters()):
        raise SfumatoError("Every part is frozen, so nothing would learn. Leave one of them free.")
    return notes


def _pieces(module: Prompted | Autoencoder) -> dict[str, nn.Module]:
    if isinstance(module, Autoencoder):
        return {"autoencoder": module}
    return {"network": module.network, "text": cast(nn.Module, module.conditioner)}


def _words(module: nn.Module) -> object:
    if isinstance(module, TfIdf):
        return module.terms
    if not isinstance(module, Frozen):
        return None
    return module.encoder.identity.sha256, module.encoder.identity.tokenizer


def _copy(
    name: str,
    mine: nn.Module,
    given: nn.Module,
    start: Start,
    parts: Parts | None,
    recipe: Recipe | None,
) -> list[str]:
    """All numbers of a part, but for classes only those that both know by name."""
    theirs = parts.recipe if parts else None
    differs = (differing(name, theirs, recipe) if theirs and recipe else "") or "its recipe differs"
    try:
        both = [reads(one.conditioning) for one in (theirs, recipe) if one]
        if name == "text" and len(set(both)) > 1:
            raise RuntimeError(differs)
        if _words(mine) != _words(given):
            differs = "its words are others"
            raise RuntimeError(differs)
        if isinstance(mine, Labels) and isinstance(given, Labels):
            return _classes(mine, given, start)
        mine.load_state_dict(given.state_dict())
    except RuntimeError as error:
        has = {"network", "text", "autoencoder" if parts and parts.autoencoder else "network"}
        rest = [part for part in start.take if part != name and part in has]
        others = " ".join(f"--take {part}" for part in rest)
        cure = f"take only the rest: {others} (start.take)" if rest else "begin without it"
        raise SfumatoError(
            f"The {name} of {start.model or start.inner} does not fit this run: "
            f"{differs}. Leave that as the model has it, or {cure}."
        ) from error
    return []


def _classes(mine: Labels, given: Labels, start: Start) -> list[str]:
    new, count = len(mine.adopt(given)), len(mine.classes)
    if new and "text" in start.freeze:
        raise SfumatoError(
            f"{start.model or start.inner} has not learned {new} of the {count} classes, and "
            f"frozen they would stay random. Leave text out of {told('start.freeze')}."
        )
    return [translate("train.classes", known=count - new, count=count)] if new else []
