"""The training loop, as a generator that shows every quantity of every step.

The state of a run is a function of (recipe, images seen).  Order, captions, times and noise
belong to the global sample index, so a run that is killed and resumed, cut into micro-batches
or spread over processes takes the same steps.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sfumato.errors import SfumatoError
from sfumato.locale import translate
from sfumato.training import checkpoint
from sfumato.training.ema import Average
from sfumato.training.goal import Goal
from sfumato.training.objective import Objective
from sfumato.training.optimizer import Optimizer, parameter_groups
from sfumato.training.pace import Pace
from sfumato.training.processes import accelerator_for
from sfumato.training.sections import Training

UNPLANNED = 1 << 40  # more images than any run sees: the end is not known yet
FAR = (1 << 40) + (1 << 31)
"""Global indices from here on belong to the bank: no training sees as many images.  The lower bits
count too: noise is drawn from 32 of them."""
BANK = 512
"""Samples of the fixed bank on which checkpoints are compared."""
BAD_STEPS = 3  # so many steps without a finite gradient in a row, and the run goes back


@dataclass(frozen=True)
class TrainStep:
    """One step, after optimiser and EMA have done their work.

    Attributes:
        loss, t: of every picture of the batch (B,), on the CPU.
        shown: which pictures of the data set those were, in the same order.
        learning_rate: the one used.  grad_norm: before clipping.
        images_seen, total: progress, in images; total is 0 while a run by the clock does not
            know its rate yet.
        images_per_second: over the last steps.
        phase: which training of the run this belongs to ("autoencoder", "diffusion").
        notes: what a person should know: a skipped step, a return to a checkpoint.
    """

    loss: Tensor
    t: Tensor
    shown: tuple[int, ...]
    learning_rate: float
    grad_norm: float
    images_seen: int
    images_per_second: float
    total: int
    phase: str = "diffusion"
    notes: tuple[str, ...] = ()


def learning_rate_at(images: int, total: int, settings: Training) -> float:
    """Linear warm-up, constant, then linear to zero over the last ``decay_fraction``."""
    assert settings.learning_rate is not None
    assert settings.warmup_images is not None
    warm = min(1.0, images / settings.warmup_images) if settings.warmup_images else 1.0
    cooling = settings.decay_fraction * total
    cool = min(1.0, (total - images) / cooling) if cooling else 1.0
    return settings.learning_rate * warm * max(cool, 0.0)


class Trainer:
    """Trains one objective in one folder.

    Args:
        objective: what is learned.
        settings: a resolved section: batch size, micro-batch, learning rate and so on given.
        folder: where its checkpoints lie.
        total: images to see in all; may be set later, before it is reached.
        resume: go on from the newest intact checkpoint, where there is one.
        phase: name carried by the steps.
    Attributes:
        began: the moment (`time.monotonic`) from which a checkpoint counts the run's seconds.
        earlier: seconds that the run has had before, where it is resumed.
    Raises:
        SfumatoError: if the processes cannot share the batch, or a checkpoint does not fit.
    """

    def __init__(
        self,
        objective: Objective,
        settings: Training,
        folder: Path,
        total: int,
        resume: bool = False,
        phase: str = "diffusion",
    ) -> None:
        assert settings.batch_size and settings.micro_batch and settings.learning_rate
        assert settings.ema_half_life_images
        self.objective, self.settings, self.folder = objective, settings, folder
        self.total, self.phase = total, phase
        # the parts of a text encoder that make tokens get no gradient where nobody reads them
        some_idle = any(not getattr(m, "reads_tokens", True) for m in objective.module.modules())
        self.accelerator = accelerator_for(settings.device, settings.precision, some_idle)
        self.batch = settings.batch_size
        self.local, rest = divmod(self.batch, self.accelerator.num_processes)
        if rest:
            raise SfumatoError(
                f"A batch of {self.batch} cannot be shared evenly by "
                f"{self.accelerator.num_processes} processes. Choose a multiple."
            )
        optimizer = Optimizer(
            parameter_groups(objective.module, settings.optimizer, settings.weight_decay),
            settings.learning_rate,
            settings.betas,
            dtype=torch.float32 if settings.precision == "fp32" else torch.bfloat16,
        )
        self.average = Average(
            objective.module.to(self.accelerator.device), settings.ema_half_life_images
        )
        self.model, self.optimizer = self.accelerator.prepare(objective.module, optimizer)
        self.images_seen = 0
        self.rate_scale = 1.0
        self.bad_steps = 0
        self.best_score = math.inf
        self.notes: list[str] = []
        self.goal = Goal(settings.target_loss, settings.log_every_images)
        self.began, self.earlier = time.monotonic(), 0.0
        self._pace = Pace()
        self._saved_at = time.monotonic()
        self._saved_images: int | None = None
        if resume:
            self._restore(checkpoint.load_latest(folder))

    def steps(self) -> Iterator[TrainStep]:
        """Train until `total`, yielding every step; the caller may stop at any of them."""
        while self.images_seen < self.total:
            yield self._step()

    def _step(self) -> TrainStep:
        self.model.train()
        rate = self.rate_scale * learning_rate_at(
            self.images_seen + self.batch, self.total + self.batch, self.settings
        )
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        loss, t = self._backward()
        # unscales fp16 gradients first
        norm = float(self.accelerator.clip_grad_norm_(self.model.parameters(), self.settings.clip))
        finite = math.isfinite(norm) and bool(loss.isfinite().all())
        if finite:
            self.optimizer.step()
        elif self.accelerator.scaler is not None:
            self.accelerator.scaler.update()  # too large for fp16: a smaller scale next time
        self.optimizer.zero_grad(set_to_none=True)
        shown = self.objective.positions(range(self.images_seen, self.images_seen + self.batch))
        self.images_seen += self.batch
        if finite:
            self.average.update(self.objective.module, self.images_seen, self.batch)
            self.bad_steps = 0
        else:
            self._bad_step(loss)
        self.goal.hear(loss, self.images_seen)
        if self.goal.reached:
            self.total = self.images_seen
            self.notes.append(translate("train.reached", loss=f"{self.goal.aim:g}"))
        notes, self.notes = tuple(self.notes), []
        return TrainStep(
            loss=loss.float().cpu(),
            t=t.cpu(),
            shown=tuple(shown),
            learning_rate=rate,
            grad_norm=norm,
            images_seen=self.images_seen,
            images_per_second=self._pace.after(self.batch),
            total=self.total if self.total < UNPLANNED else 0,
            phase=self.phase,
            notes=notes,
        )

    def _backward(self) -> tuple[Tensor, Tensor]:
        """Gradients of the batch's mean loss, this process' share of it in micro-batches.

        Returns loss (B,) and t (B,) of the whole batch, the same for all processes, which
        must agree on whether a step is finite.
        """
        first = self.images_seen + self.accelerator.process_index * self.local
        parts = self._micro_batches(range(first, first + self.local))
        seen: list[tuple[Tensor, Tensor]] = []
        for part in parts:
            last = part is parts[-1]
            with nullcontext() if last else self.accelerator.no_sync(self.model):
                loss, t = self.objective.loss(self.model, part)
                # a sum over the share: processes are averaged by the wrapper, micro-batches add
                self.accelerator.backward(loss.sum() / self.local)
            seen.append((loss.detach(), t))
        losses, times = (torch.cat(column) for column in zip(*seen, strict=True))
        if self.accelerator.num_processes > 1:
            losses = self.accelerator.gather(losses)
            times = self.accelerator.gather(times.to(losses.device))
        return losses, times

    def _micro_batches(self, samples: range) -> list[range]:
        size = self.settings.micro_batch
        assert size
        return [samples[i : i + size] for i in range(0, len(samples), size)]

    def _bad_step(self, loss: Tensor) -> None:
        scaler = self.accelerator.scaler
        if scaler is not None and bool(loss.isfinite().all()) and scaler.get_scale() >= 1:
            return  # fp16 feels its way to a loss scale by overflowing
        self.bad_steps += 1
        note = translate("train.bad_step", images=self.images_seen)
        if self.bad_steps >= BAD_STEPS:
            self.bad_steps = 0
            self.rate_scale /= 2
            note += " " + translate("train.slower", scale=f"{self.rate_scale:g}")
            kept = checkpoint.load_latest(self.folder)
            if kept is not None:
                self._restore_weights(kept)
                note += " " + translate("train.returned", checkpoint=kept.path.name)
        self.notes.append(note)

    @property
    def bank(self) -> range:
        """Samples that no training sees, to compare checkpoints on."""
        return range(FAR, FAR + min(BANK, self.batch * 4))

    def score(self, samples: range) -> tuple[Tensor, Tensor]:
        """Loss and times of a fixed bank of samples under the averaged weights, no gradients.

        The bare module is asked: a wrapper would wait for the other processes.
        """
        module = self.objective.module
        with torch.no_grad(), self.average.applied(module):
            module.eval()
            seen = [self.objective.loss(module, part) for part in self._micro_batches(samples)]
        losses, times = (torch.cat(column) for column in zip(*seen, strict=True))
        return losses.float().cpu(), times.cpu()

    # ---- checkpoints

    def due(self) -> bool:
        """Whether the recipe asks for a checkpoint now."""
        every = self.settings.save_every_images
        if every and self.images_seen // every > (self.images_seen - self.batch) // every:
            return True
        return time.monotonic() - self._saved_at >= 60 * self.settings.save_every_minutes

    @property
    def unsaved(self) -> bool:
        """Whether there is something that no checkpoint holds."""
        return self._saved_images != self.images_seen

    def save(self, score: float | None = None) -> Path | None:
        """Write a checkpoint (main process only); the best score so far marks it as best."""
        self._saved_at = time.monotonic()
        if not self.accelerator.is_main_process:
            return None
        optimizer, structure = checkpoint.flatten_state(self.optimizer.state_dict())
        best = score is not None and score < self.best_score
        if best:
            assert score is not None
            self.best_score = score
        state: dict[str, Any] = {
            "images_seen": self.images_seen,
            "total": self.total,
            "rate_scale": self.rate_scale,
            "bad_steps": self.bad_steps,
            "best_score": None if math.isinf(self.best_score) else self.best_score,
            "best": best,
            "goal": self.goal.state,
            "batch_size": self.batch,
            "seed": self.settings.seed,
            "optimizer": structure,
        }
        if self.accelerator.scaler is not None:
            state["scaler"] = self.accelerator.scaler.state_dict()
        tensors = {
            "weights": dict(self.objective.module.state_dict()),
            "ema": self.average.state,
            "optimizer": optimizer,
        }
        name = f"images-{self.images_seen:09d}"
        seconds = self.earlier + time.monotonic() - self.began
        path = checkpoint.save(self.folder, name, tensors, state, self.settings.keep, seconds)
        self._saved_images = self.images_seen
        if best:
            checkpoint.mark_best(self.folder, name, score)
        return path

    def _restore(self, kept: checkpoint.Checkpoint | None) -> None:
        if kept is None:
            return
        for name, mine in (("batch_size", self.batch), ("seed", self.settings.seed)):
            if kept.state[name] != mine:
                raise SfumatoError(
                    f"{kept.path} was trained with {name} {kept.state[name]}, not {mine}. "
                    "Resume with its own recipe."
                )
        self._restore_weights(kept)
        self.images_seen = self._saved_images = int(kept.state["images_seen"])
        self.rate_scale = float(kept.state["rate_scale"])
        self.bad_steps = int(kept.state["bad_steps"])
        if self.accelerator.scaler is not None and "scaler" in kept.state:
            self.accelerator.scaler.load_state_dict(kept.state["scaler"])
        self.earlier = checkpoint.seconds_of(self.folder)
        if "goal" in kept.state:
            self.goal.restore(kept.state["goal"])
        if self.goal.reached:
            self.total = self.images_seen
        score = kept.state["best_score"]
        self.best_score = math.inf if score is None else float(score)
        if kept.state.get("best") and self.accelerator.is_main_process:
            # a kill between the checkpoint and its mark would leave an older one marked
            checkpoint.mark_best(self.folder, kept.path.name, self.best_score)
        self.notes += [translate("train.resumed", images=self.images_seen), *kept.notes]

    def _restore_weights(self, kept: checkpoint.Checkpoint) -> None:
        try:
            self.objective.module.load_state_dict(kept.tensors["weights"])
        except RuntimeError as error:
            raise SfumatoError(
                f"The weights in {kept.path} belong to another network. "
                "Resume with the recipe they were trained with."
            ) from error
        self.average.load(kept.tensors["ema"])
        self.optimizer.load_state_dict(
            checkpoint.unflatten_state(kept.tensors["optimizer"], kept.state["optimizer"])
        )
