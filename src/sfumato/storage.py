"""A model as a folder: readable JSON, safetensors, a card, and a manifest of hashes.

::

    config.json          format, the resolved recipe, classes
    tokenizer.json       where prompts are free text, its words learned from scratch
    tfidf.json           or the terms of TF-IDF; of a pretrained text encoder config.json says
                         which one it is
    model.safetensors    network and text encoder
    autoencoder.safetensors   for latent models
    card.json, README.md      what it is, its data and licence
    manifest.json        size and SHA-256 of each file, written last

Nothing is ever unpickled; files are judged by content and checked before they are used.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as tensor_bytes
from tokenizers import Tokenizer
from torch import Tensor, nn

from sfumato.architecture import build_autoencoder, build_prompted
from sfumato.card import card_text, told, told_card
from sfumato.conditioning.locate import Identity
from sfumato.conditioning.pretrained import pretrained_again
from sfumato.conditioning.prompted import Prompted
from sfumato.conditioning.tfidf import Terms
from sfumato.conditioning.vocabulary import Vocabulary, vocabulary_behind
from sfumato.errors import SfumatoError
from sfumato.manifest import MANIFEST, intact, manifest_of, stated
from sfumato.networks.autoencoder import Autoencoder
from sfumato.training.files import cause, flush_folder, replace, write_bytes
from sfumato.training.law import resolve
from sfumato.training.recipe import recipe_of
from sfumato.training.sections import WIDEST, Recipe

FORMAT = "sfumato-model/1"
EMBEDDED = "resources/model"
_Module = TypeVar("_Module", bound=nn.Module)
MOST = 4096  # pixels of a side, tokens of a prompt


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


@dataclass(frozen=True)
class Opened:
    """What a model's folder says, before anything is built.

    Attributes:
        contents: the files, each of the size and hash that the manifest states.
        config, card: as they stand there.
        recipe: resolved.
        classes: names, in label order; empty without classes.
    """

    contents: dict[str, bytes]
    config: dict[str, Any]
    card: dict[str, Any]
    recipe: Recipe
    classes: tuple[str, ...]


def embedded_parts() -> Parts:
    """The model inside the package."""
    with as_file(files("sfumato").joinpath(EMBEDDED)) as folder:
        return read_parts(folder)


def read_parts(folder: Path) -> Parts:
    """The parts in a model's folder, every file checked.

    Raises:
        SfumatoError: if there is no intact model.
    """
    found = opened(folder)
    recipe, contents, vocabulary = found.recipe, found.contents, _vocabulary(found, folder)
    weights = tensors_in(contents["model.safetensors"], folder)
    # every block has weights, a U-Net's level several blocks; what is deeper need not be tried
    layers = recipe.conditioning.layers if vocabulary.tokenizer else 0
    blocks = (8 if recipe.network.name in WIDEST else 1) * (recipe.network.depth or 0)
    if max(blocks, layers) > len(weights):
        raise _unfit(folder)
    prompted = _filled(lambda: build_prompted(recipe, vocabulary), weights, folder)
    autoencoder = None
    if recipe.latent.use:
        if "autoencoder.safetensors" not in contents:
            raise SfumatoError(f"{folder} lacks autoencoder.safetensors. Copy the whole folder.")
        weights = tensors_in(contents["autoencoder.safetensors"], folder)
        autoencoder = _filled(lambda: cast(Autoencoder, build_autoencoder(recipe)), weights, folder)
    return Parts(recipe, prompted, autoencoder, found.card)


def opened(folder: Path) -> Opened:
    """What the model in a folder is, from files that are intact and settings that make sense.

    Raises:
        SfumatoError: if there is no intact model, or one of a later format.
    """
    contents = verified(folder)
    config = _json(contents["config.json"], folder)
    if config.get("format") != FORMAT:
        raise SfumatoError(f"{folder} is no model of this version of Sfumato. Update Sfumato.")
    card, classes = _json(contents.get("card.json", b"{}"), folder), config.get("classes", [])
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise SfumatoError(f"The classes in {folder} are damaged. Copy it again.")
    return Opened(contents, config, card, _recipe(config, folder), tuple(classes))


def _recipe(config: dict[str, Any], folder: Path) -> Recipe:
    try:
        recipe = recipe_of(config["recipe"])
        data = recipe.data
        if data.resolution is None or data.channels is None:
            raise KeyError("data.resolution and data.channels")
        if max(data.resolution, recipe.conditioning.length) > MOST:
            raise ValueError(f"data.resolution or conditioning.tokens above {MOST}")
        settled = resolve(recipe, channels=data.channels, resolution=data.resolution, strict=False)
    except (SfumatoError, KeyError, TypeError, ValueError) as error:
        raise SfumatoError(
            f"The recipe in {folder} is damaged ({error}). Copy it again."
        ) from error
    fixed = ("network", "latent", "diffusion")
    if any(getattr(recipe, name) != getattr(settled, name) for name in fixed):
        raise SfumatoError(f"The recipe in {folder} leaves something open. Copy it again.")
    return recipe


def _vocabulary(found: Opened, folder: Path) -> Vocabulary:
    if identity := text_encoder_in(found, folder):
        return Vocabulary(encoder=pretrained_again(identity))
    text, terms = found.contents.get("tokenizer.json"), found.contents.get("tfidf.json")
    try:
        if terms:
            return Vocabulary(terms=Terms.from_json(terms.decode()))
        return Vocabulary(Tokenizer.from_str(text.decode()) if text else None, found.classes)
    except Exception as error:  # the library raises nothing more special
        raise SfumatoError(f"The tokenizer in {folder} is damaged. Copy it again.") from error


def text_encoder_in(found: Opened, folder: Path) -> Identity | None:
    """Which pretrained text encoder a model needs, if any.

    Raises:
        SfumatoError: if what it says is damaged.
    """
    try:
        said = found.config.get("text_encoder")
        return None if said is None else Identity.from_dict(said)
    except ValueError as error:
        raise SfumatoError(f"The text encoder in {folder} is damaged. Copy it again.") from error


def verified(folder: Path) -> dict[str, bytes]:
    """The files of a model folder, each of the size and hash that its manifest states.

    Raises:
        SfumatoError: naming the first thing that is missing or damaged.
    """
    try:
        entries = stated(folder)
    except ValueError as error:
        raise SfumatoError(
            f"There is no model in {folder}. Give a folder that Sfumato saved, or a run."
        ) from error
    contents = intact(folder, entries)
    for name in ("config.json", "model.safetensors"):
        if name not in contents:
            raise SfumatoError(f"{folder} lacks {name}. Copy the whole folder.")
    return contents


def _json(content: bytes, folder: Path) -> dict[str, Any]:
    try:
        found = json.loads(content)
        if not isinstance(found, dict):
            raise ValueError("no object")
    except (ValueError, RecursionError) as error:
        raise SfumatoError(f"The settings in {folder} are damaged. Copy it again.") from error
    return found


def tensors_in(content: bytes, folder: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file.

    Raises:
        SfumatoError: naming the folder, if it is no such file.
    """
    try:
        return load_tensors(content)
    except (ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise _unfit(folder) from error


def _filled(build: Callable[[], _Module], weights: dict[str, Tensor], folder: Path) -> _Module:
    """A module with these weights; built in memory only once it is known that they fit."""
    try:
        with torch.device("meta"):
            wanted = build().state_dict()
    except (RuntimeError, TypeError, ValueError, OverflowError) as error:  # beyond 64 bits
        raise _unfollowed(folder, error) from error
    if {k: v.shape for k, v in wanted.items()} != {k: v.shape for k, v in weights.items()}:
        raise _unfit(folder)
    try:
        module = build()
        module.load_state_dict({name: tensor.float() for name, tensor in weights.items()})
    except RuntimeError as error:  # torch's, also for more memory than there is
        raise _unfollowed(folder, error) from error
    return module


def _unfit(folder: Path) -> SfumatoError:
    cure = "Copy it again, or take the version of Sfumato that trained it."
    return SfumatoError(f"The weights in {folder} do not fit its recipe. {cure}")


def _unfollowed(folder: Path, error: Exception) -> SfumatoError:
    return SfumatoError(f"The recipe in {folder} cannot be followed: {error}.")


def write_parts(model: Parts, folder: Path, half: bool = True) -> Path:
    """Write the folder whole or not at all, replacing an older model of ours there.

    Raises:
        SfumatoError: if something else is in the way, or the disk refuses.
    """
    folder = folder.absolute()
    partial = folder.with_name(f".{folder.name}.partial")
    before = folder.with_name(f".{folder.name}.replaced")
    _recover(folder, before)
    others = _others(folder)
    recipe, card = told(model.recipe), told_card(model.recipe, model.card)
    words = vocabulary_behind(model.prompted.conditioner)
    config: dict[str, Any] = {
        "format": FORMAT,
        "recipe": recipe.model_dump(mode="json", exclude_none=True),
    }
    contents = words.files()
    if words.classes:
        config["classes"] = list(words.classes)
    if words.encoder is not None:
        config["text_encoder"] = words.encoder.identity.to_dict()
    contents["config.json"] = _pretty(config)
    contents["model.safetensors"] = tensor_bytes(_cast(model.prompted, half))
    if model.autoencoder is not None:
        contents["autoencoder.safetensors"] = tensor_bytes(_cast(model.autoencoder, half))
    contents["card.json"] = _pretty(card)
    contents["README.md"] = card_text(recipe, card).encode()
    contents[MANIFEST] = _pretty(manifest_of(contents))
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
        flush_folder(folder.parent)
        shutil.rmtree(before, ignore_errors=True)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        if before.exists() and not folder.exists():
            replace(before, folder)
        raise SfumatoError(
            f"The model could not be saved to {folder}: {cause(error)}. Choose another place."
        ) from error
    return folder


def _recover(folder: Path, before: Path) -> None:
    """Undo half of a replacement: a kill came after the older model made room for the new one."""
    if not before.is_dir() or os.path.lexists(folder):
        return
    try:
        replace(before, folder)
        flush_folder(folder.parent)
    except OSError as error:
        raise SfumatoError(
            f"The older model in {before} could not be put back to {folder}: {cause(error)}. "
            "Rename it, or choose another place."
        ) from error


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
        listed = stated(folder)
    except ValueError as error:
        raise refusal from error
    if not {"config.json", "model.safetensors"} <= listed.keys():
        raise refusal
    return [path for path in inside if path.name != MANIFEST and path.name not in listed]


def _cast(module: nn.Module, half: bool) -> dict[str, Tensor]:
    """The weights for a file; all stay in 32 bits where one of them is too large for 16."""
    tensors = {name: tensor.detach().to("cpu") for name, tensor in module.state_dict().items()}
    if half and any((t.half().isinf() & t.isfinite()).any() for t in tensors.values()):
        half = False
    dtype = torch.float16 if half else torch.float32
    return {name: tensor.to(dtype).contiguous() for name, tensor in tensors.items()}


def _pretty(value: object) -> bytes:
    return json.dumps(value, indent=1, ensure_ascii=False).encode()
