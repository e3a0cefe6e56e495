"""`sfumato judge`: a judge of one's own, and what is said of it."""

import json

import pytest
from PIL import Image

from sfumato.evaluation.judge import Judge

COLOURS = ("red", "green", "blue")


@pytest.fixture
def classes(tmp_path):
    """Three classes of plain colours, six pictures each."""
    for name in COLOURS:
        (tmp_path / "art" / name).mkdir(parents=True)
        for number in range(6):
            picture = Image.new("RGB", (16, 16), name)
            picture.paste("white", (number, 2, number + 5, 9))
            picture.save(tmp_path / "art" / name / f"{number}.png")
    return tmp_path / "art"


def test_a_judge_is_trained_and_saved(sfumato, classes, tmp_path):
    result = sfumato("judge", classes, "-o", "judges/art", "--minutes", 0.0001, "--seed", 3)
    assert result.exit_code == 0, result.output
    assert result.stdout == ""
    assert "Told apart: 3" in result.stderr and "judges/art" in result.stderr
    judge = Judge.load(tmp_path / "judges" / "art")
    assert judge.labels == tuple(sorted(COLOURS))
    assert judge.about.training["seed"] == 3


def test_json_says_what_came_of_it(sfumato, classes):
    result = sfumato("judge", classes, "-o", "judge", "--minutes", 0.0001, "--json")
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert said["labels"] == 3 and said["kind"] == "labels"
    assert len(said["hash"]) == 64
    assert said["accuracy"].keys() == {"top1", "top5", "count"}


def test_captioned_pictures_are_each_their_own_class(sfumato, pictures):
    result = sfumato("judge", pictures, "-o", "judge", "--minutes", 0.0001)
    assert result.exit_code == 0, result.output
    assert "each of 8 pictures" in result.stderr


def test_russian(sfumato, classes, monkeypatch):
    monkeypatch.setenv("SFUMATO_LANG", "ru")
    result = sfumato("judge", classes, "-o", "judge", "--minutes", 0.0001)
    assert result.exit_code == 0, result.output
    assert "Различает: 3" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-o", "judge", "--minutes", "0"], "above 0"),
        (["-o", "judge", "--minutes", "nan"], "above 0"),
        ([], "-o judges/first"),
    ],
)
def test_a_wrong_command_line_is_said(sfumato, classes, arguments, words):
    result = sfumato("judge", classes, *arguments)
    assert result.exit_code == 2
    assert words in " ".join(result.output.split())


def test_what_stands_in_the_way_is_said_before_the_work(sfumato, tmp_path):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "cat.png").write_text("x")
    result = sfumato("judge", "no-such-data", "-o", "taken")
    assert result.exit_code == 1
    assert "something else" in result.stderr


def test_data_that_are_not_there_are_said(sfumato):
    result = sfumato("judge", "fashion-mnits", "-o", "judge")
    assert result.exit_code == 1
    assert "fashion-mnist" in result.stderr
