"""What a recipe leaves open, filled in: one dial and a stated law.

The law of ``network.size`` (head width 64; E is the EMA's half-life):

======  =====  =====  =====  =====  =============  =======  ==========
size    width  depth  heads  batch  learning rate  E        images
======  =====  =====  =====  =====  =============  =======  ==========
tiny    128    4      2      64     1.5e-3         25,000   250,000
small   256    8      4      128    1.5e-3         50,000   1,000,000
base    512    12     8      256    1.5e-3         100,000  4,000,000
large   768    16     12     256    1.22e-3        100,000  10,000,000
======  =====  =====  =====  =====  =============  =======  ==========

U-Nets have numbers of their own, the width of their first layer and the residual blocks of a level,
and otherwise follow the law.  tiny-unet is 3-16-32-64 by default, where nothing is said:

============  ======  ======  ======  ======
network       tiny    small   base    large
============  ======  ======  ======  ======
unet          32 1    64 1    96 2    128 3
tiny-unet     8 1     16 1    32 1    64 1
context-unet  32 1    64 1    128 1   192 2
matryoshka    32 1    64 1    96 2    128 3
============  ======  ======  ======  ======

- learning rate = 1.5e-3 * sqrt(256 / width) * sqrt(batch / 128), to three digits; for a U-Net the
  width is that of its widest layer, 4, 8, 2 and 4 times the first; four times as much for
  U-Nets on pixels
- warm-up = 20,000 images, but at most a tenth of the run; 1,000 where the run is given minutes
- target and weight = flow, uniform; x0, velocity for the transformer on pixels, where a patch holds
  more numbers than the network is wide enough to pass on with their noise (2511.13720)
- EMA half-life = 50,000 images * batch / 128, about 390 steps whatever the batch
- micro batch   = the largest divisor of the batch that is at most 128, for unet and
  matryoshka at most 2048 / side
- patch         = on latents 1, from a side of 32 on side // 16; on pixels, for the transformer,
  the largest divisor of the side that leaves at least 7 patches a side, or side // 8 where the
  divisors are few (networks pad); for the patch U-Net the largest power of two that leaves 14;
  the other U-Nets have none, which is 1
- heads of a U-Net = width / 32; context-unet has no attention
- latents from a side of 64 on; never for tiny-unet and context-unet unless asked for, and never
  for matryoshka, which has 2 levels where nothing is said
- tokens of a prompt = 24, of pretrained text encoders 64
- times of training: logit(t) of mean 0, for a matryoshka of flow ln(sum of s^(2 - level_power)) / 2
  over the ratios s of the levels' sides to the lowest: 0.549 for 2 levels, 0.973 for 3
- times of the sampling steps: uniform, for a matryoshka of several levels uniform in log-SNR

A width, depth, batch or any other number that the recipe states is kept, and what depends on it
follows it.
"""

from __future__ import annotations

import math
from typing import Literal

from sfumato.errors import SfumatoError
from sfumato.training.fitting import check_use
from sfumato.training.levels import levels_of, micro_batch_limit
from sfumato.training.recipe import changed
from sfumato.training.sections import WIDEST, Recipe, Size, told

# size: (width, depth, batch, images)
LAW: dict[Size, tuple[int, int, int, int]] = {
    "tiny": (128, 4, 64, 250_000),
    "small": (256, 8, 128, 1_000_000),
    "base": (512, 12, 256, 4_000_000),
    "large": (768, 16, 256, 10_000_000),
}
# network: size: (width of the first layer, residual blocks a level)
UNETS: dict[str, dict[Size, tuple[int, int]]] = {
    "unet": {"tiny": (32, 1), "small": (64, 1), "base": (96, 2), "large": (128, 3)},
    "tiny-unet": {"tiny": (8, 1), "small": (16, 1), "base": (32, 1), "large": (64, 1)},
    "context-unet": {"tiny": (32, 1), "small": (64, 1), "base": (128, 1), "large": (192, 2)},
    "matryoshka": {"tiny": (32, 1), "small": (64, 1), "base": (96, 2), "large": (128, 3)},
}
PIXELS_ONLY = ("tiny-unet", "context-unet", "matryoshka")
RATE, PIXEL_RATE = 1.5e-3, 6e-3  # at a width of 256 and batches of 128; U-Nets on pixels
HEAD_WIDTH = 64
MICRO_BATCH = 128
WARMUP = 20_000  # images
UNPLANNED_WARMUP = 1_000  # images, where nobody knows yet how many there will be
LATENTS_FROM = 64  # pixels
CONTEXT_SIDE = 64  # its layer behind the bottleneck has a matrix for every place


def resolve(
    recipe: Recipe,
    *,
    channels: int,
    resolution: int,
    images_per_second: float | None = None,
    conditioning: Literal["text", "labels", "none"] | None = None,
    strict: bool = True,
) -> Recipe:
    """Fill every None of the recipe by the law of ``network.size`` (see the module's text).

    ``channels`` and ``resolution`` (pixels) are what the data gives, ``conditioning`` what it can
    steer by (fills ``auto``), ``images_per_second`` a measured rate. With ``training.minutes``
    and no ``training.images``, images = minutes * 60 * rate in whole batches; without a rate they
    stay None until one is known. ``minutes`` (no limit) and ``threads`` (a fact of the machine)
    stay None. Pure and idempotent: a resolved recipe comes back unchanged. Without ``strict``, for
    models and runs that are there already, fields that nothing looks at are let be.

    Raises SfumatoError when numbers do not fit together.
    """
    data, network, latent, training = recipe.data, recipe.network, recipe.latent, recipe.training
    _agree("data.channels", data.channels, channels)
    _agree("data.resolution", data.resolution, resolution)

    levels = levels_of(recipe, resolution)
    use = latent.use
    if use == "auto":
        use = resolution >= LATENTS_FROM and network.name not in PIXELS_ONLY
    side = resolution
    if use:
        if resolution % latent.factor:
            raise SfumatoError(
                f"{told('data.resolution')} = {resolution} is no multiple of {latent.factor}, as "
                f"an autoencoder (latent.factor = {latent.factor}) needs it. Use "
                f"{_near(resolution, latent.factor)}, or set latent.use = false for pixels."
            )
        side = resolution // latent.factor
    if network.name == "context-unet" and side > CONTEXT_SIDE:
        raise SfumatoError(
            f"context-unet is made for sides up to {CONTEXT_SIDE} and grows with their square; "
            f"here the side is {side}. Take another network, or smaller pictures."
        )

    law_width, law_depth, law_batch, law_images = LAW[network.size]
    if network.name in UNETS:
        law_width, law_depth = UNETS[network.name][network.size]
    width = network.width or law_width
    heads = network.heads or _heads(network.name, width)
    _fits("network.width", width, "network.heads", heads)
    patch = network.patch or _patch(network.name, side, latents=use)
    if network.name in UNETS and patch != 1:
        raise SfumatoError(
            f"network.patch = {patch}, but {network.name} has no patches. Leave it out."
        )

    batch = training.batch_size or law_batch
    micro = training.micro_batch or _largest_divisor(
        batch, micro_batch_limit(recipe, side, MICRO_BATCH)
    )
    _fits("training.batch_size", batch, "training.micro_batch", micro)
    images = training.images
    if images is None and training.minutes is None:
        images = law_images
    elif images is None and images_per_second is not None:
        assert training.minutes is not None
        images = max(1, int(training.minutes * 60 * images_per_second) // batch) * batch
    widest = width * WIDEST.get(network.name, 1)
    base = PIXEL_RATE if network.name in UNETS and not use else RATE
    rate = training.learning_rate or float(
        f"{base * math.sqrt(256 / widest) * math.sqrt(batch / 128):.3g}"
    )
    warmup = training.warmup_images
    if warmup is None:
        unplanned = training.minutes is not None or images is None
        warmup = UNPLANNED_WARMUP if unplanned else min(WARMUP, (images or 0) // 10)
    wanted = recipe.diffusion
    plain = use or network.name != "patch-transformer"
    target = wanted.target if wanted.target != "auto" else "flow" if plain else "x0"
    weight = wanted.weight
    if weight == "auto":
        weight = "velocity" if target == "x0" else "uniform"
    kind = recipe.conditioning.kind
    kind = conditioning if kind == "auto" and conditioning else kind
    grid = recipe.sampling.grid
    if grid == "auto":
        # the high levels hold noise for longer, and uniform times leave the end to one long step
        grid = "log-snr" if (levels or 1) > 1 else "uniform"
    settled = changed(
        recipe,
        data={"channels": channels, "resolution": resolution},
        network={
            "width": width,
            "depth": network.depth or law_depth,
            "heads": heads,
            "patch": patch,
            "levels": levels,
        },
        conditioning={"kind": kind, "tokens": recipe.conditioning.length},
        latent={"use": use},
        diffusion={"target": target, "weight": weight},
        sampling={"threshold": _threshold(recipe.sampling.threshold, latents=use), "grid": grid},
        training={
            "images": images,
            "batch_size": batch,
            "micro_batch": micro,
            "learning_rate": rate,
            "warmup_images": warmup,
            "ema_half_life_images": training.ema_half_life_images or 50_000 * batch / 128,
        },
    )
    if strict and settled != recipe:  # one with nothing left open was judged when it was written
        check_use(recipe, kind, _heads(network.name, width))
    return settled


def _threshold(stated: str, *, latents: bool) -> str:
    if latents and stated in ("static", "dynamic"):
        raise SfumatoError(
            f'sampling.threshold = "{stated}" is for pixels, and this model works on latents. '
            'Leave it out, or set it to "none".'
        )
    if stated == "auto":
        return "none" if latents else "static"
    return stated


def _heads(network: str, width: int) -> int:
    """One for every 64 channels; a U-Net's attention is at levels wider than the first."""
    wanted = max(1, width // (32 if network in UNETS else HEAD_WIDTH))
    return _largest_divisor(width, wanted) if network in UNETS else wanted


def _patch(network: str, side: int, *, latents: bool) -> int:
    if network in UNETS:
        return 1
    if network == "patch-unet":
        return int(2 ** max(0, (side // 14).bit_length() - 1))
    if latents:
        return max(1, side // 16)
    limit = max(1, side // 7)
    divisor = _largest_divisor(side, limit)
    return divisor if 2 * divisor >= limit else side // 8


def _largest_divisor(number: int, limit: int) -> int:
    return max(d for d in range(1, min(number, limit) + 1) if number % d == 0)


def _agree(field: str, stated: int | None, given: int) -> None:
    if stated is not None and stated != given:
        raise SfumatoError(
            f"{field} = {stated}, but the data gives {given}. Set it to {given} or leave it out."
        )


def _fits(field: str, value: int, divisor_field: str, divisor: int) -> None:
    if value % divisor:
        raise SfumatoError(
            f"{field} = {value} is not a multiple of {divisor_field} = {divisor}. "
            f"Use {_near(value, divisor)}, or another {divisor_field}."
        )


def _near(value: int, divisor: int) -> str:
    below, above = value - value % divisor, value - value % divisor + divisor
    return f"{below} or {above}" if below else str(above)
