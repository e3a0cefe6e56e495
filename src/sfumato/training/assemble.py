"""From a recipe to what is learned: the one place where its fields become objectives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch

from sfumato.architecture import Vocabulary, build_denoiser, pyramid_of
from sfumato.conditioning.prompted import Prompted
from sfumato.data.example import Source
from sfumato.diffusion import DiffusionLoss, Pyramid
from sfumato.diffusion.randomness import seed_of
from sfumato.networks.autoencoder import Autoencoder
from sfumato.storage import Parts
from sfumato.training.inherit import keep_tokenizer
from sfumato.training.interrupt import Stop
from sfumato.training.objective import Captions, Diffusion, Pictures, Reconstruction
from sfumato.training.prepare import latents_of, pictures_of, vocabulary_of
from sfumato.training.sections import Recipe, Training

Built = TypeVar("Built")

AUTOENCODER_WARMUP = 5_000  # images
AUTOENCODER_HALF_LIFE = 10_000.0  # images


def autoencoder_training(recipe: Recipe) -> Training:
    """How the autoencoder is trained: like the network, but for what ``latent`` states.

    AdamW, because its convolutions are none of the matrices that Muon is made for.
    """
    latent, training = recipe.latent, recipe.training
    assert training.warmup_images is not None
    warmup = min(AUTOENCODER_WARMUP, training.warmup_images, latent.images // 10)
    return training.model_copy(
        update={
            "batch_size": latent.batch_size,
            "micro_batch": latent.batch_size,
            "learning_rate": latent.learning_rate,
            "optimizer": "adamw",
            "warmup_images": warmup,
            "ema_half_life_images": AUTOENCODER_HALF_LIFE,
            "target_loss": None,
        }
    )


def fresh(build: Callable[[Recipe], Built], recipe: Recipe, *purpose: str) -> Built:
    """Modules whose first weights depend on the recipe's seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(recipe.training.seed, *purpose))
        return build(recipe)


def prepared(
    recipe: Recipe,
    source: Source,
    folder: Path,
    autoencoder: Autoencoder | None,
    given: Parts | None,
    stop: Stop,
) -> tuple[Pictures, Vocabulary]:
    """The pictures, pyramids or latents to learn from, and the vocabulary; kept in the run.

    Args:
        folder: of the run.
        autoencoder: trained, of a latent model.
        given: the model to begin with.
    """
    pictures = pictures_of(source)
    if autoencoder is not None:
        autoencoder.eval().requires_grad_(False)
        start = recipe.start
        pictures = latents_of(
            autoencoder,
            pictures,
            len(source),
            folder / "latents.safetensors",
            normalized=start.model is not None and "autoencoder" in start.take,
            stop=stop,
        ).__getitem__
    elif pyramid := pyramid_of(recipe):
        pictures = packed(pictures, pyramid)
    tokenizer = folder / "tokenizer.json"
    keep_tokenizer(given, recipe.start, tokenizer)
    return pictures, vocabulary_of(source, recipe.conditioning, tokenizer)


def packed(pictures: Pictures, pyramid: Pyramid) -> Pictures:
    """The same pictures as packed pyramids (B, C, N)."""
    return lambda positions: pyramid.of(pictures(positions))


def reconstruction(recipe: Recipe, source: Source, autoencoder: Autoencoder) -> Reconstruction:
    """What the autoencoder learns."""
    return Reconstruction(
        autoencoder,
        pictures_of(source),
        len(source),
        noise=recipe.latent.noise,
        seed=recipe.training.seed,
    )


def diffusion(
    recipe: Recipe,
    prompted: Prompted,
    pictures: Pictures,
    captions: Captions,
    visits: tuple[int, ...] = (),
) -> Diffusion:
    """What the network learns.

    Args:
        pictures: or latents, as many as there are captions for.
        visits: the positions of an epoch, see `order.visits_of`; empty: every one once.
    """
    wanted, pyramid = recipe.diffusion, pyramid_of(recipe)
    assert wanted.weight != "auto", "a recipe is resolved before it is followed"
    return Diffusion(
        prompted,
        pictures,
        captions,
        len(captions.first) - 1,
        DiffusionLoss(
            build_denoiser(recipe, prompted),
            times=wanted.times,
            time_mean=wanted.time_mean,
            time_std=wanted.time_std,
            weight=wanted.weight,
            seed=recipe.training.seed,
            lengths=pyramid.lengths if pyramid else (),
            level_weights=recipe.network.level_weights if pyramid else (),
        ),
        drop=recipe.conditioning.drop,
        seed=recipe.training.seed,
        visits=visits,
    )
