"""TextToImage: what is promised to a person who generates."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tiny import model
from torch import Tensor

import sfumato
from sfumato.conditioning.condition import Condition
from sfumato.diffusion import SAMPLERS
from sfumato.errors import SfumatoError
from sfumato.model import AT_ONCE, TextToImage


@pytest.fixture(scope="module")
def pixels() -> TextToImage:
    return model()


@pytest.fixture(scope="module")
def latent() -> TextToImage:
    return model(32, 3, latents=True)


@pytest.fixture(scope="module", params=["pixels", "latent"])
def either(request: pytest.FixtureRequest) -> TextToImage:
    return request.getfixturevalue(request.param)


def levels(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture).astype(int)


def apart(one: Image.Image, other: Image.Image) -> int:
    """The largest difference in levels of 255."""
    return int(np.abs(levels(one) - levels(other)).max())


# ---- seeds, counts, prompts


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_same_request_gives_the_same_bits(either: TextToImage, sampler: str) -> None:
    one = either.generate(["red heart", "cat"], seed=5, sampler=sampler)
    torch.manual_seed(123)  # the global generator has no say
    other = either.generate(["red heart", "cat"], seed=5, sampler=sampler)
    assert [p.tobytes() for p in one] == [p.tobytes() for p in other]
    assert apart(one[0], either.generate("red heart", seed=6, sampler=sampler)[0]) > 20


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_picture_does_not_depend_on_its_company(either: TextToImage, sampler: str) -> None:
    (alone,) = either.generate("red heart", seed=3, sampler=sampler)
    four = either.generate("red heart", count=4, seed=3, sampler=sampler)
    assert apart(alone, four[0]) <= 2
    assert min(apart(four[i], four[j]) for i in range(4) for j in range(i)) > 20
    mixed = either.generate(["a cat", "red heart"], count=2, seed=3, sampler=sampler)
    assert apart(mixed[2], four[0]) <= 2 and apart(mixed[3], four[1]) <= 2


def test_a_picture_is_asked_for_by_its_number(either: TextToImage) -> None:
    """With numbers of their own, prompts no longer share the noise of a seed."""
    hearts, cats = (either.generate(words, count=4, seed=5) for words in ("red heart", "cat"))
    chosen = either.generate(["red heart", "cat", "cat"], seed=5, numbers=[3, 0, 2])
    for one, other in zip(chosen, (hearts[3], cats[0], cats[2]), strict=True):
        assert apart(one, other) <= 1
    *_, last = either.stream(["red heart", "cat"], seed=5, numbers=range(2, 4))
    assert last.state.samples == (2, 3)
    with pytest.raises(SfumatoError, match="one or the other"):
        either.stream(["red heart", "cat"], state=last.state, numbers=[2, 3])


def test_many_pictures_are_made_in_parts_and_in_order(
    pixels: TextToImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = ["red heart", "blue heart", "a cat"]
    whole = pixels.generate(prompts, count=7, seed=1)
    assert len(whole) == 21 > AT_ONCE
    monkeypatch.setattr("sfumato.model.AT_ONCE", 4)
    parts = pixels.generate(prompts, count=7, seed=1)
    assert max(apart(a, b) for a, b in zip(whole, parts, strict=True)) <= 2
    assert apart(whole[14], pixels.generate("a cat", seed=1)[0]) <= 2
    turned = pixels.generate(prompts * 7, seed=1, numbers=[k for k in range(7) for _ in prompts])
    in_order = [turned[3 * k + place] for place in range(3) for k in range(7)]
    assert max(apart(a, b) for a, b in zip(whole, in_order, strict=True)) <= 2


@settings(max_examples=15)
@given(
    prompts=st.lists(
        st.sampled_from(["red heart", "", "красное", "cat", "zzz"]), min_size=1, max_size=3
    ),
    count=st.integers(1, 3),
    seed=st.integers(-(10**20), 10**20),
    steps=st.integers(1, 5),
    scale=st.sampled_from([0, 0.0, 1, 1.0, 2.5, 30.0]),
    sampler=st.sampled_from(sorted(SAMPLERS)),
    negative=st.sampled_from([None, "", "cat"]),
    size=st.sampled_from([None, 1, 16, 50]),
    latents=st.booleans(),
)
def test_any_allowed_request_is_met(
    pixels: TextToImage, latent: TextToImage, prompts, count, seed, steps, scale, sampler,
    negative, size, latents,
) -> None:  # fmt: skip
    chosen = latent if latents else pixels
    pictures = chosen.generate(prompts, count, seed, steps, scale, sampler, negative, size)
    assert len(pictures) == len(prompts) * count
    side = size or chosen.size
    assert {p.size for p in pictures} == {(side, side)}
    assert {p.mode for p in pictures} == {"RGB" if latents else "RGBA"}
    if count == 1 and len(prompts) == 1:
        again = chosen.generate(prompts[0], 1, seed, steps, scale, sampler, negative, size)
        assert again[0].tobytes() == pictures[0].tobytes()


def test_words_matter(either: TextToImage) -> None:
    pictures = either.generate(["red heart", "blue heart", "красное сердце", ""], seed=2)
    assert min(apart(pictures[i], pictures[j]) for i in range(4) for j in range(i)) > 2
    same = either.generate(["red heart", "Red  HEART "], seed=2)
    assert apart(*same) <= 2


def test_a_negative_prompt_pushes_away(either: TextToImage) -> None:
    def made(negative: str | None, scale: float) -> Image.Image:
        asked = {"negative_prompt": negative, "guidance_scale": scale}
        return either.generate("red heart", seed=2, **asked)[0]

    assert apart(made("a cat", 4), made(None, 4)) > 2
    assert made("", 4).tobytes() == made(None, 4).tobytes()
    assert made("a cat", 1).tobytes() == made(None, 1).tobytes()


def test_guidance_is_between_and_beyond(pixels: TextToImage) -> None:
    """w = 0 tells nothing, w = 1 is the prompt, w = 2 goes as far again (mistake 7)."""
    whole = replace_interval(pixels, (0.0, 1.0))

    def first(prompt: str, scale: float) -> Tensor:
        return next(whole.stream(prompt, seed=1, guidance_scale=scale)).x0

    nothing, told = first("", 1), first("red heart", 1)
    assert float((told - nothing).abs().max()) > 0.05
    torch.testing.assert_close(first("red heart", 0), nothing, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(first("red heart", 2), told + (told - nothing), atol=1e-4, rtol=1e-4)


def replace_interval(made: TextToImage, interval: tuple[float, float]) -> TextToImage:
    # unbounded, so that the law of guidance shows
    changes = {"guidance_interval": interval, "threshold": "none"}
    sampling = made.recipe.sampling.model_copy(update=changes)
    recipe = made.recipe.model_copy(update={"sampling": sampling})
    return TextToImage(recipe, made.prompted, made.autoencoder)


# ---- what it costs


@pytest.fixture
def rows(pixels: TextToImage) -> Iterator[list[int]]:
    """How many pictures each call of the network was given."""
    seen: list[int] = []
    hook = pixels.prompted.network.register_forward_hook(
        lambda module, told, answer: seen.append(len(told[0]))
    )
    yield seen
    hook.remove()


@pytest.mark.parametrize("steps", [1, 3, 10])
def test_guidance_of_one_costs_one_call_a_step(
    pixels: TextToImage, rows: list[int], steps: int
) -> None:
    pixels.generate("red heart", steps=steps, guidance_scale=1, sampler="euler")
    assert rows == [1] * steps


def test_guidance_costs_twice_as_much_inside_its_interval_only(
    pixels: TextToImage, rows: list[int]
) -> None:
    guided = replace_interval(pixels, (0.25, 0.75))
    steps = list(guided.stream("red heart", count=3, steps=10, guidance_scale=3, sampler="ddim"))
    times = [1 - i / 10 for i in range(10)]
    assert [step.t for step in steps] == pytest.approx(times)
    assert rows == [6 if 0.25 < t < 0.75 else 3 for t in times]
    assert steps[-1].evaluations == sum(rows) // 3 == 15


def test_heun_costs_two_calls_a_step_but_one_for_the_last(
    pixels: TextToImage, rows: list[int]
) -> None:
    pixels.generate("red heart", steps=5, guidance_scale=1, sampler="heun")
    assert len(rows) == 2 * 5 - 1


def test_conditions_are_never_dropped_in_generation() -> None:
    """Mistake 7: even a network trained with everything dropped, and left in training mode."""
    forgetful = model(conditioning={"drop": 1.0})
    told: list[Condition] = []
    forgetful.prompted.network.register_forward_hook(lambda m, t, a: told.append(t[2]))
    (before,) = forgetful.generate("red heart", guidance_scale=1)
    forgetful.prompted.train()
    (after, other) = forgetful.generate(["red heart", "a cat"], guidance_scale=1)
    assert apart(before, after) <= 2 and apart(after, other) > 2
    assert all(isinstance(condition, Condition) for condition in told)
    alone = forgetful.condition(["red heart"])
    assert torch.equal(told[0].vector, alone.vector)


# ---- the stream


def test_the_stream_is_the_walk_that_generates(either: TextToImage) -> None:
    steps = list(either.stream(["red heart", "a cat"], count=2, seed=4, steps=6))
    assert [step.index for step in steps] == [1, 2, 3, 4, 5, 6]
    assert steps[0].t == 1 and steps[-1].s == 0
    assert all(a.s == b.t for a, b in zip(steps, steps[1:], strict=False))
    made = either.generate(["red heart", "a cat"], count=2, seed=4, steps=6)
    streamed = either.pictures(steps[-1].x)
    assert [p.tobytes() for p in streamed] == [p.tobytes() for p in made]
    previews = either.pictures(steps[2].x0)
    assert [p.size for p in previews] == [p.size for p in made]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_kept_state_goes_on_to_the_same_bits(either: TextToImage, sampler: str) -> None:
    asked = {"prompts": "red heart", "count": 2, "seed": 4, "steps": 6, "sampler": sampler}
    whole = list(either.stream(**asked))
    for kept in range(6):
        rest = list(either.stream(**asked, state=whole[kept].state))
        assert len(rest) == 5 - kept
        for mine, theirs in zip(rest, whole[kept + 1 :], strict=True):
            assert torch.equal(mine.x, theirs.x) and mine.evaluations == theirs.evaluations


def test_a_walk_branches_into_other_words_and_settings(either: TextToImage) -> None:
    whole = list(either.stream("red heart", seed=4, steps=6))
    half = whole[2].state
    kept = half.x.clone()
    branches = {
        "words": either.stream("a cat", seed=4, steps=6, state=half),
        "scale": either.stream("red heart", seed=4, steps=6, guidance_scale=9, state=half),
        "sampler": either.stream("red heart", seed=4, steps=6, sampler="ddpm", state=half),
        "steps": either.stream("red heart", seed=4, steps=12, state=half),
    }
    ends = {name: list(branch) for name, branch in branches.items()}
    assert {name: len(steps) for name, steps in ends.items()} == {
        "words": 3, "scale": 3, "sampler": 3, "steps": 6,
    }  # fmt: skip
    for name, steps in ends.items():
        assert not torch.equal(steps[-1].x, whole[-1].x), name
    assert torch.equal(half.x, kept), "a state is a value"


@settings(max_examples=15)
@given(
    first=st.integers(1, 5),
    hops=st.lists(
        st.fixed_dictionaries(
            {
                "prompts": st.sampled_from(["red heart", "", "a cat"]),
                "steps": st.integers(1, 8),
                "sampler": st.sampled_from(sorted(SAMPLERS)),
                "guidance_scale": st.sampled_from([0.0, 1.0, 5.0]),
            }
        ),
        min_size=1,
        max_size=4,
    ),
    keep=st.integers(0, 3),
)
def test_any_walk_goes_down_in_time_and_can_be_repeated(
    pixels: TextToImage, first: int, hops: list[dict], keep: int
) -> None:
    def walk() -> list:
        taken = [next(pixels.stream("red heart", seed=9, steps=first))]
        for hop in hops:  # each goes on from somewhere in the middle of the last
            steps = list(pixels.stream(**hop, state=taken[-1].state))
            taken += steps[: keep + 1]
        return taken

    one, other = walk(), walk()
    times = [step.t for step in one] + [one[-1].s]
    assert all(t > s for t, s in zip(times, times[1:], strict=False)) and times[-1] >= 0
    assert [step.index for step in one] == list(range(1, len(one) + 1))
    assert all(b.evaluations > a.evaluations for a, b in zip(one, one[1:], strict=False))
    assert bool(one[-1].x.isfinite().all())
    assert all(torch.equal(a.x, b.x) for a, b in zip(one, other, strict=True))


def test_a_state_with_other_company_is_refused(pixels: TextToImage) -> None:
    half = next(pixels.stream("red heart", count=2)).state
    with pytest.raises(SfumatoError, match="holds 2 pictures and 3 are asked for"):
        pixels.stream(["a", "b", "c"], state=half)
    edited = replace(half, x=half.x[:1], samples=half.samples[:1], memory=None)
    assert len(list(pixels.stream("red heart", steps=4, state=edited))) == 3


def test_generating_records_no_gradients_and_leaves_the_callers_mode(
    pixels: TextToImage,
) -> None:
    for step in pixels.stream("red heart", steps=3):
        assert torch.is_grad_enabled()
        assert not step.x.requires_grad and not step.x0.requires_grad
    with torch.enable_grad():
        assert torch.ones(1, requires_grad=True).mul(2).requires_grad


# ---- pictures


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB"), (4, "RGBA")])
def test_pictures_have_the_channels_and_side_of_the_model(channels: int, mode: str) -> None:
    made = model(16, channels)
    assert (made.size, made.channels) == (16, channels)
    (picture,) = made.generate("red heart")
    assert picture.mode == mode and picture.size == (16, 16)
    (large,) = made.generate("red heart", size=40)
    assert large.mode == mode and large.size == (40, 40)
    assert made.generate("red heart", size=16)[0].tobytes() == picture.tobytes()


def test_classes_are_prompts(pixels: TextToImage) -> None:
    made = model(16, 1, classes=("cat", "dog"))
    one, two, three, four = made.generate(["cat", "dog", "1", "DOG"])
    assert apart(one, two) > 2 and apart(two, three) <= 2 and apart(two, four) <= 2
    with pytest.raises(SfumatoError, match="knows 2 classes and 'bird' is none of them"):
        made.generate("bird")


def test_defaults_are_the_recipes(pixels: TextToImage) -> None:
    assert pixels.defaults == {"steps": 4, "guidance_scale": 3.0, "sampler": "dpm++2m"}
    stated = pixels.generate("cat", seed=0, **pixels.defaults)
    assert stated[0].tobytes() == pixels.generate("cat")[0].tobytes()
    assert pixels.card == {"name": "tiny", "licence": "CC0-1.0"}


# ---- requests that cannot be met


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"prompts": []}, "There is no prompt. Say"),
        ({"prompts": ()}, "There is no prompt. Say"),
        ({"prompts": ["a", 3]}, "The prompt 3 is no text. Give"),
        ({"prompts": None}, "The prompt None is no text. Give"),
        ({"count": 0}, "0 pictures cannot be made. Ask"),
        ({"count": -2}, "-2 pictures cannot be made. Ask"),
        ({"numbers": [0, 1]}, "2 numbers of pictures were given for 1 prompts times 1. Give"),
        ({"numbers": [0], "count": 2}, "1 numbers of pictures were given for 1 prompts times 2"),
        ({"numbers": [-1]}, "numbers of pictures must be whole and lie between 0 and 4294967295"),
        ({"numbers": [1 << 32]}, "must be whole and lie"),
        ({"numbers": [0.5]}, "must be whole and lie"),
        ({"steps": 0}, "0 steps lead nowhere. Take"),
        ({"sampler": "magic"}, "no sampler 'magic'. Take one of ddpm, ddim, euler"),
        ({"guidance_scale": math.nan}, "guidance scale of nan is not usable. Take"),
        ({"guidance_scale": math.inf}, "guidance scale of inf is not usable. Take"),
        ({"guidance_scale": -1}, "guidance scale of -1 is not usable. Take"),
    ],
)
def test_impossible_requests_are_refused_in_a_sentence(
    pixels: TextToImage, asked: dict, said: str
) -> None:
    for method in (pixels.generate, pixels.stream):
        with pytest.raises(SfumatoError, match=said):
            method(**{"prompts": "red heart", **asked})  # at once, not at the first step


def test_a_picture_without_a_side_is_refused(pixels: TextToImage) -> None:
    with pytest.raises(SfumatoError, match="of 0 pixels cannot be made. Ask"):
        pixels.generate("red heart", size=0)


@pytest.mark.parametrize("device", ["meta", "quantum", "cuda:99", ""])
def test_a_device_that_is_not_here_is_refused(tmp_path, pixels: TextToImage, device: str) -> None:
    folder = pixels.save(tmp_path / "m")
    with pytest.raises(SfumatoError, match="is not usable on this machine. Take --device cpu"):
        sfumato.load(folder, device)


def test_the_device_is_chosen_or_named(tmp_path, pixels: TextToImage) -> None:
    folder = pixels.save(tmp_path / "m")
    assert sfumato.load(folder, "cpu").device == torch.device("cpu")
    chosen = sfumato.load(folder)
    has_accelerator = torch.cuda.is_available() or torch.backends.mps.is_available()
    assert (chosen.device.type == "cpu") is not has_accelerator


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
    ],
)
def test_too_little_memory_is_a_sentence(
    pixels: TextToImage, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def full(*_: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(pixels.prompted.network, "forward", full)
        with pytest.raises(SfumatoError, match="not enough memory to draw this. Ask for fewer"):
            pixels.generate("red heart")
        with pytest.raises(SfumatoError, match="not enough memory"):
            list(pixels.stream("red heart"))
    error = RuntimeError("shapes cannot be multiplied")
    monkeypatch.setattr(pixels.prompted.network, "forward", full)
    with pytest.raises(RuntimeError, match="multiplied"):  # other errors stay what they are
        pixels.generate("red heart")
