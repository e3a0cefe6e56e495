"""A model so small that a command takes no time, saved by the library itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import sfumato as library
from sfumato.architecture import Vocabulary, build_autoencoder, build_prompted
from sfumato.conditioning.text_transformer import learn_tokenizer
from sfumato.interfaces.cli.app import app
from sfumato.model import TextToImage
from sfumato.training.law import resolve
from sfumato.training.recipe import recipe_of


def make_model(resolution: int, channels: int, latents: bool = False) -> TextToImage:
    """Random weights: nothing to look at, but prompts, seeds and guidance matter."""
    recipe = resolve(
        recipe_of(
            {
                "data": {"name": "emoji", "resolution": resolution, "channels": channels},
                "network": {"size": "tiny", "width": 64, "depth": 1, "heads": 1},
                "latent": {"use": latents, "width": 16},
                "conditioning": {"layers": 1, "tokens": 8},
                "sampling": {"steps": 4},
            }
        ),
        channels=channels,
        resolution=resolution,
        conditioning="text",
    )
    texts = ["red heart", "blue heart", "красное сердце", "a cat with joy"]
    prompted = build_prompted(recipe, Vocabulary(learn_tokenizer(texts, 300)))
    autoencoder = build_autoencoder(recipe)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for module in filter(None, (prompted, autoencoder)):
            for parameter in module.parameters():
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return TextToImage(recipe, prompted, autoencoder, {"name": "tiny test model"})


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory):
    return make_model(16, 4).save(tmp_path_factory.mktemp("models") / "rgba")


@pytest.fixture(scope="session")
def latent_folder(tmp_path_factory):
    return make_model(32, 3, latents=True).save(tmp_path_factory.mktemp("models") / "latent")


@pytest.fixture
def runner():
    """Runs commands in this process, the two output streams apart."""
    try:
        return CliRunner(mix_stderr=False)  # click before 8.2
    except TypeError:
        return CliRunner()


@pytest.fixture
def sfumato(monkeypatch, tmp_path, runner):
    """Run a command in an empty folder; English whatever the machine speaks."""
    monkeypatch.chdir(tmp_path)
    for name in ("SFUMATO_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: object, **options: object):
        return runner.invoke(app, [str(a) for a in arguments], **options)

    return run


@pytest.fixture(scope="session")
def environment():
    """For processes: English, one thread, and the package under test wherever they run."""
    return {
        **os.environ,
        "SFUMATO_LANG": "en",
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "80",
        "PYTHONUTF8": "1",
        "PYTHONPATH": str(Path(library.__file__).parents[1]),
    }


@pytest.fixture(scope="session")
def run(environment):
    """Run Python in a process of its own; gives what subprocess.run gives."""

    def process(*arguments, env=None, **options):
        return subprocess.run(
            [sys.executable, *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=300,
            env={**environment, **(env or {})},
            **options,
        )

    return process


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """A folder of eight captioned pictures."""
    folder = tmp_path_factory.mktemp("data") / "squares"
    folder.mkdir()
    for number in range(8):
        name = ("red", "blue")[number % 2]
        Image.new("RGB", (16, 16), name).save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text(f"{name} square {number}", "utf-8")
    return folder


@pytest.fixture(scope="session")
def trained(run, pictures, tmp_path_factory):
    """A finished run, and what --json said of it."""
    folder = tmp_path_factory.mktemp("runs") / "first"
    done = run(
        *("-m", "sfumato", "train", pictures, "-o", folder, "--images", 32, "--size", "tiny"),
        *("--batch-size", 8, "--resolution", 16, "--device", "cpu", "--json"),
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return folder, json.loads(done.stdout)
