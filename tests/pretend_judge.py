"""A judge that was never trained: it sees a small copy of the picture, and knows colours."""

from __future__ import annotations

import numpy as np

PROTOTYPES = {
    "red": (230, 40, 30),
    "green": (40, 200, 60),
    "blue": (30, 60, 220),
    "yellow": (240, 220, 40),
    "white": (250, 250, 250),
}


class PretendJudge:
    """Features: a fixed random projection of 4x4 pixels.  Scores: which colour is nearest."""

    name = "pretend judge"
    hash = "0" * 64
    accuracy = {"top1": 0.9, "top5": 1.0, "count": 10.0}

    def __init__(self, labels=tuple(PROTOTYPES)):
        self.labels = tuple(labels)
        self.asked = 0

    def features(self, images):
        assert images.dtype == np.uint8
        self.asked += len(images)
        side = images.shape[-1] // 4
        small = images.reshape(*images.shape[:2], 4, side, 4, side).mean((3, 5)) / 255
        flat = small.reshape(len(images), -1)
        projection = np.random.default_rng(0).normal(size=(flat.shape[1], 12))
        return (flat @ projection).astype(np.float32)

    def scores(self, images):
        assert images.dtype == np.uint8
        colour = images[:, :3].mean((2, 3))
        far = [((colour - PROTOTYPES.get(x, (0, 0, 0))) ** 2).sum(1) / 5000 for x in self.labels]
        scores = -np.stack(far, 1)
        peak = scores.max(1, keepdims=True)
        logs = scores - peak - np.log(np.exp(scores - peak).sum(1, keepdims=True))
        return logs.astype(np.float32)
