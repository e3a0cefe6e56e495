"""examples/main_sample.py: every parameter of the seed's table has an effect."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny
from PIL import Image

from sfumato.errors import SfumatoError
from sfumato.pictures.metadata import read_settings
from sfumato.training.recipe import save_recipe

PROMPTS = ["red heart", "blue heart", "a cat with joy"]
STEPS = ["--num_inference_steps", "3"]


def made(folder: Path, weight: float = 1.0) -> Path:
    """A run's folder with a matryoshka whose random weights are scaled."""
    model = tiny.model(16, 3, network={"name": "matryoshka", "levels": 2, "width": 16, "heads": 2})
    for parameter in model.prompted.parameters():
        parameter.data *= weight
    model.save(folder / "model")
    save_recipe(model.recipe, folder / "recipe.toml")
    (folder / "images-000000016").mkdir()
    (folder / "checkpoint_latest").write_text("images-000000016\n")
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return made(tmp_path_factory.mktemp("sampled") / "output")


@pytest.fixture(scope="module")
def module(example):
    return example("main_sample")


@pytest.fixture
def draw(module, run, tmp_path):
    """Draws into a folder of the test; the pictures' pixels in the order of their names."""

    def call(*more: object, prompts=PROMPTS, checkpoint=None, to="generated") -> list[bytes]:
        where = ["--checkpoint", checkpoint or run / "checkpoint_latest", "--device", "cpu"]
        out = ["--output_dir", tmp_path / to]
        arguments = [*where, *out, "--prompts", *prompts, *STEPS, *more]
        module.main([str(word) for word in arguments])
        return [Image.open(path).tobytes() for path in sorted((tmp_path / to).iterdir())]

    return call


def test_the_seeds_defaults(module):
    args = module.arguments(["--prompts", "a", "b"])
    assert args.num_inference_steps == 50 and args.prompts == ["a", "b"]
    assert args.checkpoint == "output/checkpoint_latest"


def test_one_picture_a_prompt_and_their_names(draw, tmp_path):
    pictures = draw(to="here")
    names = sorted(path.name for path in (tmp_path / "here").iterdir())
    assert names == ["sample_0000.png", "sample_0001.png", "sample_0002.png"]
    assert len(set(pictures)) == 3, "prompts steer"
    kept = [read_settings(tmp_path / "here" / name) for name in names]
    assert [settings.prompt for settings in kept] == PROMPTS
    assert {(settings.steps, settings.seed, settings.width) for settings in kept} == {(3, 0, 16)}
    assert draw(prompts=PROMPTS[1:2], to="alone") == pictures[1:2], "whatever stands beside it"


def test_seed_and_steps(draw):
    base = draw()
    assert draw(to="again") == base
    assert all(one != other for one, other in zip(draw("--seed", 1), base, strict=True))
    assert all(
        one != other for one, other in zip(draw("--num_inference_steps", 7), base, strict=True)
    )


def test_image_size(draw, tmp_path):
    draw()
    assert Image.open(tmp_path / "generated" / "sample_0000.png").size == (16, 16)
    draw("--image_size", 40)
    assert Image.open(tmp_path / "generated" / "sample_0000.png").size == (40, 40)


def test_checkpoint(draw, run, tmp_path):
    base = draw()
    for name in ("checkpoint_latest.pt", "model", ""):
        assert draw(checkpoint=run / name) == base, name
    assert draw(checkpoint=made(tmp_path / "other", 0.5) / "checkpoint_latest") != base


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("weights.pt", "pickle.*never read here.*checkpoint_latest"),
        ("images-000000016", "with its newest. Take .*checkpoint_latest"),
        ("nowhere", "nowhere"),
    ],
)
def test_what_is_no_model_is_said(draw, run, name, said):
    with pytest.raises(SfumatoError, match=said):
        draw(checkpoint=run / name)


def test_device(draw):
    with pytest.raises(SfumatoError, match="'abacus' is not usable"):
        draw("--device", "abacus")


def test_a_request_that_cannot_be_met_is_one_sentence(script, run, tmp_path):
    given = ["--checkpoint", run, "--output_dir", tmp_path, "--prompts", "red heart"]
    done = script("main_sample", *given, "--num_inference_steps", 0)
    assert done.returncode == 1 and "Take at least 1" in done.stderr
    assert done.stderr.count("\n") == 1 and list(tmp_path.iterdir()) == []
