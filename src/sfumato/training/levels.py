"""The levels of a matryoshka in a recipe: how many, when they learn, and what has none."""

from __future__ import annotations

from sfumato.errors import SfumatoError
from sfumato.training.sections import Recipe, told

MATRYOSHKA = "matryoshka"
LEVELS = 2
LEAST_SIDE = 8
"""Of the lowest level, in pixels: below it nothing can be recognised."""
MOST_PIXELS = 2048
"""Side times micro batch: the activations of a level double with its side."""


def levels_of(recipe: Recipe, resolution: int) -> int | None:
    """How many levels the network has, None for networks without.

    Raises:
        SfumatoError: for levels that this side or network cannot have, or weights that do not
            fit them.
    """
    network = recipe.network
    if network.name != MATRYOSHKA:
        if network.levels is not None or network.level_weights:
            raise SfumatoError(
                f"{told('network.levels')} and network.level_weights are for {MATRYOSHKA}, and the "
                f"network is {network.name}. Leave them out, or take {told('network.name')} "
                f"{MATRYOSHKA}."
            )
        return None
    if recipe.latent.use is True:
        raise SfumatoError(
            "latent.use = true does not go with matryoshka, which makes its own small pictures. "
            "Leave latent.use out."
        )
    levels = network.levels or LEVELS
    factor = 2 ** (levels - 1)
    least = LEAST_SIDE * factor
    if resolution < least:
        raise SfumatoError(
            f"{levels} levels of a side of {resolution} would leave {resolution / factor:g} pixels "
            f"for the lowest, and it needs {LEAST_SIDE}. Take fewer levels, or a side from {least}."
        )
    if resolution % factor:
        below = resolution // factor * factor
        raise SfumatoError(
            f"A side of {resolution} cannot be halved to {levels} levels. "
            f"Take {below} or {below + factor} pixels, or fewer levels."
        )
    weights = network.level_weights
    if weights and len(weights) != levels:
        raise SfumatoError(
            f"network.level_weights has {len(weights)} numbers for {levels} levels. "
            "Give one for each, highest resolution first, or none."
        )
    return levels


def micro_batch_limit(recipe: Recipe, side: int, limit: int) -> int:
    """The largest micro batch by the law: smaller where wide layers stand at a large side."""
    if recipe.network.name not in (MATRYOSHKA, "unet"):
        return limit
    return max(1, min(limit, MOST_PIXELS // side))
