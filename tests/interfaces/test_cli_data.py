"""`sfumato data`: the list and the check."""

import json

from PIL import Image


def test_the_list_names_what_the_library_knows(sfumato):
    from sfumato.data import NAMES

    result = sfumato("data", "list")
    assert result.exit_code == 0, result.output
    for name in NAMES:
        assert f"{name}\n" in result.stdout
    assert "Apache-2.0" in result.stdout
    said = json.loads(sfumato("data", "list", "--json").stdout)["data"]
    assert [one["name"] for one in said][: len(NAMES)] == list(NAMES)


def test_the_check_names_every_problem(sfumato, tmp_path):
    for number in range(4):
        Image.effect_noise((64, 64), 80 + number).save(tmp_path / f"{number}.png")
        (tmp_path / f"{number}.txt").write_text("noise", "utf-8")
    (tmp_path / "broken.png").write_text("no picture")
    result = sfumato("data", "check", tmp_path)
    assert result.exit_code == 0, result.output
    assert "broken.png" in result.stdout
    said = json.loads(sfumato("data", "check", tmp_path, "--json").stdout)
    assert said["counts"]["unreadable"] == 1
    assert said["pictures"] == 5
    assert (tmp_path / "broken.png").read_text() == "no picture"


def test_what_is_not_there_is_said(sfumato):
    result = sfumato("data", "check", "fashion-mnits")
    assert result.exit_code == 1
    assert "fashion-mnist" in result.stderr
