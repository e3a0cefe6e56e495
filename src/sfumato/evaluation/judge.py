"""A judge: it says what a picture shows and gives the features that distances are measured in.

A folder of two files, nothing unpickled::

    judge.json            what it is, labels, sizes, accuracy, SHA-256 of these and the weights
    weights.safetensors   the network
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load as tensors_of
from safetensors.torch import save as bytes_of
from torch import Tensor

from sfumato.data.decode import fit
from sfumato.errors import SfumatoError
from sfumato.evaluation.framing import framed
from sfumato.evaluation.recognizer import Recognizer
from sfumato.training.files import cause, flush_folder, replace, sha256, write_bytes

FORMAT = "sfumato-judge/1"
_SETTINGS, _WEIGHTS = "judge.json", "weights.safetensors"
_BATCH = 128


@dataclass(frozen=True)
class About:
    """What is said of a judge beside its weights.

    Attributes:
        name: for people.
        kind: "labels", or "instances" where the data named no things (`things.things_of`) and
            each picture was a class of its own.
        labels: what it can recognise; for instances the origins of the pictures.
        side: of the pictures it takes, in pixels.
        channels: 1, 3 or 4 (premultiplied).
        canvas: side at which it looks at them.
        prototypes: how many pictures of each label it remembers.
        accuracy: shares "top1" and "top5" in [0, 1], over "count" pictures that were not
            trained on when it was measured (for instances: unseen variations of the pictures).
        training: how it was made: seed, minutes, pictures seen.
    """

    name: str
    kind: str
    labels: tuple[str, ...]
    side: int
    channels: int
    canvas: int
    prototypes: int
    accuracy: dict[str, float]
    training: dict[str, float] = field(default_factory=dict)


class Judge:
    """A trained recogniser; make one by `judging.train_judge` or `Judge.load`.

    Pictures go in as 8-bit: uint8 (N, C, H, W), of 4 channels premultiplied.  Those of another
    side or number of channels are resampled as a folder's pictures are (`data.decode.fit`).
    """

    def __init__(self, about: About, network: Recognizer) -> None:
        self.about = about
        self.network = network.eval().requires_grad_(False)
        self._weights = bytes_of(
            {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
        )
        self.hash = sha256(self._weights + _text(asdict(about)))
        self.name, self.labels, self.accuracy = about.name, about.labels, about.accuracy
        self.side, self.channels = about.side, about.channels

    def features(self, images: np.ndarray) -> np.ndarray:
        """Where pictures lie: float32 (N, D), of length sqrt(D); close is alike.

        Raises:
            ValueError: not uint8 (N, 1|3|4, H, W).
        """
        return self._judged(images, 0)

    def scores(self, images: np.ndarray) -> np.ndarray:
        """What pictures show: float32 (N, len(labels)), the labels' log-probabilities.

        Raises:
            ValueError: not uint8 (N, 1|3|4, H, W).
        """
        return self._judged(images, 1)

    def save(self, folder: Path) -> Path:
        """Write the folder whole or not at all, replacing an older judge there.

        Raises:
            SfumatoError: if something else is in the way, or the disk refuses.
        """
        folder = Path(folder).absolute()
        refuse_strangers(folder)
        stated = {"format": FORMAT, "hash": self.hash}
        beside = folder.with_name(f".{folder.name}.partial")
        before = folder.with_name(f".{folder.name}.replaced")
        try:
            for left_by_a_kill in (beside, before):
                shutil.rmtree(left_by_a_kill, ignore_errors=True)
            beside.mkdir(parents=True)
            write_bytes(beside / _WEIGHTS, self._weights)
            write_bytes(beside / _SETTINGS, _text(stated | asdict(self.about)))
            flush_folder(beside)
            if folder.exists():
                replace(folder, before)
            replace(beside, folder)
            shutil.rmtree(before, ignore_errors=True)
        except OSError as error:
            shutil.rmtree(beside, ignore_errors=True)
            if before.exists() and not folder.exists():
                replace(before, folder)
            raise SfumatoError(
                f"The judge could not be saved to {folder}: {cause(error)}. Choose another place."
            ) from error
        return folder

    @classmethod
    def load(cls, folder: Path) -> Judge:
        """A saved judge, its hashes checked.

        Raises:
            SfumatoError: no judge, a damaged one, or one of another version.
        """
        folder = Path(folder)
        try:
            stated = json.loads((folder / _SETTINGS).read_bytes())
            weights = (folder / _WEIGHTS).read_bytes()
            known = stated["format"] == FORMAT
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SfumatoError(
                f"There is no judge in {folder}. Train one: sfumato judge DATA -o {folder}"
            ) from error
        if not known:
            raise SfumatoError(f"{folder} is no judge of this version of Sfumato. Update Sfumato.")
        try:
            about = _about(stated)
            network = Recognizer(about.channels, len(about.labels), about.prototypes, about.canvas)
            network.load_state_dict(tensors_of(weights))
            judge = cls(about, network)
            if judge.hash != stated["hash"]:
                raise ValueError("other settings or weights")
        except (RuntimeError, SafetensorError, ValueError, KeyError, TypeError) as error:
            raise SfumatoError(
                f"The judge in {folder} is damaged. Copy it again, or train another."
            ) from error
        return judge

    @torch.no_grad()
    def _judged(self, images: np.ndarray, which: int) -> np.ndarray:
        found = [self._seen(batch)[which] for batch in self._batches(images)]
        width = len(self.labels) if which else self.network.prototypes.shape[2]
        return torch.cat([torch.empty(0, width), *found]).numpy()

    def _seen(self, placed: Tensor) -> tuple[Tensor, Tensor]:
        features, logits = self.network.judged(placed)
        return features, logits.log_softmax(1)

    def _batches(self, images: np.ndarray) -> Iterator[Tensor]:
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1] not in (1, 3, 4):
            raise ValueError(f"expected uint8 (N, 1|3|4, H, W), not {images.dtype} {images.shape}")
        for start in range(0, len(images), _BATCH):
            pixels = fitted(images[start : start + _BATCH], self.side, self.channels)
            yield framed(torch.from_numpy(pixels).float() / 255, self.network.canvas)


def fitted(images: np.ndarray, side: int, channels: int) -> np.ndarray:
    """Pictures uint8 (N, C, H, W) of any size and channels as uint8 (N, channels, side, side)."""
    if images.shape[1:] == (channels, side, side):
        return images
    return np.stack([fit(_picture(image), side, channels) for image in images])


def _picture(image: np.ndarray) -> Image.Image:
    levels = np.ascontiguousarray(image.transpose(1, 2, 0))
    if len(image) == 4:
        # bytes, since Pillow guesses no premultiplied mode from an array
        size = (image.shape[2], image.shape[1])
        return Image.frombytes("RGBa", size, levels.tobytes()).convert("RGBA")
    return Image.fromarray(levels[..., 0] if len(image) == 1 else levels)


def _text(value: dict[str, Any]) -> bytes:
    return json.dumps(value, indent=1, ensure_ascii=False).encode()


def _about(stated: dict[str, Any]) -> About:
    names = About.__dataclass_fields__
    about = About(**{name: stated[name] for name in names} | {"labels": tuple(stated["labels"])})
    texts = (about.name, about.kind, *about.labels)
    whole = (about.side, about.channels, about.canvas, about.prototypes)
    sound = (
        about.labels
        and all(isinstance(text, str) for text in texts)
        and all(isinstance(number, int) and 0 < number <= 4096 for number in whole)
    )
    if not sound:
        raise ValueError("settings of wrong kinds")
    return about


def refuse_strangers(folder: Path) -> None:
    if not folder.exists():
        return
    inside = {path.name for path in folder.iterdir()} if folder.is_dir() else None
    if inside is None or inside - {_SETTINGS, _WEIGHTS}:
        raise SfumatoError(f"{folder} holds something else. Choose a new folder for the judge.")
