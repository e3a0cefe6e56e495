"""Progressive training: a trained network becomes the inside of a matryoshka (2310.15111, 3.3)."""

from __future__ import annotations

from typing import Any

from torch import nn

from sfumato.errors import SfumatoError
from sfumato.networks.matryoshka import Matryoshka
from sfumato.training.recipe import changed
from sfumato.training.sections import Recipe, Start, told

INNER = "inner"
"""The part that can be frozen: all of a matryoshka but its outermost level."""
NESTABLE = ("matryoshka", "unet")
KEPT = ("conditioning", "latent", "diffusion")
"""Of the inner model's recipe, what holds for the whole too."""


def around(inner: Recipe, start: Start, levels: int | None = None) -> Recipe:
    """The recipe of a matryoshka around a trained model; its side doubles with every level.

    Raises:
        SfumatoError: for a model that is no U-Net of pixels or has as many levels already.
    """
    if inner.latent.use or inner.network.name not in NESTABLE:
        raise SfumatoError(
            f"{start.inner} cannot be the inside of a matryoshka: it is a {inner.network.name} of "
            f"{'latents' if inner.latent.use else 'pixels'}. "
            "Take a matryoshka, or a unet with latent.use = false."
        )
    has = inner.network.levels or 1
    levels = levels or has + 1
    if levels <= has:
        raise SfumatoError(
            f"{start.inner} has {has} levels already, and {levels} cannot go around them. "
            f"Take {has + 1} levels or more."
        )
    if INNER in start.freeze and levels > has + 1:
        raise SfumatoError(
            "Only the outermost level learns while the inner part is frozen, and here there are "
            f"{levels - has} new ones. Take {has + 1} levels, or leave the inner part free."
        )
    assert inner.data.resolution
    return changed(
        Recipe(),
        start=start.model_dump(),
        data={
            "resolution": inner.data.resolution * 2 ** (levels - has),
            "channels": inner.data.channels,
        },
        network={
            **inner.network.model_dump(),
            "name": "matryoshka",
            "levels": levels,
            "level_weights": (),
        },
        **{name: getattr(inner, name).model_dump() for name in KEPT},
        **_sampling(inner, has),
    )


def _sampling(inner: Recipe, levels: int) -> dict[str, Any]:
    """The inner model's, but for the times of steps, which one level leaves to the whole."""
    own = inner.sampling.model_dump()
    return {"sampling": own if levels > 1 else {**own, "grid": "auto"}}


def nest(network: nn.Module, inner: nn.Module, recipe: Recipe) -> None:
    """Give a matryoshka's inside the weights of a trained network; it then answers as before.

    Args:
        network: the matryoshka.
        inner: the trained network, and ``recipe``: its own.
    Raises:
        SfumatoError: if it does not fit.
    """
    assert recipe.data.resolution
    lowest = recipe.data.resolution // 2 ** ((recipe.network.levels or 1) - 1)
    try:
        if not isinstance(network, Matryoshka):
            raise RuntimeError("no matryoshka")
        if network.pyramid.sides[-1] != lowest:
            raise RuntimeError("another side")
        network.nest(inner)
    except RuntimeError as error:
        sides = network.pyramid.sides if isinstance(network, Matryoshka) else (0,)
        if sides[-1] != lowest:
            fitting = lowest * 2 ** (len(sides) - 1)
            cure = f"Take {told('data.resolution')} {fitting}, or other {told('network.levels')}"
        else:
            cure = "Leave its widths and depths as the inner model has them"
        raise SfumatoError(
            f"The inner model is a network of {lowest} pixels (its lowest level), and this run of "
            f"{len(sides)} levels from {sides[0]} to {sides[-1]} pixels leaves no place for it. "
            f"{cure}."
        ) from error


def freeze_inside(network: nn.Module) -> None:
    """Let only the outermost level of a matryoshka learn.

    Raises:
        SfumatoError: for a network without levels inside.
    """
    inside = network.inside() if isinstance(network, Matryoshka) else []
    if not inside:
        raise SfumatoError(
            "There is no inner part to freeze: the network is no matryoshka of several levels."
        )
    for part in inside:
        part.requires_grad_(False)
