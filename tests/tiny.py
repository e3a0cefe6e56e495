"""Pictures, recipes and runs so small that a training takes a second."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sfumato.architecture import Vocabulary, build_autoencoder, build_prompted
from sfumato.conditioning.text_transformer import learn_tokenizer
from sfumato.model import TextToImage
from sfumato.training import checkpoint
from sfumato.training.law import resolve
from sfumato.training.recipe import changed, recipe_of
from sfumato.training.sections import Recipe

COLOURS = {
    "red": (230, 40, 30),
    "green": (40, 200, 60),
    "blue": (30, 60, 220),
    "yellow": (240, 220, 40),
    "white": (250, 250, 250),
}


def squares(folder: Path, count: int = 10, side: int = 16) -> Path:
    """A folder of coloured squares, each a little different, with captions beside them."""
    folder.mkdir(parents=True)
    noise = np.random.default_rng(0)
    for number in range(count):
        name, colour = list(COLOURS.items())[number % len(COLOURS)]
        pixels = np.array(colour) + noise.integers(-5, 6, (side, side, 3))
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{number:03}.png")
        (folder / f"{number:03}.txt").write_text(f"a {name} square\nsquare {number}, {name}\n")
    return folder


def recipe(**changes: Mapping[str, Any]) -> Recipe:
    """Width 32, depth 1, one thread, float32; ten steps of eight pictures, in pixels."""
    said = changes.get("conditioning", {})
    words: dict[str, Any] = {}
    if said.get("kind", "text") in ("auto", "text"):
        words = {"tokens": 8}
        if said.get("encoder", "scratch") == "scratch":
            words |= {"layers": 1, "vocabulary": 120}
    start = recipe_of(
        {
            "data": {"resolution": 16},
            "network": {"width": 32, "depth": 1, "heads": 1},
            "conditioning": words,
            "latent": {"use": False, "width": 16, "channels": 4, "images": 48, "batch_size": 16},
            "sampling": {"steps": 4},
            "training": {
                "images": 80,
                "batch_size": 8,
                "learning_rate": 1e-3,
                "ema_half_life_images": 100.0,
                "precision": "fp32",
                "device": "cpu",
                "threads": 1,
                "log_every_images": 16,
                "sample_every_images": 1_000_000,
            },
        }
    )
    return changed(start, **changes)


def kept(run: Path) -> dict[str, Tensor]:
    """Every tensor of a run's newest checkpoint, "group/name" -> tensor."""
    found = checkpoint.load_latest(run)
    assert found is not None
    return {
        f"{group}/{name}": tensor
        for group, named in found.tensors.items()
        for name, tensor in named.items()
    }


def same_bits(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    """Whether two sets of tensors are equal to the last bit."""
    return one.keys() == other.keys() and all(
        tensor.dtype == other[name].dtype and torch.equal(tensor, other[name])
        for name, tensor in one.items()
    )


def model(
    resolution: int = 16,
    channels: int = 4,
    latents: bool = False,
    classes: tuple[str, ...] | None = None,
    **changes: Mapping[str, Any],
) -> TextToImage:
    """Random weights: nothing to look at, but prompts, seeds and guidance matter."""
    settled = resolve(
        changed(recipe(latent={"use": latents}, data={"resolution": resolution}), **changes),
        channels=channels,
        resolution=resolution,
        conditioning="text" if classes is None else "labels",
    )
    texts = ["red heart", "blue heart", "красное сердце", "a cat with joy"]
    words = Vocabulary(learn_tokenizer(texts, 200)) if classes is None else None
    prompted = build_prompted(settled, words or Vocabulary(classes=classes or ()))
    autoencoder = build_autoencoder(settled)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for module in filter(None, (prompted, autoencoder)):
            for parameter in module.parameters():  # the last layers begin at zero
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.15)
    return TextToImage(settled, prompted, autoencoder, {"name": "tiny", "licence": "CC0-1.0"})
