"""Matryoshkas as recipes and runs: levels, training them one after the other, sampling them."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from safetensors.torch import load_file
from torch import Tensor
from typer.testing import CliRunner

import sfumato
from sfumato.architecture import build_denoiser, latent_shape
from sfumato.diffusion import SAMPLERS, Flow, LevelSchedule, Pyramid, grid, sample, start
from sfumato.errors import SfumatoError
from sfumato.interfaces.cli.app import app
from sfumato.model import TextToImage
from sfumato.training.assemble import diffusion
from sfumato.training.inherit import on_top
from sfumato.training.law import resolve
from sfumato.training.nesting import around as recipe_around
from sfumato.training.objective import Captions
from sfumato.training.recipe import changed, load_recipe, recipe_of, save_recipe
from sfumato.training.run import Run
from sfumato.training.sections import Recipe, Start

NETWORK = {"width": 16, "depth": 1, "heads": 2}
STILL = {"images": 8, "batch_size": 8, "learning_rate": 1e-30, "threads": 1, "precision": "fp32"}
"""One step that changes nothing: what is saved is what the run began with."""
SHORT = {**STILL, "images": 24, "learning_rate": 1e-3}


def recipe(side: int = 16, **changes: Any) -> Recipe:
    """Of a matryoshka, like `tiny.recipe`."""
    network = {"name": "matryoshka", **NETWORK, **changes.pop("network", {})}
    return tiny.recipe(data={"resolution": side}, network=network, **changes)


def settled(side: int = 32, **network: Any) -> Recipe:
    asked = recipe_of({"network": {"name": "matryoshka", **network}})
    return resolve(asked, channels=3, resolution=side)


# recipes


@pytest.mark.parametrize(("levels", "sides"), [(2, (64, 32)), (3, (128, 64, 32))])
def test_the_levels_of_the_paper(levels: int, sides: tuple[int, ...]) -> None:
    found = settled(sides[0], levels=levels)
    assert found.latent.use is False and found.network.levels == levels
    assert latent_shape(found) == (3, sum(side**2 for side in sides))
    schedule = build_denoiser(found, torch.nn.Identity()).schedule
    assert schedule == LevelSchedule(Flow(), sides, 1.0)
    assert resolve(found, channels=3, resolution=sides[0]) == found


def test_four_levels_reach_256() -> None:
    assert latent_shape(settled(256, levels=4)) == (3, 256**2 + 128**2 + 64**2 + 32**2)


def test_two_levels_where_nothing_is_said_and_none_for_others() -> None:
    assert settled().network.levels == 2
    others = resolve(recipe_of({"network": {"name": "unet"}}), channels=3, resolution=32)
    assert others.network.levels is None
    assert latent_shape(settled(levels=1)) == (3, 32, 32)


def test_the_schedule_shift_is_the_recipes() -> None:
    schedule = build_denoiser(settled(level_power=2.0), torch.nn.Identity()).schedule
    assert schedule == LevelSchedule(Flow(), (32, 16), 2.0)


@pytest.mark.parametrize(
    ("side", "network", "more", "said"),
    [
        (16, {"levels": 3}, {}, "4 pixels for the lowest, and it needs 8.*a side from 32"),
        (36, {"levels": 4}, {}, "4.5 pixels"),
        (100, {"levels": 4}, {}, "cannot be halved to 4 levels. Take 96 or 104"),
        (32, {"level_weights": [1.0]}, {}, "has 1 numbers for 2 levels"),
        (64, {}, {"latent": {"use": True}}, "latent.use = true does not go with matryoshka"),
        (64, {"name": "unet", "levels": 2}, {}, "are for matryoshka, and the network is unet"),
        (64, {"name": "patch-unet", "level_weights": [1.0]}, {}, "are for matryoshka"),
    ],
)
def test_what_cannot_be_is_said(side: int, network: Any, more: Any, said: str) -> None:
    asked = recipe_of({"network": {"name": "matryoshka", **network}, **more})
    with pytest.raises(SfumatoError, match=said):
        resolve(asked, channels=3, resolution=side)


@pytest.mark.parametrize("levels", [0, 5, 2.0])
def test_one_to_four_levels(levels: Any) -> None:
    with pytest.raises(SfumatoError, match=r"network.levels = "):
        recipe_of({"network": {"name": "matryoshka", "levels": levels}})


def test_a_recipe_keeps_its_levels(tmp_path: Path) -> None:
    asked = settled(64, levels=3, level_weights=[16.0, 4.0, 1.0], level_power=0.5)
    save_recipe(asked, tmp_path / "recipe.toml")
    assert load_recipe(tmp_path / "recipe.toml") == asked


def test_large_pictures_come_in_small_micro_batches() -> None:
    for side, most in [(32, 64), (64, 32), (128, 16), (256, 8)]:
        assert settled(side).training.micro_batch == most


# sampling


@pytest.fixture(scope="module")
def model() -> TextToImage:
    """Random weights, three levels: 32, 16 and 8 pixels."""
    network = {"name": "matryoshka", "levels": 3, **NETWORK}
    return tiny.model(32, network=network, sampling={"steps": 3})


def test_a_step_shows_all_levels(model: TextToImage) -> None:
    *_, step = model.stream("red heart", count=2)
    shown = model.levels(step.x0)
    assert [[picture.size for picture in level] for level in shown] == [
        [(32, 32)] * 2, [(16, 16)] * 2, [(8, 8)] * 2,
    ]  # fmt: skip
    for picture, top in zip(model.pictures(step.x0), shown[0], strict=True):
        assert np.array_equal(np.asarray(picture), np.asarray(top))
    assert not np.array_equal(np.asarray(shown[0][0]), np.asarray(shown[0][1]))


def test_other_networks_have_one_level() -> None:
    plain = tiny.model(16)
    *_, step = plain.stream("red heart")
    (only,) = plain.levels(step.x)
    assert np.array_equal(np.asarray(only[0]), np.asarray(plain.pictures(step.x)[0]))


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("threshold", ["none", "static", "dynamic"])
def test_every_sampler_and_threshold_walks(sampler: str, threshold: str) -> None:
    network = {"name": "matryoshka", "levels": 2, **NETWORK}
    sampling = {"threshold": threshold, "guidance_rescale": 0.7, "guidance_scale": 4.0}
    drawing = tiny.model(16, network=network, sampling=sampling)
    first, again, other = (
        drawing.generate(prompt, seed=seed, steps=3, sampler=sampler)[0]
        for prompt, seed in [("red heart", 1), ("red heart", 1), ("blue heart", 1)]
    )
    assert first.size == (16, 16)
    assert np.array_equal(np.asarray(first), np.asarray(again))
    assert not np.array_equal(np.asarray(first), np.asarray(other))  # the prompt is heard


def test_the_finished_levels_are_bounded_by_the_static_threshold(model: TextToImage) -> None:
    *_, step = model.stream("red heart", guidance_scale=9.0)
    assert float(step.x0.abs().max()) <= 1.0
    # the last guess is what remains, in every level
    assert torch.equal(step.x, step.x0)


def test_a_picture_is_the_same_whatever_the_count(model: TextToImage) -> None:
    one, many = model.generate("red heart"), model.generate("red heart", count=3)
    difference = np.asarray(one[0]).astype(int) - np.asarray(many[0]).astype(int)
    assert abs(difference).max() <= 1


def test_guidance_and_threshold_know_the_levels(
    model: TextToImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sfumato import model as module

    heard = []

    def noting(kind: Any, *given: Any) -> Any:
        made = kind(*given)
        heard.append(made.lengths)
        return made

    for name in ("Guided", "Thresholded"):
        monkeypatch.setattr(module, name, partial(noting, getattr(module, name)))
    model.generate("red heart", guidance_scale=2.0)
    tiny.model(16).generate("red heart", guidance_scale=2.0)
    assert heard == [(1024, 256, 64)] * 2 + [()] * 2


def test_the_criterion_knows_levels_and_weights() -> None:
    captions = Captions(torch.zeros(4, 8, dtype=torch.int32), torch.tensor([0, 1, 2, 4]))
    for weights in ((), (4.0, 1.0)):
        asked = settled(32, levels=2, level_weights=list(weights))
        loss = diffusion(asked, torch.nn.Identity(), Tensor, captions).criterion  # type: ignore[arg-type]
        assert (loss.lengths, loss.level_weights) == ((1024, 256), weights)
    plain = settled(32, levels=1)
    loss = diffusion(plain, torch.nn.Identity(), Tensor, captions).criterion  # type: ignore[arg-type]
    assert (loss.lengths, loss.level_weights, loss.denoiser.schedule) == ((), (), Flow())


# runs


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.squares(tmp_path_factory.mktemp("data") / "squares", side=32)


INNER: dict[str, dict[str, Any]] = {
    "unet": {"name": "unet", "levels": None},
    "matryoshka of 1": {"levels": 1},
    "matryoshka of 2": {"levels": 2},
}


@pytest.fixture(scope="module")
def inner(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """inner(kind): a trained model of 16 pixels, 8 more where it has two levels."""
    made: dict[str, Path] = {}

    def train(kind: str) -> Path:
        if kind not in made:
            folder = tmp_path_factory.mktemp("inner") / "run"
            asked = recipe(
                network=INNER[kind],
                diffusion={"schedule": "cosine", "target": "v"},
                training={"images": 48, "learning_rate": 3e-3},
            )
            list(Run(data, folder, recipe=asked).steps())
            made[kind] = folder
        return made[kind]

    return train


def around(squares: Path, inner: Path, out: Path, training: Any = STILL, **sections: Any) -> Run:
    begin = {"inner": str(inner), **sections.pop("start", {})}
    run = Run(squares, out, start=begin, training=training, **sections)
    list(run.steps())
    return run


def tensors(run: Path) -> dict[str, Tensor]:
    return load_file(run / "model" / "model.safetensors")


@pytest.mark.parametrize("kind", INNER)
def test_the_inner_model_guesses_as_before(
    kind: str, inner: Any, data: Path, tmp_path: Path
) -> None:
    """At step 0: the same noisy picture, time and words give the same clean picture."""
    around(data, inner(kind), tmp_path / "run")
    alone, whole = sfumato.load(inner(kind)), sfumato.load(tmp_path / "run")
    has = alone.recipe.network.levels or 1
    assert (whole.size, whole.recipe.network.levels) == (32, has + 1)
    assert whole.recipe.diffusion == alone.recipe.diffusion
    numbers = start(latent_shape(whole.recipe), range(3), 7).x
    low = numbers[..., 32**2 :]
    x = low if has > 1 else low.unflatten(-1, (16, 16))
    prompts = ["a red square", "square 3, yellow", ""]
    spread = set()
    with torch.no_grad():
        for t in (1.0, 0.7, 0.2):
            time = torch.tensor(t)
            expected = alone.denoiser(x, time, alone.condition(prompts)).reshape(low.shape)
            found = whole.denoiser(numbers, time, whole.condition(prompts))[..., 32**2 :]
            torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
            spread.add(round(float(expected.std()), 3))
    assert len(spread) == 3 and min(spread) > 0  # they do guess something


def test_two_levels_may_be_added_at_once(inner: Any, data: Path, tmp_path: Path) -> None:
    network = {"levels": 3}
    run = around(data, inner("unet"), tmp_path / "run", network=network, data={"resolution": 64})
    assert run.recipe.network.levels == 3 and run.recipe.data.resolution == 64
    mine, given = tensors(tmp_path / "run"), tensors(inner("unet"))
    for name, tensor in given.items():
        assert torch.equal(mine[name.replace("network.", "network.core.", 1)], tensor), name


def test_all_levels_go_on_learning(inner: Any, data: Path, tmp_path: Path) -> None:
    around(data, inner("unet"), tmp_path / "run", SHORT)
    mine, given = tensors(tmp_path / "run"), tensors(inner("unet"))
    core = "network.core.embed.weight"
    assert not torch.equal(mine[core], given["network.embed.weight"])
    for adapter in ("into", "out_of"):
        assert mine[f"network.shells.0.{adapter}.weight"].any()


def test_a_frozen_inside_stays(inner: Any, data: Path, tmp_path: Path) -> None:
    asked = {"freeze": ["inner", "text"]}
    around(data, inner("matryoshka of 2"), tmp_path / "run", SHORT, start=asked)
    mine, given = tensors(tmp_path / "run"), tensors(inner("matryoshka of 2"))
    assert given.keys() < mine.keys()
    assert all(torch.equal(mine[name], tensor) for name, tensor in given.items())
    assert mine["network.shells.1.final.weight"].any()


def test_the_run_goes_on_without_the_inner_model(inner: Any, data: Path, tmp_path: Path) -> None:
    moved, out = tmp_path / "model", tmp_path / "run"
    sfumato.load(inner("unet")).save(moved)
    walk = Run(data, out, start={"inner": str(moved)}, training=SHORT).steps()
    next(walk)
    walk.close()  # type: ignore[attr-defined]
    moved.rename(tmp_path / "gone")
    list(Run(data, out, resume=True).steps())
    around(data, tmp_path / "gone", tmp_path / "whole", SHORT)
    assert tiny.same_bits(tensors(tmp_path / "whole"), tensors(out))


def test_no_path_of_this_disk_goes_with_the_model(inner: Any, data: Path, tmp_path: Path) -> None:
    around(data, inner("unet"), tmp_path / "run")
    for path in (tmp_path / "run" / "model").glob("*.json"):
        assert str(inner("unet").parent) not in path.read_text("utf-8")
    assert sfumato.load(tmp_path / "run").recipe.start.inner == "run"


@pytest.mark.parametrize(
    ("start", "sections", "said"),
    [
        ({}, {"network": {"levels": 1}}, "has 1 levels already"),
        ({"freeze": ["inner"]}, {"network": {"levels": 3}}, "2 new ones"),
        ({"model": "embedded"}, {}, "Name one of them"),
        # 15 pixels below: the weights would fit, the side does not
        ({}, {"data": {"resolution": 30}}, r"leaves no place for it. Take --resolution .* 32, or"),
        ({}, {"network": {"width": 32}}, "leaves no place for it. Leave its widths"),
        ({}, {"network": {"name": "unet"}}, "--init-inner .* makes a matryoshka, and --network"),
    ],
)
def test_what_does_not_nest_is_said(
    inner: Any, data: Path, tmp_path: Path, start: Any, sections: Any, said: str
) -> None:
    with pytest.raises(SfumatoError, match=said):
        around(data, inner("unet"), tmp_path / "run", start=start, **sections)


@pytest.mark.parametrize("latents", [False, True])
def test_only_networks_of_pixels_nest(data: Path, tmp_path: Path, latents: bool) -> None:
    tiny.model(16, 3, latents).save(tmp_path / "other")
    what = "patch-transformer of " + ("latents" if latents else "pixels")
    with pytest.raises(SfumatoError, match=f"cannot be the inside of a matryoshka: it is a {what}"):
        around(data, tmp_path / "other", tmp_path / "run")


def test_a_plain_network_has_no_inside_to_freeze(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    for number, asked in enumerate((tiny.recipe(), recipe(network={"levels": 1}))):
        model = tmp_path / str(number)
        list(Run(data, model, recipe=changed(asked, training=STILL)).steps())
        start = {"model": str(model), "freeze": ["inner"]}
        with pytest.raises(SfumatoError, match="no inner part to freeze"):
            Run(data, out, start=start, training=STILL)
        assert not out.exists()


def test_training_lowers_the_loss_of_every_level(data: Path, tmp_path: Path) -> None:
    asked = recipe(network={"levels": 2}, training={"images": 400, "learning_rate": 3e-3})
    steps = list(Run(data, tmp_path / "run", recipe=asked).steps())
    first, last = (torch.cat([s.loss for s in part]).mean() for part in (steps[:6], steps[-6:]))
    assert last < 0.7 * first
    drawn = sfumato.load(tmp_path / "run")
    *_, step = drawn.stream("a red square", guidance_scale=1, steps=8)
    # the levels show one picture: the small one is the large one's small version
    high, low = drawn.denoiser.schedule.pyramid.unpack(step.x)
    pooled = torch.nn.functional.avg_pool2d(high, 2)
    assert abs(float((pooled - low).mean())) < 0.25


# command line


def test_the_command_line_names_levels_and_inner_model(
    inner: Any, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    small = ("--images", "8", "--batch-size", "8", "--learning-rate", "1e-9", "--json")
    levels = ("--network", "matryoshka", "--num-levels", "2", "--size", "tiny")
    done = CliRunner().invoke(
        app, ["train", str(data), "-o", "a", "--resolution", "16", *levels, *small]
    )
    assert done.exit_code == 0, done.output
    made = load_recipe(tmp_path / "a" / "recipe.toml").network
    assert (made.name, made.levels, made.width) == ("matryoshka", 2, 32)
    nest = ("--init-inner", str(inner("unet")), "--freeze", "inner")
    done = CliRunner().invoke(app, ["train", str(data), "-o", "b", *nest, *small])
    assert done.exit_code == 0, done.output
    made_b = load_recipe(tmp_path / "b" / "recipe.toml")
    assert (made_b.network.levels, made_b.data.resolution) == (2, 32)
    assert made_b.start.inner == str(inner("unet")) and made_b.start.freeze == ("inner",)
    done = CliRunner().invoke(app, ["train", str(data), "-o", "c", "--num-levels", "2", *small])
    assert done.exit_code == 1 and "matryoshka" in done.stderr
    walk = ["generate", "a red square", "-m", "b", "-o", "p.png", "--walk", "w.png", "--steps", "3"]
    done = CliRunner().invoke(app, walk)
    assert done.exit_code == 0, done.output
    from PIL import Image

    with Image.open(tmp_path / "p.png") as picture, Image.open(tmp_path / "w.png") as strip:
        assert picture.size == (32, 32)
        assert strip.height > 200  # a row for each of the two levels


@pytest.mark.parametrize("levels", [2, 3])
def test_the_default_times_give_every_level_its_spread(levels: int) -> None:
    """An exact denoiser of N(0, 0.3^2) is linear, so one number tells the standard deviation.

    Uniform times leave the highest of three levels at 0.287.
    """
    made = settled(32, levels=levels)
    schedule = build_denoiser(made, torch.nn.Identity()).schedule

    class Exact:
        def __init__(self) -> None:
            self.schedule = schedule

        def calls(self, _: Any) -> int:
            return 1

        def __call__(self, x: Tensor, t: Tensor, condition: Any = None) -> Tensor:
            alpha, sigma = self.schedule(t)
            return alpha * 0.3**2 / (alpha**2 * 0.3**2 + sigma**2) * x

    begin = start(latent_shape(made), [0], 0)
    begin = replace(begin, x=torch.ones_like(begin.x, dtype=torch.float64))
    times = grid(made.sampling.steps, schedule, made.sampling.grid)
    *_, last = sample(Exact(), begin, times, SAMPLERS[made.sampling.sampler])
    for level in Pyramid.halving(32, levels).unpack(last.x):
        assert float(level.mean()) == pytest.approx(0.3, abs=0.006)


@pytest.mark.parametrize(
    ("law", "log_snr"),
    [
        ({}, 5.15),  # of 200 training times one lies below sigmoid(-2.576)
        ({"time_mean": 0.5}, 4.15),
        ({"time_std": 0.5}, 2.58),
        ({"times": "uniform"}, 10.0),  # trained up to 10.6, and the spacing ends at 10
    ],
)
def test_a_walk_ends_no_cleaner_than_was_trained(law: dict[str, Any], log_snr: float) -> None:
    network = {"name": "matryoshka", "levels": 2, **NETWORK}
    model = tiny.model(32, 3, network=network, diffusion=law)
    *_, before, last = model.stream("a cat", steps=6, guidance_scale=1)
    assert (before.s, last.s) == (last.t, 0.0)
    found = float(model.denoiser.schedule.common.log_snr(last.t))
    assert found == pytest.approx(log_snr, abs=0.01)


def test_an_inner_model_does_not_choose_the_times_of_the_whole() -> None:
    plain = resolve(tiny.recipe(network={"name": "unet", **NETWORK}), channels=3, resolution=16)
    whole = recipe_around(plain, Start(inner="inner"))
    assert resolve(whole, channels=3, resolution=32).sampling.grid == "log-snr"
    stated = changed(plain, network={"name": "matryoshka", "levels": 2}, sampling={"steps": 7})
    again = recipe_around(stated, Start(inner="inner")).sampling
    assert (again.grid, again.steps) == ("uniform", 7)


@pytest.mark.parametrize(
    ("wishes", "grid_of"), [({"name": "matryoshka"}, "log-snr"), ({}, "uniform")]
)
def test_another_network_on_top_of_a_model_has_times_of_its_own(wishes, grid_of) -> None:
    def on(model: Recipe, network: dict[str, Any], **stated: Any) -> Recipe:
        asked = on_top(model, {"network": network, **stated})
        return resolve(asked, channels=3, resolution=32)

    plain = {"network": {"name": "unet", **NETWORK}, "data": {"resolution": 32}}
    unet = resolve(tiny.recipe(**plain), channels=3, resolution=32)
    found = on(unet, wishes)
    assert found.sampling.grid == grid_of
    assert on(unet, wishes, sampling={"grid": "karras"}).sampling.grid == "karras"
    assert on(found, {"name": "unet", "levels": None}).sampling.grid == "uniform"


def test_words_of_an_inner_model_need_nothing_to_be_learned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sfumato.training import words

    monkeypatch.setattr(words, "can_learn", lambda: pytest.fail("scikit-learn asked for"))
    asked = recipe_of({"conditioning": {"kind": "text", "encoder": "tfidf"}})
    words.ensure(changed(asked, start={"inner": "somewhere"}), tmp_path / "tokenizer.json")
