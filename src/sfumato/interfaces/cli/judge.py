"""`sfumato judge`: real pictures in, a judge of pictures out."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sfumato.interfaces.cli.console import guarded, note, on_terminal, print_json
from sfumato.interfaces.cli.options import Debug, Json
from sfumato.locale import translate

if TYPE_CHECKING:
    from tqdm import tqdm


@guarded
def judge(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help=translate("help.judge.data"),
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FOLDER", help=translate("help.judge.output")),
    ] = None,
    minutes: Annotated[
        float, typer.Option(metavar="MINUTES", help=translate("help.judge.minutes"))
    ] = 10.0,
    seed: Annotated[int, typer.Option(metavar="N", help=translate("help.judge.seed"))] = 0,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Train a judge: a small network that says what a picture shows.

    sfumato judge art -o judges/art --minutes 10

    It recognises the classes of the pictures, or the captions that several share, or else each
    picture by itself.
    Give it pictures that the model to be judged was not trained on.
    """
    if output is None:
        raise typer.BadParameter(translate("judge.no_output"))
    if not (math.isfinite(minutes) and minutes > 0):
        raise typer.BadParameter(translate("train.positive", name="--minutes"))
    from sfumato.data import open_source
    from sfumato.evaluation.judge import refuse_strangers
    from sfumato.evaluation.judging import train_judge

    refuse_strangers(output)  # complains before the work, not after
    if not as_json:
        note(translate("judge.opening", data=data))
    bar = None if as_json and not on_terminal() else _Bar()
    try:
        made = train_judge(open_source(data), minutes, seed, bar)
    finally:
        if bar:
            bar.close()
    made.save(output)
    if as_json:
        print_json(
            {
                "judge": str(output),
                "hash": made.hash,
                "kind": made.about.kind,
                "labels": len(made.labels),
                "accuracy": made.accuracy,
                "training": made.about.training,
            }
        )
        return
    key = "judge.labels" if made.about.kind == "labels" else "judge.instances"
    count = int(made.accuracy["count"])
    if count:
        top1, top5 = (f"{100 * made.accuracy[name]:.1f}" for name in ("top1", "top5"))
        note(translate(key, labels=len(made.labels), count=count, top1=top1, top5=top5))
    else:
        note(translate("judge.unmeasured", labels=len(made.labels)))
    note(translate("judge.done", folder=output))


class _Bar:
    """One bar for each thing that is done; nothing where nobody watches."""

    def __init__(self) -> None:
        self._bar: tqdm[Any] | None = None
        self._phase = ""

    def __call__(self, phase: str, share: float) -> None:
        from tqdm import tqdm

        if phase != self._phase:
            self.close()
            self._phase = phase
            self._bar = tqdm(
                desc=_phase_name(phase),
                total=100,
                bar_format="{desc}: {percentage:3.0f}% |{bar}| {elapsed}<{remaining}",
                disable=None,
                leave=False,
            )
        if self._bar is not None:
            self._bar.update(max(0.0, 100 * min(share, 1.0) - self._bar.n))

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def _phase_name(phase: str) -> str:
    if phase == "reading":
        return translate("judge.reading")
    if phase == "solving":
        return translate("judge.solving")
    return translate("judge.learning")
