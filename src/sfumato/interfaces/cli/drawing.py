"""What `sfumato generate` does once the command line is understood: load, sample, save."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from sfumato import __version__
from sfumato.errors import SfumatoError
from sfumato.interfaces.cli.console import note, on_terminal
from sfumato.interfaces.cli.naming import Target
from sfumato.interfaces.cli.watch import counted, watched
from sfumato.locale import translate
from sfumato.pictures.files import write_whole
from sfumato.pictures.metadata import Metadata, Settings
from sfumato.pictures.sheet import as_png, fit
from sfumato.pictures.sheet import sheet as make_sheet
from sfumato.pictures.strip import check_walk, save_walk
from sfumato.pictures.terminal import Colours, colours, dark, preview, room

if TYPE_CHECKING:
    from PIL import Image

    from sfumato.diffusion import Step
    from sfumato.model import TextToImage


@dataclass(frozen=True)
class Order:
    """The understood command line; None leaves a choice to the model."""

    prompts: tuple[str, ...]
    target: Target
    model: str | None
    count: int
    steps: int | None
    guidance_scale: float | None
    sampler: str | None
    seed: int
    negative_prompt: str | None
    size: int | None
    device: str | None
    watch: bool | None
    metadata: Metadata
    sheet: Path | None
    walk: Path | None
    quiet: bool


@dataclass
class Walk:
    """What sampling leaves: finished pictures, and the first one's way if it is wanted.

    Attributes:
        frames: of the way, and ``below``: one list a lower level of a matryoshka.
    """

    pictures: list[Image.Image] = field(default_factory=list)
    evaluations: int = 0
    frames: list[Image.Image] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    below: list[list[Image.Image]] = field(default_factory=list)

    def passed(self, levels: list[list[Image.Image]], time: float) -> None:
        """Note what stood at a time on the first picture's way, the highest level first."""
        self.below = self.below or [[] for _ in levels[1:]]
        for frames, (picture, *_) in zip([self.frames, *self.below], levels, strict=True):
            frames.append(picture)
        self.times.append(time)


def carry_out(order: Order) -> dict[str, Any]:
    """Draw and save; returns what `--json` prints.

    Raises:
        SfumatoError: from the model and from saving, in one sentence.
    """
    if order.walk:
        check_walk(order.walk)
    if order.sheet and order.sheet.suffix.lower() != ".png":
        raise SfumatoError(translate("generate.sheet", name=order.sheet.name))
    say = (lambda text: None) if order.quiet else note
    clock = [time.perf_counter()]
    if order.model:
        _demand_model(Path(order.model).expanduser())
    say(translate("generate.loading", model=order.model or translate("embedded")))
    import torch

    import sfumato
    from sfumato.interfaces.cli.remarks import remarks
    from sfumato.training.machine import threads_allowed

    torch.set_num_threads(threads_allowed())
    model = sfumato.load(order.model, device=order.device or "auto")
    clock.append(time.perf_counter())
    chosen = {
        name: model.defaults[name] if getattr(order, name) is None else getattr(order, name)
        for name in ("steps", "guidance_scale", "sampler")
    }
    notes = remarks(model, order.prompts, order.negative_prompt, chosen["guidance_scale"])
    for one in notes:
        say(one)
    number = len(order.prompts) * order.count
    say(translate("generate.sampling", number=number, seed=order.seed, **chosen))
    walk = _sample(model, order, chosen)
    clock.append(time.perf_counter())
    saved = _save(order, chosen, walk, model)
    more = _save_more(order, walk)
    clock.append(time.perf_counter())
    load, sample, save = (round(b - a, 3) for a, b in pairwise(clock))
    say(translate("generate.done", load=f"{load:.1f}", sample=f"{sample:.1f}", save=f"{save:.1f}"))
    return {
        "pictures": saved,
        **more,
        "model": order.model or "embedded",
        **chosen,
        "evaluations": walk.evaluations,
        "notes": notes,
        "seconds": {"load": load, "sample": sample, "save": save},
    }


def _sample(model: TextToImage, order: Order, chosen: dict[str, Any]) -> Walk:
    """Walk from noise to pictures, shown as the terminal and the order allow."""
    kind = Colours.NOTHING if order.quiet else colours()
    live = order.watch is not False and kind is not Colours.NOTHING
    walk = Walk()
    for steps in _parts(model, order, chosen):
        if live:
            steps = watched(steps, chosen["steps"], lambda step: model.pictures(step.x0), kind)
        elif on_terminal() and not order.quiet:
            steps = counted(steps, chosen["steps"])
        first = not walk.pictures
        for step in steps:
            if order.walk and first:
                walk.passed(model.levels(step.x0[:1]), step.t)
        if order.walk and first:
            walk.passed(model.levels(step.x[:1]), step.s)
        walk.evaluations = step.evaluations
        side = order.size or model.size
        walk.pictures += [fit(picture, side) for picture in model.pictures(step.x)]
    if kind is not Colours.NOTHING and not live:
        for line in preview(walk.pictures, kind, *room(), dark()):
            note(line)
    return walk


def _parts(model: TextToImage, order: Order, chosen: dict[str, Any]) -> Iterator[Iterable[Step]]:
    """The walks of all pictures, so many together as memory allows."""
    from sfumato.architecture import latent_shape
    from sfumato.diffusion import start
    from sfumato.model import AT_ONCE

    wanted = [(prompt, index) for prompt in order.prompts for index in range(order.count)]
    for first in range(0, len(wanted), AT_ONCE):
        prompts, indices = zip(*wanted[first : first + AT_ONCE], strict=True)
        noise = start(latent_shape(model.recipe), indices, order.seed)
        yield model.stream(
            list(prompts),
            seed=order.seed,
            negative_prompt=order.negative_prompt,
            state=replace(noise, x=noise.x.to(model.device)),
            **chosen,
        )


def _save(
    order: Order, chosen: dict[str, Any], walk: Walk, model: TextToImage
) -> list[dict[str, Any]]:
    """Save every picture with its settings; prints the paths unless the order is quiet."""
    from sfumato.card import told_card

    name = told_card(model.recipe, model.card).get("name", Path(order.model or "embedded").name)
    saved: list[dict[str, Any]] = []
    for number, picture in enumerate(walk.pictures):
        which, index = divmod(number, order.count)
        settings = Settings(
            prompt=order.prompts[which],
            negative_prompt=order.negative_prompt or "",
            seed=order.seed,
            index=index,
            width=picture.width,
            height=picture.height,
            model=str(name),
            version=__version__,
            **chosen,
        )
        path = order.target.save(picture, settings, order.metadata, number, len(walk.pictures))
        saved.append(
            {"path": str(path), "prompt": settings.prompt, "seed": settings.seed, "index": index}
        )
        if not order.quiet:
            typer.echo(translate("generate.saved", path=path))
    return saved


def _save_more(order: Order, walk: Walk) -> dict[str, str]:
    """Save the sheet and the way from noise, if they are wanted; gives their paths by name."""
    saved: dict[str, str] = {}
    if order.sheet:
        labels = [prompt for prompt in order.prompts for _ in range(order.count)]
        whole = make_sheet(walk.pictures, labels, columns=order.count if order.count > 1 else None)
        write_whole(order.sheet, as_png(whole))
        saved["sheet"] = str(order.sheet)
    if order.walk:
        save_walk(order.walk, walk.frames, walk.times, walk.below)
        saved["walk"] = str(order.walk)
    for path in saved.values() if not order.quiet else ():
        typer.echo(translate("generate.saved", path=path))
    return saved


def _demand_model(folder: Path) -> None:
    """Refuse a folder that is neither a model's nor a run's before seconds go into libraries."""
    signs = ("manifest.json", "model/manifest.json", "recipe.toml")
    if not any((folder / name).is_file() for name in signs):
        raise SfumatoError(translate("generate.no_model", model=folder))
