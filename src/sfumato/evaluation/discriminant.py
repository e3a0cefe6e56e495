"""Fisher's linear discriminant with shrinkage: the directions that tell labels apart.

Directions in which pictures of one label differ are weakened, those in which labels differ are
kept (Fisher 1936; the shrunk covariance as in Friedman 1989, regularised discriminant analysis).
"""

from __future__ import annotations

import torch
from torch import Tensor


def discriminant(rows: Tensor, labels: Tensor, directions: int, shrink: float) -> Tensor:
    """The projection (width, directions) float32 in which classes stand out.

    Within classes the projected rows have about unit variance, shrinkage aside.  Where there are
    fewer such directions than asked for, the rest is zero.

    Args:
        rows: (N, width).
        labels: (N,) class numbers, 0 to the number of classes - 1, each at least once.
        directions: how many to keep, the most telling first.
        shrink: share in (0, 1] of the mean variance in the within-class covariance.
    """
    means = class_means(rows, labels).double()
    apart = rows.double() - means[labels]
    within = apart.T @ apart / len(rows)
    level = within.diagonal().mean().clamp(min=1e-6)
    within = (1 - shrink) * within + shrink * level * torch.eye(len(within), dtype=torch.float64)
    root = torch.linalg.cholesky(within)
    between = means - means.mean(0)
    whitened = torch.linalg.solve_triangular(root, between.T, upper=False)
    vectors, values = _left_vectors(whitened, directions)
    kept = vectors * (values > 1e-9)
    found = torch.linalg.solve_triangular(root.T, kept, upper=True)
    projection = torch.zeros(rows.shape[1], directions, dtype=torch.float64)
    projection[:, : found.shape[1]] = found
    return projection.float()


def _left_vectors(matrix: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Left singular vectors (rows, <= count) and squared singular values, largest first.

    By the smaller of the two products: with few classes there is little to do.
    """
    if matrix.shape[1] >= matrix.shape[0]:
        values, vectors = torch.linalg.eigh(matrix @ matrix.T)
        return vectors.flip(1)[:, :count], values.flip(0)[:count]
    values, right = torch.linalg.eigh(matrix.T @ matrix)
    values, right = values.flip(0)[:count], right.flip(1)[:, :count]
    return matrix @ right / values.clamp(min=1e-12).sqrt(), values


def class_means(rows: Tensor, labels: Tensor) -> Tensor:
    """Mean row (classes, width) of each class."""
    classes = int(labels.max()) + 1
    sums = torch.zeros(classes, rows.shape[1]).index_add_(0, labels, rows)
    return sums / torch.bincount(labels, minlength=classes)[:, None].clamp(min=1)


def prototypes_of(rows: Tensor, labels: Tensor, each: int, own: float = 0.5) -> Tensor:
    """Prototypes (classes, each, width): pictures of each class, drawn half-way to its mean.

    A class of fewer pictures repeats them.

    Args:
        rows: (N, width), in no order that matters.
        own: share of the picture itself, the rest is its class's mean.
    """
    means = class_means(rows, labels)
    order = labels.argsort(stable=True)
    counts = torch.bincount(labels)
    first = counts.cumsum(0) - counts
    chosen = first[:, None] + torch.arange(each) % counts[:, None]
    return own * rows[order[chosen]] + (1 - own) * means[:, None]
