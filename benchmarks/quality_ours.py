"""Our side of the quality benchmark: `sfumato train fashion-mnist --size tiny`, by processor time.

The command counts minutes of the clock; here the end is a share of the process's own time, and
everything else is the run that the command makes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from quality_task import Task
from torch import Tensor

from sfumato.architecture import Vocabulary
from sfumato.training.finish import finished
from sfumato.training.law import UNPLANNED_WARMUP
from sfumato.training.run import Run
from sfumato.training.trainer import Trainer

FAR = 1 << 40
"""More images than will be seen: `Ours.step` says how far the end is."""


class Paced(Run):
    """A run whose trainer can be told how far it has come."""

    trainer: Trainer
    vocabulary: Vocabulary

    def _diffusion(self, *given: Any) -> tuple[Trainer, Vocabulary]:
        self.trainer, self.vocabulary = super()._diffusion(*given)
        return self.trainer, self.vocabulary

    def _phase(self, *given: Any) -> Iterator[Any]:
        yield None  # the pictures are prepared, and no step is taken yet
        yield from super()._phase(*given)


class Ours:
    """A `Contender`; see there."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.run = Paced(
            "fashion-mnist",
            task.folder / "run",
            resume=(task.folder / "run" / "recipe.toml").exists(),
            network={"size": "tiny"},
            training={
                "images": FAR,
                "warmup_images": UNPLANNED_WARMUP,  # what a run of minutes has
                "device": "cpu",
                "threads": task.threads,
                "seed": task.seed,
                # sheets and checkpoints belong to the benchmark's slices
                "save_every_minutes": 1e6,
                "sample_every_images": FAR,
            },
        )
        self._walk = self.run.steps()
        next(self._walk)  # the preparation is not counted
        self.restored = self.run.trainer.images_seen
        self.parameters = sum(p.numel() for p in self.run.trainer.objective.module.parameters())

    @property
    def images(self) -> int:
        return self.run.trainer.images_seen

    def step(self, share: float) -> float:
        trainer = self.run.trainer
        total = int(trainer.images_seen / share) if share else FAR
        # one batch is always left: the benchmark ends the run, not the run itself
        trainer.total = max(total, trainer.images_seen + trainer.batch)
        try:
            return float(next(self._walk).loss.mean())
        except StopIteration:
            raise RuntimeError("the training was interrupted") from None

    def save(self) -> None:
        self.run.trainer.save()

    def draw(self, labels: list[int], seed: int) -> Tensor:
        run = self.run
        model = finished(run.recipe, run.trainer, run.vocabulary, None, len(run.source))
        names = [self.task.classes[number] for number in labels]
        pictures = model.generate(names, seed=seed, numbers=range(len(names)))
        return torch.from_numpy(np.stack([np.asarray(p.convert("L")) for p in pictures]))[:, None]
