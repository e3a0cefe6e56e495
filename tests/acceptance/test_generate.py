"""The first command of the README, with the embedded model, as a newcomer types it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import sfumato

ENVIRONMENT = {
    **os.environ,
    "PYTHONUTF8": "1",
    "PYTHONPATH": str(Path(sfumato.__file__).parents[1]),
    "SFUMATO_LANG": "en",
}


def generate(folder, *arguments):
    """Run `sfumato generate --json` in a process of its own; gives what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "sfumato", "generate", *map(str, arguments), "--json"],
        cwd=folder,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def pixels(path):
    with Image.open(path) as picture:
        return np.asarray(picture)


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """The folder in which the README's first command was run, and what it said."""
    folder = tmp_path_factory.mktemp("first")
    return folder, generate(folder, "red heart")


def test_words_become_a_picture(first):
    folder, said = first
    assert [p.name for p in folder.iterdir()] == ["red-heart-0.png"]
    assert said["pictures"] == [
        {"path": "red-heart-0.png", "prompt": "red heart", "seed": 0, "index": 0}
    ]
    picture = pixels(folder / "red-heart-0.png")
    assert picture.shape == (64, 64, 4)
    # a sticker: something is there, and around it nothing
    assert (picture[..., 3] > 247).mean() > 0.05
    assert (picture[..., 3] < 8).mean() > 0.05


def test_the_same_command_gives_the_same_pixels(first, tmp_path):
    folder, _ = first
    generate(tmp_path, "red heart")
    assert np.array_equal(pixels(tmp_path / "red-heart-0.png"), pixels(folder / "red-heart-0.png"))


def test_the_first_of_four_is_the_one_alone(first, tmp_path):
    folder, _ = first
    said = generate(tmp_path, "red heart", "--count", 4, "-o", "x.png")
    four = [pixels(tmp_path / one["path"]).astype(int) for one in said["pictures"]]
    alone = pixels(folder / "red-heart-0.png").astype(int)
    # noise belongs to the index; only rounding may differ.  Colour is compared as it is seen,
    # under its alpha: under almost none, a rounding error of straight colour means nothing.
    seen = [np.dstack([p[..., :3] * p[..., 3:] / 255, p[..., 3]]) for p in (alone, four[0])]
    assert np.abs(seen[0] - seen[1]).max() <= 2
    assert len({picture.tobytes() for picture in four}) == 4


def test_prompts_and_languages_make_different_pictures(tmp_path):
    said = generate(tmp_path, "red heart", "pizza", "красное сердце", "пицца")
    assert len({pixels(tmp_path / one["path"]).tobytes() for one in said["pictures"]}) == 4


def test_without_guidance_the_network_is_called_once_a_step():
    model = sfumato.load(device="cpu")
    calls = []
    model.prompted.register_forward_hook(lambda *_: calls.append(1))
    model.generate("red heart", steps=7, sampler="euler", guidance_scale=1)
    assert len(calls) == 7


def test_a_python_session_draws_what_the_command_draws(first):
    folder, _ = first
    threads = torch.get_num_threads()
    picture = sfumato.load(device="cpu").generate("red heart")[0]
    difference = np.asarray(picture).astype(int) - pixels(folder / "red-heart-0.png")
    # another number of threads may round differently
    assert np.abs(difference[..., 3]).max() <= 2, threads


@pytest.mark.skipif(sys.platform == "win32", reason="no resource module")
def test_a_picture_costs_little(tmp_path):
    """Under 1 GB of memory, under 6 s of processor time (an upper bound of the idle wall time)."""
    code = (
        "import resource, subprocess, sys\n"
        "subprocess.run([sys.executable, '-m', 'sfumato', 'generate', 'red heart'], check=True,"
        " capture_output=True)\n"
        "used = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
        "print(used.ru_maxrss, used.ru_utime + used.ru_stime)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**ENVIRONMENT, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    memory, seconds = map(float, done.stdout.split())
    memory *= 1 if sys.platform == "darwin" else 1024
    assert memory < 1e9
    assert seconds < 6
