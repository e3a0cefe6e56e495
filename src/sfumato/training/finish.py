"""The end of a training: averaged weights become a model; what it takes and leaves on the disk."""

from __future__ import annotations

import math
import time
from pathlib import Path

import torch
from torch import Tensor

from sfumato.architecture import Vocabulary, build_prompted, latent_shape
from sfumato.conditioning.frozen import Frozen
from sfumato.model import TextToImage
from sfumato.networks.autoencoder import Autoencoder
from sfumato.training.forecast import Forecast, forecast, peak_memory
from sfumato.training.sections import Recipe
from sfumato.training.trainer import Trainer

CURVES, SHEET = 100_000, 150_000  # bytes, about: loss.png, a sheet of samples


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


def checkpoints_at_most(trainer: Trainer, seconds: float) -> int:
    """How many checkpoints lie on the disk at one time, the one in the making included.

    Args:
        seconds: that the rest of the training takes.
    """
    settings = trainer.settings
    written = 1 + int(seconds / (60 * settings.save_every_minutes))  # the last one at the end
    if every := settings.save_every_images:
        written += trainer.total // every - trainer.images_seen // every
    there = len(list(trainer.folder.glob("images-*")))
    return min(there + written, settings.keep + 2)  # one more marked best, one in the making


def foreseen(
    recipe: Recipe, trainer: Trainer, folder: Path, pictures: int, rate: float, begin: float
) -> Forecast:
    """What the rest of a training takes.

    Args:
        folder: of the run; ``pictures``: how many its data set holds.
        rate: images a second, measured.
        begin: the moment (`time.monotonic`) at which the run began.
    """
    images = trainer.total - trainer.images_seen
    numbers = sum(p.numel() for p in trainer.objective.module.parameters())
    files = (f for f in folder.iterdir() if f.is_file() and f.suffix != ".safetensors")
    small = CURVES + sum(f.stat().st_size for f in files)  # those are recipe, report, words
    every = trainer.settings.sample_every_images
    small += SHEET * (1 + trainer.total // every - trainer.images_seen // every)
    return forecast(
        images=images,
        images_per_second=rate,
        peak_bytes=peak_memory(),
        checkpoint_bytes=checkpoint_bytes(trainer),
        checkpoints=checkpoints_at_most(trainer, images / rate),
        later_bytes=_read_later(trainer),
        other_disk_bytes=kept_besides(recipe, folder, pictures, numbers) + small,
        fixed_seconds=time.monotonic() - begin,
    )


def _read_later(trainer: Trainer) -> int:
    """Bytes of what pretrained encoders said of the captions: in memory once they are all seen."""
    modules = trainer.objective.module.modules()
    return sum(m.encoder.remembered_bytes for m in modules if isinstance(m, Frozen))


def happened(
    trainer: Trainer, folder: Path, begin: float, since: float, images_before: int
) -> Forecast:
    """What a training really took; ``since``: its first step, when it had seen so many images."""
    now = time.monotonic()
    return Forecast(
        now - begin,
        peak_memory(),
        sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()),
        (trainer.images_seen - images_before) / max(now - since, 1e-9),
    )


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
