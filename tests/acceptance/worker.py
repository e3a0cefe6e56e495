"""What the processes of the tests do: trainings that are killed, or that share their batches."""

from __future__ import annotations

import json
import math
import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch
from tiny import recipe, same_bits
from torch import Tensor, nn

from sfumato.data.order import indices
from sfumato.interfaces.cli.app import main
from sfumato.training.journal import Journal
from sfumato.training.recipe import changed
from sfumato.training.run import Run
from sfumato.training.sections import Training
from sfumato.training.trainer import Trainer

PRELOADED = [
    "worker", "sfumato.model", "matplotlib.figure", "PIL.PngImagePlugin", "torch._dynamo",
    "torch.distributed.fsdp",
]  # fmt: skip
"""Imported once by the fork server, so that a process of a test starts at once."""


def ready() -> None:
    """Nothing; but when it is done, the server has imported everything."""


def train(
    data: Path,
    out: Path,
    changes: dict[str, Any],
    diary: Path,
    curves: bool = False,
    resume: bool = True,
) -> None:
    """Begin the run or go on with it; every step becomes a line of the diary."""
    if not curves:  # they take longer than the whole training
        Journal.draw = lambda _: None  # type: ignore[method-assign]
    run = Run(data, out, recipe=changed(recipe(), **changes), resume=resume)
    with diary.open("a") as lines:
        for step in run.steps():
            told = {
                "phase": step.phase,
                "images": step.images_seen,
                "shown": step.shown,
                "t": step.t.tolist(),
                "loss": step.loss.tolist(),
            }
            lines.write(json.dumps(told) + "\n")
            lines.flush()


def command(words: list[str], told: Path) -> None:
    """`sfumato` with these words, as a shell starts it; what it prints goes to two files."""
    os.environ["SFUMATO_LANG"] = "en"
    for number, suffix in ((1, ".out"), (2, ".err")):
        file = os.open(told.with_suffix(suffix), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, number)
    sys.argv = ["sfumato", *words]
    main()


def join(rank: int, world: int, port: int) -> None:
    """Be one of several processes, by the variables that torchrun and accelerate set."""
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(world),
        "LOCAL_WORLD_SIZE": str(world),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "ACCELERATE_USE_CPU": "true",
        "OMP_NUM_THREADS": "1",
    }


def train_together(
    rank: int, world: int, port: int, data: Path, out: Path, changes: dict[str, Any], diary: Path
) -> None:
    """`train` as one of several; each process keeps a diary of its own."""
    join(rank, world, port)
    # not resumed: neither may take the other's folder for an older run
    train(data, out, changes, diary.with_suffix(f".{rank}"), resume=False)


def stop_one(rank: int, world: int, port: int, data: Path, out: Path, seen: Path) -> None:
    """Only the last process hears of Ctrl-C, after its fourth step."""
    join(rank, world, port)
    run = Run(data, out, recipe=recipe(), resume=True)
    last = 0
    for number, step in enumerate(run.steps(), 1):
        last = step.images_seen
        if number == 4 and rank == world - 1:
            signal.raise_signal(signal.SIGINT)
    seen.with_suffix(f".{rank}").write_text(json.dumps([run.interrupted, last]))


class Line:
    """Fits a line; the sample named has no loss."""

    def __init__(self, sick: int) -> None:
        torch.manual_seed(0)
        self.module: nn.Module = nn.Linear(2, 1)
        self.sick = sick

    def positions(self, samples: range) -> list[int]:
        return indices(0, samples.start, len(samples), 50)

    def loss(self, model: nn.Module, samples: range) -> tuple[Tensor, Tensor]:
        x = torch.tensor([[math.sin(i), math.cos(i)] for i in samples])
        loss = (model(x)[:, 0] - 1).square()
        sick = torch.tensor([i == self.sick for i in samples])
        return loss.masked_fill(sick, math.nan), torch.zeros(len(samples))


def skip_together(rank: int, world: int, port: int, folder: Path, seen: Path) -> None:
    """Sample 13 belongs to the second process alone, and yet both must leave the step out."""
    join(rank, world, port)
    settings = Training(
        batch_size=8, micro_batch=2, learning_rate=0.1, precision="fp32", device="cpu",
        ema_half_life_images=50.0, optimizer="adamw", warmup_images=0,
    )  # fmt: skip
    trainer = Trainer(Line(sick=13), settings, folder, total=32)
    told = []
    for step in trainer.steps():
        weights = [p.detach().clone() for p in trainer.objective.module.parameters()]
        told.append((step, {str(i): w for i, w in enumerate(weights)}))
    found = {
        "notes": [len(step.notes) for step, _ in told],
        "stood still": [same_bits(a[1], b[1]) for a, b in zip(told, told[1:], strict=False)],
        "weights": [w.tolist() for w in told[-1][1].values()],
        "loss": [len(step.loss) for step, _ in told],
    }
    seen.with_suffix(f".{rank}").write_text(json.dumps(found))
