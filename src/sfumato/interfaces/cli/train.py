"""`sfumato train`: pictures in, a model of one's own out."""

from __future__ import annotations

import math
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from sfumato.errors import SfumatoError
from sfumato.interfaces.cli.console import INTERRUPTED, guarded, note, print_json
from sfumato.interfaces.cli.options import Debug, Device, Json, choice
from sfumato.locale import translate


class Size(str, Enum):
    """The dial."""

    tiny = "tiny"
    small = "small"
    base = "base"
    large = "large"


class NetworkName(str, Enum):
    """The networks, named here so that --help need not import them; a test compares."""

    patch_transformer = "patch-transformer"
    patch_unet = "patch-unet"
    unet = "unet"
    tiny_unet = "tiny-unet"
    context_unet = "context-unet"
    matryoshka = "matryoshka"


class TextEncoder(str, Enum):
    """What reads the prompts: the names of classes, or one of the encoders of free text."""

    labels = "labels"
    tfidf = "tfidf"
    scratch = "scratch"
    sentence = "sentence"
    t5 = "t5"
    clip = "clip"


PRETRAINED = {TextEncoder.sentence, TextEncoder.t5, TextEncoder.clip}


class Part(str, Enum):
    """What can be kept from learning; an autoencoder that is taken from a model never learns."""

    text = "text"
    network = "network"
    inner = "inner"


class Taken(str, Enum):
    """What a model can lend to a run that begins with it."""

    autoencoder = "autoencoder"
    text = "text"
    network = "network"


@guarded
def train(
    data: Annotated[
        str | None, typer.Argument(metavar="DATA", help=translate("help.train.data"))
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="RUN", help=translate("help.train.output")),
    ] = None,
    size: Annotated[Size | None, choice(Size, help=translate("help.train.size"))] = None,
    network: Annotated[
        NetworkName | None, choice(NetworkName, help=translate("help.train.network"))
    ] = None,
    num_levels: Annotated[
        int | None, typer.Option(min=1, max=4, metavar="[1-4]", help=translate("help.train.levels"))
    ] = None,
    text_encoder: Annotated[
        TextEncoder | None, choice(TextEncoder, help=translate("help.train.text_encoder"))
    ] = None,
    text_model: Annotated[
        str | None, typer.Option(metavar="MODEL", help=translate("help.train.text_model"))
    ] = None,
    template: Annotated[
        str | None, typer.Option(metavar="TEXT", help=translate("help.train.template"))
    ] = None,
    images: Annotated[
        int | None, typer.Option(min=1, metavar="N", help=translate("help.train.images"))
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(metavar="MINUTES", help=translate("help.train.minutes"))
    ] = None,
    target_loss: Annotated[
        float | None, typer.Option(min=0, metavar="LOSS", help=translate("help.train.target_loss"))
    ] = None,
    resolution: Annotated[
        int | None, typer.Option(min=8, max=4096, metavar="PX", help=translate("help.size"))
    ] = None,
    channels: Annotated[
        int | None, typer.Option(metavar="[1|3|4]", help=translate("help.train.channels"))
    ] = None,
    recolour: Annotated[
        bool,
        typer.Option("--recolour", "--recolor", metavar="", help=translate("help.train.recolour")),
    ] = False,
    batch_size: Annotated[
        int | None, typer.Option(min=1, metavar="N", help=translate("help.train.batch"))
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option(metavar="RATE", help=translate("help.train.rate"))
    ] = None,
    seed: Annotated[
        int | None, typer.Option(metavar="N", help=translate("help.train.seed"))
    ] = None,
    device: Device = None,
    resume: Annotated[
        bool, typer.Option("--resume", metavar="", help=translate("help.train.resume"))
    ] = False,
    start: Annotated[
        str | None, typer.Option("--from", metavar="MODEL", help=translate("help.train.from"))
    ] = None,
    init_inner: Annotated[
        str | None, typer.Option(metavar="RUN", help=translate("help.train.inner"))
    ] = None,
    take: Annotated[list[Taken] | None, choice(Taken, help=translate("help.train.take"))] = None,
    freeze: Annotated[list[Part] | None, choice(Part, help=translate("help.train.freeze"))] = None,
    resume_from: Annotated[
        str | None, typer.Option("--resume-from-checkpoint", hidden=True)
    ] = None,
    recipe: Annotated[
        Path | None, typer.Option(metavar="FILE", help=translate("help.train.recipe"))
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Train a text-to-image model; what is not given, --size and the data decide."""
    if resume_from not in (None, "latest"):
        raise typer.BadParameter(translate("train.only_latest"))
    if output is None:
        raise typer.BadParameter(translate("train.no_output"))
    if data is None and not (resume or resume_from or recipe):
        raise typer.BadParameter(translate("train.no_data"))
    if channels not in (None, 1, 3, 4):
        raise typer.BadParameter(translate("train.channels"))
    if (freeze or take) and not (start or init_inner or recipe):
        raise typer.BadParameter(translate("train.freeze_what"))
    if text_model and text_encoder not in PRETRAINED and not (recipe or resume):
        raise typer.BadParameter(translate("train.text_model_what"))
    for name, value in (("--minutes", minutes), ("--learning-rate", learning_rate)):
        if value is not None and not (math.isfinite(value) and value > 0):
            raise typer.BadParameter(translate("train.positive", name=name))
    sections: dict[str, dict[str, Any]] = {
        "data": {"resolution": resolution, "channels": channels, "recolour": recolour or None},
        "start": {
            "model": _absolute(start),
            "inner": _absolute(init_inner),
            "take": [part.value for part in take] if take else None,
            "freeze": [part.value for part in freeze] if freeze else None,
        },
        "network": {
            "size": size.value if size else None,
            "name": network.value if network else None,
            "levels": num_levels,
        },
        "conditioning": {**_conditioning(text_encoder, text_model), "template": template},
        "training": {
            "images": images,
            "minutes": minutes,
            "target_loss": target_loss,
            "batch_size": batch_size,
            "learning_rate": learning_rate,
            "seed": seed,
            "device": device,
        },
    }
    given = {
        name: stated
        for name, fields in sections.items()
        if (stated := {key: value for key, value in fields.items() if value is not None})
    }
    if not as_json:
        note(translate("train.preparing"))
    goes_on = resume or resume_from is not None
    if data is None and recipe is None and not (output / "recipe.toml").is_file():
        raise SfumatoError(translate("train.no_run", run=output))
    from sfumato.interfaces.cli.progress import follow
    from sfumato.training.run import Run

    run = Run(data, output, recipe=recipe, resume=goes_on, **given)
    done = follow(run, quiet=as_json)
    if as_json:
        print_json(done)
    if done["interrupted"]:
        raise typer.Exit(INTERRUPTED)


def _conditioning(encoder: TextEncoder | None, model: str | None) -> dict[str, str | None]:
    if encoder is TextEncoder.labels:  # instead of one that a recipe names
        return {"kind": "labels", "encoder": "scratch"}
    said: dict[str, str | None] = {"model": _absolute(model)}
    if model and "@" in model and not Path(model).expanduser().exists():  # a hub's revision
        said["model"], _, said["revision"] = model.partition("@")
    if encoder is not None:
        said |= {"kind": "text", "encoder": encoder.value}
    return said


def _absolute(model: str | None) -> str | None:
    """A run may be resumed from another folder; a name that is no folder stays a name."""
    if model is None or not Path(model).expanduser().exists():
        return model
    return str(Path(model).expanduser().resolve())
