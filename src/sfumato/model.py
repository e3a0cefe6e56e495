"""TextToImage: what a person loads, generates with, saves and shares."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from sfumato.architecture import build_denoiser, latent_shape, pyramid_of
from sfumato.conditioning.condition import Condition
from sfumato.conditioning.prompted import Prompted
from sfumato.conditioning.template import wrapped
from sfumato.device import enough_memory, pick_device
from sfumato.diffusion import (
    LOG_SNR_RANGE,
    SAMPLERS,
    Denoises,
    Guided,
    Schedule,
    State,
    Step,
    Thresholded,
    grid,
    sample,
    start,
    time_at,
)
from sfumato.errors import SfumatoError
from sfumato.networks.autoencoder import Autoencoder
from sfumato.pictures.tensors import to_pictures
from sfumato.storage import Parts, write_parts
from sfumato.training.sections import Recipe
from sfumato.training.unfinished import parts_at

QUANTILE = 0.995
"""Of dynamic thresholding, as in Imagen (2205.11487)."""
NUMBERS = 1 << 32
"""Pictures that a seed has: beyond them the noise comes again, see `diffusion.randomness`."""

UNTRAINED = 0.005
"""Share of the training times that lie below the last of a walk."""

AT_ONCE = 16
"""Pictures sampled together: enough to keep a processor busy, few enough for its memory."""


def load(path: str | Path | None = None, device: str = "auto") -> TextToImage:
    """The embedded model, or the one in a folder (a model's or a training run's).

    Args:
        path: None for the model inside the package.
        device: "auto" (an accelerator where there is one), "cpu", "cuda", "mps".
    Raises:
        SfumatoError: if there is no intact model.
    """
    where = pick_device(device)
    parts = parts_at(path)
    return TextToImage(parts.recipe, parts.prompted, parts.autoencoder, parts.card, where)


def _cleanest(recipe: Recipe, schedule: Schedule) -> float:
    """The log-SNR at which steps that follow it end: no cleaner than what was trained.

    A network asked for the last noise where it hardly learned leaves a grain (docs/log.md).
    """
    law = recipe.diffusion
    t = time_at(UNTRAINED, law.times, law.time_mean, law.time_std)
    return min(max(float(schedule.common.log_snr(t)), 0.0), LOG_SNR_RANGE[1])


@dataclass(frozen=True)
class Wish:
    """One request, with everything filled in."""

    prompts: list[str]
    indices: list[int]
    seed: int
    steps: int
    guidance_scale: float
    sampler: str
    negative_prompt: str


class TextToImage:
    """A trained model: words in, pictures out.

    Attributes:
        recipe: the resolved recipe it was trained by.
        card: name, licence, data, what its training reached (JSON).
        prompted: network and text encoder.  autoencoder: for latent models.
    """

    def __init__(
        self,
        recipe: Recipe,
        prompted: Prompted,
        autoencoder: Autoencoder | None = None,
        card: dict[str, Any] | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.recipe = recipe
        self.device = torch.device(device)
        self.prompted = prompted.to(self.device).eval()
        self.autoencoder = autoencoder.to(self.device).eval() if autoencoder else None
        self.card = card or {}
        self.denoiser = build_denoiser(recipe, prompted)

    @property
    def size(self) -> int:
        """Side of the pictures in pixels."""
        assert self.recipe.data.resolution
        return self.recipe.data.resolution

    @property
    def channels(self) -> int:
        """1 grey, 3 colour, 4 colour with transparency."""
        assert self.recipe.data.channels
        return self.recipe.data.channels

    @property
    def defaults(self) -> dict[str, Any]:
        """Steps, guidance scale and sampler used when none are given."""
        return self.recipe.sampling.model_dump(include={"steps", "guidance_scale", "sampler"})

    def generate(
        self,
        prompts: str | Sequence[str],
        count: int = 1,
        seed: int = 0,
        steps: int | None = None,
        guidance_scale: float | None = None,
        sampler: str | None = None,
        negative_prompt: str | None = None,
        size: int | None = None,
        numbers: Sequence[int] | None = None,
    ) -> list[Image.Image]:
        """Pictures for every prompt, ``count`` each, in the order of the prompts.

        All prompts share the noise of a seed: what differs between them is what the words do.
        A measurement over many prompts wants noise of its own for each: give it ``numbers``.

        Args:
            prompts: one or several texts; for a model of classes, their names.
            count: pictures a prompt.  Picture k is the same whatever the count.
            seed: any integer; the same seed gives the same pictures.
            steps: sampling steps, at least 1.
            guidance_scale: 1 = none, larger follows the prompt more closely.
            sampler: one of ddpm, ddim, euler, heun, dpm++2m.
            negative_prompt: what to stay away from; needs a guidance scale other than 1.
            size: side of the pictures handed back; the model's own by default.
            numbers: which pictures of the seed, each at least 0 and below 2^32; 0, 1, ...
                ``count`` - 1 for every prompt by default.  Where given, one for each prompt, and
                count is 1.
        Raises:
            SfumatoError: for a request that cannot be met.
        """
        wish = self.wish(
            prompts, count, seed, steps, guidance_scale, sampler, negative_prompt, numbers
        )
        if size is not None and size < 1:
            raise SfumatoError(f"A picture of {size} pixels cannot be made. Ask for at least 1.")
        pictures: list[Image.Image] = []
        for first in range(0, len(wish.prompts), AT_ONCE):
            part = slice(first, first + AT_ONCE)
            *_, last = self._walk(wish, part)
            pictures += self.pictures(last.x)
        if size is None or size == self.size:
            return pictures
        from sfumato.pictures.sheet import fit

        return [fit(picture, size) for picture in pictures]

    def stream(
        self,
        prompts: str | Sequence[str],
        count: int = 1,
        seed: int = 0,
        steps: int | None = None,
        guidance_scale: float | None = None,
        sampler: str | None = None,
        negative_prompt: str | None = None,
        state: State | None = None,
        numbers: Sequence[int] | None = None,
    ) -> Iterator[Step]:
        """The same walk, step by step, all pictures together.

        ``step.x0`` is the guess at that moment; `pictures` makes it visible.  ``state``, kept
        from an earlier step, continues from there under these settings, with the noise of its own
        numbers.
        """
        wish = self.wish(
            prompts, count, seed, steps, guidance_scale, sampler, negative_prompt, numbers
        )
        if state is not None and numbers is not None:
            raise SfumatoError("A state knows the numbers of its pictures. Give one or the other.")
        if state is not None and len(state.x) != len(wish.prompts):
            raise SfumatoError(
                f"The state holds {len(state.x)} pictures and {len(wish.prompts)} are asked for. "
                "Give it as many prompts times count."
            )
        return self._walk(wish, slice(None), state)

    @torch.no_grad()
    @enough_memory()
    def pictures(self, x: Tensor) -> list[Image.Image]:
        """What the network denoises, as pictures.

        Latents (B, C, H, W) are decoded first; of packed pyramids (B, C, N) the highest
        resolution is shown.
        """
        if pyramid := pyramid_of(self.recipe):
            x = pyramid.unpack(x)[0]
        if self.autoencoder is not None:
            x = self.autoencoder.decode(x.to(self.device))
        return to_pictures(x)

    @torch.no_grad()
    def levels(self, x: Tensor) -> list[list[Image.Image]]:
        """All levels of what a network of several resolutions denoises, the highest first.

        Args:
            x: a step's ``x`` or ``x0``.
        Returns:
            One list of pictures a level, each of its own side; one level for other networks.
        """
        pyramid = pyramid_of(self.recipe)
        if pyramid is None:
            return [self.pictures(x)]
        return [to_pictures(level) for level in pyramid.unpack(x)]

    def save(self, folder: str | Path, half: bool = True) -> Path:
        """Write the model as a folder (see `storage`); ``half`` keeps 16 bits a number."""
        parts = Parts(self.recipe, self.prompted, self.autoencoder, self.card)
        return write_parts(parts, Path(folder), half)

    def wish(
        self,
        prompts: str | Sequence[str],
        count: int,
        seed: int,
        steps: int | None,
        guidance_scale: float | None,
        sampler: str | None,
        negative_prompt: str | None,
        numbers: Sequence[int] | None = None,
    ) -> Wish:
        """A request checked and completed with the model's defaults."""
        texts = [prompts] if isinstance(prompts, str) or prompts is None else list(prompts)
        if not texts:
            raise SfumatoError("There is no prompt. Say what the picture should show.")
        for text in texts:
            if not isinstance(text, str):
                raise SfumatoError(f"The prompt {text!r} is no text. Give words in quotes.")
        if count < 1:
            raise SfumatoError(f"{count} pictures cannot be made. Ask for at least 1.")
        if numbers is None:
            numbers = list(range(count)) * len(texts)
        elif len(numbers) != len(texts) or count != 1:
            raise SfumatoError(
                f"{len(numbers)} numbers of pictures were given for {len(texts)} prompts times "
                f"{count}. Give one for each prompt, and a count of 1."
            )
        elif not all(0 <= n < NUMBERS and int(n) == n for n in numbers):
            raise SfumatoError(
                f"The numbers of pictures must be whole and lie between 0 and {NUMBERS - 1}."
            )
        sampling = self.recipe.sampling
        steps = sampling.steps if steps is None else steps
        if steps < 1:
            raise SfumatoError(f"{steps} steps lead nowhere. Take at least 1.")
        name = sampler or sampling.sampler
        if name not in SAMPLERS:
            raise SfumatoError(f"There is no sampler {name!r}. Take one of {', '.join(SAMPLERS)}.")
        scale = sampling.guidance_scale if guidance_scale is None else guidance_scale
        if not 0 <= scale < float("inf"):
            raise SfumatoError(f"A guidance scale of {scale} is not usable. Take 1 to 10.")
        return Wish(
            [text for text in texts for _ in range(count)],
            [int(number) for number in numbers],
            seed,
            steps,
            scale,
            name,
            negative_prompt or "",
        )

    def condition(self, prompts: Sequence[str]) -> Condition:
        """The prompts as the network is told them; an empty one is the learned null.

        A model trained on the names of classes in a template hears them in it here too.
        """
        conditioner, template = self.prompted.conditioner, self.recipe.conditioning.template
        said = [wrapped(template, prompt) for prompt in prompts]
        return conditioner(conditioner.ids(said).to(self.device))

    @torch.no_grad()
    def _walk(self, wish: Wish, part: slice, state: State | None = None) -> Iterator[Step]:
        prompts, indices = wish.prompts[part], wish.indices[part]
        denoiser: Denoises = self.denoiser
        sampling = self.recipe.sampling
        pyramid = pyramid_of(self.recipe)
        lengths = pyramid.lengths if pyramid else ()
        if wish.guidance_scale != 1:
            null = self.condition([wish.negative_prompt] * len(prompts))
            denoiser = Guided(
                denoiser,
                null,
                wish.guidance_scale,
                sampling.guidance_interval,
                sampling.guidance_rescale,
                lengths,
            )
        if sampling.threshold in ("static", "dynamic"):
            quantile = QUANTILE if sampling.threshold == "dynamic" else None
            denoiser = Thresholded(denoiser, quantile, lengths)
        if state is None:
            state = start(latent_shape(self.recipe), indices, wish.seed)
            state = State(state.x.to(self.device), state.t, state.samples, state.seed)
        spacing = sampling.grid if sampling.grid != "auto" else "uniform"  # never resolved
        clean = _cleanest(self.recipe, denoiser.schedule)
        times = grid(wish.steps, denoiser.schedule, spacing, clean=clean)
        sampler = SAMPLERS[wish.sampler]
        with enough_memory():
            yield from sample(denoiser, state, times, sampler, self.condition(prompts))
