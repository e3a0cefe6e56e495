"""`sfumato evaluate`: how good is a model, in numbers that anyone can measure again."""

from __future__ import annotations

import math
import shlex
import sys
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sfumato.interfaces.cli.console import guarded, note, on_terminal, print_json
from sfumato.interfaces.cli.options import Debug, Device, Json
from sfumato.locale import language, messages, translate

if TYPE_CHECKING:
    from tqdm import tqdm


class Language(str, Enum):
    """Of the report's page."""

    en = "en"
    ru = "ru"


@guarded
def evaluate(
    model: Annotated[
        str | None,
        typer.Argument(metavar="MODEL", help=translate("help.evaluate.model")),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(metavar="DATA", help=translate("help.evaluate.data")),
    ] = None,
    samples: Annotated[
        int | None,
        typer.Option(min=16, metavar="N", help=translate("help.evaluate.samples")),
    ] = None,
    judge: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help=translate("help.evaluate.judge")),
    ] = None,
    minutes: Annotated[
        float, typer.Option(metavar="MINUTES", help=translate("help.evaluate.minutes"))
    ] = 10.0,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="FOLDER", help=translate("help.evaluate.output")),
    ] = Path("report"),
    seed: Annotated[int, typer.Option(metavar="N", help=translate("help.evaluate.seed"))] = 0,
    device: Device = None,
    lang: Annotated[
        Language | None,
        typer.Option(metavar="[en|ru]", help=translate("help.evaluate.lang")),
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Judge a model and write a report: one page and one JSON file.

    sfumato evaluate runs/mine --judge runs/judge -o report

    Prompts followed, distance to real pictures, copies, colours, transparency, curves, speed.
    Ctrl-C loses little: the same command goes on where it stopped.
    """
    if not (math.isfinite(minutes) and minutes > 0):
        raise typer.BadParameter(translate("evaluate.positive"))
    if not as_json:
        named = model or translate("embedded")
        note(translate("evaluate.loading", model=named, minutes=f"{minutes:g}"))
        if judge is None and not (output / "judge").is_dir():
            note(translate("evaluate.judge"))
    from sfumato.evaluation.evaluate import evaluate as work

    show = Bar() if on_terminal() else None
    try:
        report = work(
            model,
            data=data,
            judge=judge,
            minutes=minutes,
            samples=samples,
            out=output,
            seed=seed,
            device=device or "auto",
            language=lang.value if lang else language(),
            command=shlex.join(["sfumato", *sys.argv[1:]]),
            progress=show.step if show else None,
        )
    except KeyboardInterrupt:
        note(translate("evaluate.resume", folder=output))
        raise
    finally:
        if show:
            show.close()
    if as_json:
        print_json({"page": str(output / "report.html"), **report})
        return
    _summary(report)
    note(translate("evaluate.done", page=output / "report.html", numbers=output / "report.json"))


def _summary(report: dict[str, Any]) -> None:
    if "agreement" in report["parts"]:
        said = report["parts"]["agreement"]
        top = said["held-in"][said["headline"]]
        made, real = f"{top['value']:.0%}", f"{top['real']:.0%}"
        typer.echo(translate("evaluate.recognised", made=made, real=real))
    time_was_up = messages("en")["report.left.time"]
    left = [part for part, reason in report["left out"].items() if reason == time_was_up]
    if left:
        note(translate("evaluate.left", parts=", ".join(left)))


class Bar:
    """A progress bar, a new one for each phase."""

    def __init__(self) -> None:
        self._bar: tqdm[Any] | None = None
        self._phase = ""

    def step(self, phase: str, done: int, total: int) -> None:
        """Show how far a phase has come; short ones leave no trace."""
        from tqdm import tqdm

        if self._bar is None or phase != self._phase or done < self._bar.n:
            self.close()
            self._phase = phase
            self._bar = tqdm(
                desc=phase_name(phase),
                total=total,
                dynamic_ncols=True,
                file=sys.stderr,
                leave=False,
            )
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def phase_name(phase: str) -> str:
    """What a phase of the evaluation is called."""
    key = _PHASES.get(phase)
    return phase if key is None else translate(key)


_PHASES = {
    "reading": "phase.reading",
    "judge": "phase.judge",
    "looking": "phase.looking",
    "gallery": "phase.gallery",
    "held-in": "phase.held_in",
    "held-out": "phase.held_out",
    "second language": "phase.second",
    "apart": "phase.apart",
    "colours": "phase.colours",
    "other colours": "phase.other_colours",
    "speed": "phase.speed",
    "swapped": "phase.swapped",
    "guidance": "phase.guidance",
    "steps": "phase.steps",
}
