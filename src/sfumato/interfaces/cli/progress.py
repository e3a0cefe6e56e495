"""What a person sees of a training: the forecast, the bar, the end."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sfumato.interfaces.cli.console import note, on_terminal
from sfumato.locale import translate
from sfumato.training.units import phase_name

if TYPE_CHECKING:
    from tqdm import tqdm

    from sfumato.training.run import Run
    from sfumato.training.sections import Recipe
    from sfumato.training.trainer import TrainStep

_EVERY = 30.0  # seconds between two lines where no bar can be drawn
_BRIEF = 50  # fewer steps teach a network nothing


class Smooth:
    """A running mean over about a hundred values; the plain mean while there are fewer."""

    def __init__(self, over: int = 100) -> None:
        self.value = float("nan")
        self._seen, self._over = 0, over

    def add(self, value: float) -> float:
        """Take in one more value; returns the mean."""
        self._seen += 1
        share = 1 / min(self._seen, self._over)
        self.value = value if self._seen == 1 else self.value + share * (value - self.value)
        return self.value


def follow(run: Run, quiet: bool) -> dict[str, Any]:
    """Train to the end, or to Ctrl-C, and show it; returns what `--json` prints.

    Args:
        run: prepared, not yet begun.
        quiet: say nothing but on a terminal, where the bar and the notes do no harm.

    Raises:
        SfumatoError: from data and trainer, in one sentence.
    """
    # of several processes only the first speaks
    silent = (quiet and not on_terminal()) or os.environ.get("RANK", "0") != "0"
    show: Bar | Lines | None = None if silent else Bar() if on_terminal() else Lines()
    if not silent:
        run.on_stop = lambda: note(translate("train.stopping"))
    begin = time.perf_counter()
    loss, phase = Smooth(), ""
    step: TrainStep | None = None
    try:
        for step in run.steps():
            if step.phase != phase:
                loss, phase = Smooth(), step.phase
            mean = loss.add(float(step.loss.mean()))
            if show:
                show.step(step, mean)
        if show and step and not run.interrupted:
            show.end(step, loss.value)
    finally:
        if show:
            show.close()
    if show:
        for text in _closing(run, idle=step is None):
            note(text)
    return {
        "run": str(run.folder),
        "model": None if run.interrupted else str(run.folder / "model"),
        "interrupted": run.interrupted,
        "diverged": run.diverged is not None,
        "phase": phase,
        "images_seen": run.images_seen,
        "total": (step.total or (0 if run.interrupted else step.images_seen)) if step else 0,
        "loss": loss.value if step else None,
        "seconds": round(time.perf_counter() - begin, 1),
        "precision": run.recipe.training.precision,
        "device": run.recipe.training.device,
        "forecast": asdict(run.forecast) if run.forecast else None,
        "truth": asdict(run.grade.truth) if run.grade else None,
    }


def _closing(run: Run, idle: bool) -> Iterator[str]:
    """What is said at the end; ``idle``: there was no step to take."""
    if run.grade:
        yield run.grade.sentence
    recipe, model = run.recipe, run.folder / "model"
    if apart := run.diverged:
        first = apart.phase == "autoencoder"
        yield translate(
            "train.diverged",
            phase=phase_name(apart.phase),
            first=f"{apart.first:.3g}",
            last=f"{apart.last:.3g}",
            option="latent.learning_rate" if first else "--learning-rate",
            rate=f"{recipe.latent.learning_rate if first else recipe.training.learning_rate:g}",
        )
    if run.interrupted:
        yield translate("train.stopped", run=run.folder)
    elif idle and run.reached:
        yield translate("train.idle_reached", loss=f"{recipe.training.target_loss:g}")
    elif idle:
        yield translate("train.idle", images=run.images_seen, model=model)
    elif not run.diverged:
        steps = run.images_seen // (recipe.training.batch_size or 1)
        if steps < _BRIEF and not _begun_with_a_network(recipe):
            yield translate("train.brief", steps=steps)
        yield translate("train.done", model=model)


def _begun_with_a_network(recipe: Recipe) -> bool:
    start = recipe.start
    return bool(start.inner or (start.model and "network" in start.take))


class Bar:
    """A progress bar with images a second, time left and loss; notes stand above it."""

    def __init__(self) -> None:
        self._bar: tqdm[Any] | None = None
        self._phase = ""

    def step(self, step: TrainStep, loss: float) -> None:
        """Show a step; a new phase gets a new bar."""
        from tqdm import tqdm

        if self._bar is None or step.phase != self._phase:
            self.close()
            self._phase = step.phase
            self._bar = tqdm(
                desc=phase_name(step.phase),
                initial=step.images_seen - len(step.loss),
                total=step.total or None,
                unit=f" {translate('train.unit')}",
                unit_scale=True,
                dynamic_ncols=True,
                file=sys.stderr,
            )
        for text in step.notes:
            tqdm.write(text, file=sys.stderr)
        self._bar.total = max(step.total, step.images_seen) if step.total else None
        self._bar.set_postfix_str(f"{translate('train.loss')} {loss:.4f}", refresh=False)
        self._bar.update(step.images_seen - self._bar.n)

    def end(self, step: TrainStep, loss: float) -> None:
        """After the last step all is done, whatever was planned."""
        if self._bar is not None:
            self._bar.total = step.images_seen

    def close(self) -> None:
        """Leave the bar standing as it is."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


class Lines:
    """A line of progress every half minute, for logs."""

    def __init__(self) -> None:
        self._last: float | None = None
        self._said: tuple[str, int] | None = None

    def step(self, step: TrainStep, loss: float) -> None:
        """Show a step, if it is time or the last one."""
        for text in step.notes:
            note(text)
        now = time.monotonic()
        last = step.images_seen >= step.total > 0
        if last or not self._last or now - self._last >= _EVERY:
            self._last = now
            self._say(step, loss, step.total)

    def end(self, step: TrainStep, loss: float) -> None:
        """Show the last step, if that has not been done: the end may not have been known."""
        if self._said != (step.phase, step.images_seen):
            self._say(step, loss, step.images_seen)

    def _say(self, step: TrainStep, loss: float, total: int) -> None:
        said = {
            "phase": phase_name(step.phase),
            "seen": step.images_seen,
            "rate": f"{step.images_per_second:.0f}",
            "loss": f"{loss:.4f}",
        }
        self._said = (step.phase, step.images_seen) if total else None
        if total:
            note(translate("train.line", total=max(total, step.images_seen), **said))
        else:
            note(translate("train.line_open", **said))

    def close(self) -> None:
        """Nothing is left open."""
