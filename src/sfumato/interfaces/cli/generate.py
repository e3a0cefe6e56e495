"""`sfumato generate`: words in, PNG files out."""

from __future__ import annotations

import math
import secrets
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from sfumato.interfaces.cli.console import guarded, print_json
from sfumato.interfaces.cli.options import Debug, Device, Json, choice
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
        list[str] | None,
        typer.Argument(metavar="PROMPT...", help=translate("help.generate.prompts")),
    ] = None,
    prompt: Annotated[
        list[str] | None,
        typer.Option("--prompt", "-p", metavar="PROMPT", help=translate("help.generate.prompt")),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="PATH", help=translate("help.generate.output")),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", metavar="MODEL", help=translate("help.generate.model")),
    ] = None,
    count: Annotated[
        int,
        typer.Option("--count", "-n", min=1, metavar="N", help=translate("help.generate.count")),
    ] = 1,
    steps: Annotated[
        int | None, typer.Option(min=1, metavar="N", help=translate("help.generate.steps"))
    ] = None,
    guidance_scale: Annotated[
        float | None, typer.Option(min=0, metavar="SCALE", help=translate("help.generate.scale"))
    ] = None,
    sampler: Annotated[
        SamplerName | None, choice(SamplerName, help=translate("help.generate.sampler"))
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help=translate("help.generate.seed"))] = 0,
    negative_prompt: Annotated[
        str | None, typer.Option(metavar="TEXT", help=translate("help.generate.negative"))
    ] = None,
    size: Annotated[
        int | None, typer.Option(min=8, max=4096, metavar="PX", help=translate("help.size"))
    ] = None,
    device: Device = None,
    watch: Annotated[
        bool | None,
        typer.Option(
            "--watch/--no-watch",
            help=translate("help.generate.watch"),
            show_default=translate("help.generate.on_terminal"),
            metavar="",
        ),
    ] = None,
    metadata: Annotated[
        MetadataChoice,
        choice(MetadataChoice, help=translate("help.generate.metadata")),
    ] = MetadataChoice.full,
    sheet: Annotated[
        Path | None, typer.Option(metavar="FILE", help=translate("help.generate.sheet"))
    ] = None,
    walk: Annotated[
        Path | None, typer.Option(metavar="FILE", help=translate("help.generate.walk"))
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Draw pictures from words."""
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
