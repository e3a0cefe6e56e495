"""`sfumato evaluate`: the command, its words, its ends."""

import json

import pytest
from pretend_judge import PretendJudge

import sfumato.evaluation.evaluate as module
from sfumato.evaluation import sweeps
from sfumato.evaluation.budget import SHARES
from sfumato.interfaces.cli.evaluate import Bar, phase_name


@pytest.fixture
def work(monkeypatch):
    """The library's function, with a pretended judge and without a second process."""
    real = module.evaluate
    seen = {}

    def work(model, judge=None, **settings):
        seen.update(settings, model=model, judge=judge)
        return real(model, judge=PretendJudge(), **settings)

    monkeypatch.setattr(module, "evaluate", work)
    told = {"one": 0.5, "sixteen": 2.0, "first one": 0.6, "load": 1.0, "steps": 4}
    monkeypatch.setattr(sweeps, "speed_of", lambda *a, **k: {**told, "peak bytes": 3 * 10**8})
    monkeypatch.setattr(sweeps, "SCALES", (1.0, 3.0))
    monkeypatch.setattr(sweeps, "STEPS", (4,))
    return seen


def test_a_page_and_numbers(sfumato, work, model_folder, pictures, tmp_path):
    result = sfumato(
        *("evaluate", model_folder, "--data", pictures, "--samples", 16, "--minutes", 5),
        *("--judge", tmp_path / "judge", "--seed", 7, "-o", tmp_path / "out"),
    )
    assert result.exit_code == 0, result.output
    assert (tmp_path / "out" / "report.html").is_file()
    found = json.loads((tmp_path / "out" / "report.json").read_text("utf-8"))
    assert found["settings"]["seed"] == 7
    assert found["settings"]["samples"] == 16
    assert found["settings"]["command"].startswith("sfumato")
    assert work["judge"] == tmp_path / "judge"
    assert "report.html" in result.stderr
    assert "agreement" in found["left out"]  # nobody says what the pictures show
    assert "agreement" not in result.stderr  # and more time would not help


def test_json_is_one_object_and_nothing_else(sfumato, work, model_folder, pictures, tmp_path):
    result = sfumato(
        *("evaluate", model_folder, "--data", pictures, "--samples", 16, "--json"),
        *("-o", tmp_path / "out", "--lang", "ru"),
    )
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert said["page"].endswith("report.html")
    assert said["parts"] == json.loads((tmp_path / "out/report.json").read_text("utf-8"))["parts"]
    assert result.stderr == ""
    assert '<html lang="ru">' in (tmp_path / "out" / "report.html").read_text("utf-8")


@pytest.mark.parametrize("minutes", ["0", "-1", "nan", "inf"])
def test_senseless_minutes_are_a_wrong_command_line(sfumato, minutes):
    result = sfumato("evaluate", "--minutes", minutes)
    assert result.exit_code == 2
    assert "minutes" in result.stderr


def test_no_model_is_said_in_one_sentence(sfumato, tmp_path):
    result = sfumato("evaluate", tmp_path / "nothing", "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert "There is no model in" in result.stderr


def test_no_judge_is_said_in_one_sentence(sfumato, model_folder, pictures, tmp_path):
    result = sfumato("evaluate", model_folder, "--data", pictures, "--judge", tmp_path / "none")
    assert result.exit_code == 1
    assert "judge" in result.stderr


def test_ctrl_c_says_how_to_go_on(sfumato, monkeypatch, tmp_path):
    def interrupted(*args, **settings):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "evaluate", interrupted)
    result = sfumato("evaluate", "-o", tmp_path / "out")
    assert result.exit_code == 130
    assert "out" in result.stderr
    assert "goes on" in result.stderr


@pytest.mark.parametrize("phase", ["reading", "looking", "judge", "gallery", *SHARES])
@pytest.mark.parametrize("language", ["en", "ru"])
def test_every_phase_has_a_name(phase, language, monkeypatch):
    monkeypatch.setenv("SFUMATO_LANG", language)
    name = phase_name(phase)
    assert name[0].isupper()
    assert (language == "en") == name.isascii()


def test_the_bar_begins_anew_with_each_phase(capsys):
    bar = Bar()
    for phase, done in (("reading", 5), ("reading", 10), ("looking", 3), ("looking", 2)):
        bar.step(phase, done, 10)
        assert bar._bar.n == done
    bar.close()
    assert "Reading" in capsys.readouterr().err
