"""examples/diffusion.py: classes to a model, the curve, the strip, the films."""

from __future__ import annotations

import numpy as np
import pytest
import tiny_encoders
from PIL import Image

from sfumato.errors import SfumatoError
from sfumato.training import checkpoint
from sfumato.training.journal import Journal
from sfumato.training.recipe import load_recipe

pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def module(example):
    return example("diffusion")


@pytest.fixture(scope="module")
def done(module, tmp_path_factory):
    """Trained for a moment on two classes; not to be changed."""
    base = tmp_path_factory.mktemp("classes")
    random = np.random.default_rng(0)
    for name, colour in (("red heart", (220, 30, 20)), ("blue cat", (20, 30, 220))):
        (base / "data" / name).mkdir(parents=True)
        for number in range(4):
            pixels = np.array(colour) + random.integers(-9, 9, (16, 16, 3))
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(
                base / "data" / name / f"{number}.png"
            )
    encoder = tiny_encoders.sentence(base / "tiny-sentence")
    arguments = [
        "--data", base / "data", "--output_dir", base / "out", "--minutes", 0.01, "--size", "tiny",
        "--image_size", 16, "--text_model", encoder, "--num_inference_steps", 5, "--device", "cpu",
    ]  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SFUMATO_CACHE", str(base / "cache"))
        patch.setattr(Journal, "sheet", lambda *_, **__: False)
        module.main([str(word) for word in arguments])
        yield base / "out"


def kept_of(run) -> tuple[bytes, int]:
    """The finished weights, and how many pictures the training has seen."""
    seen = checkpoint.load_latest(run).state["images_seen"]
    return (run / "model" / "model.safetensors").read_bytes(), seen


def test_everything_that_the_seed_promises_is_there(done):
    names = {path.name for path in done.iterdir()}
    assert names >= {
        "loss.png", "forward_diffusion.png", "class_red_heart_generation.gif",
        "class_blue_cat_generation.gif", "final_class_red_heart.png", "final_class_blue_cat.png",
        "model",
    }  # fmt: skip
    with Image.open(done / "class_blue_cat_generation.gif") as film:
        assert film.n_frames == 5
    with Image.open(done / "final_class_blue_cat.png") as picture:
        assert picture.size == (16, 16)
    with Image.open(done / "forward_diffusion.png") as strip:
        pixels = np.asarray(strip.convert("RGB"), float)
        left, right = pixels[60:100, 20:60], pixels[60:100, -60:-20]
    assert left.std((0, 1)).max() < 30 < right.std((0, 1)).min(), "from one colour to noise"


def test_a_unet_1000_linear_steps_and_sentence_embeddings(done):
    recipe = load_recipe(done / "recipe.toml")
    assert (recipe.network.name, recipe.latent.use) == ("unet", False)
    assert (recipe.diffusion.schedule, recipe.diffusion.target) == ("linear", "eps")
    assert (recipe.conditioning.kind, recipe.conditioning.encoder) == ("text", "sentence")


def test_without_sentence_embeddings_it_says_so_and_goes_on(module, monkeypatch, capsys):
    def missing(kind, model):
        raise SfumatoError("There is none. Get one.")

    monkeypatch.setattr(module, "pretrained", missing)
    assert module.reader(None) == {"kind": "text", "encoder": "scratch"}
    assert capsys.readouterr().out.startswith("There is none. Get one. For now")


def test_tiny_imagenet_by_default(module, monkeypatch, tmp_path):
    monkeypatch.setenv("SFUMATO_DATA", str(tmp_path / "sets"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "own"))
    monkeypatch.setattr(module, "reader", lambda _: {"kind": "text"})
    with pytest.raises(SfumatoError, match="sfumato data fetch tiny-imagenet"):
        module.main(["--output_dir", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


def test_a_second_call_draws_and_trains_no_more(module, done, monkeypatch, capsys):
    weights, state = kept_of(done)

    def again(*_, **__):
        raise AssertionError("it trains again")

    monkeypatch.setattr(module, "follow", again)
    given = ["--output_dir", str(done), "--num_inference_steps", "5", "--device", "cpu"]
    for film in done.glob("*.gif"):
        film.unlink()
    module.main([*given, "--classes", "blue cat", "--seed", "3"])
    assert "holds a trained model, which draws. To train it on: sfumato train" in (
        capsys.readouterr().out
    )
    assert [film.name for film in done.glob("*.gif")] == ["class_blue_cat_generation.gif"]
    assert kept_of(done) == (weights, state)
    with pytest.raises(SfumatoError, match="data.resolution = 16, not 32"):
        module.main([*given, "--image_size", "32"])


def test_the_rest_of_a_training_has_its_minutes_already(module, done, tmp_path, monkeypatch):
    told = []

    def asked(*_, training, **__):
        told.append(training.get("minutes"))

    monkeypatch.setattr(module, "Run", asked)
    monkeypatch.setattr(module, "reader", lambda _: {})
    monkeypatch.setattr(module, "follow", lambda *_, **__: {"interrupted": True})
    begun = tmp_path / "begun"
    begun.mkdir()
    (begun / "recipe.toml").write_bytes((done / "recipe.toml").read_bytes())
    for folder, *more in ((tmp_path / "new",), (begun,), (begun, "--minutes", "5")):
        with pytest.raises(KeyboardInterrupt):
            module.main(["--output_dir", str(folder), *more])
    assert told == [60.0, None, 5.0]
