"""A training run: a folder that goes from pictures to a finished model.

::

    run/  recipe.toml  log.jsonl  bank.jsonl  loss.png  samples/  data-report.txt
          autoencoder/   its checkpoints and log, for latent models
          tokenizer.json  latents.safetensors
          images-*/  latest.json  best.json      checkpoints
          model/         the finished model, for `sfumato.load`
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from sfumato.architecture import Vocabulary, build_autoencoder, build_prompted
from sfumato.conditioning.prompted import Prompted
from sfumato.data import open_source
from sfumato.data.order import visits_of
from sfumato.device import pick_device
from sfumato.errors import SfumatoError
from sfumato.locale import translate
from sfumato.networks.autoencoder import Autoencoder
from sfumato.training import files
from sfumato.training.assemble import (
    autoencoder_training,
    diffusion,
    fresh,
    prepared,
    reconstruction,
)
from sfumato.training.divergence import Divergence, Watch
from sfumato.training.finish import averaged, finished, foreseen, happened
from sfumato.training.forecast import Forecast, Grade
from sfumato.training.inherit import begin_with, origin
from sfumato.training.interrupt import Stop, stoppable
from sfumato.training.journal import Journal
from sfumato.training.machine import threads_allowed
from sfumato.training.objective import Reconstruction
from sfumato.training.pace import Clock, Probe
from sfumato.training.prepare import captions_of, enlarged, template_of
from sfumato.training.processes import agreed, company
from sfumato.training.recipe import changed, save_recipe
from sfumato.training.recoloured import Recoloured
from sfumato.training.samples import copied, drawn, prompts_for
from sfumato.training.sections import Recipe
from sfumato.training.start import RECIPE, begin, recipe_for, same_data, settled
from sfumato.training.trainer import UNPLANNED, Trainer, TrainStep
from sfumato.training.units import phase_name
from sfumato.training.words import remember, unread_notes

DIFFUSION = ("weights", "diffusion")
"""What the first weights of the network are drawn for."""
PROBE_SECONDS = 8.0
"""After so long the rate is known: the forecast is made, minutes become images."""
AUTOENCODER_SHARE = 0.25
"""Of the minutes of a run that has no number of images."""
NOTEWORTHY = 0.05
"""Share of the initial weights in the average from which a person should be told."""


class Run:
    """One run and what is known about it while it goes on.

    Attributes:
        recipe: resolved.  forecast: after the probe.  grade: forecast against truth, at the end.
        interrupted: stopped by Ctrl-C before the end; everything is saved.
        diverged: the training that came apart, if one did.
        reached: the target loss, before all images were seen.
        images_seen: by the network that is (or was last) in training.
        on_stop: called when somebody has asked to stop, before the run is saved.
    """

    def __init__(
        self,
        data: str | Path | None = None,
        /,
        out: str | Path = "runs/new",
        *,
        recipe: Recipe | str | Path | None = None,
        resume: bool = False,
        **sections: Any,
    ) -> None:
        self.folder = Path(out)
        self.resume = resume
        self.forecast: Forecast | None = None
        self.grade: Grade | None = None
        self.interrupted = False
        self.diverged: Divergence | None = None
        self.reached = False
        self.images_seen = 0
        self.on_stop: Callable[[], None] = lambda: None
        self._begin = time.monotonic()
        asked = recipe_for(self.folder, data, recipe, resume, sections)
        self._plans = not resume or asked.training.images is None
        self._earlier = 0.0  # seconds that the run has had, where its minutes still hold
        self._anew = bool(sections.get("training", {}).get("minutes"))
        wish = pick_device(asked.training.device)
        if wish.index:
            raise SfumatoError(
                f"{wish} cannot be chosen for training. Set CUDA_VISIBLE_DEVICES={wish.index} "
                "and take --device cuda."
            )
        self.company = company(wish.type)
        self.device = self.company.device
        said, side = asked.data, asked.data.resolution
        source = open_source(said.name, side, said.channels, broken_share=said.broken_share)
        self.source = Recoloured(source) if said.recolour else source
        kept = (self.folder / RECIPE).exists()
        self.recipe, self.notes = settled(asked, self.source, self.company, kept)
        self.notes += begin(self.folder, self.recipe, self.source, self.company) + enlarged(source)

    def steps(self) -> Iterator[TrainStep]:
        """Both trainings, step by step; at the end the model stands in ``out/model``.

        Whoever stops listening before the end finds everything saved.
        """
        threads = torch.get_num_threads()
        torch.set_num_threads(self.recipe.training.threads or threads_allowed())
        try:
            with self._alone(), stoppable() as stop:
                autoencoder = None
                if first := self._autoencoder():
                    autoencoder, trainer = first
                    yield from self._phase(trainer, stop)
                if not self.interrupted:
                    trainer, vocabulary = self._diffusion(autoencoder, stop)
                    yield from self._phase(trainer, stop, autoencoder, vocabulary)
        finally:
            torch.set_num_threads(threads)

    # ---- the two trainings

    def _alone(self) -> AbstractContextManager[None]:
        return files.locked(self.folder) if self.company.is_main_process else nullcontext()

    def _autoencoder(self) -> tuple[Autoencoder, Trainer] | None:
        folder = self.folder / "autoencoder"
        autoencoder = fresh(build_autoencoder, self.recipe, "weights")
        if autoencoder is None:
            return None
        start = self.recipe.start
        begin_with(autoencoder, origin(start, folder), start, self.recipe)
        objective = reconstruction(self.recipe, self.source, autoencoder)
        settings = autoencoder_training(self.recipe)
        total = self.recipe.latent.images
        return autoencoder, Trainer(objective, settings, folder, total, self.resume, "autoencoder")

    def _diffusion(self, autoencoder: Autoencoder | None, stop: Stop) -> tuple[Trainer, Vocabulary]:
        given = origin(self.recipe.start, self.folder)
        with self.company.main_process_first():  # the others find it done
            pictures, vocabulary = prepared(
                self.recipe, self.source, self.folder, autoencoder, given, stop
            )
        prompted = fresh(partial(build_prompted, vocabulary=vocabulary), self.recipe, *DIFFUSION)
        begin_with(prompted, given, self.recipe.start, self.recipe)
        wanted = self.recipe.conditioning
        captions = captions_of(
            self.source, wanted.kind, prompted.conditioner, template_of(self.source, wanted)
        )
        self.notes += unread_notes(captions, prompted.conditioner)
        with self.company.main_process_first():
            remember(prompted.conditioner, captions.ids, self.device, lambda: stop.asked)
        same_data(self.folder, self.company, captions=captions.digest)
        often = visits_of(self.source)
        objective = diffusion(self.recipe, prompted, pictures, captions, often)
        training = self.recipe.training
        total = training.images or UNPLANNED
        return Trainer(objective, training, self.folder, total, self.resume), vocabulary

    # ---- one training, listened to

    def _phase(
        self,
        trainer: Trainer,
        stop: Stop,
        autoencoder: Autoencoder | None = None,
        vocabulary: Vocabulary | None = None,
    ) -> Iterator[TrainStep]:
        training = self.recipe.training
        journal = (
            Journal(
                trainer.folder, training.log_every_images, trainer.images_seen, training.tensorboard
            )
            if self.company.is_main_process
            else None
        )
        if trainer.images_seen < trainer.total:  # or there is no step to carry them
            trainer.notes[:0], self.notes = self.notes, []
        self._since = time.monotonic(), trainer.images_seen
        self.images_seen = trainer.images_seen
        self.forecast, self._foreseen, self._most = None, False, trainer.total
        self._watch = Watch(trainer.phase)
        if not self._anew:
            self._earlier = max(self._earlier, trainer.earlier)
        trainer.began, trainer.earlier = self._begin, self._earlier
        probe = Probe(min(PROBE_SECONDS, 6 * (training.minutes or PROBE_SECONDS)))
        clock = self._clock(trainer)
        if clock and trainer.total and not trainer.images_seen:
            trainer.total = UNPLANNED  # until the rate is known
        try:
            yield from self._followed(trainer, journal, stop, probe, clock, autoencoder, vocabulary)
        except GeneratorExit:  # nobody listens any more
            if trainer.unsaved and not sys.is_finalizing():  # torch is no longer usable by then
                self._save(trainer, journal)
            if journal is not None:
                journal.close()
            raise
        self.diverged = self.diverged or self._watch.verdict
        self.reached = trainer.goal.reached
        if clock and not clock.settled and not self.interrupted and not self.reached:
            self._settle(trainer)  # over before its time, as very short runs may be
        if trainer.unsaved:
            self._save(trainer, journal)
        if not self.interrupted:
            if journal is not None and vocabulary is not None:
                self._draw(journal, trainer, autoencoder, vocabulary, last=True)
                self._finish(trainer, vocabulary, autoencoder)
            elif vocabulary is None:
                trainer.objective.module.load_state_dict(averaged(trainer))
        if journal is not None:
            journal.close()

    def _followed(
        self,
        trainer: Trainer,
        journal: Journal | None,
        stop: Stop,
        probe: Probe,
        clock: Clock | None,
        autoencoder: Autoencoder | None,
        vocabulary: Vocabulary | None,
    ) -> Iterator[TrainStep]:
        """The steps themselves, with the plans, sheets and checkpoints that fall due."""
        for step in trainer.steps():
            rate = probe.rate(step.images_seen)
            if clock and not rate:
                soon = step.images_per_second if clock.over else 0.0
                rate = clock.rate(step.images_seen) if probe.done else soon
            self._watch.heard(step.loss)
            if journal is not None:
                journal.heard(step)
                if self._sheet_due(step, trainer):
                    self._draw(journal, trainer, autoencoder, vocabulary)
            self.images_seen = step.images_seen
            yield step
            asked, rate, due = agreed(self.company, stop.asked, rate, trainer.due())
            if rate and clock and not trainer.goal.reached:
                self._plan(trainer, clock, rate)
            if rate and probe.done and not self._foreseen:
                self._foresee(trainer, rate)
            if asked:
                self.interrupted = True
                self.on_stop()
                break
            if due:
                self._save(trainer, journal)

    def _save(self, trainer: Trainer, journal: Journal | None) -> None:
        if journal is None:  # the first process saves for all
            return
        loss, t = trainer.score(trainer.bank)
        trainer.save(float(loss.mean()))
        initial = trainer.average.coverage(trainer.images_seen, trainer.batch)
        journal.bank(trainer.images_seen, loss, t, initial)
        if initial > NOTEWORTHY and not self.interrupted:
            trainer.notes.append(translate("train.initial", share=f"{initial:.0%}"))
        journal.draw()

    def _sheet_due(self, step: TrainStep, trainer: Trainer) -> bool:
        every, seen = self.recipe.training.sample_every_images, step.images_seen
        return seen // every > (seen - trainer.batch) // every

    def _clock(self, trainer: Trainer) -> Clock | None:
        """For a run that is told minutes, until its number of images is settled."""
        training = self.recipe.training
        if training.minutes is None or not self._plans:
            return None
        share = AUTOENCODER_SHARE if trainer.phase == "autoencoder" else 1.0
        end = self._begin + share * 60 * training.minutes - self._earlier
        return Clock(end, training.decay_fraction, trainer.images_seen)

    def _plan(self, trainer: Trainer, clock: Clock, rate: float) -> None:
        """Minutes become images."""
        batches = max(1, int(trainer.images_seen + clock.left() * rate) // trainer.batch)
        _, planned, _ = agreed(self.company, False, batches * trainer.batch, False)
        trainer.total = min(self._most, int(planned))
        if clock.settled:
            self._settle(trainer)

    def _settle(self, trainer: Trainer) -> None:
        """From here on the run is one of images, and resumes exactly."""
        section = "latent" if trainer.phase == "autoencoder" else "training"
        self.recipe = changed(self.recipe, **{section: {"images": trainer.total}})
        if self.company.is_main_process:
            save_recipe(self.recipe, self.folder / RECIPE)

    def _foresee(self, trainer: Trainer, rate: float) -> None:
        """Time, memory and disk are said beforehand, with the next step, if there is one."""
        self._foreseen = True
        if trainer.images_seen >= trainer.total:
            return
        self.forecast = foreseen(
            self.recipe, trainer, self.folder, len(self.source), rate, self._begin
        )
        phase, said = phase_name(trainer.phase), self.forecast.sentence
        trainer.notes.append(translate("forecast.phase", phase=phase, forecast=said))

    def _draw(
        self,
        journal: Journal,
        trainer: Trainer,
        autoencoder: Autoencoder | None,
        vocabulary: Vocabulary | None,
        last: bool = False,
    ) -> None:
        objective = trainer.objective

        def draw() -> Image.Image:
            if vocabulary is None:
                assert isinstance(objective, Reconstruction)
                return copied(objective, self.source, self.device)
            assert isinstance(objective.module, Prompted)
            prompts = prompts_for(self.recipe, self.source, vocabulary.classes)
            return drawn(self.recipe, objective.module, autoencoder, prompts, self.device)

        with trainer.average.applied(objective.module):
            journal.sheet(trainer.images_seen, draw, always=last)

    def _finish(
        self, trainer: Trainer, vocabulary: Vocabulary, autoencoder: Autoencoder | None
    ) -> None:
        """The averaged weights become the model; the forecast meets the truth."""
        model = finished(self.recipe, trainer, vocabulary, autoencoder, len(self.source))
        model.save(self.folder / "model")
        if self.forecast is not None and not self.reached:  # it was of all the images
            truth = happened(trainer, self.folder, self._begin, *self._since)
            self.grade = self.forecast.grade(truth)
