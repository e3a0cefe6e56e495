"""A small autoencoder: pictures to latents of side / 8 (or / 4) and back, for latent diffusion.

Residual convolutions without norms (a norm over the picture would wash out its colours), with
pixel-unshuffle and pixel-shuffle instead of strided convolutions, so all work happens at a
quarter of the side or below.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sfumato.networks.layers import zero_init


class ResidualBlock(nn.Module):
    """x + conv(silu(conv(silu(x)))), the identity at initialisation."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        zero_init(self.conv2)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(F.silu(self.conv1(F.silu(x))))


class Autoencoder(nn.Module):
    """encode (B, C, H, W) -> (B, Z, H / factor, W / factor) of unit variance; decode back.

    Args:
        channels: C, 1, 3 or 4.
        latent_channels: Z.
        width: of the convolutions at a quarter of the side.
        factor: 8 or 4, side of the pictures / side of the latents.
    """

    def __init__(
        self, channels: int, latent_channels: int = 16, width: int = 128, factor: int = 8
    ) -> None:
        super().__init__()
        self.channels, self.latent_channels, self.factor = channels, latent_channels, factor
        last = factor // 4  # what is left to shrink at a quarter of the side: 2, or nothing
        narrow, deep = 3 * width // 4, 5 * width // 4
        self.encoder = nn.Sequential(
            nn.PixelUnshuffle(4),
            nn.Conv2d(16 * channels, narrow, 3, padding=1),
            ResidualBlock(narrow),
            ResidualBlock(narrow),
            nn.PixelUnshuffle(last),
            nn.Conv2d(last**2 * narrow, width, 1),
            ResidualBlock(width),
            nn.SiLU(),
            nn.Conv2d(width, latent_channels, 1),
        )
        self.decoder = nn.Sequential(
            nn.Conv2d(latent_channels, deep, 3, padding=1),
            ResidualBlock(deep),
            ResidualBlock(deep),
            nn.Conv2d(deep, last**2 * width, 1),
            nn.PixelShuffle(last),
            ResidualBlock(width),
            ResidualBlock(width),
            nn.Conv2d(width, 2 * width, 1),
            nn.PixelShuffle(2),
            ResidualBlock(width // 2),
            nn.SiLU(),
            nn.Conv2d(width // 2, 4 * channels, 3, padding=1),
            nn.PixelShuffle(2),
        )
        # set once by `normalize`, so that diffusion sees unit variance in every channel
        self.register_buffer("mean", torch.zeros(latent_channels))
        self.register_buffer("std", torch.ones(latent_channels))
        self.mean: Tensor
        self.std: Tensor

    def forward(self, pictures: Tensor, disturbance: Tensor) -> tuple[Tensor, Tensor]:
        """Training pass: (reconstruction, latents), the latents disturbed before decoding."""
        latents = self.encode(pictures)
        return self.decode(latents + disturbance), latents

    def encode(self, pictures: Tensor) -> Tensor:
        """Normalised latents (B, Z, h, w) of pictures (B, C, factor * h, factor * w) in [-1, 1].

        Raises:
            ValueError: if H or W is no multiple of the factor.
        """
        if pictures.shape[-1] % self.factor or pictures.shape[-2] % self.factor:
            raise ValueError(
                f"sides must be multiples of {self.factor}, not {tuple(pictures.shape[-2:])}"
            )
        raw = self.encoder(pictures).float()
        return (raw - self.mean[:, None, None]) / self.std[:, None, None]

    def decode(self, latents: Tensor) -> Tensor:
        """Pictures (B, C, H, W) of normalised latents; close to, not clipped to, [-1, 1]."""
        raw = latents * self.std[:, None, None] + self.mean[:, None, None]
        return self.decoder(raw).float()

    def normalize(self, raw_mean: Tensor, raw_std: Tensor) -> None:
        """Fix the statistics (Z,) of the raw latents of the training pictures."""
        self.mean.copy_(raw_mean)
        self.std.copy_(raw_std.clamp(min=1e-4))


def reconstruction_loss(output: Tensor, pictures: Tensor) -> Tensor:
    """|d| + d^2 + the absolute error of both gradients, one number a picture (B,).

    The gradient term asks for edges where they are; the squares alone would blur them.
    """
    error = output - pictures
    level = error.abs() + error.square()
    across = (error[..., 1:] - error[..., :-1]).abs()
    down = (error[..., 1:, :] - error[..., :-1, :]).abs()
    return sum(part.flatten(1).mean(1) for part in (level, across, down))  # type: ignore[return-value]
