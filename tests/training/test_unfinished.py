"""The model a run has reached so far."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from tiny import kept, recipe, squares

import sfumato
from sfumato.errors import SfumatoError
from sfumato.training.run import Run


def begun(data: Path, out: Path, steps: int, **changes: object) -> Path:
    asked = recipe(training={"save_every_minutes": 1e-9, "log_every_images": 10**6}, **changes)  # type: ignore[arg-type]
    walk = Run(data, out, recipe=asked).steps()
    for _ in range(steps):
        next(walk)
    walk.close()  # type: ignore[attr-defined]
    return out


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return squares(tmp_path / "data")


@pytest.mark.parametrize("kind", ["text", "labels", "none"])
def test_prompts_of_every_kind(tmp_path: Path, data: Path, kind: str) -> None:
    if kind == "labels":
        for i, path in enumerate(sorted(data.glob("*.png"))):
            folder = tmp_path / "classes" / ("cat" if i % 2 else "dog")
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, folder)
        data = tmp_path / "classes"
    out = begun(data, tmp_path / "run", 4, conditioning={"kind": kind})
    model = sfumato.load(out)
    assert model.card["images seen"] == 32, "saved when nobody listened any more"
    assert "unfinished" in model.card["name"]
    state = kept(out)
    for name, parameter in model.prompted.named_parameters():
        assert torch.equal(parameter, state[f"ema/{name}"]), name
    prompt = {"text": "a red square", "labels": "dog", "none": ""}[kind]
    assert model.generate(prompt)[0].size == (16, 16)
    # saved, it is a model like any other
    again = sfumato.load(model.save(tmp_path / "model", half=False))
    assert again.generate(prompt)[0].tobytes() == model.generate(prompt)[0].tobytes()


def test_a_run_that_has_saved_nothing_yet_is_said_so(tmp_path: Path, data: Path) -> None:
    for number, changes in enumerate(({}, {"latent": {"use": True}})):
        out = tmp_path / str(number)
        Run(data, out, recipe=recipe(**changes))  # begun, and killed before its first step
        with pytest.raises(SfumatoError, match="no checkpoint of its network yet. Let it train"):
            sfumato.load(out)


@pytest.mark.parametrize("lost", ["tokenizer.json", "latents.safetensors", "autoencoder"])
def test_a_run_that_has_lost_a_part_is_said_so(tmp_path: Path, data: Path, lost: str) -> None:
    out = begun(data, tmp_path / "run", 6, latent={"use": True})
    sfumato.load(out)
    path = out / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(SfumatoError, match=f"{lost}.* Resume the run"):
        sfumato.load(out)


def test_a_run_that_went_on_after_its_model_is_loaded_as_it_is_now(
    tmp_path: Path, data: Path
) -> None:
    out = tmp_path / "run"
    list(Run(data, out, recipe=recipe()).steps())
    assert sfumato.load(out).card["images seen"] == 80
    walk = Run(data, out, resume=True, training={"images": 160}).steps()
    next(walk)
    walk.close()  # type: ignore[attr-defined]
    assert sfumato.load(out).card["images seen"] == 88
