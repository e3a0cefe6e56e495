"""From a resolved recipe to modules: the one place that knows every network by name."""

from __future__ import annotations

from dataclasses import dataclass

from tokenizers import Tokenizer
from torch import nn

from sfumato.conditioning.labels import Labels
from sfumato.conditioning.prompted import Prompted
from sfumato.conditioning.text_transformer import TextTransformer
from sfumato.diffusion import SCHEDULES, TARGETS, Denoiser
from sfumato.errors import SfumatoError
from sfumato.networks.autoencoder import Autoencoder
from sfumato.networks.patch_transformer import PatchTransformer
from sfumato.training.sections import Recipe

PIXEL_STD = 0.5
"""Pictures in [-1, 1] have a standard deviation of about one half; latents have 1."""


@dataclass(frozen=True)
class Vocabulary:
    """What the prompts of a model are made of: a tokenizer, or the names of its classes.

    A model without either is unconditional, which is one class without a name.
    """

    tokenizer: Tokenizer | None = None
    classes: tuple[str, ...] = ()


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


def latent_shape(recipe: Recipe) -> tuple[int, int, int]:
    """(C, H, W) of what the network denoises."""
    assert recipe.data.channels and recipe.data.resolution
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
    text_width = min(width, 256)
    conditioner: nn.Module
    if vocabulary.tokenizer is not None:
        conditioner = TextTransformer(
            vocabulary.tokenizer,
            text_width,
            layers=recipe.conditioning.layers,
            heads=max(h for h in range(1, max(1, text_width // 64) + 1) if text_width % h == 0),
            length=recipe.conditioning.tokens,
        )
    else:
        conditioner = Labels(list(vocabulary.classes) or [""], text_width)
    return Prompted(_build_network(recipe, text_width), conditioner)


def _build_network(recipe: Recipe, condition_width: int) -> nn.Module:
    network = recipe.network
    channels, side, _ = latent_shape(recipe)
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
    return Denoiser(
        network,
        SCHEDULES[recipe.diffusion.schedule](),
        TARGETS[recipe.diffusion.target],
        data_std=1.0 if recipe.latent.use else PIXEL_STD,
    )
