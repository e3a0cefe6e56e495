"""Beginning with another model's weights: which parts are taken, and which of them learn."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from torch import nn

from sfumato.conditioning.labels import Labels
from sfumato.conditioning.prompted import Prompted
from sfumato.conditioning.text_transformer import TextTransformer
from sfumato.errors import SfumatoError
from sfumato.networks.autoencoder import Autoencoder
from sfumato.storage import Parts
from sfumato.training import checkpoint, files
from sfumato.training.recipe import changed
from sfumato.training.sections import Recipe, Start
from sfumato.training.unfinished import parts_at

EMBEDDED = "embedded"
SECTIONS = ("network", "conditioning", "latent", "diffusion", "sampling")
"""Of a recipe, what a model brings along; data and training are the new run's own."""


def origin(start: Start, folder: Path | None = None) -> Parts | None:
    """The model to begin with, None for random weights.

    Args:
        folder: of a training; once it has a checkpoint it needs no model to begin with.
    Raises:
        SfumatoError: if there is no intact model.
    """
    if start.model is None or (folder and checkpoint.latest(folder)):
        return None
    return parts_at(None if start.model == EMBEDDED else start.model)


def inherited(parts: Parts, start: Start) -> Recipe:
    """The recipe that a run begins with: the model's for all that its weights fix."""
    given = parts.recipe
    recipe = changed(
        Recipe(),
        start=start.model_dump(),
        data=given.data.model_dump(include={"resolution", "channels"}),
        **{name: getattr(given, name).model_dump() for name in SECTIONS},
    )
    if given.latent.use and "autoencoder" in start.take:
        recipe = changed(recipe, latent={"images": 0})
    return recipe


def keep_tokenizer(parts: Parts | None, start: Start, kept: Path) -> None:
    """Put the tokenizer that belongs to a text encoder taken from a model where the run keeps it.

    Raises:
        SfumatoError: if the disk refuses.
    """
    if parts is None or "text" not in start.take or kept.exists():
        return
    conditioner = parts.prompted.conditioner
    if isinstance(conditioner, TextTransformer):
        files.replace_bytes(kept, conditioner.tokenizer.to_str().encode())


def begin_with(module: Prompted | Autoencoder, parts: Parts | None, start: Start) -> None:
    """Give a fresh module the weights of the parts taken, and stop the frozen ones from learning.

    Raises:
        SfumatoError: if they do not fit, or if nothing is left to learn.
    """
    given: Prompted | Autoencoder | None = None
    if parts is not None:
        given = parts.autoencoder if isinstance(module, Autoencoder) else parts.prompted
    for name, mine in _pieces(module).items():
        if given is not None and name in start.take:
            _copy(name, mine, _pieces(given)[name], start)
        if name in start.freeze:
            mine.requires_grad_(False)
    if isinstance(module, Prompted) and not any(p.requires_grad for p in module.parameters()):
        raise SfumatoError("Every part is frozen, so nothing would learn. Leave one of them free.")


def _pieces(module: Prompted | Autoencoder) -> dict[str, nn.Module]:
    if isinstance(module, Autoencoder):
        return {"autoencoder": module}
    return {"text": cast(nn.Module, module.conditioner), "network": module.network}


def _copy(name: str, mine: nn.Module, given: nn.Module, start: Start) -> None:
    try:
        if isinstance(mine, Labels) and isinstance(given, Labels) and mine.classes != given.classes:
            raise RuntimeError("other classes")
        mine.load_state_dict(given.state_dict())
    except RuntimeError as error:
        rest = ", ".join(part for part in start.take if part != name) or "nothing"
        raise SfumatoError(
            f"The {name} of {start.model} does not fit this run: its recipe or its classes differ. "
            f"Leave the recipe as the model has it, or take only {rest} (start.take)."
        ) from error
