"""From a data set to what the trainer eats: pictures or latents, caption numbers, vocabulary."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from tqdm import tqdm

from sfumato.architecture import Vocabulary
from sfumato.conditioning import unread
from sfumato.conditioning.condition import Conditioner
from sfumato.conditioning.template import filled
from sfumato.data.example import Example, Source
from sfumato.errors import SfumatoError
from sfumato.locale import translate
from sfumato.networks.autoencoder import Autoencoder
from sfumato.pictures.tensors import to_numbers
from sfumato.training import files, words
from sfumato.training.interrupt import Stop
from sfumato.training.objective import Captions
from sfumato.training.sections import Conditioning, told


def pictures_of(source: Source) -> Callable[[list[int]], Tensor]:
    """Positions -> pictures (B, C, H, W) float32 in [-1, 1], decoded when asked for."""

    def pictures(positions: list[int]) -> Tensor:
        images = np.stack([source[i].image for i in positions])
        return to_numbers(images)

    return pictures


def enlarged(source: Source) -> list[str]:
    """What a person should know if most pictures are stored smaller than they are shown."""
    known = [pair for pair in getattr(source, "dimensions", ()) if min(pair)]
    # with transparency the whole picture is fitted in, else its middle square
    sides = sorted(max(pair) if source.channels == 4 else min(pair) for pair in known)
    if not sides or (most := sides[len(sides) // 2]) >= source.size:
        return []
    return [translate("train.enlarged", pixels=most, size=source.size)]


def kind_of(source: Source) -> Literal["text", "labels", "none"]:
    """What a data set can be steered by: class names, captions, or nothing."""
    if source.classes:
        return "labels"
    return "text" if any(source[i].captions for i in range(len(source))) else "none"


def classes_of(source: Source) -> tuple[str, ...]:
    """The classes of a data set; where it says more than that, the labels of its pictures."""
    if source.classes:
        return source.classes
    return tuple(sorted({label for i in range(len(source)) if (label := source[i].label)}))


def demand_classes(source: Source) -> tuple[str, ...]:
    """The classes of a data set.

    Raises:
        SfumatoError: if it has none.
    """
    if classes := classes_of(source):
        return classes
    raise SfumatoError(
        f"{source.name} has no classes. Leave {told('conditioning.kind')} out, and its captions "
        "are read if it has any."
    )


def texts_of(example: Example, template: str | None = None) -> tuple[str, ...]:
    """What is said about a picture: its captions, or the name of its class.

    Args:
        template: of data sets of classes, "a photo of a {}"; the name stands for {}.
    """
    if template is None or not example.label:
        return example.captions or ((example.label,) if example.label else ())
    return (filled(template, example.label),)


def template_of(source: Source, settings: Conditioning) -> str | None:
    """The template around class names, for data sets where these are all there is to say."""
    return settings.template if source.classes else None


def vocabulary_of(source: Source, settings: Conditioning, kept: Path) -> Vocabulary:
    """What the prompts are made of; all but classes are kept in the run, beside ``kept``.

    Args:
        kept: where the run keeps its tokenizer.
    Raises:
        SfumatoError: for labels where there are none, or an encoder that cannot be had.
    """
    if settings.kind == "labels":
        return Vocabulary(classes=demand_classes(source))
    if settings.kind == "none":
        return Vocabulary()
    if vocabulary := words.kept(settings, kept):
        return vocabulary
    template = template_of(source, settings)
    texts = (text for i in range(len(source)) for text in texts_of(source[i], template))
    vocabulary = words.learned(settings, texts)
    words.keep(vocabulary, kept)
    return vocabulary


def captions_of(
    source: Source, kind: str, conditioner: Conditioner, template: str | None = None
) -> Captions:
    """Every caption as numbers, once, so that a visit costs nothing."""
    rows: list[tuple[str, ...]] = []
    for i in range(len(source)):
        example = source[i]
        if kind == "labels":
            rows.append((example.label or "",))
        else:
            rows.append((texts_of(example, template) if kind == "text" else ()) or ("",))
    first = torch.tensor([0, *(len(row) for row in rows)]).cumsum(0)
    flat = [caption for row in rows for caption in row]
    numbers = {caption: number for number, caption in enumerate(dict.fromkeys(flat))}
    said = list(numbers)  # many pictures may be said the same of
    parts = [said[i : i + 4096] for i in range(0, len(said), 4096)]
    ids = [conditioner.ids(part).int() for part in parts]
    pairs = zip(parts, ids, strict=True)
    cut = [is_cut for pair in pairs for is_cut in unread.cut(conditioner, *pair)]
    every = torch.cat(ids)
    unknown = unread.unknown(conditioner, every)
    order = [numbers[caption] for caption in flat]
    return Captions(every[order], first, sum(cut[i] for i in order), sum(unknown[i] for i in order))


@torch.no_grad()
def latents_of(
    autoencoder: Autoencoder,
    pictures: Callable[[list[int]], Tensor],
    length: int,
    kept: Path,
    normalized: bool = False,
    stop: Stop | None = None,
) -> Tensor:
    """All latents (N, Z, h, w), computed once and kept in the run.

    The first time, the autoencoder's statistics are fixed so that every channel of these
    latents has mean 0 and variance 1; unless it is ``normalized`` already, by the pictures of
    the model that it comes from.

    Raises:
        KeyboardInterrupt: if somebody has asked to stop meanwhile.
        SfumatoError: if what is kept is damaged.
    """
    if kept.exists():
        try:
            stored = load_file(kept)
            autoencoder.normalize(stored["mean"], stored["std"])
            return stored["latents"]
        except (OSError, KeyError, RuntimeError, SafetensorError) as error:
            raise words.damaged(kept) from error
    device = next(autoencoder.parameters()).device
    mean, std = autoencoder.mean.clone(), autoencoder.std.clone()
    autoencoder.normalize(torch.zeros_like(mean), torch.ones_like(std))
    bar = tqdm(range(0, length, 64), desc="latents", unit="batch", leave=False, disable=None)
    parts = []
    for i in bar:
        if stop and stop.asked:
            raise KeyboardInterrupt
        parts.append(autoencoder.encode(pictures(list(range(i, min(i + 64, length)))).to(device)))
    raw = torch.cat([part.cpu() for part in parts])
    if not normalized:
        mean = raw.mean((0, 2, 3))
        alone = raw[:, 0].numel() == 1  # one tiny picture: a number has no deviation
        std = torch.ones_like(mean) if alone else raw.std((0, 2, 3))
    mean, std = mean.cpu(), std.cpu()
    autoencoder.normalize(mean, std)
    latents = (raw - mean[:, None, None]) / std.clamp(min=1e-4)[:, None, None]
    beside = kept.with_suffix(".partial")
    files.write_tensors(beside, {"latents": latents, "mean": mean, "std": std})
    files.replace(beside, kept)
    return latents
