"""Sheets of pictures that a run draws on the way, always of the same noise."""

from __future__ import annotations

import torch
from PIL import Image

from sfumato.conditioning.prompted import Prompted
from sfumato.data.example import Source
from sfumato.data.order import indices
from sfumato.model import TextToImage
from sfumato.networks.autoencoder import Autoencoder
from sfumato.pictures.sheet import sheet
from sfumato.pictures.tensors import to_pictures
from sfumato.training.objective import Reconstruction
from sfumato.training.prepare import classes_of, template_of, texts_of
from sfumato.training.sections import Recipe

COUNT = 12
LOOK = 8
"""So many times as many pictures are looked at for different captions."""
FAMILIAR = [
    "red heart", "grinning face", "pizza", "sun", "tiger face", "rocket", "cat face", "banana",
    "красное сердце", "солнце", "ракета, плоский стиль", "red apple, 3d style",
]  # fmt: skip


def prompts_for(recipe: Recipe, source: Source, classes: tuple[str, ...] = ()) -> list[str]:
    """What the samples of a run show: classes, the emoji everybody knows, or own captions.

    Args:
        classes: of the vocabulary, where it is known; otherwise they are looked for in all
            examples.
    """
    if recipe.conditioning.kind == "labels":
        return list(classes or classes_of(source))[:COUNT]
    if recipe.conditioning.kind == "none":
        return [""] * COUNT
    if recipe.data.name == "emoji":
        return FAMILIAR
    template = template_of(source, recipe.conditioning)
    # many pictures may be said the same of, and one look at each is enough
    some = indices(0, 0, min(LOOK * COUNT, len(source)), len(source))
    looked = (texts_of(source[i], template) for i in some)
    return list(dict.fromkeys(next(iter(texts), "") for texts in looked))[:COUNT]


def drawn(
    recipe: Recipe,
    prompted: Prompted,
    autoencoder: Autoencoder | None,
    prompts: list[str],
    device: torch.device,
) -> Image.Image:
    """One picture for each prompt at seed 0, labelled."""
    model = TextToImage(recipe, prompted, autoencoder, device=device)
    return sheet(model.generate(prompts, seed=0), prompts, 6)


@torch.no_grad()
def copied(objective: Reconstruction, source: Source, device: torch.device) -> Image.Image:
    """Originals above, what the autoencoder gives back below."""
    module = objective.module.eval()
    assert isinstance(module, Autoencoder)
    originals = objective.pictures(_spread(source)).to(device)
    copies = module.decode(module.encode(originals))
    pictures = to_pictures(originals) + to_pictures(copies)
    return sheet(pictures, [""] * len(pictures), len(originals))


def _spread(source: Source) -> list[int]:
    count = min(COUNT, len(source))
    return [i * len(source) // count for i in range(count)]
