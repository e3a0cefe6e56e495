"""Variations of real pictures, so that a judge learns the thing and not one drawing of it.

What differs between designers is varied: place, size, proportions, shading, line weight,
sharpness, and colour a little.  What tells things apart is not: no mirroring (arrows), no strong
change of hue (a blue heart is no red heart).  Colours stay premultiplied throughout.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def vary(pictures: Tensor, maps: Tensor, canvas: int, generator: torch.Generator) -> Tensor:
    """One random variation of each picture, on the canvas.

    Args:
        pictures: (N, C, S, S) in [0, 1], premultiplied where C is 4.
        maps: (N, 2, 3), how they are framed (`recognizer.frames_of`).
        canvas: K.
        generator: of all random numbers.

    Returns:
        (N, C, K, K) in [0, 1].
    """
    dice = _Dice(len(pictures), generator)
    varied = _move(pictures, maps, canvas, dice)
    varied = _redraw(varied, dice)
    varied = _recolour(varied, dice)
    varied = _soften(varied, dice)
    return _cover(varied, dice)


class _Dice:
    """Random numbers, one a picture, shaped to be multiplied with pictures."""

    def __init__(self, count: int, generator: torch.Generator) -> None:
        self.count, self.generator = count, generator

    def between(self, low: float, high: float, *shape: int) -> Tensor:
        shape = shape or (1, 1, 1)
        return low + (high - low) * torch.rand(self.count, *shape, generator=self.generator)

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(self.count, *shape, generator=self.generator)

    def sometimes(self, share: float) -> Tensor:
        """1 for about this share of the pictures, else 0."""
        return (self.between(0, 1) < share).float()


def _move(pictures: Tensor, maps: Tensor, canvas: int, dice: _Dice) -> Tensor:
    """Turn by about 8 degrees, scale, shear, shift, and bend a little."""
    turn = (dice.normal(1) * math.radians(8)).clamp(-0.4, 0.4)[:, 0]
    wide, high = (torch.exp(dice.normal(1) * 0.12).clamp(0.7, 1.4)[:, 0] for _ in range(2))
    slant = dice.normal(1)[:, 0] * 0.08
    jitter = torch.zeros(dice.count, 3, 3)
    jitter[:, 0, 0], jitter[:, 0, 1] = wide * turn.cos(), -high * turn.sin() + slant
    jitter[:, 1, 0], jitter[:, 1, 1] = wide * turn.sin(), high * turn.cos()
    jitter[:, :2, 2] = dice.normal(2) * 0.07
    jitter[:, 2, 2] = 1
    size = [*pictures.shape[:2], canvas, canvas]
    grid = F.affine_grid(maps @ jitter, size, align_corners=False)
    bend = dice.normal(2, 4, 4) * 0.04
    grid = grid + F.interpolate(bend, size=canvas, mode="bicubic").permute(0, 2, 3, 1)
    return F.grid_sample(pictures, grid, align_corners=False)


def _redraw(x: Tensor, dice: _Dice) -> Tensor:
    """Dark lines thicker, thinner or gone; contours drawn or not."""
    lighter = F.max_pool2d(x, 3, 1, 1)
    darker = -F.max_pool2d(-x, 3, 1, 1)
    kind, strength = dice.between(0, 1), dice.between(0.3, 1)
    x = torch.where(kind < 0.12, torch.lerp(x, lighter, strength), x)
    inside = _inside(x, darker)
    x = torch.where((kind > 0.12) & (kind < 0.24), torch.lerp(x, inside, strength), x)
    contour = (lighter - darker).amax(1, keepdim=True)
    ink = dice.sometimes(0.15) * dice.between(0.3, 1) * (2 * contour).clamp(max=1)
    return torch.cat([x[:, :3] * (1 - ink), x[:, 3:]], 1)


def _inside(x: Tensor, darker: Tensor) -> Tensor:
    """Darker colours under the same alpha, so that the shape does not shrink."""
    return torch.cat([darker[:, :3], x[:, 3:]], 1)


def _recolour(x: Tensor, dice: _Dice) -> Tensor:
    """Mild changes of hue (7 degrees), saturation, contrast, brightness and light from a side."""
    top = x[:, 3:] if x.shape[1] == 4 else torch.ones_like(x[:, :1])
    colour = x[:, :3]
    if x.shape[1] > 1:
        colour = torch.einsum("nij,njhw->nihw", _colour_turns(dice), colour)
    light = dice.normal(1, 2, 2) * 0.15 * dice.sometimes(0.5)
    light = F.interpolate(light, size=x.shape[-1], mode="bilinear", align_corners=True)
    colour = colour * (dice.between(0.75, 1.25) + light) + dice.between(-0.1, 0.1) * top
    colour = colour.clamp(min=0).minimum(top)
    return torch.cat([colour, x[:, 3:]], 1)


def _colour_turns(dice: _Dice) -> Tensor:
    """Matrices (N, 3, 3) that turn hue and stretch saturation about the grey axis."""
    angle = (dice.normal(1, 1) * math.radians(7)).clamp(-0.3, 0.3)
    stretch = dice.between(0.6, 1.3, 1, 1)
    grey = torch.full((3, 3), 1 / 3)
    skew = torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
    turn = angle.cos() * (torch.eye(3) - grey) + angle.sin() * skew  # Rodrigues
    return grey + stretch * turn


def _soften(x: Tensor, dice: _Dice) -> Tensor:
    """Blur up to a standard deviation of about 1.4 pixels, for some; noise, for some."""
    weights = torch.tensor([1.0, 4, 6, 4, 1]) / 16
    kernel = (weights[:, None] * weights).expand(x.shape[1], 1, 5, 5)
    once = F.conv2d(F.pad(x, (2, 2, 2, 2), mode="replicate"), kernel, groups=x.shape[1])
    twice = F.conv2d(F.pad(once, (2, 2, 2, 2), mode="replicate"), kernel, groups=x.shape[1])
    much = dice.sometimes(0.4) * dice.between(0, 2)
    x = torch.lerp(x, once, much.clamp(max=1)) + (twice - once) * (much - 1).clamp(min=0)
    noise = dice.sometimes(0.3) * dice.between(0, 0.05)
    return (x + noise * torch.randn(x.shape, generator=dice.generator)).clamp(0, 1)


def _cover(x: Tensor, dice: _Dice) -> Tensor:
    """A rectangle of up to half the side erased, for some."""
    place = torch.linspace(0, 1, x.shape[-1])
    half = dice.between(0.05, 0.22, 2) * dice.sometimes(0.3)[:, 0, 0]
    centre = dice.between(0, 1, 2)
    rows = (place - centre[:, :1]).abs() < half[:, :1]
    columns = (place - centre[:, 1:]).abs() < half[:, 1:]
    return x * ~(rows[:, :, None] & columns[:, None, :])[:, None]
