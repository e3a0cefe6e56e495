"""From a data set to what the trainer eats: pictures or latents, caption numbers, vocabulary."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor
from tqdm import tqdm

from sfumato.architecture import Vocabulary
from sfumato.conditioning.condition import Conditioner
from sfumato.conditioning.text_transformer import learn_tokenizer
from sfumato.data.example import Source
from sfumato.errors import SfumatoError
from sfumato.networks.autoencoder import Autoencoder
from sfumato.training import files
from sfumato.training.interrupt import Stop
from sfumato.training.objective import Captions
from sfumato.training.sections import Conditioning


def pictures_of(source: Source) -> Callable[[list[int]], Tensor]:
    """Positions -> pictures (B, C, H, W) float32 in [-1, 1], decoded when asked for."""

    def pictures(positions: list[int]) -> Tensor:
        images = np.stack([source[i].image for i in positions])
        return torch.from_numpy(images).float() / 127.5 - 1

    return pictures


def kind_of(source: Source) -> Literal["text", "labels", "none"]:
    """What a data set can be steered by: class names, captions, or nothing."""
    if source.classes:
        return "labels"
    return "text" if any(source[i].captions for i in range(len(source))) else "none"


def vocabulary_of(source: Source, settings: Conditioning, kept: Path) -> Vocabulary:
    """The tokenizer (learned once and kept in the run) or the classes of a data set."""
    if settings.kind == "labels":
        if not source.classes:
            raise SfumatoError(
                f"{source.name} has no classes. Leave conditioning.kind out, or set it to text."
            )
        return Vocabulary(classes=source.classes)
    if settings.kind == "none":
        return Vocabulary()
    if kept.exists():
        return Vocabulary(Tokenizer.from_str(kept.read_text("utf-8")))
    texts = (caption for i in range(len(source)) for caption in source[i].captions)
    tokenizer = learn_tokenizer(texts, settings.vocabulary)
    files.replace_bytes(kept, tokenizer.to_str().encode())
    return Vocabulary(tokenizer)


def captions_of(source: Source, kind: str, conditioner: Conditioner) -> Captions:
    """Every caption as numbers, once, so that a visit costs nothing."""
    rows: list[tuple[str, ...]] = []
    for i in range(len(source)):
        example = source[i]
        if kind == "labels":
            rows.append((example.label or "",))
        else:
            rows.append(example.captions if kind == "text" and example.captions else ("",))
    first = torch.tensor([0, *(len(row) for row in rows)]).cumsum(0)
    flat = [caption for row in rows for caption in row]
    ids = torch.cat([conditioner.ids(flat[i : i + 4096]) for i in range(0, len(flat), 4096)])
    return Captions(ids.int(), first)


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
    """
    if kept.exists():
        stored = load_file(kept)
        autoencoder.normalize(stored["mean"], stored["std"])
        return stored["latents"]
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
