"""Where a model may lie: in a folder of its own, in a run, or in the checkpoints of a run."""

from __future__ import annotations

import json
import math
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from sfumato.architecture import Vocabulary, build_autoencoder, build_prompted
from sfumato.data import open_source
from sfumato.errors import SfumatoError
from sfumato.storage import Parts, embedded_parts, read_parts
from sfumato.training import checkpoint, words
from sfumato.training.prepare import classes_of
from sfumato.training.recipe import load_recipe


def parts_at(path: str | Path | None) -> Parts:
    """The parts of the model in a folder: a model's, or a run's, finished or not.

    Args:
        path: None for the model inside the package.
    Raises:
        SfumatoError: if there is no intact model.
    """
    if path is None:
        return embedded_parts()
    folder = Path(path).expanduser()
    if not (folder / "model" / "config.json").is_file():
        return parts_of(folder) if (folder / "recipe.toml").is_file() else read_parts(folder)
    parts = read_parts(folder / "model")  # a training run keeps its finished model there
    gone_on = _images_seen(folder) > parts.card.get("images seen", math.inf)
    return parts_of(folder) if gone_on else parts


def _images_seen(run: Path) -> int:
    newest = checkpoint.latest(run)
    if newest is None:
        return 0
    try:
        return int(json.loads((newest / checkpoint.STATE).read_bytes())["images_seen"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def parts_of(run: Path) -> Parts:
    """The averaged weights of the run's newest intact checkpoint, as the parts of a model.

    Raises:
        SfumatoError: if the run has not come as far as a checkpoint of its network.
    """
    recipe = load_recipe(run / "recipe.toml")
    kept = checkpoint.load_latest(run)
    if kept is None:
        raise SfumatoError(
            f"The run in {run} has no checkpoint of its network yet. Let it train a little longer."
        )
    if recipe.conditioning.kind == "text":
        tokenizer = run / "tokenizer.json"
        found = words.kept(recipe.conditioning, tokenizer)
        if found is None:
            raise words.lost(tokenizer)
        vocabulary = found
    elif recipe.conditioning.kind == "labels":
        data = recipe.data
        source = open_source(data.name, data.resolution, data.channels)
        vocabulary = Vocabulary(classes=classes_of(source))
    else:
        vocabulary = Vocabulary()
    prompted = build_prompted(recipe, vocabulary)
    _fill(prompted, kept)
    autoencoder = build_autoencoder(recipe)
    if autoencoder is not None:
        first = checkpoint.load_latest(run / "autoencoder")
        if first is None:
            raise words.lost(run / "autoencoder")
        _fill(autoencoder, first)
        autoencoder.normalize(*_statistics(run / "latents.safetensors"))
    card = {
        "name": f"Sfumato {recipe.data.name} {recipe.network.size}, unfinished",
        "data": recipe.data.name,
        "images seen": kept.state["images_seen"],
        "parameters": sum(p.numel() for p in prompted.parameters()),
    }
    return Parts(recipe, prompted, autoencoder, card)


def _statistics(path: Path) -> tuple[Tensor, Tensor]:
    try:
        with safe_open(path, framework="pt") as latents:
            return latents.get_tensor("mean"), latents.get_tensor("std")
    except (OSError, SafetensorError) as error:
        raise (words.damaged if path.exists() else words.lost)(path) from error


def _fill(module: nn.Module, kept: checkpoint.Checkpoint) -> None:
    """Buffers from the weights, parameters from their average."""
    try:
        module.load_state_dict({**kept.tensors["weights"], **kept.tensors["ema"]})
    except RuntimeError as error:
        raise SfumatoError(
            "The checkpoint does not fit the recipe beside it. Take the version of Sfumato that "
            "trained it, or train again."
        ) from error
