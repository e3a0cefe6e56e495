"""From a resolved recipe to modules: the one place that knows every network by name."""

from __future__ import annotations

from torch import nn

from sfumato.conditioning.frozen import Frozen
from sfumato.conditioning.labels import Labels
from sfumato.conditioning.prompted import Prompted
from sfumato.conditioning.text_transformer import TextTransformer
from sfumato.conditioning.tfidf import TfIdf
from sfumato.conditioning.vocabulary import Vocabulary as Vocabulary
from sfumato.diffusion import (
    CHAINS,
    SCHEDULES,
    TARGETS,
    Denoiser,
    LevelSchedule,
    Pyramid,
    Schedule,
)
from sfumato.errors import SfumatoError
from sfumato.networks.autoencoder import Autoencoder
from sfumato.networks.patch_transformer import PatchTransformer
from sfumato.training.sections import WIDEST, Recipe

PIXEL_STD = 0.5
"""Pictures in [-1, 1] have a standard deviation of about one half; latents have 1."""


def build_autoencoder(recipe: Recipe) -> Autoencoder | None:
    """The autoencoder of a latent model, None for one of pixels.

    Raises:
        SfumatoError: for numbers that no autoencoder of ours can have.
    """
    if not recipe.latent.use:
        return None
    assert recipe.data.channels
    if recipe.latent.width % 2:
        raise SfumatoError(f"latent.width = {recipe.latent.width} is odd. Take an even number.")
    latent = recipe.latent
    return Autoencoder(recipe.data.channels, latent.channels, latent.width, latent.factor)


def pyramid_of(recipe: Recipe) -> Pyramid | None:
    """The levels that the network denoises together; None for ordinary pictures and latents."""
    assert recipe.data.resolution
    levels = recipe.network.levels or 1
    return Pyramid.halving(recipe.data.resolution, levels) if levels > 1 else None


def latent_shape(recipe: Recipe) -> tuple[int, ...]:
    """(C, H, W) of what the network denoises, (C, N) for a packed pyramid."""
    assert recipe.data.channels and recipe.data.resolution
    if pyramid := pyramid_of(recipe):
        return recipe.data.channels, sum(pyramid.lengths)
    if not recipe.latent.use:
        return recipe.data.channels, recipe.data.resolution, recipe.data.resolution
    side = recipe.data.resolution // recipe.latent.factor
    return recipe.latent.channels, side, side


def build_prompted(recipe: Recipe, vocabulary: Vocabulary) -> Prompted:
    """The picture network with the encoder of its prompts, freshly initialised.

    Raises:
        SfumatoError: for a width that the network cannot have.
    """
    width = recipe.network.width
    assert width
    multiple = 8 if recipe.network.name == "patch-unet" else 4
    if width % multiple:
        below = width // multiple * multiple
        raise SfumatoError(
            f"network.width = {width} is not a multiple of {multiple}. "
            f"Take {f'{below} or ' if below else ''}{below + multiple}."
        )
    # words need less room than pictures; a wider encoder would double the model
    text_width = min(width * WIDEST.get(recipe.network.name, 1), 256)
    conditioner: nn.Module
    if vocabulary.tokenizer is not None:
        conditioner = TextTransformer(
            vocabulary.tokenizer,
            text_width,
            layers=recipe.conditioning.layers,
            heads=max(h for h in range(1, max(1, text_width // 64) + 1) if text_width % h == 0),
            length=recipe.conditioning.length,
        )
    elif vocabulary.terms is not None:
        conditioner = TfIdf(vocabulary.terms, text_width, recipe.conditioning.length)
    elif vocabulary.encoder is not None:
        conditioner = Frozen(vocabulary.encoder, text_width, recipe.conditioning.length)
    else:
        conditioner = Labels(list(vocabulary.classes) or [""], text_width)
    return Prompted(_build_network(recipe, text_width), conditioner)


def _build_network(recipe: Recipe, condition_width: int) -> nn.Module:
    network = recipe.network
    channels, side = latent_shape(recipe)[0], latent_shape(recipe)[-1]
    if pyramid := pyramid_of(recipe):
        side = pyramid.sides[0]
    assert network.width and network.depth and network.heads and network.patch
    if network.name == "patch-unet":
        from sfumato.networks.patch_unet import PatchUNet

        return PatchUNet(
            channels,
            side,
            network.patch,
            network.width,
            network.depth,
            condition_width,
            network.heads,
        )
    if network.name == "matryoshka":
        from sfumato.networks.matryoshka import Matryoshka

        return Matryoshka(
            channels,
            side,
            network.levels or 1,
            network.width,
            network.depth,
            network.heads,
            condition_width,
        )
    if network.name == "unet":
        from sfumato.networks.unet import UNet

        return UNet(channels, side, network.width, network.depth, network.heads, condition_width)
    if network.name == "tiny-unet":
        from sfumato.networks.tiny_unet import TinyUNet

        return TinyUNet(channels, network.width, network.depth, network.heads, condition_width)
    if network.name == "context-unet":
        from sfumato.networks.context_unet import ContextUNet

        return ContextUNet(channels, side, network.width, network.depth, condition_width)
    return PatchTransformer(
        channels,
        side,
        network.patch,
        network.width,
        network.depth,
        network.heads,
        condition_width,
        bottleneck=None if recipe.latent.use else min(128, network.width),
    )


def build_denoiser(recipe: Recipe, network: nn.Module) -> Denoiser:
    """The denoiser around a network; its network takes a Condition or training's Told."""
    name, chain = recipe.diffusion.schedule, recipe.diffusion.chain
    schedule: Schedule = CHAINS[name](chain) if name in CHAINS else SCHEDULES[name]()
    if pyramid := pyramid_of(recipe):
        schedule = LevelSchedule(schedule, pyramid.sides, recipe.network.level_power)
    return Denoiser(
        network,
        schedule,
        TARGETS[recipe.diffusion.target],
        data_std=1.0 if recipe.latent.use else PIXEL_STD,
    )
