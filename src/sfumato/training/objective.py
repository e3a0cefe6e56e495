"""What is being learned: the loss of a batch, given as global sample indices.

An objective is all that the trainer knows about the task.  It draws pictures, captions, times,
noise and dropped conditions as functions of the global sample index, so every way of cutting a
batch into micro-batches and processes gives the same gradient.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor, nn

from sfumato.conditioning.prompted import Told
from sfumato.data.order import indices as order_indices
from sfumato.diffusion.loss import DiffusionLoss
from sfumato.diffusion.randomness import normal, uniform
from sfumato.networks.autoencoder import reconstruction_loss

Pictures = Callable[[list[int]], Tensor]
"""Positions in the data set -> (B, C, H, W) float32."""


class Objective(Protocol):
    """A task for the trainer."""

    @property
    def module(self) -> nn.Module:
        """Everything that learns."""

    def positions(self, samples: range) -> list[int]:
        """Which pictures of the data set the global samples show."""

    def loss(self, model: nn.Module, samples: range) -> tuple[Tensor, Tensor]:
        """(loss (B,), t (B,)) of the global samples; ``model`` is `module`, maybe wrapped."""


@dataclass(frozen=True)
class Captions:
    """All captions of a data set as token numbers; a visit picks one of each picture's.

    Attributes:
        ids: (total, L) of all captions, one after the other.
        first: (N + 1,) where each picture's captions begin.
        cut: how many are longer than the text encoder reads.
        unknown: how many hold no word that it knows (of TF-IDF).
    """

    ids: Tensor
    first: Tensor
    cut: int = 0
    unknown: int = 0

    @property
    def digest(self) -> str:
        """By which the same captions in the same order are recognised."""
        parts = (self.first.numpy().tobytes(), self.ids.numpy().tobytes())
        return hashlib.sha256(b"".join(parts)).hexdigest()

    def pick(self, positions: list[int], samples: range, seed: int) -> Tensor:
        """(B, L): for every sample one caption of the picture at its position."""
        begin, end = self.first[positions], self.first[[p + 1 for p in positions]]
        share = uniform(samples, seed, "caption")
        return self.ids[begin + (share * (end - begin)).long()].long()


@dataclass(frozen=True)
class Diffusion:
    """Denoising pictures (or latents) that are told their captions.

    Attributes:
        module: the `Prompted` network.
        pictures, captions, length: the data set and its number of pictures.
        criterion: times, weights and target; its denoiser's network is `module`.
        drop: share of samples that are told nothing.
        seed: of order, captions and dropping.
        visits: positions of an epoch, some of them several times; empty: every one once.
    """

    module: nn.Module
    pictures: Pictures
    captions: Captions
    length: int
    criterion: DiffusionLoss
    drop: float
    seed: int
    visits: tuple[int, ...] = ()

    def positions(self, samples: range) -> list[int]:
        length = len(self.visits) or self.length
        found = order_indices(self.seed, samples.start, len(samples), length)
        return [self.visits[place] for place in found] if self.visits else found

    def loss(self, model: nn.Module, samples: range) -> tuple[Tensor, Tensor]:
        device = next(self.module.parameters()).device
        positions = self.positions(samples)
        x0 = self.pictures(positions).to(device)
        drop = self.drop if self.module.training else 0.0  # never while being judged
        told = Told(
            self.captions.pick(positions, samples, self.seed).to(device),
            (uniform(samples, self.seed, "drop") >= drop).to(device),
        )
        criterion = self.criterion
        denoiser = replace(criterion.denoiser, network=model)
        return replace(criterion, denoiser=denoiser)(x0, samples, told)


@dataclass(frozen=True)
class Reconstruction:
    """Teaching the autoencoder to give pictures back through lightly disturbed latents.

    The noise keeps neighbouring latents meaning neighbouring pictures; the small price on
    their size keeps the noise from being outgrown.

    Attributes:
        noise: standard deviation of the disturbance.
        price: of the mean squared latent.
    """

    module: nn.Module
    pictures: Pictures
    length: int
    noise: float
    seed: int
    price: float = 1e-3

    def positions(self, samples: range) -> list[int]:
        return order_indices(self.seed, samples.start, len(samples), self.length)

    def loss(self, model: nn.Module, samples: range) -> tuple[Tensor, Tensor]:
        device = next(self.module.parameters()).device
        positions = self.positions(samples)
        pictures = self.pictures(positions).to(device)
        factor: int = self.module.factor  # type: ignore[assignment]
        channels: int = self.module.latent_channels  # type: ignore[assignment]
        side = [pictures.shape[-2] // factor, pictures.shape[-1] // factor]
        eps = normal((channels, *side), samples, self.seed, "disturb").to(device)
        output, latents = model(pictures, self.noise * eps)
        price = self.price * latents.square().flatten(1).mean(1)
        return reconstruction_loss(output, pictures) + price, torch.zeros(len(samples))
