"""Benchmarks over many prompts draw each from noise of its own: one noise is one chance."""

from __future__ import annotations

from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from benchmark_modules import benchmarks
from PIL import Image

equal_time, quality_ours, text_encoders = benchmarks("equal_time", "quality_ours", "text_encoders")


class Recorder:
    """A model that only remembers which pictures of the seed were asked for."""

    def __init__(self, mode: str = "RGBA") -> None:
        self.mode = mode
        self.calls: list[list[int]] = []

    def generate(
        self, prompts: list[str], *_: Any, numbers: Iterable[int] = (), **__: Any
    ) -> list[Image.Image]:
        self.calls.append(list(numbers))
        return [Image.new(self.mode, (64, 64)) for _ in prompts]


class Unmoved:
    """A judge that sees the same in all pictures."""

    labels = ("thing",)

    def features(self, images: np.ndarray) -> np.ndarray:
        return np.random.default_rng(0).normal(size=(len(images), 4))

    def scores(self, images: np.ndarray) -> np.ndarray:
        return np.zeros((len(images), 1))


def test_every_draw_of_the_equal_time_table_has_other_noise():
    model, other = Recorder(), np.zeros((6, 4, 64, 64), np.uint8)
    equal_time.drawn(model, Unmoved(), ["x"] * 5, ["thing"] * 5, other, draws=3)
    assert sorted(sum(model.calls, [])) == list(range(15))


def test_the_two_pictures_of_a_pair_share_noise_that_no_other_pair_has():
    model, things = Recorder(), [f"thing {i % 4}" for i in range(12)]
    text_encoders.steered(model, things, things, np.zeros((12, 4, 64, 64), np.uint8), Unmoved())
    made, swapped = model.calls
    assert made == swapped == list(range(12))


def test_our_classes_do_not_share_the_noise_of_the_quality_benchmark(monkeypatch):
    model = Recorder("L")
    monkeypatch.setattr(quality_ours, "finished", lambda *_: model)
    ours = object.__new__(quality_ours.Ours)
    ours.run = SimpleNamespace(recipe=None, trainer=None, vocabulary=None, source=[])
    ours.task = SimpleNamespace(classes=["a", "b"])
    assert ours.draw([0, 0, 1, 1], seed=3).shape == torch.Size([4, 1, 64, 64])
    assert model.calls == [[0, 1, 2, 3]]
