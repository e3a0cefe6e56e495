"""The judge's network: what a small picture shows, and where it lies among others.

Real pictures may be few - three designers' drawings of a thing - so the first layers are not
learned: directions of edges in cells (histograms of oriented gradients, Dalal & Triggs 2005), of
the shape's outline as well, and colours.  On them stand a discriminant projection that is solved
for (`discriminant.py`), a learned correction, and cosines with a few prototypes of each label
(as in SoftTriple, Qian et al. 2019, 1909.05235).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

DIRECTIONS = 9
CELLS = 8
"""Cells along a side, and half as many for the coarse view."""

TEMPERATURE = 20.0
"""Logits a unit of cosine."""

MIRRORED = 1.4
"""Logits by which a mirrored picture counts less: designers turn a fish or a car as they like,
but a plain match goes before, so that arrows stay apart."""


class Recognizer(nn.Module):
    """Framed pictures (N, C, K, K) in [0, 1] -> (features (N, D), logits (N, classes)).

    Args:
        channels: C, 1, 3 or 4 (premultiplied).
        classes: how many, at least one.
        prototypes: how many for each class.
        canvas: K, a multiple of 16.
        features: D.
        hidden: width of the learned correction.
    """

    def __init__(
        self,
        channels: int,
        classes: int,
        prototypes: int = 1,
        canvas: int = 48,
        features: int = 256,
        hidden: int = 512,
    ) -> None:
        super().__init__()
        self.canvas = canvas
        self.strokes = Strokes(channels, canvas)
        width = self.strokes.width
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("spread", torch.ones(width))
        self.register_buffer("projection", torch.zeros(width, features))
        self.mean: Tensor
        self.spread: Tensor
        self.projection: Tensor
        self.turn = nn.Linear(features, features, bias=False)
        last = nn.Linear(hidden, features)
        self.correction = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), last)
        self.prototypes = nn.Parameter(torch.randn(classes, prototypes, features))
        with torch.no_grad():  # a judge is its discriminant until it has learned more
            self.turn.weight.copy_(torch.eye(features))
            last.weight.zero_()
            last.bias.zero_()

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        return self.looked(self.strokes(pictures))

    def looked(self, strokes: Tensor) -> tuple[Tensor, Tensor]:
        """(features, logits) of what `Strokes` found (N, width)."""
        centred = strokes - self.mean
        raw = self.turn(centred @ self.projection) + self.correction(centred / self.spread)
        unit = F.normalize(raw, dim=1)
        classes, each, width = self.prototypes.shape
        directions = F.normalize(self.prototypes.reshape(-1, width), dim=1)
        nearest = (unit @ directions.T).view(-1, classes, each).amax(2)
        return unit * math.sqrt(width), TEMPERATURE * nearest

    def judged(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """The same, where the logits also count a likeness with the mirrored picture."""
        features, logits = self(pictures)
        _, mirrored = self(pictures.flip(3))
        return features, torch.maximum(logits, mirrored - MIRRORED)


class Strokes(nn.Module):
    """Framed pictures (N, C, K, K) in [0, 1] -> edges and colours (N, width), nothing learned."""

    def __init__(self, channels: int, canvas: int) -> None:
        super().__init__()
        if canvas % (2 * CELLS):
            raise ValueError(f"the canvas must be a multiple of {2 * CELLS}, not {canvas}")
        self.channels, self.cell = channels, canvas // CELLS
        levels = torch.tensor([0.0, 0.5, 1.0])
        hues = levels[:, None] if channels == 1 else torch.cartesian_prod(levels, levels, levels)
        self.register_buffer("hues", hues, persistent=False)
        self.hues: Tensor
        outlines = 2 if channels == 4 else 1
        self.width = (CELLS**2 + (CELLS // 2) ** 2) * (outlines * DIRECTIONS + channels) + len(hues)

    def forward(self, x: Tensor) -> Tensor:
        top = x[:, 3] if self.channels == 4 else torch.ones_like(x[:, 0])
        # transparent is grey here: both dark and light drawings have an edge against it
        edges = [(1.0, x[:, :3].mean(1) + 0.5 * (1 - top))]
        if self.channels == 4:
            edges.append((0.6, top))
        found = []
        for weight, plane in edges:
            directions = edge_directions(plane)
            for cell in (self.cell, 2 * self.cell):
                found.append(weight * balanced(in_cells(directions, cell)).flatten(1))
        found.append(0.6 * F.avg_pool2d(x, self.cell).flatten(1))
        found.append(2.0 * F.avg_pool2d(x, 2 * self.cell).flatten(1))
        found.append(3.0 * self._colours(F.avg_pool2d(x, 2)))
        return torch.cat(found, 1)

    def _colours(self, x: Tensor) -> Tensor:
        """Square roots of the shares of the picture that are near each of a few colours."""
        top = x[:, 3:] if self.channels == 4 else torch.ones_like(x[:, :1])
        straight = (x[:, :3] / top.clamp(min=0.01)).clamp(0, 1)
        distance = (
            straight.square().sum(1, keepdim=True)
            - 2 * torch.einsum("nchw,kc->nkhw", straight, self.hues)
            + self.hues.square().sum(1)[:, None, None]
        )
        near = torch.softmax(-12 * distance, 1) * top
        return (near.mean((2, 3)) + 1e-4).sqrt()


def edge_directions(plane: Tensor) -> Tensor:
    """Gradient magnitudes (N, 9, K, K) of (N, K, K), shared between the two nearest directions.

    Directions are those of lines: they repeat after half a turn.
    """
    wide = F.pad(plane[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
    right = wide[:, 1:-1, 2:] - wide[:, 1:-1, :-2]
    down = wide[:, 2:, 1:-1] - wide[:, :-2, 1:-1]
    magnitude = (right.square() + down.square() + 1e-8).sqrt()
    place = torch.atan2(down, right) * (DIRECTIONS / math.pi) % DIRECTIONS
    away = (place[:, None] - torch.arange(DIRECTIONS, device=plane.device)[:, None, None]).abs()
    share = (1 - torch.minimum(away, DIRECTIONS - away)).clamp(min=0)
    return share * magnitude[:, None]


def in_cells(planes: Tensor, cell: int) -> Tensor:
    """Weighted means over overlapping windows two cells wide: (N, P, K, K) -> (N, P, g, g)."""
    ramp = torch.cat([torch.arange(1.0, cell + 1), torch.arange(cell, 0.0, -1)])
    window = ramp[:, None] * ramp
    window = (window / window.sum()).to(planes.device)
    count = planes.shape[1]
    padded = F.pad(planes, (cell // 2, cell - cell // 2, cell // 2, cell - cell // 2))
    return F.conv2d(padded, window.expand(count, 1, 2 * cell, 2 * cell), stride=cell, groups=count)


def balanced(cells: Tensor) -> Tensor:
    """Cells relative to the strength around them, capped, as in HOG; then square roots."""
    strength = cells.square().sum(1, keepdim=True)
    around = F.avg_pool2d(F.pad(strength, (1, 1, 1, 1), mode="replicate"), 3, 1).sqrt()
    return (cells / (around + 0.01)).clamp(max=0.6).sqrt()
