"""Every field of a recipe reaches what it is about."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny import recipe
from torch import Tensor

from sfumato.architecture import (
    Vocabulary,
    build_autoencoder,
    build_denoiser,
    build_prompted,
    latent_shape,
)
from sfumato.conditioning.text_transformer import learn_tokenizer
from sfumato.data.example import Example, Report
from sfumato.diffusion import SCHEDULES, TARGETS, grid
from sfumato.errors import SfumatoError
from sfumato.training.assemble import autoencoder_training, diffusion, fresh, reconstruction
from sfumato.training.law import resolve
from sfumato.training.objective import Captions
from sfumato.training.sections import Recipe

WORDS = Vocabulary(learn_tokenizer(["a red square"], 60))


class Nothing:
    """A source of no pictures; what is learned from it is never asked for."""

    name, size, channels, classes = "nothing", 16, 3, ()

    def __len__(self) -> int:
        return 7

    def __getitem__(self, index: int) -> Example:
        raise AssertionError

    def report(self) -> Report:
        return Report()


def settled(**sections: Any) -> Recipe:
    return resolve(recipe(**sections), channels=3, resolution=16)


def learned(**sections: Any) -> Any:
    asked = settled(**sections)
    captions = Captions(torch.zeros(4, 8, dtype=torch.int32), torch.tensor([0, 1, 2, 4]))
    return diffusion(asked, build_prompted(asked, WORDS), Tensor, captions)


@pytest.mark.parametrize("name", ["flow", "cosine", "linear", "scaled-linear"])
def test_the_schedule(name: str) -> None:
    t = torch.linspace(0.1, 0.9, 5, dtype=torch.float64)
    found = learned(diffusion={"schedule": name}).criterion.denoiser.schedule(t)
    for one, other in zip(found, SCHEDULES[name]()(t), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("name", ["linear", "scaled-linear", "cosine"])
def test_the_length_of_a_chain(name: str) -> None:
    found = learned(diffusion={"schedule": name, "chain": 50}).criterion.denoiser.schedule
    assert len(found.betas) == 50
    # as in ancestral sampling: after k of T steps the closed form, whatever T
    k = torch.arange(1, 51, dtype=torch.float64)
    alone = torch.cumprod(1 - torch.tensor(found.betas, dtype=torch.float64), 0)
    assert torch.allclose(found(k / 50)[0] ** 2, alone, rtol=1e-9)
    assert float(alone[-1]) < 5e-3, "a short chain ends in noise too"


@pytest.mark.parametrize("name", ["x0", "eps", "v", "flow"])
def test_the_target(name: str) -> None:
    assert learned(diffusion={"target": name}).criterion.denoiser.target is TARGETS[name]


def test_times_weights_drop_and_seed() -> None:
    found = learned(
        diffusion={"weight": "min-snr", "time_mean": 0.3, "time_std": 0.7},
        conditioning={"drop": 0.25},
        training={"seed": 9},
    )
    loss = found.criterion
    assert (loss.times, loss.weight) == ("logit-normal", "min-snr")
    assert (loss.time_mean, loss.time_std, loss.seed) == (0.3, 0.7, 9)
    assert (found.drop, found.seed, found.length) == (0.25, 9, 3)
    assert learned(diffusion={"times": "uniform"}).criterion.times == "uniform"


def test_what_the_autoencoder_learns_and_how() -> None:
    asked = settled(
        latent={"use": True, "noise": 0.3, "batch_size": 6, "learning_rate": 3e-4, "images": 40},
        training={"seed": 4, "optimizer": "muon", "clip": 0.5},
    )
    autoencoder = build_autoencoder(asked)
    assert autoencoder is not None
    objective = reconstruction(asked, Nothing(), autoencoder)
    assert (objective.noise, objective.seed, objective.length) == (0.3, 4, 7)
    settings = autoencoder_training(asked)
    assert (settings.batch_size, settings.micro_batch, settings.learning_rate) == (6, 6, 3e-4)
    assert (settings.optimizer, settings.clip, settings.warmup_images) == ("adamw", 0.5, 4)


def test_latents() -> None:
    for factor, channels, width in ((8, 4, 16), (4, 6, 32)):
        latent = {"use": True, "factor": factor, "channels": channels, "width": width}
        asked = settled(latent=latent)
        autoencoder = build_autoencoder(asked)
        assert autoencoder is not None
        side = 16 // factor
        assert autoencoder.encode(torch.zeros(1, 3, 16, 16)).shape == (1, channels, side, side)
        assert autoencoder.encoder[-1].in_channels == width  # type: ignore[union-attr]
        assert latent_shape(asked) == (channels, side, side)


def test_words() -> None:
    asked = settled(conditioning={"tokens": 5, "layers": 3})
    conditioner: Any = build_prompted(asked, WORDS).conditioner
    assert conditioner.length == 5 and len(conditioner.blocks) == 3


def test_first_weights_depend_on_the_seed_alone() -> None:
    def weights(seed: int) -> Tensor:
        asked = settled(latent={"use": True}, training={"seed": seed})
        found = fresh(build_autoencoder, asked, "weights")
        assert found is not None
        return torch.cat([p.flatten() for p in found.parameters()])

    torch.manual_seed(1)
    first = weights(0)
    torch.manual_seed(2)
    assert torch.equal(weights(0), first) and not torch.equal(weights(1), first)


def test_how_the_finished_model_samples() -> None:
    from sfumato.model import TextToImage

    asked = settled(sampling={"steps": 3, "sampler": "euler", "grid": "karras"})
    model = TextToImage(asked, build_prompted(asked, WORDS))
    steps = list(model.stream("a red square", guidance_scale=1))
    # one in two hundred of standard normal logits lies below -2.5758
    wanted = grid(3, build_denoiser(asked, model.prompted).schedule, "karras", clean=2 * 2.5758293)
    assert [step.t for step in steps] == pytest.approx(wanted[:-1].tolist())
    assert model.defaults["sampler"] == "euler"


@pytest.mark.parametrize(
    ("threshold", "latent", "most"),
    [("auto", False, 1.0), ("none", False, 9.0), ("auto", True, 9.0)],
)
def test_guesses_of_pixels_stay_among_pictures(threshold: str, latent: bool, most: float) -> None:
    from sfumato.model import TextToImage

    asked = settled(
        latent={"use": latent},
        sampling={"threshold": threshold, "steps": 2},
        diffusion={"target": "x0"},
    )
    prompted = build_prompted(asked, WORDS)
    with torch.no_grad():
        prompted.network.final.bias.fill_(9.0)  # type: ignore[union-attr, operator]
    *_, last = TextToImage(asked, prompted).stream("a red square", guidance_scale=1)
    assert float(last.x0.abs().max()) == pytest.approx(most)


def test_dynamic_thresholds_and_rescaled_guidance_change_the_picture() -> None:
    from sfumato.model import TextToImage

    def drawn(**sampling: Any) -> Tensor:
        asked = settled(sampling={"steps": 2, "threshold": "none", **sampling})
        torch.manual_seed(3)
        prompted = build_prompted(asked, WORDS)
        with torch.no_grad():
            for parameter in prompted.parameters():
                parameter.add_(torch.randn(parameter.shape) * 0.2)
        *_, last = TextToImage(asked, prompted).stream("a red square", guidance_scale=5)
        return last.x0

    plain = drawn()
    assert not torch.equal(drawn(guidance_rescale=0.7), plain)
    assert not torch.equal(drawn(threshold="dynamic"), plain)
    assert float(drawn(threshold="dynamic").abs().max()) <= 1 < float(plain.abs().max())


def test_thresholds_are_not_for_latents() -> None:
    with pytest.raises(SfumatoError, match="is for pixels"):
        settled(latent={"use": True}, sampling={"threshold": "static"})
