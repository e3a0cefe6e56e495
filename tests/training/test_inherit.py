"""Beginning with another model's weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from tiny import recipe, squares
from tokenizers import Tokenizer
from torch import Tensor

import sfumato
from sfumato.conditioning.labels import Labels
from sfumato.errors import SfumatoError
from sfumato.training.law import resolve
from sfumato.training.recipe import changed, load_recipe, save_recipe
from sfumato.training.run import Run
from sfumato.training.start import recipe_for


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished latent model of squares."""
    folder = tmp_path_factory.mktemp("first")
    asked = recipe(latent={"use": True}, training={"images": 48, "seed": 1})
    list(Run(squares(folder / "data"), folder / "run", recipe=asked).steps())
    return folder / "run"


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """Other pictures, more of them and with other words."""
    data = squares(tmp_path / "other", 14)
    for path in data.glob("*.txt"):
        path.write_text("ein rotes Quadrat\n", "utf-8")
    return data


SHORT = {"images": 16, "batch_size": 8, "learning_rate": 1e-3, "threads": 1, "precision": "fp32"}


def begun(data: Path, out: Path, first: Path, **start: object) -> Run:
    run = Run(data, out, start={"model": str(first), **start}, training=SHORT)
    run.told = list(run.steps())  # type: ignore[attr-defined]
    return run


def tensors(run: Path, name: str = "model") -> dict[str, Tensor]:
    return load_file(run / "model" / f"{name}.safetensors")


def words(run: Path) -> dict[str, int]:
    return Tokenizer.from_str((run / "tokenizer.json").read_text("utf-8")).get_vocab()


def same(one: dict[str, Tensor], other: dict[str, Tensor], part: str) -> bool:
    names = [name for name in one if name.startswith(part)]
    assert names
    return all(torch.equal(one[name], other[name]) for name in names)


def test_all_is_taken_and_the_network_goes_on_learning(
    first: Path, other: Path, tmp_path: Path
) -> None:
    run = begun(other, tmp_path / "run", first)
    given, mine = run.recipe, sfumato.load(first).recipe
    assert (given.network, given.conditioning, given.diffusion) == (
        mine.network, mine.conditioning, mine.diffusion,
    )  # fmt: skip
    assert {step.phase for step in run.told} == {"diffusion"}  # type: ignore[attr-defined]
    before, after = tensors(first), tensors(tmp_path / "run")
    assert before.keys() == after.keys()
    assert not same(before, after, "network") and not same(before, after, "conditioner")
    assert all(float((before[n] - after[n]).abs().max()) < 0.1 for n in before), "begun there"
    # the autoencoder, its scale of the latents included, is the model's to the last bit
    assert same(tensors(first, "autoencoder"), tensors(tmp_path / "run", "autoencoder"), "")
    assert words(tmp_path / "run") == words(first)


def test_what_should_be_known_is_said_where_the_autoencoder_has_no_step(
    first: Path, other: Path, tmp_path: Path
) -> None:
    run = Run(other, tmp_path / "run", start={"model": str(first)}, training=SHORT)
    run.notes.append("one picture is broken")
    steps = run.steps()
    assert "one picture is broken" in next(steps).notes
    steps.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize(("part", "rest"), [("network", "conditioner"), ("text", "network")])
def test_a_frozen_part_stays(
    first: Path, other: Path, tmp_path: Path, part: str, rest: str
) -> None:
    begun(other, tmp_path / "run", first, freeze=[part])
    before, after = tensors(first), tensors(tmp_path / "run")
    frozen = "conditioner" if part == "text" else "network"
    assert same(before, after, frozen) and not same(before, after, rest)


def test_only_the_network_with_new_words(first: Path, other: Path, tmp_path: Path) -> None:
    run = Run(
        other,
        tmp_path / "run",
        start={"model": str(first), "take": ["network", "autoencoder"], "freeze": ["network"]},
        conditioning={"vocabulary": 90},
        training=SHORT,
    )
    list(run.steps())
    assert same(tensors(first), tensors(tmp_path / "run"), "network")
    assert words(tmp_path / "run") != words(first)


def test_a_model_that_lends_its_autoencoder_does_not_choose_the_network(
    first: Path, other: Path, tmp_path: Path
) -> None:
    asked = {"model": str(first), "take": ["autoencoder"]}
    run = Run(
        other,
        tmp_path / "run",
        start=asked,
        network={"name": "unet", "size": "tiny", "width": 8},
        training=SHORT,
    )
    assert {step.phase for step in run.steps()} == {"diffusion"}
    network = run.recipe.network
    assert (network.width, network.depth, network.heads, network.patch) == (8, 1, 1, 1)
    assert run.recipe.latent.use is True
    assert same(tensors(first, "autoencoder"), tensors(tmp_path / "run", "autoencoder"), "")


def test_another_autoencoder_is_trained_where_it_is_not_taken(
    first: Path, other: Path, tmp_path: Path
) -> None:
    asked = {"model": str(first), "take": ["network", "text"]}
    run = Run(other, tmp_path / "run", start=asked, latent={"images": 16}, training=SHORT)
    assert {step.phase for step in run.steps()} == {"autoencoder", "diffusion"}
    assert not same(tensors(first, "autoencoder"), tensors(tmp_path / "run", "autoencoder"), "")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"network": {"width": 64}}, r"does not fit this run: .*network\.width is 32 there and 64"),
        ({"data": {"resolution": 32}}, r"--resolution \(data\.resolution\) is 16 there and 32"),
        ({"conditioning": {"kind": "text", "encoder": "tfidf"}}, "is scratch there and tfidf here"),
        ({"conditioning": {"kind": "none"}}, "The text .* only the rest: .*--take network"),
        ({"start": {"freeze": ["inner"]}}, "no inner part to freeze"),
        ({"start": {"freeze": ["network", "text"]}}, "nothing would learn"),
        ({"latent": {"width": 15}, "start": {"take": ["text"]}}, "latent.width = 15 is odd"),
    ],
)
@pytest.mark.parametrize("there", [False, True])
def test_what_is_refused_leaves_nothing_behind(
    first: Path, other: Path, tmp_path: Path, asked: dict[str, Any], said: str, there: bool
) -> None:
    out, start = tmp_path / "run", {"model": str(first), **asked.get("start", {})}
    if there:
        out.mkdir()
    with pytest.raises(SfumatoError, match=said):
        Run(other, out, training=SHORT, **{**asked, "start": start})
    assert out.exists() == there and not (there and list(out.iterdir()))
    if not there and "width" not in said:
        Run(other, out, start={"model": str(first)}, training=SHORT)


@pytest.mark.parametrize(
    ("start", "said"),
    [
        ({"freeze": ["text"]}, r"--freeze \(start\.freeze\) = text .* no model .* --from"),
        ({"freeze": ["inner"]}, "no model is named"),
        ({"freeze": ["autoencoder"]}, "autoencoder has no meaning"),
        ({"model": "", "freeze": ["autoencoder"]}, "autoencoder has no meaning"),
        ({"model": "", "take": ["network"], "freeze": ["text"]}, "text is not taken from .*--take"),
        ({"model": "", "take": ["text"], "freeze": ["inner"]}, "network is not taken from"),
    ],
)
def test_only_what_is_taken_can_be_frozen(
    first: Path, tmp_path: Path, start: dict[str, Any], said: str
) -> None:
    if "model" in start:
        start = {**start, "model": str(first)}
    with pytest.raises(SfumatoError, match=said):
        recipe_for(tmp_path / "run", "x", None, False, {"start": start})


def test_another_side_or_network_is_named_as_the_option(
    first: Path, other: Path, tmp_path: Path
) -> None:
    start = {"model": str(first)}
    with pytest.raises(SfumatoError, match=r"--network \(network\.name\) = unet, but .* is patch"):
        Run(other, tmp_path / "run", start=start, network={"name": "unet"}, training=SHORT)
    lent = {"model": str(first), "take": ["text"]}  # then the network is one's own
    Run(other, tmp_path / "own", start=lent, network={"name": "patch-transformer"}, training=SHORT)
    both = {**start, "inner": str(first)}
    with pytest.raises(SfumatoError, match=r"one model: --from \(start\.model\) .* --init-inner"):
        Run(other, tmp_path / "both", start=both, training=SHORT)


def test_the_run_goes_on_without_the_model(first: Path, other: Path, tmp_path: Path) -> None:
    moved = tmp_path / "model"
    sfumato.load(first).save(moved)
    out = tmp_path / "run"
    walk = Run(other, out, start={"model": str(moved)}, training=SHORT).steps()
    next(walk)
    walk.close()  # type: ignore[attr-defined]
    moved.rename(tmp_path / "gone")
    list(Run(other, out, resume=True).steps())
    whole = tmp_path / "whole"
    begun(other, whole, tmp_path / "gone")
    assert same(tensors(whole), tensors(out), "")


def test_no_such_model(other: Path, tmp_path: Path) -> None:
    with pytest.raises(SfumatoError, match="no model in"):
        Run(other, tmp_path / "run", start={"model": str(tmp_path / "nowhere")})


@pytest.mark.parametrize("take", [["network", "text", "autoencoder"], ["network"]])
def test_a_network_that_is_taken_is_not_called_otherwise(
    first: Path, other: Path, tmp_path: Path, take: list[str]
) -> None:
    mine = sfumato.load(first).recipe.network.size
    start = {"model": str(first), "take": take}
    with pytest.raises(SfumatoError, match=rf"--size .* = large, but the network of .* is {mine}"):
        Run(other, tmp_path / "run", start=start, network={"size": "large"}, training=SHORT)
    Run(other, tmp_path / "same", start=start, network={"size": mine}, training=SHORT)
    lent = {"model": str(first), "take": ["autoencoder"]}
    run = Run(other, tmp_path / "new", start=lent, network={"size": "tiny"}, training=SHORT)
    assert run.recipe.network.size == "tiny"


def classes(folder: Path, *names: str) -> Path:
    """A folder of plain squares for each class."""
    for shade, name in enumerate(names):
        (folder / name).mkdir(parents=True)
        for number in range(4):
            picture = np.full((16, 16, 3), 60 * shade + 5 * number, np.uint8)
            Image.fromarray(picture).save(folder / name / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def classed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished model of the classes ant, bee and cat, as an older version wrote its recipe."""
    folder = tmp_path_factory.mktemp("classed")
    asked = recipe(conditioning={"drop": 0.5}, training={"images": 16})
    run = Run(classes(folder / "data", "ant", "bee", "cat"), folder / "run", recipe=asked)
    list(run.steps())
    assert run.recipe.conditioning.vocabulary == 120, "left over from data with captions"
    return folder / "run"


STILL = {**SHORT, "images": 8, "learning_rate": 1e-30}
"""One step that changes nothing: what is saved is what the run began with."""


def test_classes_of_the_same_name_keep_what_they_learned(classed: Path, tmp_path: Path) -> None:
    data = classes(tmp_path / "data", "bee", "cat", "dog", "emu")
    run = Run(data, tmp_path / "run", start={"model": str(classed)}, training=STILL)
    assert run.recipe.conditioning.vocabulary == 8192 and run.recipe.conditioning.drop == 0.5
    (note,) = [note for step in run.steps() for note in step.notes if "by name" in note]
    assert "4 classes the model knows 2" in note
    before, after = tensors(classed), tensors(tmp_path / "run")
    assert same(before, after, "network")
    mine, theirs = (t["conditioner.embedding.weight"] for t in (after, before))
    assert torch.equal(mine[[0, 1, 4]], theirs[[1, 2, 3]]), "bee, cat and the null"
    assert not any(torch.equal(row, known) for row in mine[[2, 3]] for known in theirs)
    assert sfumato.load(tmp_path / "run").generate("emu")[0].size == (16, 16)


def test_the_same_classes_need_no_word(classed: Path, tmp_path: Path) -> None:
    data = classes(tmp_path / "data", "ant", "bee", "cat")
    run = Run(data, tmp_path / "run", start={"model": str(classed)}, training=STILL)
    assert not any("by name" in note for note in run.notes)


def test_new_classes_are_not_frozen(classed: Path, tmp_path: Path) -> None:
    data = classes(tmp_path / "data", "bee", "dog")
    start = {"model": str(classed), "freeze": ["text"]}
    with pytest.raises(SfumatoError, match="has not learned 1 of the 2 classes.*Leave text out"):
        Run(data, tmp_path / "run", start=start, training=STILL)
    assert not (tmp_path / "run").exists()
    start["take"] = ["network"]
    with pytest.raises(SfumatoError, match="text is not taken"):
        Run(data, tmp_path / "run", start=start, training=STILL)
    Run(data, tmp_path / "run", start={**start, "freeze": ["network"]}, training=STILL)


def test_rows_of_another_width_do_not_fit() -> None:
    with pytest.raises(RuntimeError):
        Labels(["a"], 8).adopt(Labels(["a"], 4))


def test_a_recipe_of_before_goes_on(classed: Path, tmp_path: Path) -> None:
    """What nothing looks at was accepted once, and stands in recipes that were written then."""
    mine = changed(load_recipe(classed / "recipe.toml"), conditioning={"layers": 4, "tokens": 9})
    assert resolve(mine, channels=3, resolution=16) == mine
    old = tmp_path / "run"
    old.mkdir()
    save_recipe(mine, old / "recipe.toml")
    assert Run(None, old, resume=True, training={"images": 24}).recipe.conditioning.layers == 4
