"""Do the samples, as a set, look like the real pictures?  All distances, with their floors."""

from __future__ import annotations

from typing import Any

import numpy as np

from sfumato.evaluation.distances import (
    NEIGHBOURS,
    frechet,
    halves,
    kernel,
    kernel_resampled,
    precision_recall,
)
from sfumato.evaluation.intervals import TIMES, generator, interval, share

REFERENCES = 4096
"""Real pictures compared with, at most: their kernel matrix then takes 128 MB."""


def compare(samples: np.ndarray, real: np.ndarray, seed: int) -> dict[str, Any]:
    """Frechet and kernel distance, precision and recall, each with interval and floor.

    Args:
        samples, real: features (N, D), (M, D) of 8-bit, un-augmented pictures; at least 8 each.
        seed: of resampling and divisions.
    Returns:
        JSON: "frechet", "kernel", "precision", "recall", each with value, low, high, count,
        "halves" (half of the real pictures against the other half) and "perfect" (as many real
        pictures as there are samples against as many references, none in both: what perfect
        samples of that number would score).  The Frechet distance, whose size depends on the
        numbers, takes half as many samples as there are real pictures at most.
    """
    few = min(len(samples), len(real) // 2)
    # so few references that real pictures remain to take the part of the samples
    references = min(REFERENCES, len(real) - few)
    mixed = real[generator(seed, "references").permutation(len(real))]
    chosen = mixed[:references]
    found: dict[str, Any] = {"references": references, "samples": len(samples)}
    for name, distance, made, resampled in (
        ("frechet", frechet, samples[:few], _frechet_resampled(samples[:few], chosen, seed)),
        ("kernel", kernel, samples, kernel_resampled(samples, chosen, TIMES, seed)),
    ):
        value = interval(distance(made, chosen), resampled, len(made), centred=True)
        found[name] = {
            **value.to_dict(),
            "halves": float(halves(distance, mixed[: 2 * REFERENCES], seed).mean()),
            "perfect": float(halves(distance, real, seed, sizes=(few, references)).mean()),
        }
    found |= _manifolds(samples, real, seed)
    return found


def _frechet_resampled(samples: np.ndarray, real: np.ndarray, seed: int) -> np.ndarray:
    # a quarter of the resamples: each costs two eigen-decompositions
    draw = generator(seed, "frechet")
    return np.array(
        [
            frechet(
                samples[draw.integers(0, len(samples), len(samples))],
                real[draw.integers(0, len(real), len(real))],
            )
            for _ in range(TIMES // 4)
        ]
    )


def _manifolds(samples: np.ndarray, real: np.ndarray, seed: int) -> dict[str, Any]:
    """Precision and recall against as many real pictures, and what real ones score."""
    few = min(len(samples), len(real) // 2)
    if few <= NEIGHBOURS:
        return {}
    mixed = generator(seed, "manifolds").permutation(len(real))
    ones, others = real[mixed[:few]], real[mixed[few : 2 * few]]
    precision, recall = precision_recall(samples[:few], ones)
    perfect = precision_recall(others, ones)
    return {
        "precision": {
            **share(precision).to_dict(),
            "perfect": float(perfect[0].mean()),
        },
        "recall": {**share(recall).to_dict(), "perfect": float(perfect[1].mean())},
    }
