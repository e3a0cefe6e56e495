"""`sfumato start`: from nothing to the first pictures, and at once when there is a model."""

import json
from pathlib import Path

import pytest
from PIL import Image

from sfumato.training.recipe import load_recipe

BRIEFLY = ("--minutes", 0.02, "--resolution", 16, "--device", "cpu")


@pytest.fixture
def begun(pictures, sfumato, tmp_path):
    result = sfumato("start", pictures, "-o", "mine", *BRIEFLY)
    assert result.exit_code == 0, result.output
    return tmp_path / "mine", result


def test_from_a_folder_to_pictures_and_the_second_time_at_once(begun, sfumato):
    run, result = begun
    sheet = run / "pictures" / "first.png"
    assert str(sheet.relative_to(run.parent)) in result.stderr
    with Image.open(sheet) as picture:
        assert picture.width > 16
    drawn = sheet.read_bytes()
    kept = load_recipe(run / "recipe.toml")
    assert (kept.training.minutes, kept.network.size) == (0.02, "tiny")
    written = (run / "model" / "manifest.json").stat().st_mtime_ns

    again = sfumato("start", "-o", "mine", "-p", "red square", "--json")
    assert again.exit_code == 0, again.output
    said = json.loads(again.stdout)
    assert [one["prompt"] for one in said["pictures"]] == ["red square"]
    assert said["sheet"] == str(Path("mine", "pictures", "first-2.png"))
    assert sheet.read_bytes() == drawn
    assert (run / "model" / "manifest.json").stat().st_mtime_ns == written


def test_a_finished_model_does_not_pass_for_one_of_other_data(begun, pictures, sfumato, tmp_path):
    (tmp_path / "others").mkdir()
    for data in ("others", "emoji"):
        other = sfumato("start", data, "-o", "mine", "-p", "red square")
        assert other.exit_code == 1 and other.stderr.count("\n") == 1
        assert f"trained on {pictures}, not on {data}" in other.stderr and "-o" in other.stderr
    missing = sfumato("start", "nosuchfolder", "-o", "mine")
    assert missing.exit_code == 1 and "no folder 'nosuchfolder'" in missing.stderr
    larger = sfumato("start", "-o", "mine", "--resolution", 32)
    assert larger.exit_code == 1 and "at 16 pixels, not at 32" in larger.stderr

    link = tmp_path / "link"
    link.symlink_to(pictures)
    same = sfumato("start", "link", "-o", "mine", "--minutes", 0.2, "-p", "red square")
    assert same.exit_code == 0, same.output
    assert "Nothing was trained" in same.stderr
    assert "sfumato train -o mine --resume --minutes 0.2" in same.stderr


def test_a_stopped_run_goes_on(pictures, sfumato, tmp_path, monkeypatch):
    from sfumato.interfaces.cli import progress

    def stopped(run, quiet):
        next(iter(run.steps()))
        run.folder.mkdir(exist_ok=True)
        return {"interrupted": True}

    with monkeypatch.context() as patch:
        patch.setattr(progress, "follow", stopped)
        result = sfumato("start", pictures, "-o", "mine", *BRIEFLY)
    assert result.exit_code == 130
    assert not (tmp_path / "mine" / "model").exists()
    other = sfumato("start", "emoji", "-o", "mine")
    assert other.exit_code == 1 and f"trained on {pictures}, not on emoji" in other.stderr
    result = sfumato("start", "-o", "mine")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "mine" / "model" / "manifest.json").is_file()


@pytest.mark.parametrize("minutes", ["0", "-1", "nan", "inf"])
def test_minutes_that_are_none_are_refused(sfumato, tmp_path, minutes):
    result = sfumato("start", "emoji", "-o", "mine", "--minutes", minutes)
    assert result.exit_code == 2 and "--minutes" in result.stderr
    assert not (tmp_path / "mine").exists()


def test_what_is_said_when_a_run_goes_on_is_heard(pictures, sfumato, tmp_path, monkeypatch):
    from sfumato.interfaces.cli import progress

    runs = []

    def stopped(run, quiet):
        runs.append(run)
        return {"interrupted": True}

    monkeypatch.setattr(progress, "follow", stopped)
    sfumato("start", pictures, "-o", "mine", *BRIEFLY)
    sfumato("start", "-o", "mine", "--minutes", 3, "--device", "cpu", "--resolution", 16)
    assert [run.recipe.training.minutes for run in runs] == [0.02, 3]
    sfumato("start", "-o", "mine")
    assert runs[-1].recipe.training.minutes == 3, "as it was said the last time"
    result = sfumato("start", "-o", "mine", "--resolution", 32)
    assert result.exit_code == 1 and "has data.resolution = 16, not 32" in result.stderr
    result = sfumato("start", "-o", "mine", "--device", "quantum")
    assert result.exit_code == 1 and "quantum" in result.stderr
    assert len(runs) == 3


def test_a_new_run_has_ten_minutes(pictures, sfumato, monkeypatch):
    from sfumato.interfaces.cli import progress

    runs = []
    monkeypatch.setattr(
        progress, "follow", lambda run, quiet: runs.append(run) or {"interrupted": True}
    )
    sfumato("start", pictures, "-o", "mine", "--resolution", 16, "--device", "cpu")
    assert runs[0].recipe.training.minutes == 10
