"""A run has a folder of its own: not that of the pictures, nor one that is used otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny import recipe, squares

from sfumato.errors import SfumatoError
from sfumato.training.place import demand_place
from sfumato.training.run import Run
from sfumato.training.start import recipe_for


def contents(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.mark.parametrize(
    ("out", "said"),
    [
        ("shapes", "is the folder of the pictures"),
        ("shapes/run", "lies inside the folder of the pictures"),
        ("shapes/deep/../new/run", "lies inside the folder of the pictures"),
        ("link/run", "lies inside the folder of the pictures"),
    ],
)
@pytest.mark.parametrize("resume", [False, True])
def test_a_run_may_not_lie_among_its_pictures(
    tmp_path: Path, out: str, said: str, resume: bool
) -> None:
    data = squares(tmp_path / "shapes", 3)
    (tmp_path / "link").symlink_to(data, target_is_directory=True)
    before = contents(data)
    for name in (data, tmp_path / "link"):
        with pytest.raises(SfumatoError, match=f"{said}.* Choose a folder outside"):
            Run(name, tmp_path / out, recipe=recipe(), resume=resume)
    with pytest.raises(SfumatoError, match=said):  # the name may also come from the recipe
        recipe_for(tmp_path / out, None, recipe(data={"name": str(data)}), resume, {})
    assert contents(data) == before


def test_a_run_may_not_lie_among_other_files(tmp_path: Path) -> None:
    data = squares(tmp_path / "shapes", 3)
    other = squares(tmp_path / "other", 2)
    for resume in (False, True):
        with pytest.raises(SfumatoError, match=r"other holds .*000\.png.* Choose a new or"):
            Run(data, other, recipe=recipe(), resume=resume)
    with pytest.raises(SfumatoError, match=r"000\.png is a file\. Choose"):
        Run(data, other / "000.png", recipe=recipe())
    assert len(contents(other)) == 4


@pytest.mark.parametrize("name", ["emoji", "hf:owner/name", "nowhere", "shards/*.tar"])
def test_names_and_patterns_are_no_folders(tmp_path: Path, name: str) -> None:
    demand_place(tmp_path / "new", name)
    (tmp_path / "empty").mkdir()
    demand_place(tmp_path / "empty", name)
    assert contents(tmp_path) == {"empty"}


def test_tars_beside_a_run_do_not_mix_with_it(tmp_path: Path) -> None:
    (tmp_path / "a.tar").touch()
    demand_place(tmp_path / "run", str(tmp_path / "a.tar"))
    demand_place(tmp_path / "run", str(tmp_path / "*.tar"))
    with pytest.raises(SfumatoError, match=r"holds .*a\.tar"):
        demand_place(tmp_path, "emoji")


def test_what_is_left_of_a_begun_run_locks_nobody_out(tmp_path: Path) -> None:
    """Of a run that was killed before it had a recipe, or written there for it."""
    data = squares(tmp_path / "run" / "data" / "squares", 2)  # pictures fetched for the run
    for name in (".lock", "data.json", ".recipe.toml.partial", "tokenizer.json", "train.log"):
        (tmp_path / "run" / name).touch()
    (tmp_path / "run" / ".cache").mkdir()
    demand_place(tmp_path / "run", str(data))
    with pytest.raises(SfumatoError, match=r"holds .*data"):
        demand_place(tmp_path / "run", "emoji")


def test_a_run_that_is_there_goes_on_wherever_it_lies(tmp_path: Path) -> None:
    data = squares(tmp_path / "shapes", 3)
    begun = Run(data, tmp_path / "run", recipe=recipe())
    assert recipe_for(begun.folder, data, None, True, {}) == begun.recipe
    (begun.folder / "notes.txt").touch()
    assert recipe_for(begun.folder, data, None, True, {}) == begun.recipe
