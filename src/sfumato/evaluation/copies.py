"""Copy guard: is a sample nearer to a training picture than pictures that nobody trained on?

Real held-out pictures are not copies, yet have near neighbours among the training pictures
(the same thing in a related design).  Their distances are what honest distances look like.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sfumato.evaluation.distances import nearest
from sfumato.evaluation.intervals import Measured, bootstrap, mean, share

QUANTILES = (0.01, 0.05, 0.5)
SIDE = 32
"""Side to which pictures are reduced before pixels are compared."""


def guard(
    made: np.ndarray,
    honest: np.ndarray,
    seed: int,
    paired: np.ndarray | None = None,
    things: tuple[Sequence[object], Sequence[object]] | None = None,
) -> dict[str, Any]:
    """Compare distances to the nearest training picture.

    Args:
        made: (N,) of the samples.
        honest: (M,) of real pictures that were not trained on.
        seed: of the resampling: of samples and honest pictures, whose quantiles are estimates too.
        paired: (N,) of the real picture that each sample should resemble, where there is one.
        things: what samples (N,) and honest pictures (M,) show; one thing is resampled together.
    Returns:
        "nearer than any": the share of samples nearer than every honest picture, which a single
        honest near twin brings to nothing; "nearer than quantiles": the share nearer than the
        honest 1%, 5% and 50% quantile, which is 1%, 5% and 50% for honest samples, and the number
        to look at; "nearer than own": the share nearer than the real picture of the same prompt
        (half, for honest samples).
    """
    shown = things or (range(len(made)), range(len(honest)))
    together = [*(("made", one) for one in shown[0]), *(("honest", one) for one in shown[1])]

    def nearer(quantile: float) -> dict[str, float | int]:
        def statistic(chosen: np.ndarray) -> float:
            ours, theirs = chosen[chosen < len(made)], chosen[chosen >= len(made)] - len(made)
            if not len(ours) or not len(theirs):
                return float("nan")
            return float((made[ours] < np.quantile(honest[theirs], quantile)).mean())

        found = share(made < np.quantile(honest, quantile))
        if 0 < found.value < 1:  # resampling says nothing of what none or all of them do
            again = bootstrap(statistic, len(together), seed, f"{quantile}", together=together)
            found = Measured(found.value, again.low, again.high, len(made))
        return found.to_dict()

    found: dict[str, Any] = {
        "honest pictures": len(honest),
        "nearer than any": share(made < honest.min()).to_dict(),
        "nearer than quantiles": {f"{q:.0%}": nearer(q) for q in QUANTILES},
        "distance of samples": _quantiles(made),
        "distance of honest": _quantiles(honest),
    }
    if paired is not None:
        own = mean(made < paired, seed, "own", together=things[0] if things else None)
        found["nearer than own"] = own.to_dict()
    return found


def pixels(images: np.ndarray) -> np.ndarray:
    """8-bit pictures (N, C, H, W) as vectors whose distance is the root mean square difference.

    Reduced by whole-number averaging to at most 32x32 and scaled so that black against white
    is a distance of 1.
    """
    count, channels, height, width = images.shape
    step = max(1, -(-height // SIDE)), max(1, -(-width // SIDE))
    padded = np.pad(images, ((0, 0), (0, 0), (0, -height % step[0]), (0, -width % step[1])))
    shape = (
        count,
        channels,
        padded.shape[2] // step[0],
        step[0],
        padded.shape[3] // step[1],
        step[1],
    )
    small = padded.reshape(shape).mean((3, 5), dtype=np.float32) / 255
    flat = small.reshape(count, -1)
    return flat / np.float32(np.sqrt(flat.shape[1]))


def closest(made: np.ndarray, training: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The nearest training picture of each sample.

    Returns:
        (N,) order from the most suspicious sample on, (N,) distances, (N,) places in ``training``.
    """
    distance, place = nearest(made, training)
    return np.argsort(distance, kind="stable"), distance, place


def _quantiles(distance: np.ndarray) -> dict[str, float]:
    return {f"{q:.0%}": float(np.quantile(distance, q)) for q in (0.0, 0.05, 0.25, 0.5, 0.75, 1.0)}
