"""The end of a training: averaged weights become a model, and what a run leaves on the disk."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor

from sfumato.architecture import Vocabulary, build_prompted, latent_shape
from sfumato.model import TextToImage
from sfumato.networks.autoencoder import Autoencoder
from sfumato.training.sections import Recipe
from sfumato.training.trainer import Trainer


def averaged(trainer: Trainer) -> dict[str, Tensor]:
    """Buffers and averaged weights of what is being trained, as copies."""
    module = trainer.objective.module
    with trainer.average.applied(module):
        return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def finished(
    recipe: Recipe,
    trainer: Trainer,
    vocabulary: Vocabulary,
    autoencoder: Autoencoder | None,
    pictures: int,
) -> TextToImage:
    """The model of a training, with its card; ``pictures``: how many the data set holds."""
    with torch.random.fork_rng(devices=[]):  # its random first weights are nobody's
        prompted = build_prompted(recipe, vocabulary)
    prompted.load_state_dict(averaged(trainer))
    card = {
        "name": f"Sfumato {recipe.data.name} {recipe.network.size}",
        "data": recipe.data.name,
        "pictures": pictures,
        "images seen": trainer.images_seen,
        "parameters": sum(p.numel() for p in prompted.parameters()),
    }
    return TextToImage(recipe, prompted, autoencoder, card, trainer.accelerator.device)


def checkpoint_bytes(trainer: Trainer) -> int:
    """Size of a checkpoint: weights, their average, and one (Muon) or two (AdamW) moments."""
    copies = {"muon": 3, "adamw": 4}
    learned = sum(
        4 * copies[group["kind"]] * p.numel()
        for group in trainer.optimizer.param_groups
        for p in group["params"]
    )
    frozen = sum(p.numel() for p in trainer.objective.module.parameters() if not p.requires_grad)
    return learned + 2 * 4 * frozen


def kept_besides(recipe: Recipe, folder: Path, pictures: int, numbers: int) -> int:
    """Bytes that a run keeps besides the checkpoints of the training in progress.

    Args:
        folder: of the run; an autoencoder that is there already is counted as it is.
        pictures: how many the data set holds.
        numbers: how many the trained network consists of.
    """
    size = 2 * numbers  # the finished model, in half precision
    if recipe.latent.use:
        size += 4 * pictures * math.prod(latent_shape(recipe))
    return size + sum(f.stat().st_size for f in (folder / "autoencoder").rglob("*.safetensors"))
