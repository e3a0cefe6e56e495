"""`sfumato generate`: words in, PNG files out."""

from __future__ import annotations

import math
import secrets
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from sfumato.interfaces.cli.console import guarded, print_json
from sfumato.interfaces.cli.options import Debug, Device, Json
from sfumato.locale import translate


class SamplerName(str, Enum):
    """The samplers, named here so that --help need not import them; a test compares."""

    ddpm = "ddpm"
    ddim = "ddim"
    euler = "euler"
    heun = "heun"
    dpmpp2m = "dpm++2m"


class MetadataChoice(str, Enum):
    """What is written into the pictures."""

    full = "full"
    seed = "seed"
    none = "none"


@guarded
def generate(
    prompts: Annotated[
        list[str] | None, typer.Argument(metavar="PROMPT...", help="What to draw, one or more.")
    ] = None,
    prompt: Annotated[
        list[str] | None,
        typer.Option("--prompt", "-p", metavar="PROMPT", help="The same, as an option."),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="PATH",
            help="A .png file, or a folder. Without it: here, named by prompt and seed.",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", metavar="M", help="A model's or a run's folder."),
    ] = None,
    count: Annotated[
        int, typer.Option("--count", "-n", min=1, metavar="N", help="Pictures a prompt.")
    ] = 1,
    steps: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Steps from noise to picture.")
    ] = None,
    guidance_scale: Annotated[
        float | None,
        typer.Option(
            min=0, metavar="W", help="How closely to follow the prompt; 1 is no guidance."
        ),
    ] = None,
    sampler: Annotated[
        SamplerName | None,
        typer.Option(metavar="NAME", help=f"One of {', '.join(s.value for s in SamplerName)}."),
    ] = None,
    seed: Annotated[
        int, typer.Option(metavar="N", help="Same seed, same picture; negative: random.")
    ] = 0,
    negative_prompt: Annotated[
        str | None, typer.Option(metavar="T", help="What to stay away from.")
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(min=8, max=4096, metavar="PX", help="Side of the pictures, in pixels."),
    ] = None,
    device: Device = None,
    watch: Annotated[
        bool | None,
        typer.Option(
            "--watch/--no-watch",
            help="See the pictures emerge.",
            show_default="on a terminal",
            metavar="",
        ),
    ] = None,
    metadata: Annotated[
        MetadataChoice,
        typer.Option(metavar="KIND", help="Written into the picture: full, seed or none."),
    ] = MetadataChoice.full,
    sheet: Annotated[
        Path | None, typer.Option(metavar="FILE", help="All pictures on one sheet (.png), too.")
    ] = None,
    walk: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="The first one's way from noise (.gif, .webp, .png), too."
        ),
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Draw pictures from words.

    sfumato generate "red heart" writes red-heart-0.png with its settings inside.

    What is not given - steps, guidance, sampler - the model knows.
    """
    wanted = [*(prompts or []), *(prompt or [])]
    if not wanted:
        raise typer.BadParameter(translate("generate.no_prompt"))
    if guidance_scale is not None and not math.isfinite(guidance_scale):
        raise typer.BadParameter(translate("generate.scale"))
    from sfumato.interfaces.cli.drawing import Order, carry_out
    from sfumato.interfaces.cli.naming import Target

    order = Order(
        prompts=tuple(wanted),
        target=Target.of(output),  # complains before the work, not after
        model=model,
        count=count,
        steps=steps,
        guidance_scale=guidance_scale,
        sampler=sampler.value if sampler else None,
        seed=seed if seed >= 0 else secrets.randbelow(2**32),
        negative_prompt=negative_prompt,
        size=size,
        device=device,
        watch=watch,
        metadata=metadata.value,
        sheet=sheet,
        walk=walk,
        quiet=as_json,
    )
    done = carry_out(order)
    if as_json:
        print_json(done)
