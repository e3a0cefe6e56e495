"""Reading, checking and writing training recipes: plain TOML; `law` fills what they leave open."""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import ValidationError

from sfumato.errors import SfumatoError
from sfumato.training.sections import Recipe

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def recipe_of(settings: Mapping[str, Any]) -> Recipe:
    """A recipe from nested settings, ``{"training": {"images": 1000}}``; the rest by default.

    Raises SfumatoError that names each wrong field, its value, and what is allowed.
    """
    try:
        return Recipe.model_validate(dict(settings))
    except ValidationError as error:
        raise SfumatoError(_explain(error, settings)) from error


def changed(recipe: Recipe, **sections: Mapping[str, Any]) -> Recipe:
    """The recipe with some fields replaced: ``changed(recipe, training={"images": 1000})``."""
    merged = recipe.model_dump()
    for name, fields in sections.items():
        merged[name] = {**merged.get(name, {}), **fields}
    return recipe_of(merged)


def load_recipe(path: str | Path) -> Recipe:
    """Read a TOML recipe. Raises SfumatoError if it is missing, not TOML, or not allowed."""
    path = Path(path)
    try:
        settings = tomllib.loads(path.read_bytes().decode("utf-8"))
    except OSError as error:
        raise SfumatoError(
            f"The recipe {path} cannot be read: {error.strerror}. Check the path."
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SfumatoError(
            f"The recipe {path} is not valid TOML: {error}. Correct that line."
        ) from error
    try:
        return recipe_of(settings)
    except SfumatoError as error:
        raise SfumatoError(f"In the recipe {path}: {error}") from error


def save_recipe(recipe: Recipe, path: str | Path) -> None:
    """Write a recipe as TOML, whole or not at all; fields that are None are left out."""
    path = Path(path)
    beside = path.with_name(f".{path.name}.partial")
    try:
        # Bytes, so that Windows does not translate line ends and the file is the same everywhere.
        beside.write_bytes(tomli_w.dumps(recipe.model_dump(exclude_none=True)).encode("utf-8"))
        os.replace(beside, path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise SfumatoError(
            f"The recipe {path} cannot be written: {error.strerror}. Choose another folder."
        ) from error


def _explain(error: ValidationError, settings: Mapping[str, Any]) -> str:
    """Every wrong field once: its name, its value, and what is allowed."""
    unknown: list[str] = []
    wrong: dict[str, list[str]] = {}  # what is allowed; a union of types reports each of them
    for one in error.errors(include_url=False):
        loc = [str(part) for part in one["loc"][:2]]
        if one["type"] == "extra_forbidden":
            unknown.append(_unknown(loc))
            continue
        value: Any = settings
        for part in loc:
            value = value[part]
        wrong.setdefault(f"{'.'.join(loc)} = {value!r}", []).append(_allowed(one))
    told = [f"{said} is not allowed, it must be {' or '.join(ok)}" for said, ok in wrong.items()]
    return "; ".join(told + unknown) + "."


def _allowed(one: Any) -> str:
    if one["type"] == "literal_error":
        return str(one["ctx"]["expected"])
    if one["type"] == "model_type":
        return "a section of settings"
    if one["type"] == "bool_type":
        return "true or false"
    if one["type"] == "string_pattern_mismatch":
        return f"a text with {one['ctx']['pattern']} in it".replace("\\", "")
    text = str(one["msg"]).removeprefix("Input should be ")
    return text.replace("a valid integer", "a whole number").replace("a valid ", "a ")


def _unknown(loc: list[str]) -> str:
    sections = {name: type(getattr(Recipe(), name)) for name in Recipe.model_fields}
    known = list(sections) if len(loc) == 1 else list(sections[loc[0]].model_fields)
    near = difflib.get_close_matches(loc[-1], known, n=1)
    hint = f"did you mean {near[0]!r}" if near else f"known are {', '.join(known)}"
    return f"{'.'.join(loc)} is not a field of a recipe: {hint}"
