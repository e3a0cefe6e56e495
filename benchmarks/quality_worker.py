"""One contender of the quality benchmark in a process of its own: one JSON object a line.

Started by quality.py.  Orders: {"until": s} trains until the contender has had s seconds of
processor time in all, keeps its state and answers with images and seconds; {"draw": file,
"count": n} draws n pictures of every class; {"end": true} ends.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import sys
import time
from pathlib import Path
from typing import Any

import torch
from quality_contenders import CLASSES, CONTENDERS
from quality_task import Contender, Task
from safetensors.torch import save_file
from throughput_worker import peak_memory


class Timed:
    """A contender and the processor time that its training has taken.

    Args:
        budget: seconds for which it plans its learning rate.
    """

    def __init__(self, contender: Contender, folder: Path, budget: float) -> None:
        self.contender, self.budget = contender, budget
        self._file = folder / "spent.json"  # images seen: seconds, bytes at most
        self._saved = str(contender.restored)
        kept = {"0": (0.0, 0), **self._kept()}
        if self._saved not in kept:
            raise RuntimeError(f"{self._file} does not know the state beside it; delete both")
        self.seconds, self.memory = kept[self._saved]

    def train(self, until: float) -> dict[str, Any]:
        forget_peak()
        losses = []
        while self.seconds < until:
            began = time.process_time()
            try:
                losses.append(self.contender.step(min(1.0, self.seconds / self.budget)))
            except RuntimeError:
                self._note()  # our run saves itself when it is interrupted
                raise
            self.seconds += time.process_time() - began
        if losses:
            self._save()
        mean = sum(losses) / len(losses) if losses else None
        return self.facts() | {"loss": mean if mean and math.isfinite(mean) else None}

    def draw(self, file: str, count: int, seed: int) -> dict[str, Any]:
        forget_peak()
        labels = [number for number in range(CLASSES) for _ in range(count)]
        began = time.process_time()
        pictures = self.contender.draw(labels, seed)
        seconds = time.process_time() - began
        save_file({"pictures": pictures, "labels": torch.tensor(labels)}, file)
        return {"pictures": len(labels), "seconds": seconds, "memory": peak_memory()}

    def facts(self) -> dict[str, Any]:
        images = self.contender.images
        return {"images": images, "seconds": self.seconds, "memory": self.memory}

    def _save(self) -> None:
        self._note()
        self.contender.save()
        self._saved = str(self.contender.images)

    def _note(self) -> None:
        """Write the time: before the state, so that no state on the disk is without it."""
        self.memory = max(self.memory, peak_memory())
        now = str(self.contender.images)
        spent = {k: v for k, v in self._kept().items() if k == self._saved}
        beside = self._file.with_suffix(".partial")
        beside.write_text(json.dumps(spent | {now: (self.seconds, self.memory)}))
        os.replace(beside, self._file)

    def _kept(self) -> dict[str, tuple[float, int]]:
        return json.loads(self._file.read_text()) if self._file.exists() else {}


def forget_peak() -> None:
    """Let the peak of the memory begin anew (Linux), so that drawing is told from training."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("name", choices=CONTENDERS)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--classes", nargs=CLASSES, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--budget", type=float, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--bf16", action="store_true")
    options = parser.parse_args()
    # libraries print; the answers keep standard output to themselves
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(told: dict[str, Any]) -> None:
        print(json.dumps(told), file=answers, flush=True)

    torch.set_num_threads(options.threads)
    options.folder.mkdir(parents=True, exist_ok=True)
    task = Task(
        options.data,
        options.folder,
        tuple(options.classes),
        options.seed,
        options.threads,
        options.bf16,
    )
    try:
        contender = CONTENDERS[options.name][2](task)
        timed = Timed(contender, options.folder, options.budget)
        known = {"parameters": contender.parameters, "torch": torch.__version__}
        answer(timed.facts() | known)
        for line in sys.stdin:
            order = json.loads(line)
            if "until" in order:
                answer(timed.train(order["until"]))
            elif "draw" in order:
                answer(timed.draw(order["draw"], order["count"], options.seed))
            else:
                answer({})
                return
    except Exception as error:  # whatever it is, the table says so and the others go on
        first = (str(error).splitlines() or [""])[0]
        with contextlib.suppress(BrokenPipeError):  # nobody asks any more
            answer({"error": f"{type(error).__name__}: {first}"})


if __name__ == "__main__":
    main()
