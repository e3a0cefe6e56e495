"""The facts that `sfumato info` shows, and their layout."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sfumato.errors import SfumatoError
from sfumato.locale import translate

if TYPE_CHECKING:
    from sfumato.storage import Opened


def facts_of(what: str | None) -> dict[str, Any]:
    """What is known of a model folder, a run, a picture, or (None) the embedded model.

    Raises:
        SfumatoError: if it is none of these, or is damaged.
    """
    if what is None:
        from sfumato.storage import EMBEDDED

        with as_file(files("sfumato").joinpath(EMBEDDED)) as folder:
            return _model(folder)
    path = Path(what).expanduser()
    if path.is_file():
        return _picture(path)
    if (path / "recipe.toml").is_file():
        return _run(path)
    return _model(path)


def without_idle(facts: dict[str, Any]) -> dict[str, Any]:
    """The facts without those settings of the recipe that this model makes no use of."""
    recipe = dict(facts.get("recipe", {}))
    if recipe.get("latent", {}).get("use") is False:
        recipe["latent"] = {"use": False}
    conditioning = dict(recipe.get("conditioning", {}))
    kind, encoder = conditioning.get("kind"), conditioning.get("encoder")
    idle: set[str] = set()
    if kind in ("labels", "none"):
        idle = {"encoder", "model", "revision", "vocabulary", "features", "tokens", "layers"}
    else:
        idle |= set() if encoder == "scratch" else {"vocabulary", "layers"}
        idle |= set() if encoder == "tfidf" else {"features"}
    if conditioning:
        recipe["conditioning"] = {k: v for k, v in conditioning.items() if k not in idle}
    return {**facts, "recipe": recipe} if recipe else facts


def lines_of(facts: dict[str, Any], indent: str = "") -> Iterator[str]:
    """The facts for people: nested ones indented, lists in one line."""
    wide = max((len(key) for key, value in facts.items() if not isinstance(value, dict)), default=0)
    for key, value in facts.items():
        if isinstance(value, dict):
            yield f"{indent}{key}"
            yield from lines_of(value, indent + "  ")
        elif value not in (None, "", []):
            text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            yield f"{indent}{key:<{wide}}  {text}"


def _model(folder: Path) -> dict[str, Any]:
    from sfumato.data.sources.emoji import STYLES
    from sfumato.storage import opened, tensors_in

    found = opened(folder)
    numbers = {
        name: sum(tensor.numel() for tensor in tensors_in(content, folder).values())
        for name, content in found.contents.items()
        if name.endswith(".safetensors")
    }
    return {
        "kind": "model",
        "path": str(folder),
        **{key: value for key, value in found.card.items() if key != "parameters"},
        "parameters": numbers["model.safetensors"],
        "autoencoder parameters": numbers.get("autoencoder.safetensors"),
        "styles": [english for english, _ in STYLES.values()]
        if found.recipe.data.name == "emoji"
        else [],
        "text encoder": _text_encoder(found, folder),
        "classes": list(found.classes),
        "bytes": sum(len(content) for content in found.contents.values()),
        "hashes": translate("info.verified", count=len(found.contents)),
        "recipe": found.config["recipe"],
    }


def _text_encoder(found: Opened, folder: Path) -> str:
    """What reads the prompts; a pretrained encoder is named with the hash of its weights."""
    from sfumato.storage import text_encoder_in

    wanted = found.recipe.conditioning
    if wanted.kind != "text":
        return wanted.kind
    return str(text_encoder_in(found, folder) or wanted.encoder)


def _run(folder: Path) -> dict[str, Any]:
    from sfumato.training import checkpoint
    from sfumato.training.recipe import load_recipe

    recipe = load_recipe(folder / "recipe.toml").model_dump(mode="json", exclude_none=True)
    kept = checkpoint.load_latest(folder)
    first = None if kept else checkpoint.load_latest(folder / "autoencoder")
    state = kept or first
    best = checkpoint.best(folder)
    finished = (folder / "model" / "manifest.json").is_file()
    return {
        "kind": "run",
        "path": str(folder),
        "finished": finished,
        "model": str(folder / "model") if finished else None,
        "phase": None if state is None else "diffusion" if kept else "autoencoder",
        "images seen": state.state.get("images_seen") if state else 0,
        "total": state.state.get("total") if state else None,
        "best loss": state.state.get("best_score") if state else None,
        "checkpoint": state.path.name if state else None,
        "best checkpoint": best.name if best else None,
        "hashes": translate("info.verified", count=1) if state else None,
        "notes": list(state.notes) if state else [],
        "bytes": sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()),
        "recipe": recipe,
    }


def _picture(path: Path) -> dict[str, Any]:
    from sfumato.pictures.metadata import read_settings

    settings = read_settings(path)
    if settings is None:
        raise SfumatoError(translate("info.no_settings", path=path))
    return {"kind": "picture", "path": str(path), **asdict(settings)}
