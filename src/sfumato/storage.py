"""A model as a folder: readable JSON, safetensors, a card, and a manifest of hashes.

::

    config.json          format, the resolved recipe, classes
    tokenizer.json       where prompts are free text
    model.safetensors    network and text encoder
    autoencoder.safetensors   for latent models
    card.json, README.md      what it is, its data and licence
    manifest.json        size and SHA-256 of each file, written last

Nothing is ever unpickled; files are judged by content and checked before they are used.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass, field
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as tensor_bytes
from tokenizers import Tokenizer
from torch import Tensor, nn

from sfumato.architecture import Vocabulary, build_autoencoder, build_prompted
from sfumato.conditioning.labels import Labels
from sfumato.conditioning.prompted import Prompted
from sfumato.conditioning.text_transformer import TextTransformer
from sfumato.errors import SfumatoError
from sfumato.networks.autoencoder import Autoencoder
from sfumato.training.files import cause, flush_folder, replace, write_bytes
from sfumato.training.recipe import recipe_of, resolve
from sfumato.training.sections import Recipe

FORMAT = "sfumato-model/1"
EMBEDDED = "resources/model"
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Parts:
    """What a model consists of.

    Attributes:
        recipe: resolved.
        prompted: network and text encoder.
        autoencoder: of a latent model.
        card: name, licence, data, what its training reached (JSON).
    """

    recipe: Recipe
    prompted: Prompted
    autoencoder: Autoencoder | None = None
    card: dict[str, Any] = field(default_factory=dict)


def embedded_parts() -> Parts:
    """The model inside the package."""
    with as_file(files("sfumato").joinpath(EMBEDDED)) as folder:
        return read_parts(folder)


def read_parts(folder: Path) -> Parts:
    """The parts in a model's folder, every file checked.

    Raises:
        SfumatoError: if there is no intact model.
    """
    contents = verified(folder)
    config = _json(contents["config.json"], folder)
    if config.get("format") != FORMAT:
        raise SfumatoError(f"{folder} is no model of this version of Sfumato. Update Sfumato.")
    recipe, vocabulary = _recipe(config, folder), _vocabulary(config, contents, folder)
    try:
        autoencoder = build_autoencoder(recipe)
        prompted = build_prompted(recipe, vocabulary)
    except RuntimeError as error:  # torch's, also for more memory than there is
        raise SfumatoError(f"The recipe in {folder} cannot be followed: {error}.") from error
    if autoencoder is not None:
        if "autoencoder.safetensors" not in contents:
            raise SfumatoError(f"{folder} lacks autoencoder.safetensors. Copy the whole folder.")
        _fill(autoencoder, contents["autoencoder.safetensors"], folder)
    _fill(prompted, contents["model.safetensors"], folder)
    card = _json(contents.get("card.json", b"{}"), folder)
    return Parts(recipe, prompted, autoencoder, card)


def _recipe(config: dict[str, Any], folder: Path) -> Recipe:
    try:
        recipe = recipe_of(config["recipe"])
        data = recipe.data
        if data.resolution is None or data.channels is None:
            raise KeyError("data.resolution and data.channels")
        settled = resolve(recipe, channels=data.channels, resolution=data.resolution)
    except (SfumatoError, KeyError, TypeError, ValueError) as error:
        raise SfumatoError(
            f"The recipe in {folder} is damaged ({error}). Copy it again."
        ) from error
    if recipe.network != settled.network or recipe.latent != settled.latent:
        raise SfumatoError(f"The recipe in {folder} leaves something open. Copy it again.")
    return recipe


def _vocabulary(config: dict[str, Any], contents: dict[str, bytes], folder: Path) -> Vocabulary:
    text, classes = contents.get("tokenizer.json"), config.get("classes", [])
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise SfumatoError(f"The classes in {folder} are damaged. Copy it again.")
    try:
        return Vocabulary(Tokenizer.from_str(text.decode()) if text else None, tuple(classes))
    except Exception as error:  # the library raises nothing more special
        raise SfumatoError(f"The tokenizer in {folder} is damaged. Copy it again.") from error


def verified(folder: Path) -> dict[str, bytes]:
    """The files of a model folder, each of the size and hash that its manifest states.

    Raises:
        SfumatoError: naming the first thing that is missing or damaged.
    """
    try:
        listed = _listed(folder)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SfumatoError(
            f"There is no model in {folder}. Give a folder that Sfumato saved, or a run."
        ) from error
    contents = {}
    for name, sha256 in listed.items():
        # on Windows a backslash or a colon leads out too, wherever the folder was written
        if not name or Path(name).name != name or set(name) & set("/\\:") or name == "..":
            raise SfumatoError(f"The manifest of {folder} names {name!r}, which lies outside it.")
        try:
            content = (folder / name).read_bytes()
        except (OSError, ValueError) as error:
            raise SfumatoError(f"{folder / name} is missing. Copy the whole folder.") from error
        if hashlib.sha256(content).hexdigest() != sha256:
            raise SfumatoError(f"{folder / name} is damaged. Copy or train the model again.")
        contents[name] = content
    for name in ("config.json", "model.safetensors"):
        if name not in contents:
            raise SfumatoError(f"{folder} lacks {name}. Copy the whole folder.")
    return contents


def _listed(folder: Path) -> dict[str, str]:
    """File -> SHA-256, as the manifest states; raises what reading and parsing raise."""
    stated = json.loads((folder / MANIFEST).read_bytes())["files"]
    return {str(name): str(entry["sha256"]) for name, entry in stated.items()}


def _json(content: bytes, folder: Path) -> dict[str, Any]:
    try:
        found = json.loads(content)
        if not isinstance(found, dict):
            raise ValueError("no object")
    except ValueError as error:
        raise SfumatoError(f"The settings in {folder} are damaged. Copy it again.") from error
    return found


def _fill(module: nn.Module, content: bytes, folder: Path) -> None:
    try:
        module.load_state_dict({k: v.float() for k, v in load_tensors(content).items()})
    except (RuntimeError, SafetensorError) as error:
        raise SfumatoError(
            f"The weights in {folder} do not fit its recipe. Copy it again."
        ) from error


def write_parts(model: Parts, folder: Path, half: bool = True) -> Path:
    """Write the folder whole or not at all, replacing an older model of ours there.

    Raises:
        SfumatoError: if something else is in the way, or the disk refuses.
    """
    folder = folder.absolute()
    others = _others(folder)
    dtype = torch.float16 if half else torch.float32
    conditioner = model.prompted.conditioner
    config: dict[str, Any] = {
        "format": FORMAT,
        "recipe": model.recipe.model_dump(mode="json", exclude_none=True),
    }
    contents: dict[str, bytes] = {}
    if isinstance(conditioner, Labels):
        config["classes"] = conditioner.classes
    if isinstance(conditioner, TextTransformer):
        contents["tokenizer.json"] = conditioner.tokenizer.to_str().encode()
    contents["config.json"] = _pretty(config)
    contents["model.safetensors"] = tensor_bytes(_cast(model.prompted, dtype))
    if model.autoencoder is not None:
        contents["autoencoder.safetensors"] = tensor_bytes(_cast(model.autoencoder, dtype))
    contents["card.json"] = _pretty(model.card)
    contents["README.md"] = _card_text(model).encode()
    contents[MANIFEST] = _pretty(
        {
            "files": {
                name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
                for name, content in sorted(contents.items())
            }
        }
    )
    partial = folder.with_name(f".{folder.name}.partial")
    before = folder.with_name(f".{folder.name}.replaced")
    try:
        for left_by_a_kill in (partial, before):
            shutil.rmtree(left_by_a_kill, ignore_errors=True)
        partial.mkdir(parents=True)
        for name, content in contents.items():
            write_bytes(partial / name, content)
        for other in others:
            if other.name not in contents:
                copy = shutil.copytree if other.is_dir() else shutil.copy2
                copy(other, partial / other.name)
        flush_folder(partial)
        if folder.exists():
            replace(folder, before)
        replace(partial, folder)
        shutil.rmtree(before, ignore_errors=True)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        if before.exists() and not folder.exists():
            replace(before, folder)
        raise SfumatoError(
            f"The model could not be saved to {folder}: {cause(error)}. Choose another place."
        ) from error
    return folder


def _others(folder: Path) -> list[Path]:
    """What stands in the folder beside an older model of ours and is kept there.

    Raises:
        SfumatoError: if what stands there is no model.
    """
    if not folder.exists():
        return []
    refusal = SfumatoError(f"{folder} holds something else. Choose a new folder for the model.")
    if not folder.is_dir():
        raise refusal
    inside = list(folder.iterdir())
    if not inside:
        return []
    try:
        listed = _listed(folder)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise refusal from error
    if not {"config.json", "model.safetensors"} <= listed.keys():
        raise refusal
    return [path for path in inside if path.name != MANIFEST and path.name not in listed]


def _cast(module: nn.Module, dtype: torch.dtype) -> dict[str, Tensor]:
    return {
        name: tensor.detach().to("cpu", dtype).contiguous()
        for name, tensor in module.state_dict().items()
    }


def _pretty(value: object) -> bytes:
    return json.dumps(value, indent=1, ensure_ascii=False).encode()


def _card_text(model: Parts) -> str:
    card, recipe = model.card, model.recipe
    side = recipe.data.resolution
    lines = [
        f"# {card.get('name', 'A Sfumato model')}",
        "",
        f"A text-to-image diffusion model of {side}x{side} pictures, "
        f"{recipe.network.name} ({recipe.network.size}), made with Sfumato.",
        "",
        "```python",
        "import sfumato",
        "",
        'model = sfumato.load("this folder")',
        'model.generate("...", seed=7)[0].save("picture.png")',
        "```",
        "",
    ]
    lines += [f"- **{key}**: {value}" for key, value in card.items() if key != "name"]
    return "\n".join(lines) + "\n"
