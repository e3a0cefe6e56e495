"""When a training has come apart."""

from __future__ import annotations

import math

import pytest
import torch

from sfumato.training.divergence import Divergence, Watch


def verdict(*means: float, batch: int = 8) -> Divergence | None:
    watch = Watch("diffusion")
    for mean in means:
        watch.heard(torch.full((batch,), mean))
    return watch.verdict


@pytest.mark.parametrize(
    "means",
    [
        (),
        (1.0,),
        (1.0, 9.9),
        (1.0, *[0.2] * 50),
        (1.0, *[1e9] * 20, *[0.9] * 8),  # it has recovered
        (1.0, 0.5, math.nan, math.inf, 0.4),  # single steps that were skipped
        (math.nan, 1.0, 1.0),
        (1e20, 1.0),
    ],
)
def test_a_training_holds_together(means: tuple[float, ...]) -> None:
    assert verdict(*means) is None


@pytest.mark.parametrize(
    ("means", "first", "last"),
    [
        ((1.0, *[11.0] * 8), 1.0, 11.0),
        ((1.0, 4e20), 1.0, 2e20),
        ((2.0, 0.3, *[1e9] * 40), 2.0, 1e9),
        ((1.0, *[math.nan] * 8), 1.0, math.nan),
        ((1.0, *[math.inf] * 8), 1.0, math.nan),
        ((math.nan,), math.nan, math.nan),
    ],
)
def test_a_training_comes_apart(means: tuple[float, ...], first: float, last: float) -> None:
    found = verdict(*means)
    assert found is not None and found.phase == "diffusion"
    assert (found.first, found.last) == pytest.approx((first, last), nan_ok=True)


def test_small_batches_are_judged_by_some_pictures() -> None:
    # one picture is easy by chance, the first eight are not
    assert verdict(0.01, *[1.0] * 30, batch=1) is None
