"""Distances between two sets of pictures, by their features.

Features are (N, D); what made them decides what "near" means, so a distance is only ever
quoted with the name and the hash of its judge, and never called FID: that is the distance in
the features of one particular Inception network.  Everything is computed in float64.

A finite sample is always some distance away from its own distribution.  `halves` measures how
far: it is the floor that stands beside every distance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from sfumato.evaluation.intervals import generator

NEIGHBOURS = 3
"""k of the improved precision and recall, as in its paper."""

_ROWS = 512  # rows of a distance matrix held at once


def frechet(one: np.ndarray, other: np.ndarray) -> float:
    """Frechet distance of the Gaussians with the sets' means and covariances (1706.08500, eq. 6).

    |mu_1 - mu_2|^2 + tr(S_1 + S_2 - 2 (S_1 S_2)^(1/2)).  The estimate is biased upwards, the
    more so the fewer samples and the more features there are: compare only equal counts.

    Args:
        one, other: features (N, D) and (M, D), at least two each.
    Raises:
        ValueError: for other shapes.
    """
    one, other = _features(one, other, least=2)
    first, second = _covariance(one), _covariance(other)
    gap = one.mean(0) - other.mean(0)
    # S_1 S_2 is not symmetric, but has the eigenvalues of the symmetric S_1^1/2 S_2 S_1^1/2
    root = _root(first)
    shared = np.linalg.eigvalsh(root @ second @ root)
    product = np.sqrt(np.clip(shared, 0, None)).sum()
    return float(max(0.0, gap @ gap + np.trace(first) + np.trace(second) - 2 * product))


def kernel(one: np.ndarray, other: np.ndarray) -> float:
    """Kernel distance: the unbiased squared MMD with k(x, y) = (x.y / D + 1)^3 (1801.01401, eq. 4).

    Its mean does not depend on the number of samples; it is 0 for equal distributions, and can
    come out a little below.

    Args:
        one, other: features (N, D) and (M, D), at least two each.
    Raises:
        ValueError: for other shapes.
    """
    one, other = _features(one, other, least=2)
    ones = np.ones(len(one)), np.ones(len(other))
    return _weighted(gram(one, one), gram(other, other), gram(one, other), *ones)


def gram(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The cubic polynomial kernel (N, M) of 1801.01401."""
    product = np.asarray(one, dtype=np.float64) @ np.asarray(other, dtype=np.float64).T
    return (product / one.shape[1] + 1) ** 3


def kernel_resampled(one: np.ndarray, other: np.ndarray, times: int, seed: int) -> np.ndarray:
    """Kernel distances (times,) of resampled sets, from one kernel matrix.

    A picture drawn twice is not compared with itself, so that resamples are not biased.
    """
    one, other = _features(one, other, least=2)
    within, across = (gram(one, one), gram(other, other)), gram(one, other)
    draw = generator(seed, "kernel")
    found = []
    for _ in range(times):
        often = [
            draw.multinomial(n, np.full(n, 1 / n)).astype(float) for n in (len(one), len(other))
        ]
        found.append(_weighted(*within, across, *often))
    return np.array(found)


def precision_recall(
    samples: np.ndarray, real: np.ndarray, k: int = NEIGHBOURS
) -> tuple[np.ndarray, np.ndarray]:
    """Improved precision and recall (1904.06991, eqs. 1-3), one flag a picture.

    A set's manifold is the union of balls around its members, each reaching to the k-th nearest
    other member.  Both sets should be of about the same size: fewer members, wider balls.

    Args:
        samples, real: features (N, D) and (M, D), more than k each.
    Returns:
        (N,) whether each sample lies inside the real manifold (their mean is the precision),
        (M,) whether each real picture lies inside that of the samples (the recall).
    Raises:
        ValueError: for other shapes.
    """
    samples, real = _features(samples, real, least=k + 1)
    return _inside(samples, real, _reach(real, k)), _inside(real, samples, _reach(samples, k))


def nearest(one: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The nearest member of ``other`` for each of ``one``: distances (N,) and indices (N,)."""
    one, other = _features(one, other, least=1)
    found = [(near.min(1), near.argmin(1)) for near in _blocks(one, other)]
    return np.sqrt(np.concatenate([f[0] for f in found])), np.concatenate([f[1] for f in found])


def nearest_other(members: np.ndarray) -> np.ndarray:
    """How far the nearest other member of the same set is, (N,)."""
    return _reach(members, 1)


def halves(
    distance: Callable[[np.ndarray, np.ndarray], float],
    real: np.ndarray,
    seed: int,
    times: int = 5,
    sizes: tuple[int, int] | None = None,
) -> np.ndarray:
    """The floor: a distance between two disjoint parts of the real pictures, (times,).

    Args:
        distance: of two sets of features.
        real: features (M, D).
        seed: of the divisions.
        times: how many divisions.
        sizes: of the two parts, together at most M; by default half and half.  With the numbers
            of samples and references it is what perfect samples would score.
    """
    first, second = sizes or (len(real) // 2, len(real) - len(real) // 2)
    if first + second > len(real):
        raise ValueError(f"{first} and {second} of {len(real)} pictures would overlap")
    found = []
    for number in range(times):
        mixed = generator(seed, "halves", number).permutation(len(real))
        found.append(distance(real[mixed[:first]], real[mixed[first : first + second]]))
    return np.array(found)


def _features(one: np.ndarray, other: np.ndarray, least: int) -> tuple[np.ndarray, np.ndarray]:
    if one.ndim != 2 or other.ndim != 2 or one.shape[1] != other.shape[1]:
        raise ValueError(f"features (N, D) and (M, D) are needed, not {one.shape}, {other.shape}")
    if min(len(one), len(other)) < least:
        raise ValueError(f"at least {least} of each are needed, not {len(one)} and {len(other)}")
    return np.asarray(one, dtype=np.float64), np.asarray(other, dtype=np.float64)


def _covariance(features: np.ndarray) -> np.ndarray:
    centred = features - features.mean(0)
    return centred.T @ centred / (len(features) - 1)


def _root(matrix: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T


def _weighted(
    first: np.ndarray, second: np.ndarray, across: np.ndarray, n: np.ndarray, m: np.ndarray
) -> float:
    """Unbiased MMD^2 where member i of a set counts n_i times, never compared with itself."""

    def apart(within: np.ndarray, often: np.ndarray) -> float:
        same = often**2
        whole = often.sum() ** 2 - same.sum()
        return float((often @ within @ often - same @ np.diagonal(within)) / whole)

    between = float(n @ across @ m) / float(n.sum() * m.sum())
    return apart(first, n) + apart(second, m) - 2 * between


def _blocks(one: np.ndarray, other: np.ndarray) -> Iterator[np.ndarray]:
    """Squared distances, a few rows at a time: the whole matrix would not fit."""
    norms = (other**2).sum(1)
    for first in range(0, len(one), _ROWS):
        rows = one[first : first + _ROWS]
        yield np.clip((rows**2).sum(1)[:, None] + norms - 2 * rows @ other.T, 0, None)


def _reach(members: np.ndarray, k: int) -> np.ndarray:
    members = np.asarray(members, dtype=np.float64)
    found = []
    for block, near in enumerate(_blocks(members, members)):
        rows = np.arange(len(near))
        near[rows, block * _ROWS + rows] = np.inf  # itself, exactly, whatever the rounding
        found.append(np.partition(near, k - 1, axis=1)[:, k - 1])
    return np.sqrt(np.concatenate(found))


def _inside(points: np.ndarray, members: np.ndarray, reach: np.ndarray) -> np.ndarray:
    # a hair of room: equal distances come out of differently ordered sums
    limit = reach**2 * (1 + 1e-9) + 1e-12
    return np.concatenate([(near <= limit).any(1) for near in _blocks(points, members)])
