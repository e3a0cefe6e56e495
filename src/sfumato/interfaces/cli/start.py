"""`sfumato start`: from nothing to the first pictures of a model of one's own, in one command."""

from __future__ import annotations

import math
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sfumato.errors import SfumatoError
from sfumato.interfaces.cli.console import INTERRUPTED, guarded, note, print_json
from sfumato.interfaces.cli.options import Debug, Device, Json
from sfumato.locale import translate

if TYPE_CHECKING:
    from sfumato.training.sections import Recipe

FIRST = 8
"""So many pictures a newcomer sees at the end."""
MINUTES = 10.0
EMOJI = "emoji"


@guarded
def start(
    data: Annotated[
        str | None, typer.Argument(metavar="DATA", help=translate("help.start.data"))
    ] = None,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="RUN", help=translate("help.train.output")),
    ] = Path("my-model"),
    minutes: Annotated[
        float | None,
        typer.Option(
            metavar="MINUTES", help=translate("help.train.minutes"), show_default=f"{MINUTES:g}"
        ),
    ] = None,
    prompt: Annotated[
        list[str] | None,
        typer.Option("--prompt", "-p", metavar="PROMPT", help=translate("help.start.prompt")),
    ] = None,
    resolution: Annotated[
        int | None, typer.Option(min=8, max=4096, metavar="PX", help=translate("help.size"))
    ] = None,
    device: Device = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Get data, train, and draw the first pictures; what was done before is not done again."""
    if minutes is not None and not (math.isfinite(minutes) and minutes > 0):
        raise typer.BadParameter(translate("train.positive", name="--minutes"))
    finished = (output / "model" / "manifest.json").is_file()
    if data is not None or resolution is not None:
        _refuse_another(data, resolution, output, finished)
    if finished:
        if not as_json:
            note(translate("start.ready", run=output))
        if minutes is not None:
            note(translate("start.not_trained", run=output, minutes=f"{minutes:g}"))
    else:
        _train(data, output, minutes, resolution, device, as_json)
    done = _draw(output, tuple(prompt or ()), device, as_json)
    if as_json:
        print_json(done)
    else:
        note(translate("start.done", sheet=done["sheet"], run=output))


def _refuse_another(
    data: str | None, resolution: int | None, run_folder: Path, finished: bool
) -> None:
    """A model of other pictures than those that were asked for must not pass for theirs."""
    from sfumato.data import demand, same
    from sfumato.training.recipe import load_recipe

    if data is not None:
        demand(data)
    recipe = run_folder / "recipe.toml"
    if not (finished or recipe.is_file()):
        return
    kept = load_recipe(recipe).data
    if data is not None and not same(data, kept.name):
        raise SfumatoError(translate("start.another", run=run_folder, kept=kept.name, data=data))
    if finished and resolution not in (None, kept.resolution):
        raise SfumatoError(
            translate("start.another_size", run=run_folder, kept=kept.resolution, size=resolution)
        )


def _train(
    data: str | None,
    run_folder: Path,
    minutes: float | None,
    resolution: int | None,
    device: str | None,
    quiet: bool,
) -> None:
    """A new run, or the rest of one that was stopped; Ctrl-C saves it and ends the command."""
    goes_on = (run_folder / "recipe.toml").is_file()
    if not quiet:
        if not goes_on:
            note(translate("start.data", data=data or EMOJI))
        note(translate("train.preparing"))
    from sfumato.interfaces.cli.progress import follow
    from sfumato.training.run import Run

    training: dict[str, Any] = {"device": device} if device else {}
    pictures = {"resolution": resolution} if resolution else {}
    if goes_on:
        training |= {"minutes": minutes} if minutes else {}
        run = Run(data, run_folder, resume=True, data=pictures, training=training)
    else:
        data = data or EMOJI
        run = Run(
            data,
            run_folder,
            data=pictures,
            # what a newcomer waits for is small; the emoji have their autoencoder already
            network={} if data == EMOJI else {"size": "tiny"},
            start={"model": "embedded", "take": ("autoencoder",)} if data == EMOJI else {},
            training={"minutes": minutes or MINUTES, **training},
        )
    done = follow(run, quiet=quiet)
    if done["interrupted"]:
        if quiet:
            print_json(done)
        else:
            note(translate("start.again", run=run_folder))
        raise typer.Exit(INTERRUPTED)


def _draw(
    run_folder: Path, prompts: tuple[str, ...], device: str | None, quiet: bool
) -> dict[str, Any]:
    """The first pictures, one a prompt, and all of them on a sheet."""
    from sfumato.interfaces.cli.drawing import Order, carry_out
    from sfumato.interfaces.cli.naming import Target
    from sfumato.training.recipe import load_recipe

    recipe = load_recipe(run_folder / "recipe.toml")
    folder = run_folder / "pictures"
    order = Order(
        prompts=prompts or _prompts(recipe),
        target=Target(folder),
        model=str(run_folder),
        count=1,
        steps=None,
        guidance_scale=None,
        sampler=None,
        seed=0,
        negative_prompt=None,
        size=None,
        device=device,
        watch=None,
        metadata="full",
        sheet=_free(folder, "first"),
        walk=None,
        quiet=quiet,
    )
    return carry_out(order)


def _free(folder: Path, stem: str) -> Path:
    """Nothing that was drawn before is replaced: the name gets -2, -3 and so on."""
    names = (f"{stem}.png" if number == 1 else f"{stem}-{number}.png" for number in count(1))
    return next(path for name in names if not (path := folder / name).exists())


def _prompts(recipe: Recipe) -> tuple[str, ...]:
    """What the model may be asked for: things that its pictures show."""
    from sfumato.data import open_source
    from sfumato.training.samples import prompts_for

    source = open_source(recipe.data.name, recipe.data.resolution, recipe.data.channels)
    # a sheet has two rows at most; a caption that several pictures share is asked for once
    return tuple(dict.fromkeys(prompts_for(recipe, source)))[:FIRST]
