"""What is learned: the loss of global samples, however they are cut into batches."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import recipe
from torch import Tensor, nn
from torch.nn import functional as F

from sfumato.architecture import Vocabulary, build_autoencoder, build_denoiser, build_prompted
from sfumato.conditioning.prompted import Told
from sfumato.conditioning.text_transformer import learn_tokenizer
from sfumato.data.order import indices
from sfumato.diffusion import DiffusionLoss, randomness
from sfumato.diffusion.loss import times
from sfumato.training.law import resolve
from sfumato.training.objective import Captions, Diffusion, Reconstruction

PICTURES = torch.rand(7, 3, 16, 16, generator=torch.Generator().manual_seed(3)) * 2 - 1
TEXTS = [["red"], ["green", "dark green", "moss"], ["blue"], [""], ["sky", "sea"], ["a"], ["b"]]
VOCABULARY = Vocabulary(learn_tokenizer([text for row in TEXTS for text in row], 60))


def diffusion(drop: float = 0.3, seed: int = 4, **changes: Any) -> Diffusion:
    settled = resolve(recipe(**changes), channels=3, resolution=16, conditioning="text")
    torch.manual_seed(0)
    prompted = build_prompted(settled, VOCABULARY)
    with torch.no_grad():
        for parameter in prompted.parameters():  # the last layer begins at zero
            parameter.add_(torch.randn(parameter.shape) * 0.1)
    flat = [text for row in TEXTS for text in row]
    first = torch.tensor([0, *(len(row) for row in TEXTS)]).cumsum(0)
    law = settled.diffusion
    criterion = DiffusionLoss(
        build_denoiser(settled, prompted), law.times, weight=law.weight, seed=seed
    )
    captions = Captions(prompted.conditioner.ids(flat).int(), first)
    return Diffusion(prompted, PICTURES.__getitem__, captions, 7, criterion, drop, seed)


def test_what_is_to_be_visited_often_comes_as_often_in_every_epoch() -> None:
    objective = replace(diffusion(), visits=(0, 1, 2, 2, 2, 5))
    for epoch in range(3):
        shown = objective.positions(range(6 * epoch, 6 * epoch + 6))
        assert sorted(shown) == [0, 1, 2, 2, 2, 5]
    assert objective.positions(range(4, 9)) == [
        objective.positions(range(i, i + 1))[0] for i in range(4, 9)
    ]


def reconstruction() -> Reconstruction:
    settled = resolve(recipe(latent={"use": True}), channels=3, resolution=16)
    torch.manual_seed(0)
    autoencoder = build_autoencoder(settled)
    assert autoencoder is not None
    return Reconstruction(autoencoder, PICTURES.__getitem__, 7, noise=0.2, seed=4)


@pytest.mark.parametrize("make", [diffusion, reconstruction])
@settings(max_examples=12)
@given(first=st.integers(0, 10**6), cut=st.integers(1, 8))
def test_a_sample_is_the_same_in_any_batch(make: Any, first: int, cut: int) -> None:
    """Mistakes 5 and 8: loss, time, picture, caption and noise belong to the sample."""
    objective = make()
    with torch.no_grad():
        whole, t = objective.loss(objective.module, range(first, first + 9))
        parts = [
            objective.loss(objective.module, part)
            for part in (range(first, first + cut), range(first + cut, first + 9))
        ]
    assert whole.shape == t.shape == (9,)
    torch.testing.assert_close(torch.cat([loss for loss, _ in parts]), whole, rtol=1e-4, atol=1e-5)
    assert torch.equal(torch.cat([time for _, time in parts]), t)


def test_the_loss_is_the_one_put_together_by_hand() -> None:
    objective = diffusion(diffusion={"target": "flow"})
    samples = range(30, 39)  # over the end of two epochs
    loss, t = objective.loss(objective.module, samples)
    places = indices(4, 30, 9, 7)
    assert objective.positions(samples) == places
    known_t = times(samples, 4, "logit-normal")
    assert torch.equal(t, known_t)
    share = randomness.uniform(samples, 4, "caption")
    chosen = [TEXTS[p][int(u * len(TEXTS[p]))] for p, u in zip(places, share, strict=True)]
    keep = randomness.uniform(samples, 4, "drop") >= 0.3
    assert 0 < int(keep.sum()) < 9
    told = [text if kept else "" for text, kept in zip(chosen, keep, strict=True)]
    eps = randomness.normal((3, 16, 16), samples, 4, "noise")
    at = known_t.float()[:, None, None, None]
    x_t = (1 - at) * PICTURES[places] + at * eps
    module = objective.module
    condition = module.conditioner(module.conditioner.ids(told))
    c_in = ((1 - at) ** 2 * 0.25 + at**2).rsqrt()
    answer = module.network(c_in * x_t, 1000 * known_t.float(), condition)
    error = answer - (eps - PICTURES[places])
    torch.testing.assert_close(loss, error.square().mean((1, 2, 3)), rtol=1e-4, atol=1e-5)


def test_every_sample_is_told_its_own_caption_or_nothing() -> None:
    heard: list[Told] = []

    class Listener(nn.Module):
        def forward(self, x: Tensor, time: Tensor, told: Told) -> Tensor:
            heard.append(told)
            return x * 0

    objective = diffusion(drop=0.1)
    for first in range(0, 7 * 300, 7):
        objective.loss(Listener(), range(first, first + 7))
    ids = torch.cat([told.ids for told in heard])
    keep = torch.cat([told.keep for told in heard])
    # mistake 7: the share dropped is the recipe's, sample by sample
    assert float(keep.float().mean()) == pytest.approx(0.9, abs=0.02)
    mixed = [0 < int(told.keep.sum()) < 7 for told in heard]
    assert sum(mixed) > 100
    places = indices(4, 0, 7 * 300, 7)
    known = {text: i for i, row in enumerate(TEXTS) for text in row}
    rows = objective.module.conditioner.ids(list(known)).tolist()
    words = {tuple(row): text for row, text in zip(rows, known, strict=True)}
    told_of = [words[tuple(row)] for row in ids.tolist()]
    assert all(known[text] == place for text, place in zip(told_of, places, strict=True))
    # all captions of a picture come, about equally often, and not always the same at its place
    for place, row in enumerate(TEXTS):
        counts = [told_of.count(text) for text in row]
        assert sum(counts) == 300 and min(counts) > 300 / len(row) * 0.7, (place, counts)


def test_a_drop_of_one_tells_nothing_and_of_zero_tells_all() -> None:
    for drop, kept in ((0.0, 7), (1.0, 0)):
        keeps: list[Tensor] = []

        def listener(x: Tensor, time: Tensor, told: Told, keeps: Any = keeps) -> Tensor:
            keeps.append(told.keep)
            return x

        objective = diffusion(drop=drop)
        criterion = replace(
            objective.criterion, denoiser=replace(objective.criterion.denoiser, network=listener)
        )
        replace(objective, criterion=criterion).loss(listener, range(7))  # type: ignore[arg-type]
        assert int(keeps[0].sum()) == kept


def test_the_wrapped_model_is_the_one_that_is_asked() -> None:
    """A wrapper for many processes must see the forward pass, or no gradient is shared."""
    for objective in (diffusion(), reconstruction()):
        calls = []

        class Wrapper(nn.Module):
            def __init__(self, inner: nn.Module, calls: list[int]) -> None:
                super().__init__()
                self.inner, self.calls = inner, calls

            def forward(self, *told: Any) -> Any:
                self.calls.append(1)
                return self.inner(*told)

        wrapped = Wrapper(objective.module, calls)
        loss, _ = objective.loss(wrapped, range(3))
        assert calls == [1]
        bare, _ = objective.loss(objective.module, range(3))
        assert torch.equal(loss, bare)
        loss.sum().backward()
        gradients = [p.grad is not None for p in objective.module.parameters()]
        assert all(gradients), "every parameter learns, or processes would wait for it"


def test_the_autoencoders_loss_is_the_one_put_together_by_hand() -> None:
    objective = reconstruction()
    samples = range(12, 17)
    loss, t = objective.loss(objective.module, samples)
    pictures = PICTURES[indices(4, 12, 5, 7)]
    eps = randomness.normal((4, 2, 2), samples, 4, "disturb")
    latents = objective.module.encode(pictures)
    output = objective.module.decode(latents + 0.2 * eps)
    known = []
    for made, real, z in zip(output, pictures, latents, strict=True):
        across = made.diff(dim=-1) - real.diff(dim=-1)
        down = made.diff(dim=-2) - real.diff(dim=-2)
        parts = (F.l1_loss(made, real), F.mse_loss(made, real), across.abs().mean())
        known.append(sum(parts) + down.abs().mean() + 1e-3 * z.square().mean())
    torch.testing.assert_close(loss, torch.stack(known), rtol=1e-4, atol=1e-5)
    assert torch.equal(t, torch.zeros(5))


def test_captions_are_recognised_by_their_digest() -> None:
    base = diffusion().captions
    assert diffusion().captions.digest == base.digest
    assert replace(base, ids=base.ids.flip(0)).digest != base.digest
    moved = base.first.clone()
    moved[2] -= 1
    assert replace(base, first=moved).digest != base.digest


def test_large_latents_have_their_price() -> None:
    objective = reconstruction()
    free, dear = replace(objective, price=0.0), replace(objective, price=2.0)
    pictures = PICTURES[objective.positions(range(5))]
    latents = objective.module.encode(pictures)  # type: ignore[operator]
    difference = dear.loss(dear.module, range(5))[0] - free.loss(free.module, range(5))[0]
    torch.testing.assert_close(difference, 2 * latents.square().flatten(1).mean(1))
    assert difference.min() > 0.001 and objective.price > 0
