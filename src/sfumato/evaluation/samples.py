"""Drawing an evaluation's samples, keeping them, and stopping in time.

Samples are drawn sixteen at a time and kept as PNG strips named by everything they depend on
(weights, prompts, noise, settings).  What is measured is read back from the strip: 8 bits a
channel, un-premultiplied and premultiplied again, exactly what a file holds.
"""

from __future__ import annotations

import hashlib
import io
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from sfumato.data.decode import fit
from sfumato.evaluation.plan import Wanted
from sfumato.model import TextToImage
from sfumato.pictures.files import write_whole

AT_ONCE = 16


@dataclass
class Rate:
    """How fast this machine draws: seconds a picture and network evaluation, a running mean."""

    seconds: float | None = None

    def add(self, seconds: float, pictures: int, evaluations: int) -> None:
        """Take in one more batch."""
        fresh = seconds / (pictures * evaluations)
        self.seconds = fresh if self.seconds is None else 0.7 * self.seconds + 0.3 * fresh


class Studio:
    """Draws wishes with one model and one seed, and remembers what it has drawn.

    Args:
        model: who draws.
        weights: hash of its weights, and of the code that draws.
        folder: where strips are kept.
        seed: of the noise.
    """

    def __init__(self, model: TextToImage, weights: str, folder: Path, seed: int) -> None:
        self.model = model
        self.weights = weights
        self.folder = folder
        self.seed = seed
        self.rate = Rate()

    def draw(
        self,
        wanted: Sequence[Wanted],
        steps: int | None = None,
        guidance_scale: float | None = None,
        deadline: float = float("inf"),
        progress: Callable[[int], None] | None = None,
    ) -> np.ndarray:
        """The pictures as uint8 (n, C, H, W), fewer than asked for when time is up.

        Args:
            wanted: what to draw.
            steps, guidance_scale: the model's own where None.
            deadline: on the clock of `time.monotonic`; nothing new is begun after it.
            progress: called with the pictures done since the last call.
        """
        parts = [np.empty((0, self.model.channels, self.model.size, self.model.size), np.uint8)]
        for first in range(0, len(wanted), AT_ONCE):
            batch = wanted[first : first + AT_ONCE]
            path = self.folder / f"{self.key(batch, steps, guidance_scale)}.png"
            images = self._kept(path, len(batch))
            if images is None:
                if time.monotonic() >= deadline:
                    break
                pictures = self._drawn(batch, steps, guidance_scale)
                write_whole(path, _strip(pictures))
                images = self._pixels(pictures)
            parts.append(images)
            if progress:
                progress(len(batch))
        return np.concatenate(parts)

    def probe(self, prompt: str) -> None:
        """Measure the rate on a batch that nobody keeps."""
        self._drawn([Wanted(prompt, number) for number in range(AT_ONCE)], None, None)

    def cost(self, steps: int | None = None, guidance_scale: float | None = None) -> int:
        """Network evaluations a picture takes, guidance counted."""
        defaults = self.model.defaults
        steps = defaults["steps"] if steps is None else steps
        scale = defaults["guidance_scale"] if guidance_scale is None else guidance_scale
        calls = 2 * steps - 1 if defaults["sampler"] == "heun" else steps
        return calls * (1 if scale == 1 else 2)

    def key(self, batch: Sequence[Wanted], steps: int | None, guidance_scale: float | None) -> str:
        """A name for everything that a strip depends on."""
        settings = dict(self.model.defaults)
        settings |= {"steps": steps} if steps is not None else {}
        settings |= {"guidance_scale": float(guidance_scale)} if guidance_scale is not None else {}
        words = [[wish.prompt, wish.number] for wish in batch]
        text = json.dumps([self.weights, self.seed, settings, words], ensure_ascii=False)
        return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()

    def _drawn(
        self, batch: Sequence[Wanted], steps: int | None, guidance_scale: float | None
    ) -> list[Image.Image]:
        begin = time.perf_counter()
        pictures = self.model.generate(
            [wish.prompt for wish in batch],
            seed=self.seed,
            steps=steps,
            guidance_scale=guidance_scale,
            numbers=[wish.number for wish in batch],
        )
        cost = self.cost(steps, guidance_scale)
        self.rate.add(time.perf_counter() - begin, len(batch), cost)
        return pictures

    def _kept(self, path: Path, count: int) -> np.ndarray | None:
        side = self.model.size
        try:
            with Image.open(io.BytesIO(path.read_bytes())) as strip:
                if strip.size != (side, side * count):
                    return None
                strip.load()
                boxes = [(0, side * i, side, side * (i + 1)) for i in range(count)]
                return self._pixels([strip.crop(box) for box in boxes])
        except (OSError, ValueError, SyntaxError):  # not there, or damaged: drawn again
            return None

    def _pixels(self, pictures: Sequence[Image.Image]) -> np.ndarray:
        return np.stack([fit(p, self.model.size, self.model.channels) for p in pictures])


def straight(image: np.ndarray) -> Image.Image:
    """A picture (C, H, W) uint8, premultiplied where it has an alpha, for people's eyes."""
    pixels = image.transpose(1, 2, 0)
    if len(image) == 1:
        return Image.fromarray(np.ascontiguousarray(pixels[..., 0]))
    if len(image) == 3:
        return Image.fromarray(np.ascontiguousarray(pixels))
    alpha = pixels[..., 3:].astype(np.float32)
    colour = pixels[..., :3].astype(np.float32) * 255 / np.maximum(alpha, 1)
    colour = np.where(alpha > 0, colour, 0).clip(0, 255)
    return Image.fromarray(np.dstack([np.rint(colour), alpha]).astype(np.uint8))


def _strip(pictures: Sequence[Image.Image]) -> bytes:
    side = pictures[0].width
    strip = Image.new(pictures[0].mode, (side, side * len(pictures)))
    for number, picture in enumerate(pictures):
        strip.paste(picture, (0, side * number))
    file = io.BytesIO()
    strip.save(file, format="PNG")
    return file.getvalue()
