"""Before the first step: which recipe a run follows, and the folder it lives in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sfumato.data.example import Source
from sfumato.errors import SfumatoError
from sfumato.training import files
from sfumato.training.machine import bf16_pays
from sfumato.training.prepare import kind_of
from sfumato.training.recipe import changed, load_recipe, resolve, save_recipe
from sfumato.training.sections import Recipe

RECIPE = "recipe.toml"
FREE = {"images", "minutes", "threads"}
"""What a resumed run may change: how long, and on how many cores."""


def recipe_for(
    folder: Path,
    data: str,
    recipe: Recipe | str | Path | None,
    resume: bool,
    sections: dict[str, dict[str, Any]],
) -> Recipe:
    """The recipe asked for, or on resuming the run's own.

    Raises:
        SfumatoError: if a new run would overwrite one, or a resumed one become another.
    """
    kept = folder / RECIPE
    if kept.exists() and resume:
        given = load_recipe(kept)
        for name, fields in sections.items():
            for field, value in fields.items():
                mine = getattr(getattr(given, name, None), field, None)
                if mine != value and not (name == "training" and field in FREE):
                    raise SfumatoError(
                        f"The run in {folder} has {name}.{field} = {mine}, not {value}. "
                        "Resume it as it is, or start a new run in another folder."
                    )
        return changed(given, **sections)
    if kept.exists():
        raise SfumatoError(
            f"There is a run in {folder} already. "
            "Add --resume to go on with it, or choose another folder."
        )
    if isinstance(recipe, str | Path):
        recipe = load_recipe(recipe)
    named = {**sections, "data": {"name": data, **sections.get("data", {})}}
    return changed(recipe or Recipe(), **named)


def settled(recipe: Recipe, source: Source, device: str) -> tuple[Recipe, list[str]]:
    """The recipe with nothing left open, and what a person should know about it."""
    notes = []
    precision: str = recipe.training.precision
    if precision == "auto":
        pays, why = bf16_pays(device)
        precision = "bf16" if pays else "fp32"
        notes.append(f"Training in {precision}: {why}")
    kind = kind_of(source) if recipe.conditioning.kind == "auto" else None
    recipe = resolve(
        changed(recipe, training={"precision": precision, "device": device}),
        channels=source.channels,
        resolution=source.size,
        conditioning=kind,
    )
    return recipe, notes


def begin(folder: Path, recipe: Recipe, source: Source) -> list[str]:
    """Make the folder and write down recipe and data report; returns the report if it matters."""
    folder.mkdir(parents=True, exist_ok=True)
    save_recipe(recipe, folder / RECIPE)
    report = source.report()
    files.replace_bytes(folder / "data-report.txt", report.text(limit=10_000).encode())
    return [report.text()] if report.problems else []
