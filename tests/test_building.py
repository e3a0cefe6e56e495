"""From recipes to modules: what a recipe allows is built and runs, the rest is refused."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import recipe

from sfumato.architecture import (
    Vocabulary,
    build_autoencoder,
    build_denoiser,
    build_prompted,
    latent_shape,
)
from sfumato.conditioning.text_transformer import TextTransformer, learn_tokenizer
from sfumato.errors import SfumatoError
from sfumato.training.law import resolve

WORDS = Vocabulary(learn_tokenizer(["red heart", "blue"], 60))


@settings(max_examples=120)
@given(
    name=st.sampled_from(["patch-transformer", "patch-unet", "unet", "tiny-unet", "context-unet"]),
    width=st.sampled_from([4, 8, 12, 20, 24, 36, 64, 96, 128, 192]) | st.integers(1, 200),
    heads=st.none() | st.sampled_from([1, 2, 4]) | st.integers(1, 8),
    depth=st.integers(1, 5),
    patch=st.none() | st.integers(1, 9),
    side=st.sampled_from([8, 16, 24, 32]) | st.integers(4, 40),
    channels=st.sampled_from([1, 3, 4]),
    latents=st.booleans(),
    latent_width=st.sampled_from([2, 4, 16]) | st.integers(1, 20),
    factor=st.sampled_from([8, 4]),
    text=st.booleans(),
    layers=st.integers(0, 2),
)
def test_what_a_recipe_allows_is_built_and_runs(
    name, width, heads, depth, patch, side, channels, latents, latent_width, factor, text, layers
) -> None:
    asked = recipe(
        data={"resolution": side},
        network={"name": name, "width": width, "heads": heads, "depth": depth, "patch": patch},
        latent={"use": latents, "width": latent_width, "factor": factor},
        conditioning={"layers": layers},
    )
    try:
        settled = resolve(asked, channels=channels, resolution=side)
        autoencoder = build_autoencoder(settled)
        prompted = build_prompted(settled, WORDS if text else Vocabulary(classes=("a", "b")))
    except SfumatoError as error:
        assert str(error).endswith(".")
        return
    shape = latent_shape(settled)
    if autoencoder is not None:
        pictures = torch.rand(2, channels, side, side)
        latents_ = autoencoder.encode(pictures)
        assert latents_.shape[1:] == shape
        assert autoencoder.decode(latents_).shape == pictures.shape
    denoiser = build_denoiser(settled, prompted)
    x = torch.randn(2, *shape)
    condition = prompted.conditioner(prompted.conditioner.ids(["red" if text else "a", ""]))
    guess = denoiser(x, torch.tensor([0.2, 0.9]), condition)
    assert guess.shape == x.shape and bool(guess.isfinite().all())
    # the network begins at zero, so what is guessed is flow's x_t - t * 0, or 0 itself
    begun = x if settled.diffusion.target == "flow" else torch.zeros_like(x)
    torch.testing.assert_close(guess, begun)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"network": {"width": 30}}, "network.width = 30 is not a multiple of 4. Take 28 or 32."),
        ({"network": {"width": 3}}, "network.width = 3 is not a multiple of 4. Take 4."),
        (
            {"network": {"width": 204, "name": "patch-unet", "heads": 1}},
            "network.width = 204 is not a multiple of 8. Take 200 or 208.",
        ),
        ({"latent": {"use": True, "width": 15}}, "latent.width = 15 is odd. Take an even number."),
    ],
)
def test_numbers_that_do_not_fit_are_refused_in_a_sentence(changes, said) -> None:
    settled = resolve(recipe(**changes), channels=3, resolution=16)
    with pytest.raises(SfumatoError) as caught:
        build_autoencoder(settled)
        build_prompted(settled, WORDS)
    assert said in str(caught.value)


@pytest.mark.parametrize("name", ["patch-transformer", "patch-unet", "unet", "tiny-unet"])
def test_the_heads_of_the_recipe_are_those_of_the_network(name: str) -> None:
    asked = recipe(network={"name": name, "width": 64, "heads": 4, "depth": 2})
    network = build_prompted(resolve(asked, channels=3, resolution=16), WORDS).network
    found = {m.heads for m in network.modules() if hasattr(m, "heads")}
    assert found == {4}


@settings(max_examples=20)
@given(width=st.integers(1, 128).map(lambda n: 4 * n))
def test_the_text_encoder_is_no_wider_than_needed_and_its_heads_fit(width: int) -> None:
    settled = resolve(recipe(network={"width": width}), channels=1, resolution=16)
    conditioner = build_prompted(settled, WORDS).conditioner
    assert isinstance(conditioner, TextTransformer)
    assert conditioner.width == min(width, 256)
    heads = conditioner.blocks[0].attention.heads
    assert conditioner.width % heads == 0
    if width in (64, 128, 192, 256, 512):
        assert heads == min(width, 256) // 64, "the law of heads 64 wide"


def test_what_is_denoised_is_scaled_to_its_own_spread() -> None:
    for latents, std in ((False, 0.5), (True, 1.0)):
        settled = resolve(recipe(latent={"use": latents}), channels=3, resolution=16)
        denoiser = build_denoiser(settled, torch.nn.Identity())
        assert denoiser.data_std == std
        seen = []
        listening = build_denoiser(settled, lambda x, t, c, seen=seen: seen.append(x) or x)
        data = torch.randn(4000, 1, 1, 1) * std
        noise = torch.randn(4000, 1, 1, 1)
        for t in (0.0, 0.3, 1.0):
            listening.output((1 - t) * data + t * noise, torch.tensor(t))
            assert float(seen[-1].std()) == pytest.approx(1, abs=0.05)
