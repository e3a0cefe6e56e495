"""Which recipe a run follows: new, gone on with, or refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import recipe, squares

from sfumato.data import open_source
from sfumato.data.example import Example
from sfumato.errors import SfumatoError
from sfumato.training import start
from sfumato.training.processes import company
from sfumato.training.recipe import changed, load_recipe, save_recipe
from sfumato.training.sections import Recipe
from sfumato.training.start import FREE, begin, recipe_for, same_data, settled


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A folder with the recipe of a run on some pictures."""
    folder = tmp_path / "run"
    folder.mkdir()
    mine = changed(recipe(), data={"name": "pictures"}, training={"images": 800, "seed": 3})
    save_recipe(mine, folder / "recipe.toml")
    return folder


def resumed(run: Path, data: Any = None, /, recipe: Any = None, **sections: Any) -> Recipe:
    return recipe_for(run, data, recipe, True, sections)


def test_a_new_run_takes_recipe_data_and_changes_in_this_order(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    save_recipe(changed(Recipe(), data={"name": "mine"}, training={"seed": 5}), file)
    new = tmp_path / "new"
    for resume in (False, True):  # where nothing is, resuming begins
        assert recipe_for(new, None, None, resume, {}) == Recipe()
        assert recipe_for(new, None, file, resume, {}).data.name == "mine"
        assert recipe_for(new, Path("other"), str(file), resume, {}).data.name == "other"
        given_ = recipe_for(new, "x", None, resume, {"data": {"resolution": 32}})
        assert (given_.data.name, given_.data.resolution) == ("x", 32)
        told = recipe_for(new, None, file, resume, {"training": {"images": 7}})
        assert (told.training.images, told.training.seed) == (7, 5)
    assert not new.exists()


def test_a_run_is_not_overwritten(run: Path) -> None:
    with pytest.raises(SfumatoError, match="There is a run in .* already. Add --resume"):
        recipe_for(run, "pictures", None, False, {})


def test_a_resumed_run_has_its_own_recipe(run: Path) -> None:
    mine = load_recipe(run / "recipe.toml")
    assert resumed(run) == mine
    assert resumed(run, "pictures") == mine
    assert resumed(run, Path("./pictures")) == mine
    assert resumed(run, Path.cwd() / "pictures") == mine, "the same place, said otherwise"
    assert resumed(run, recipe=mine) == mine
    assert resumed(run, recipe=run / "recipe.toml") == mine
    assert resumed(run, recipe=Recipe()) == mine, "nothing is set in it"
    assert resumed(run, training={"seed": 3, "precision": "auto"}, network={"width": 32}) == mine
    with pytest.raises(SfumatoError, match="has training.seed = 3, not 4"):
        resumed(run, recipe=changed(mine, training={"seed": 4}))


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ({"training": {"seed": 4}}, "training.seed = 3, not 4"),
        ({"training": {"batch_size": 16}}, "training.batch_size = 8, not 16"),
        ({"training": {"images": 900, "betas": (0.8, 0.9)}}, "training.betas"),
        ({"network": {"size": "large"}}, "network.size = small, not large"),
        ({"network": {"depth": 2}}, "network.depth = 1, not 2"),
        ({"latent": {"images": 3}}, "latent.images = 48, not 3"),
        ({"data": {"resolution": 32}}, "data.resolution = 16, not 32"),
        ({"conditioning": {"drop": 0.2}}, "conditioning.drop = 0.1, not 0.2"),
        ({"training": {"sede": 4}}, "did you mean 'seed'"),
        ({"trainig": {"seed": 4}}, "did you mean 'training'"),
        ({"training": {"images": -4}}, "training.images = -4 is not allowed"),
    ],
)
def test_what_would_make_another_run_of_it_is_refused(run: Path, wish: Any, said: str) -> None:
    with pytest.raises(SfumatoError, match=said):
        resumed(run, **wish)


def test_other_data_or_another_recipe_are_refused(run: Path) -> None:
    with pytest.raises(SfumatoError, match="data.name = pictures, not elsewhere"):
        resumed(run, "elsewhere")
    with pytest.raises(SfumatoError, match="data.name = pictures, not elsewhere"):
        resumed(run, recipe=changed(Recipe(), data={"name": "elsewhere"}))
    # what is said beside a recipe counts more than the recipe
    other = changed(load_recipe(run / "recipe.toml"), data={"name": "elsewhere"})
    assert resumed(run, "pictures", recipe=other).data.name == "pictures"


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "images": st.integers(1, 10**9),
            "minutes": st.floats(0.1, 1e4),
            "threads": st.integers(1, 64),
            "device": st.sampled_from(["cpu", "cuda", "auto"]),
            "keep": st.integers(1, 9),
            "save_every_minutes": st.floats(0.1, 60),
            "sample_every_images": st.integers(1, 10**6),
            "log_every_images": st.integers(1, 10**6),
            "tensorboard": st.booleans(),
        },
    )
)
def test_what_is_free_changes_and_nothing_else_does(tmp_path_factory, wishes) -> None:
    assert wishes.keys() <= FREE
    folder = tmp_path_factory.mktemp("run")
    mine = changed(recipe(), training={"images": 800, "minutes": 5.0})
    save_recipe(mine, folder / "recipe.toml")
    found = recipe_for(folder, None, None, True, {"training": wishes})
    # minutes named anew plan their images anew
    free = {"images": None} if "minutes" in wishes else {}
    assert found == changed(mine, training={**free, **wishes})


def test_a_recipe_is_settled_by_the_data(tmp_path: Path) -> None:
    source = open_source(squares(tmp_path / "data"), 16)
    asked = changed(Recipe(), network={"size": "tiny"}, training={"precision": "auto", "images": 5})
    found, notes = settled(asked, source, company("cpu"))
    assert found.data.channels == 3 and found.data.resolution == 16
    assert found.conditioning.kind == "text"
    assert found.latent.use is False
    assert found.training.precision in ("fp32", "bf16") and found.training.device == "cpu"
    assert len(notes) == 1 and notes[0].startswith(f"Training in {found.training.precision}: ")
    assert notes[0].count(found.training.precision) <= 2, "nothing is said twice"
    assert settled(found, source, company("cpu")) == (found, [])


def test_the_folder_holds_recipe_data_and_report(tmp_path: Path) -> None:
    data = squares(tmp_path / "data")
    (data / "bad.png").write_text("no picture")
    source = open_source(data, 16)
    settled_, _ = settled(recipe(), source, company("cpu"))
    run = tmp_path / "deep" / "run"
    notes = begin(run, settled_, source, company("cpu"))
    assert len(notes) == 2 and "bad.png" in notes[0] and "Only 11 pictures" in notes[1]
    assert (run / "data-report.txt").read_text("utf-8").strip() == notes[0].strip()
    assert load_recipe(run / "recipe.toml") == settled_
    facts = json.loads((run / "data.json").read_text())
    assert facts["pictures"] == 11
    # a second time, as on resuming; then with one picture less
    begin(run, settled_, source, company("cpu"))
    (data / "003.png").unlink()
    with pytest.raises(SfumatoError, match=r"data have changed .*\(pictures: 11, now 10\)\. Put"):
        begin(run, settled_, open_source(data, 16), company("cpu"))


def test_other_pictures_in_the_same_number_are_noticed(tmp_path: Path) -> None:
    data, run = squares(tmp_path / "data"), tmp_path / "run"
    source = open_source(data, 16)
    settled_, _ = settled(recipe(), source, company("cpu"))
    begin(run, settled_, source, company("cpu"))
    shutil.copy(data / "004.png", data / "003.png")
    with pytest.raises(SfumatoError, match="data have changed"):
        begin(run, settled_, open_source(data, 16), company("cpu"))


def test_a_run_remembers_where_its_pictures_lie(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    squares(tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    for way in ("data", "./data", Path("data")):
        found = recipe_for(tmp_path / "run", way, recipe(), False, {})
        assert found.data.name == str(tmp_path / "data")
    assert recipe_for(tmp_path / "run", "emoji", recipe(), False, {}).data.name == "emoji"


def test_facts_about_the_data_are_kept_and_compared(tmp_path: Path) -> None:
    alone = company("cpu")
    same_data(tmp_path, alone, pictures=3)
    same_data(tmp_path, alone, captions="ab")
    same_data(tmp_path, alone, captions="ab", pictures=3)
    assert json.loads((tmp_path / start.DATA).read_text()) == {"pictures": 3, "captions": "ab"}
    with pytest.raises(SfumatoError, match="data have changed since the run in .* began. Put"):
        same_data(tmp_path, alone, captions="ac")
    for damaged in ("", "[1]", "3"):  # it only guards; a run does not die of its loss
        (tmp_path / start.DATA).write_text(damaged)
        same_data(tmp_path, alone, pictures=4)


def test_words_in_the_wrong_place_are_put_right_or_named(tmp_path: Path) -> None:
    new = tmp_path / "new"
    assert recipe_for(new, None, None, False, {"data": "mine"}).data.name == "mine"
    assert recipe_for(new, None, None, False, {"data": Path("mine")}).data.name == "mine"
    with pytest.raises(SfumatoError, match=r"minutes = 10 .* mean training=\{'minutes': 10\}\?"):
        recipe_for(new, None, None, False, {"minutes": 10})
    with pytest.raises(SfumatoError, match=r"sais = 'x' is no section of a recipe\.$"):
        recipe_for(new, None, None, False, {"sais": "x"})


class Wordless(list):  # type: ignore[type-arg]
    """Pictures of which nothing is said, or only spaces."""

    name, size, channels, classes = "wordless", 8, 1, ()

    def __init__(self, *captions: str) -> None:
        blank = np.zeros((1, 8, 8), np.uint8)
        super().__init__([Example(blank, captions, None, str(i)) for i in range(3)])


def test_text_is_refused_where_nothing_is_said() -> None:
    alone = company("cpu")
    text = changed(recipe(), conditioning={"kind": "text"}, data={"resolution": 8})
    for source in (Wordless(), Wordless("", " \n")):
        with pytest.raises(SfumatoError, match="wordless has nothing to read.*Leave --text"):
            settled(text, source, alone)
    assert settled(text, Wordless("a word"), alone)[0].conditioning.kind == "text"
    taken = changed(text, start={"model": "somewhere"})
    assert settled(taken, Wordless(), alone)[0].conditioning.kind == "text"
