"""examples/main_train.py: every parameter of the seed's table has an effect."""

from __future__ import annotations

import contextlib
import io
import json
import re
from dataclasses import dataclass
from pathlib import Path

import pytest
import tiny
import torch
from safetensors import safe_open

import sfumato
from sfumato.errors import SfumatoError
from sfumato.training import checkpoint
from sfumato.training.law import resolve
from sfumato.training.recipe import load_recipe, recipe_of

EXAMPLES = Path(__file__).parents[2] / "examples"
BASE = {
    "batch_size": 4, "epochs": 2, "lr": 1e-3, "log_freq": 1, "warmup_steps": 0, "num_levels": 2,
    "image_size": 16, "device": "cpu", "seed": 0, "size": "tiny",
}  # fmt: skip
"""Eight pictures in batches of four, twice: four steps."""


@dataclass
class Done:
    folder: Path
    said: str

    @property
    def printed(self) -> list[int]:
        return [int(number) for number in re.findall(r"^step (\d+):", self.said, re.MULTILINE)]

    @property
    def log(self) -> list[dict]:
        return [json.loads(line) for line in (self.folder / "log.jsonl").read_text().splitlines()]

    @property
    def checkpoints(self) -> list[int]:
        return sorted(int(path.name[7:]) for path in self.folder.glob("images-*"))

    @property
    def images_seen(self) -> int:
        return checkpoint.load_latest(self.folder).state["images_seen"]

    @property
    def training(self):
        return load_recipe(self.folder / "recipe.toml").training


def command(data: Path, folder: Path, **changes) -> list[str]:
    given = {"dataset": data, "output_dir": folder, **BASE, **changes}
    return [word for name, value in given.items() for word in (f"--{name}", str(value))]


@pytest.fixture(scope="module")
def module(example):
    return example("main_train")


@pytest.fixture(scope="module")
def trained(module, squares, tmp_path_factory, quick):
    """``trained(epochs=1)``: a training that differs from the base in that."""

    def train(folder: Path | None = None, **changes) -> Done:
        folder = folder or tmp_path_factory.mktemp("out") / "output"
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            module.main(command(changes.pop("dataset", squares), folder, **changes))
        return Done(folder, said.getvalue())

    return train


@pytest.fixture(scope="module")
def base(trained) -> Done:
    """Not to be changed."""
    return trained()


@pytest.fixture(scope="module")
def once(trained) -> Done:
    """One step of all eight pictures, saved every step; not to be changed."""
    return trained(batch_size=8, epochs=1, save_freq=1, gradient_clip_norm=1e6)


def test_the_seeds_defaults(module):
    args = module.arguments([])
    assert (args.batch_size, args.epochs, args.lr, args.num_levels) == (32, 5, 5e-5, 2)
    assert (args.image_size, args.num_gradient_accumulations) == (64, 1)
    assert (args.dataset, str(args.output_dir)) == ("flickr30k", "output")


def test_batch_size_and_epochs(base, once):
    assert base.printed == [1, 2, 3, 4] and base.images_seen == 2 * 8
    assert once.printed == [1] and once.images_seen == 1 * 8
    assert (base.training.batch_size, once.training.batch_size) == (4, 8)


def test_lr_warmup_steps_and_log_freq(base, trained):
    # the last two fifths of the training the rate falls to zero; before that it is --lr
    assert [row["learning_rate"] for row in base.log][:3] == [1e-3, 1e-3, 1e-3]
    warm = trained(lr=4e-3, warmup_steps=3)
    rates = [row["learning_rate"] for row in warm.log][:3]
    assert rates == pytest.approx([4e-3 * k / 3 for k in (1, 2, 3)])
    assert "step 1: " in warm.said and "lr 1.33e-03" in warm.said
    seldom = trained(log_freq=2)
    assert seldom.printed == [2, 4]
    assert [row["images"] for row in seldom.log] == [8, 16]
    assert [row["images"] for row in base.log] == [4, 8, 12, 16]


def test_save_freq_and_the_same_training_bit_for_bit(base, trained):
    assert base.checkpoints == [16], "by the clock, every five minutes"
    often = trained(save_freq=2)
    assert often.checkpoints == [8, 16]
    assert tiny.same_bits(tiny.kept(often.folder), tiny.kept(base.folder))
    assert [row["images"] for row in often.log] == [4, 8, 12, 16]
    assert (often.folder / "model" / "manifest.json").is_file()


def shells(done: Done) -> set[str]:
    with safe_open(done.folder / "model" / "model.safetensors", "pt") as weights:
        return set(re.findall(r"network\.shells\.(\d)\.", " ".join(weights.keys())))


def test_num_levels_and_image_size(base, trained, example, tmp_path):
    assert shells(base) == {"0"}, "one U-Net around another"
    plain = trained(num_levels=1, epochs=1, batch_size=8)
    assert shells(plain) == set(), "a U-Net alone"
    large = trained(num_levels=3, image_size=32, epochs=1, batch_size=8)
    assert shells(large) == {"0", "1"}
    for done, side in ((base, 16), (large, 32)):
        model = sfumato.load(done.folder)
        assert model.size == side
        assert model.generate("a red square", steps=1)[0].size == (side, side)
    levels = sfumato.load(large.folder).levels(torch.zeros(1, 3, 32**2 + 16**2 + 8**2))
    assert [level[0].width for level in levels] == [32, 16, 8]


def applied_norm(done: Done) -> float:
    """Length of the gradient that the optimiser was given at its first step, from its state."""
    kept = checkpoint.load_latest(done.folder)
    total = 0.0
    for name, tensor in kept.tensors["optimizer"].items():
        if "momentum" in name:
            total += float(tensor.double().square().sum())  # of Muon: the gradient itself
        elif "mean" in name:
            total += float((tensor.double() / 0.1).square().sum())  # (1 - beta1) of it
    return total**0.5


def test_gradient_clip_norm(once, trained):
    clipped = trained(batch_size=8, epochs=1, gradient_clip_norm=0.05)
    norm = once.log[0]["grad_norm"]
    assert norm > 0.1 and clipped.log[0]["grad_norm"] == pytest.approx(norm)
    assert applied_norm(once) == pytest.approx(norm, rel=1e-3)
    assert applied_norm(clipped) == pytest.approx(0.05, rel=1e-3)


def test_accumulation_is_a_larger_batch(base, trained):
    parts = trained(batch_size=2, num_gradient_accumulations=2)
    assert (parts.training.batch_size, parts.training.micro_batch) == (4, 2)
    assert parts.printed == base.printed
    mine, other = tiny.kept(parts.folder), tiny.kept(base.folder)
    for name in (name for name in mine if name.startswith("weights/")):
        torch.testing.assert_close(mine[name], other[name], rtol=1e-3, atol=1e-4)
    losses = [[row["loss"] for row in done.log] for done in (parts, base)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_seed(base, trained):
    same, other = trained(), trained(seed=1)
    assert tiny.same_bits(tiny.kept(same.folder), tiny.kept(base.folder))
    assert not tiny.same_bits(tiny.kept(other.folder), tiny.kept(base.folder))


def test_device(base, module, squares, tmp_path):
    assert base.training.device == "cpu"
    with pytest.raises(SfumatoError, match="'abacus' is not usable"):
        module.main(command(squares, tmp_path / "output", device="abacus"))


def test_the_rate_that_is_recommended_is_the_one_that_the_library_takes(module):
    recipe = recipe_of({"network": {"name": "matryoshka", "levels": 2, "size": "small"},
                        "training": {"batch_size": 32}})  # fmt: skip
    rate = resolve(recipe, channels=3, resolution=64).training.learning_rate
    readme = (EXAMPLES / "README.md").read_text("utf-8")
    told = re.search(r"our own choice for this\s+network at batch 32 is (\S+)\.\s", readme)
    helped = re.search(r"with batch 32 try (\S+) ", (EXAMPLES / "main_train.py").read_text("utf-8"))
    assert told and helped and float(told[1]) == float(helped[1]) == rate
    args = module.arguments([])
    assert (args.num_levels, args.size, args.batch_size, args.image_size) == (2, "small", 32, 64)
