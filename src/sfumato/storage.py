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
import os
import shutil
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
from sfumato.conditioning.text_transformer import TextTransformer
from sfumato.device import pick_device
from sfumato.errors import SfumatoError
from sfumato.model import TextToImage
from sfumato.training.recipe import recipe_of

FORMAT = "sfumato-model/1"
EMBEDDED = "resources/model"


def read_model(path: str | Path | None, device: str = "auto") -> TextToImage:
    """See `sfumato.load`."""
    if path is None:
        with as_file(files("sfumato").joinpath(EMBEDDED)) as folder:
            return _read(folder, device)
    folder = Path(path)
    if (folder / "model" / "config.json").is_file():
        folder = folder / "model"  # a training run keeps its finished model there
    elif (folder / "recipe.toml").is_file():
        from sfumato.training.unfinished import model_of

        return model_of(folder, device)
    return _read(folder, device)


def _read(folder: Path, device: str) -> TextToImage:
    contents = verified(folder)
    config = _json(contents["config.json"], folder)
    if config.get("format") != FORMAT:
        raise SfumatoError(f"{folder} is no model of this version of Sfumato. Update Sfumato.")
    recipe = recipe_of(config["recipe"])
    text = contents.get("tokenizer.json")
    tokenizer = Tokenizer.from_str(text.decode()) if text else None
    vocabulary = Vocabulary(tokenizer, tuple(config.get("classes", ())))
    prompted = build_prompted(recipe, vocabulary)
    _fill(prompted, contents["model.safetensors"], folder)
    autoencoder = build_autoencoder(recipe)
    if autoencoder is not None:
        _fill(autoencoder, contents["autoencoder.safetensors"], folder)
    card = _json(contents.get("card.json", b"{}"), folder)
    return TextToImage(recipe, prompted, autoencoder, card, pick_device(device))


def verified(folder: Path) -> dict[str, bytes]:
    """The files of a model folder, each of the size and hash that its manifest states.

    Raises:
        SfumatoError: naming the first thing that is missing or damaged.
    """
    try:
        listed = json.loads((folder / "manifest.json").read_bytes())["files"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SfumatoError(
            f"There is no model in {folder}. Give a folder that Sfumato saved, or a finished run."
        ) from error
    contents = {}
    for name, stated in listed.items():
        if Path(name).name != name:
            raise SfumatoError(f"The manifest of {folder} names {name!r}, which lies outside it.")
        try:
            content = (folder / name).read_bytes()
        except OSError as error:
            raise SfumatoError(f"{folder / name} is missing. Copy the whole folder.") from error
        if hashlib.sha256(content).hexdigest() != stated["sha256"]:
            raise SfumatoError(f"{folder / name} is damaged. Copy or train the model again.")
        contents[name] = content
    for name in ("config.json", "model.safetensors"):
        if name not in contents:
            raise SfumatoError(f"{folder} lacks {name}. Copy the whole folder.")
    return contents


def _json(content: bytes, folder: Path) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except ValueError as error:
        raise SfumatoError(f"The settings in {folder} are damaged. Copy it again.") from error
    return dict(found)


def _fill(module: nn.Module, content: bytes, folder: Path) -> None:
    try:
        module.load_state_dict({k: v.float() for k, v in load_tensors(content).items()})
    except (RuntimeError, SafetensorError) as error:
        raise SfumatoError(
            f"The weights in {folder} do not fit its recipe. Copy it again."
        ) from error


def write_model(model: TextToImage, folder: Path, half: bool = True) -> Path:
    """Write the folder whole or not at all, replacing an older model of ours there.

    Raises:
        SfumatoError: if something else is in the way, or the disk refuses.
    """
    if folder.exists() and any(folder.iterdir()) and not (folder / "manifest.json").exists():
        raise SfumatoError(f"{folder} holds something else. Choose a new folder for the model.")
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
    contents["manifest.json"] = _pretty(
        {
            "files": {
                name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
                for name, content in sorted(contents.items())
            }
        }
    )
    partial = folder.with_name(f".{folder.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        for name, content in contents.items():
            (partial / name).write_bytes(content)
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(partial, folder)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise SfumatoError(
            f"The model could not be saved to {folder}: {error.strerror}. Choose another place."
        ) from error
    return folder


def _cast(module: nn.Module, dtype: torch.dtype) -> dict[str, Tensor]:
    return {
        name: tensor.detach().to("cpu", dtype).contiguous()
        for name, tensor in module.state_dict().items()
    }


def _pretty(value: object) -> bytes:
    return json.dumps(value, indent=1, ensure_ascii=False).encode()


def _card_text(model: TextToImage) -> str:
    card, recipe = model.card, model.recipe
    lines = [
        f"# {card.get('name', 'A Sfumato model')}",
        "",
        f"A text-to-image diffusion model of {model.size}x{model.size} pictures, "
        f"{recipe.network.name} ({recipe.network.size}), made with Sfumato.",
        "",
        "```python",
        "import sfumato",
        'model = sfumato.load("this folder")',
        'model.generate("...", seed=7)[0].save("picture.png")',
        "```",
        "",
    ]
    lines += [f"- **{key}**: {value}" for key, value in card.items() if key != "name"]
    return "\n".join(lines) + "\n"
