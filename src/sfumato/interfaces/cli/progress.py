"""What a person sees of a training: the forecast, the bar, the end."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sfumato.interfaces.cli.console import note, on_terminal
from sfumato.locale import translate
from sfumato.training.units import phase_name

if TYPE_CHECKING:
    from tqdm import tqdm

    from sfumato.training.run import Run
    from sfumato.training.trainer import TrainStep

_EVERY = 30.0  # seconds between two lines where no bar can be drawn


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
    finally:
        if show:
            show.close()
    if show:
        if run.grade:
            note(run.grade.sentence)
        key = "train.stopped" if run.interrupted else "train.done"
        note(translate(key, run=run.folder, model=run.folder / "model"))
    return {
        "run": str(run.folder),
        "model": None if run.interrupted else str(run.folder / "model"),
        "interrupted": run.interrupted,
        "phase": phase,
        "images_seen": run.images_seen,
        "total": step.total if step else 0,
        "loss": loss.value if step else None,
        "seconds": round(time.perf_counter() - begin, 1),
        "precision": run.recipe.training.precision,
        "device": run.recipe.training.device,
        "forecast": asdict(run.forecast) if run.forecast else None,
        "truth": asdict(run.grade.truth) if run.grade else None,
    }


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
        self._bar.total = step.total or None
        self._bar.set_postfix_str(f"{translate('train.loss')} {loss:.4f}", refresh=False)
        self._bar.update(step.images_seen - self._bar.n)

    def close(self) -> None:
        """Leave the bar standing as it is."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


class Lines:
    """A line of progress every half minute, for logs."""

    def __init__(self) -> None:
        self._last: float | None = None

    def step(self, step: TrainStep, loss: float) -> None:
        """Show a step, if it is time or the last one."""
        for text in step.notes:
            note(text)
        now = time.monotonic()
        if step.images_seen != step.total and self._last and now - self._last < _EVERY:
            return
        self._last = now
        note(
            translate(
                "train.line",
                phase=phase_name(step.phase),
                seen=step.images_seen,
                total=step.total or "?",
                rate=f"{step.images_per_second:.0f}",
                loss=f"{loss:.4f}",
            )
        )

    def close(self) -> None:
        """Nothing is left open."""
