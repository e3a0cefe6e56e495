"""Distances with their floors, against Gaussians whose distance is known."""

import numpy as np
import pytest

from sfumato.evaluation import distribution
from sfumato.evaluation.distances import frechet
from sfumato.evaluation.distribution import compare

WIDTH = 16


def test_the_distance_of_two_gaussians():
    draw = np.random.default_rng(0)
    away = np.full(WIDTH, 0.5)
    found = compare(draw.normal(size=(1500, WIDTH)) + away, draw.normal(size=(4000, WIDTH)), 0)
    floor = found["frechet"]["perfect"]
    assert found["frechet"]["value"] - floor == pytest.approx(float(away @ away), rel=0.1)
    assert found["kernel"]["value"] > 20 * abs(found["kernel"]["perfect"])
    assert found["precision"]["value"] < found["precision"]["perfect"]


@pytest.mark.parametrize(("samples", "real"), [(200, 1500), (200, 450), (900, 600)])
def test_the_floor_is_what_real_pictures_of_the_same_numbers_score(monkeypatch, samples, real):
    """Real ones in the place of the samples come out at the floor, whatever the numbers."""
    monkeypatch.setattr(distribution, "REFERENCES", 400)
    monkeypatch.setattr(distribution, "TIMES", 4)
    draw = np.random.default_rng(1)
    found = [
        compare(draw.normal(size=(samples, WIDTH)), draw.normal(size=(real, WIDTH)), seed)
        for seed in range(6)
    ]
    few, many = found[0]["frechet"]["count"], found[0]["references"]
    assert few == min(samples, real // 2) and many == min(400, real - few)
    assert found[0]["kernel"]["count"] == samples
    expected = np.mean(
        [
            frechet(draw.normal(size=(few, WIDTH)), draw.normal(size=(many, WIDTH)))
            for _ in range(30)
        ]
    )
    assert np.mean([f["frechet"]["perfect"] for f in found]) == pytest.approx(expected, rel=0.08)
    assert np.mean([f["frechet"]["value"] for f in found]) == pytest.approx(expected, rel=0.15)
    assert all(abs(f["kernel"]["perfect"]) < 0.05 for f in found)
