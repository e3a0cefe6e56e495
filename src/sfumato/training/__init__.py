"""Training: recipes, the trainer, checkpoints, forecasts.  Heavy parts load when used."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sfumato.training.run import Run
    from sfumato.training.sections import Recipe
    from sfumato.training.trainer import TrainStep

__all__ = ["train"]


def train(
    data: str | Path | None = None,
    /,
    out: str | Path = "runs/new",
    *,
    recipe: Recipe | str | Path | None = None,
    resume: bool = False,
    **sections: Any,
) -> Iterator[TrainStep]:
    """Train a text-to-image model on pictures; yields every step.

    Args:
        data: "emoji", "fashion-mnist", a folder of captioned pictures, a folder of IDX files;
            by default what the recipe names.
        out: the run's folder; its finished model is ``out/model``.
        recipe: a recipe or a TOML file to start from.
        resume: go on with the run that is in ``out``, if there is one.
        sections: changes to the recipe, ``training={"minutes": 10}``,
            ``network={"size": "tiny"}``, ``data={"resolution": 32}``.
    Raises:
        SfumatoError: at once, for a recipe, a data set or a folder that cannot be used.
        KeyboardInterrupt: after Ctrl-C, when everything is saved.
    """
    from sfumato.training.run import Run

    run = Run(data, out, recipe=recipe, resume=resume, **sections)  # refuses now, not later
    return _heard(run)


def _heard(run: Run) -> Iterator[TrainStep]:
    yield from run.steps()
    if run.interrupted:
        raise KeyboardInterrupt  # everything is saved; the program shall not go on as if done
