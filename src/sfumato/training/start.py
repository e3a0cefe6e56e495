"""Before the first step: which recipe a run follows, and the folder it lives in."""

from __future__ import annotations

import hashlib
import json
import operator
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from accelerate import PartialState

from sfumato.conditioning.vocabulary import TOKENIZER
from sfumato.data import lasting, same
from sfumato.data.checking.health import FEW
from sfumato.data.example import Source
from sfumato.errors import SfumatoError
from sfumato.locale import translate
from sfumato.training import files, words
from sfumato.training.fitting import check_freeze, check_network
from sfumato.training.inherit import inherited, on_top, origin, rehearse
from sfumato.training.law import resolve
from sfumato.training.machine import bf16_pays
from sfumato.training.place import demand_place
from sfumato.training.prepare import demand_classes, kind_of, texts_of
from sfumato.training.processes import agreed
from sfumato.training.recipe import changed, load_recipe, save_recipe
from sfumato.training.sections import Recipe, told

RECIPE = "recipe.toml"
FREE = {
    "device", "images", "keep", "log_every_images", "minutes", "sample_every_images",
    "save_every_images", "save_every_minutes", "target_loss", "tensorboard", "threads",
}  # fmt: skip
"""Of the section ``training``, what a resumed run may change: how long, where, what is written."""
DATA = "data.json"
SAMPLE = 64
"""Pictures that are compared when a run is resumed."""


def recipe_for(
    folder: Path,
    data: str | Path | None,
    recipe: Recipe | str | Path | None,
    resume: bool,
    sections: Mapping[str, Any],
) -> Recipe:
    """The recipe asked for, or on resuming the run's own.

    Args:
        data: what the data set is called; None for the recipe's.
        sections: changes to the recipe; ``data`` may also be the name of the data set.
    Raises:
        SfumatoError: if a new run would overwrite one or has no folder of its own, or if a
            resumed one would become another.
    """
    kept = folder / RECIPE
    if isinstance(recipe, str | Path):
        recipe = load_recipe(recipe)
    named = dict(sections)
    if isinstance(named.get("data"), str | Path):
        data = named.pop("data")
    for name, fields in named.items():
        if not isinstance(fields, Mapping):
            raise SfumatoError(
                f"{name} = {fields!r} is no section of a recipe.{_home(name, fields)}"
            )
    if data is not None:
        named["data"] = {"name": lasting(data), **named.get("data", {})}
    if not kept.exists():
        asked = changed(recipe or Recipe(), **named)
        demand_place(folder, asked.data.name)
        return _begun(asked, recipe, named)
    if not resume:
        raise SfumatoError(
            f"There is a run in {folder} already. "
            "Add --resume to go on with it, or choose another folder."
        )
    given = load_recipe(kept)
    wishes = recipe.model_dump(exclude_unset=True) if recipe else {}
    for name, fields in named.items():
        wishes[name] = {**wishes.get(name, {}), **fields}
    _refuse_another(folder, given, wishes)
    own = sections.get("training", {})
    free = {field: own[field] for field in FREE & own.keys() if own[field] is not None}
    if "minutes" in free and "images" not in free:
        free["images"] = None  # those in the recipe were planned for the minutes of that time
    return changed(given, training=free)


def _begun(asked: Recipe, recipe: Recipe | None, named: Mapping[str, Any]) -> Recipe:
    """The recipe of a new run: where it starts from a model, the model's, and then the wishes."""
    parts = origin(asked.start)
    check_freeze(asked.start)
    if parts is None:
        return asked
    wishes = recipe.model_dump(exclude_unset=True) if recipe else {}
    for name, fields in named.items():
        wishes[name] = {**wishes.get(name, {}), **fields}
    model = inherited(parts, asked.start, asked.network.levels)
    check_network(model, asked.start, wishes)
    return on_top(model, wishes)


def _home(field: str, value: Any) -> str:
    homes = [name for name, section in Recipe() if field in type(section).model_fields]
    return f" Did you mean {homes[0]}={{{field!r}: {value!r}}}?" if homes else ""


def _refuse_another(folder: Path, given: Recipe, wishes: dict[str, dict[str, Any]]) -> None:
    """Every field wished for must be as it is, or free, or left open."""
    asked, mine = changed(given, **wishes).model_dump(), given.model_dump()
    for name, fields in wishes.items():
        for field, wish in fields.items():
            if wish is None or wish == "auto" or (name == "training" and field in FREE):
                continue
            is_name = (name, field) == ("data", "name")
            equal = same if is_name else operator.eq
            if not equal(asked[name][field], mine[name][field]):
                raise SfumatoError(
                    f"The run in {folder} has {name}.{field} = {mine[name][field]}, not {wish}. "
                    "Resume it as it is, or start a new run in another folder."
                )


def settled(
    recipe: Recipe, source: Source, company: PartialState, kept: bool = False
) -> tuple[Recipe, list[str]]:
    """The recipe with nothing left open, and what a person should know about it.

    Args:
        kept: whether it is that of a run that is there already.
    """
    notes = []
    template = recipe.conditioning.template
    if template and not source.classes:
        recipe = changed(recipe, conditioning={"template": None})
        notes.append(translate("train.template", data=source.name, template=template))
    device: str = company.device.type
    precision: str = recipe.training.precision
    if precision == "auto":
        pays, why = bf16_pays(device)
        _, _, pays = agreed(company, False, 0.0, pays)  # measured, so it may differ
        precision = "bf16" if pays else "fp32"
        notes.append(translate("train.precision", precision=precision, why=why))
    kind: Literal["text", "labels", "none"] | None = None
    if recipe.conditioning.kind == "auto":
        # an encoder or a sentence that is named is wanted, also for the names of classes
        named = recipe.conditioning.encoder != "scratch" or (template and source.classes)
        kind = "text" if named and kind_of(source) != "none" else kind_of(source)
    elif recipe.conditioning.kind == "text":
        _can_be_read(recipe, source)
    elif recipe.conditioning.kind == "labels":
        demand_classes(source)  # long before they are needed
    recipe = resolve(
        changed(recipe, training={"precision": precision, "device": device}),
        channels=source.channels,
        resolution=source.size,
        conditioning=kind,
        strict=not kept,
    )
    return recipe, notes


def _can_be_read(recipe: Recipe, source: Source) -> None:
    """Words that are taken from a model need none of the data's; others must come from them."""
    start = recipe.start
    if (start.model or start.inner) and "text" in start.take:
        return
    if not any(text.strip() for i in range(len(source)) for text in texts_of(source[i])):
        raise SfumatoError(
            f"{source.name} has nothing to read: no picture has a caption or a class. "
            f"Leave {told('conditioning.kind')} out, or add captions."
        )


def begin(folder: Path, recipe: Recipe, source: Source, company: PartialState) -> list[str]:
    """Make the folder and write down recipe and data report; returns the report if it matters.

    Raises:
        SfumatoError: before anything is written, if the text encoder cannot be had or the model
            to begin with does not fit; if the run in the folder was begun with other pictures.
    """
    classes = demand_classes(source) if recipe.conditioning.kind == "labels" else ()
    begun = rehearse(recipe, origin(recipe.start, folder), classes)
    words.ensure(recipe, folder / TOKENIZER)  # long before it is needed
    report = source.report()
    company.wait_for_everyone()  # all have read what is there
    if company.is_main_process:
        folder.mkdir(parents=True, exist_ok=True)
        same_data(folder, company, pictures=len(source), sample=_digest(source))
        save_recipe(recipe, folder / RECIPE)
        files.replace_bytes(folder / "data-report.txt", report.text(limit=10_000).encode())
    company.wait_for_everyone()
    notes = begun + ([report.text()] if report.problems else [])
    if len(source) < FEW:
        notes.append(translate("train.few", count=len(source)))
    return notes


def _digest(source: Source) -> str:
    """By which the same pictures are recognised: a hash of some of them, evenly spread."""
    count = min(SAMPLE, len(source))
    sha = hashlib.sha256()
    for i in range(count):
        sha.update(source[i * len(source) // count].image.tobytes())
    return sha.hexdigest()


def same_data(folder: Path, company: PartialState, **facts: int | str) -> None:
    """Keep facts about the data in the run's folder, or compare them with those kept there.

    A picture more or less would give every later step other pictures and captions.

    Raises:
        SfumatoError: if they differ.
    """
    path = folder / DATA
    try:
        kept = dict(json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError):
        kept = {}
    for name, fact in facts.items():
        if kept.get(name, fact) != fact:
            seen = f" ({name}: {kept[name]}, now {fact})" if isinstance(fact, int) else ""
            raise SfumatoError(
                f"The data have changed since the run in {folder} began{seen}. "
                "Put them back as they were, or start a new run in another folder."
            )
    if company.is_main_process and not facts.keys() <= kept.keys():
        files.replace_bytes(path, json.dumps({**kept, **facts}, indent=1).encode())
