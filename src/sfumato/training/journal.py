"""What a run leaves for people: log.jsonl, bank.jsonl, loss.png, samples, TensorBoard."""

from __future__ import annotations

import io
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from sfumato.pictures.files import write_whole
from sfumato.training import files
from sfumato.training.trainer import TrainStep

BANDS = 4
SAMPLE_SHARE = 0.05  # samples may take this share of the time, no more


class Journal:
    """Listens to the steps of one phase and writes them down.

    Args:
        folder: of the run; log.jsonl, bank.jsonl, loss.png and samples/ go there.
        every: images between two lines of the log.
        images_seen: where a resumed run stands; later lines of the log are taken back.
        tensorboard: also write events, if TensorBoard is installed.
    """

    def __init__(
        self, folder: Path, every: int, images_seen: int = 0, tensorboard: bool = False
    ) -> None:
        self.folder, self.every = folder, every
        self.path, self.bank_path = folder / "log.jsonl", folder / "bank.jsonl"
        folder.mkdir(parents=True, exist_ok=True)  # the first checkpoint comes later
        for place in (folder, folder / "samples"):
            for torn in place.glob(".*.part"):  # a kill came while it was written
                torn.unlink(missing_ok=True)
        self._window: list[TrainStep] = []
        self._news = False
        self._started = time.monotonic()
        self._sampling_seconds = 0.0
        for path in (self.path, self.bank_path):
            _take_back(path, images_seen)
        self._board = _board(folder, images_seen) if tensorboard else None

    def heard(self, step: TrainStep) -> None:
        """Take a step in; writes a line when enough images have passed."""
        self._window.append(step)
        batch = len(step.loss)
        if step.images_seen // self.every > (step.images_seen - batch) // self.every:
            self._write()

    def bank(self, images_seen: int, loss: Tensor, t: Tensor, initial: float) -> None:
        """Keep what the averaged weights lose on the fixed bank: comparable between all lines.

        Args:
            loss, t: of every sample of the bank (B,).
            initial: share of the initial weights that is still in the average.
        """
        mean, *bands = _means(loss, t)
        line = {"images": images_seen, "loss": mean, "bands": bands, "initial": initial}
        _append(self.bank_path, line)

    def sheet(
        self, images_seen: int, draw: Callable[[], Image.Image], always: bool = False
    ) -> bool:
        """Draw and keep a sheet of samples, unless samples have already had their share."""
        elapsed = time.monotonic() - self._started
        if not always and self._sampling_seconds > SAMPLE_SHARE * elapsed and elapsed > 60:
            return False
        begin = time.monotonic()
        file = io.BytesIO()
        draw().save(file, format="PNG")
        write_whole(self.folder / "samples" / f"{images_seen:09d}.png", file.getvalue())
        self._sampling_seconds += time.monotonic() - begin
        return True

    def draw(self) -> None:
        """loss.png from the log, if that has new lines."""
        if not self._news:
            return
        from sfumato.pictures.curves import draw_run

        draw_run(self.folder)
        self._news = False

    def close(self) -> None:
        """Write down what is left of a line, and draw it all once more."""
        if self._window:
            self._write()
        self.draw()
        if self._board is not None:
            self._board.close()

    def _write(self) -> None:
        line = self._line()
        self._window = []
        _append(self.path, line)
        self._news = True
        if self._board is not None:
            for name in ("loss", "learning_rate", "grad_norm", "images_per_second"):
                if line[name] is not None:
                    self._board.add_scalar(name, line[name], line["images"])

    def _line(self) -> dict[str, Any]:
        loss = torch.cat([step.loss for step in self._window])
        mean, *bands = _means(loss, torch.cat([step.t for step in self._window]))
        norms = [step.grad_norm for step in self._window if math.isfinite(step.grad_norm)]
        last = self._window[-1]
        return {
            "images": last.images_seen,
            "loss": mean,
            "bands": bands,
            "learning_rate": last.learning_rate,
            "grad_norm": max(norms, default=None),
            "images_per_second": last.images_per_second,
        }


def _means(loss: Tensor, t: Tensor) -> list[float | None]:
    """The mean loss, and the mean in each band of time."""
    band = (t.double() * BANDS).long().clamp(max=BANDS - 1)
    means = (loss.mean(), *(loss[band == b].mean() for b in range(BANDS)))
    return [_finite(float(value)) for value in means]


def _append(path: Path, line: dict[str, Any]) -> None:
    with path.open("a", encoding="utf-8") as log:
        log.write(json.dumps(line, allow_nan=False) + "\n")


def _take_back(path: Path, images_seen: int) -> None:
    """Forget what a run wrote after the checkpoint that it goes on from."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text("utf-8").splitlines():
        try:
            if json.loads(line)["images"] <= images_seen:
                kept.append(line)
        except (ValueError, KeyError, TypeError):
            continue  # a line torn by a kill
    files.replace_bytes(path, "".join(line + "\n" for line in kept).encode())


def _finite(value: float) -> float | None:
    """JSON knows no NaN and no infinity."""
    return value if math.isfinite(value) else None


def _board(folder: Path, images_seen: int) -> Any:
    from sfumato.errors import SfumatoError

    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise SfumatoError(
            'TensorBoard is not installed. Install it: pip install "sfumato[tensorboard]".'
        ) from error
    return SummaryWriter(str(folder / "tensorboard"), purge_step=images_seen + 1)
