"""Beginning with another model's weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny import recipe, squares
from tokenizers import Tokenizer
from torch import Tensor

import sfumato
from sfumato.errors import SfumatoError
from sfumato.training.run import Run


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


@pytest.mark.parametrize(("part", "rest"), [("network", "conditioner"), ("text", "network")])
def test_a_frozen_part_stays(
    first: Path, other: Path, tmp_path: Path, part: str, rest: str
) -> None:
    begun(other, tmp_path / "run", first, freeze=[part])
    before, after = tensors(first), tensors(tmp_path / "run")
    frozen = "conditioner" if part == "text" else "network"
    assert same(before, after, frozen) and not same(before, after, rest)


def test_nothing_learns_is_refused(first: Path, other: Path, tmp_path: Path) -> None:
    with pytest.raises(SfumatoError, match="nothing would learn"):
        begun(other, tmp_path / "run", first, freeze=["network", "text"])


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


def test_what_does_not_fit_is_said(first: Path, other: Path, tmp_path: Path) -> None:
    run = Run(
        other, tmp_path / "run", start={"model": str(first)}, network={"width": 64}, training=SHORT
    )
    with pytest.raises(
        SfumatoError,
        match=r"The (text|network) of .* does not fit this run: network\.width is 32 there and 64",
    ):
        list(run.steps())


def test_another_side_or_network_is_named_as_the_option(
    first: Path, other: Path, tmp_path: Path
) -> None:
    start = {"model": str(first)}
    with pytest.raises(SfumatoError, match=r"--network \(network\.name\) = unet, but .* is patch"):
        Run(other, tmp_path / "run", start=start, network={"name": "unet"}, training=SHORT)
    lent = {"model": str(first), "take": ["text"]}  # then the network is one's own
    Run(other, tmp_path / "own", start=lent, network={"name": "patch-transformer"}, training=SHORT)
    run = Run(other, tmp_path / "run", start=start, data={"resolution": 32}, training=SHORT)
    with pytest.raises(SfumatoError, match=r"--resolution \(data\.resolution\) is 16 there and 32"):
        list(run.steps())
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
