"""Beginning with another model's weights: which parts are taken, and which of them learn."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from torch import nn

from sfumato.conditioning.frozen import Frozen
from sfumato.conditioning.labels import Labels
from sfumato.conditioning.prompted import Prompted
from sfumato.conditioning.tfidf import TfIdf
from sfumato.conditioning.vocabulary import TERMS, vocabulary_behind
from sfumato.errors import SfumatoError
from sfumato.networks.autoencoder import Autoencoder
from sfumato.storage import Parts
from sfumato.training import checkpoint, words
from sfumato.training.fitting import differing
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


def keep_tokenizer(parts: Parts | None, start: Start, kept: Path) -> None:
    """Put the vocabulary of a text encoder taken from a model where the run keeps its own.

    Raises:
        SfumatoError: if the disk refuses.
    """
    if parts is None or "text" not in start.take:
        return
    if not any(kept.with_name(name).exists() for name in (kept.name, TERMS, words.ENCODER)):
        words.keep(vocabulary_behind(parts.prompted.conditioner), kept)


def begin_with(
    module: Prompted | Autoencoder,
    parts: Parts | None,
    start: Start,
    recipe: Recipe | None = None,
) -> None:
    """Give a fresh module the weights of the parts taken, and stop the frozen ones from learning.

    Args:
        recipe: of the module; with it a complaint says what differs.
    Raises:
        SfumatoError: if they do not fit, or if nothing is left to learn.
    """
    given: Prompted | Autoencoder | None = None
    if parts is not None:
        given = parts.autoencoder if isinstance(module, Autoencoder) else parts.prompted
    for name, mine in _pieces(module).items():
        if given is not None and name in start.take:
            theirs = _pieces(given)[name]
            if name == "network" and start.inner and parts is not None:
                nest(mine, theirs, parts.recipe)
            else:
                differs = differing(name, parts.recipe, recipe) if parts and recipe else ""
                _copy(name, mine, theirs, start, differs or "its recipe differs")
        if name in start.freeze:
            mine.requires_grad_(False)
    if INNER in start.freeze and isinstance(module, Prompted):
        freeze_inside(module.network)
    if isinstance(module, Prompted) and not any(p.requires_grad for p in module.parameters()):
        raise SfumatoError("Every part is frozen, so nothing would learn. Leave one of them free.")


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


def _copy(name: str, mine: nn.Module, given: nn.Module, start: Start, differs: str) -> None:
    try:
        if isinstance(mine, Labels) and isinstance(given, Labels) and mine.classes != given.classes:
            differs = "its classes are others"
            raise RuntimeError(differs)
        if _words(mine) != _words(given):
            differs = "its words are others"
            raise RuntimeError(differs)
        mine.load_state_dict(given.state_dict())
    except RuntimeError as error:
        rest = ", ".join(part for part in start.take if part != name) or "nothing"
        raise SfumatoError(
            f"The {name} of {start.model or start.inner} does not fit this run: "
            f"{differs}. Leave that as the model has it, or take only {rest} (start.take in a "
            "recipe)."
        ) from error
