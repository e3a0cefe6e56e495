"""`sfumato info`: facts of models, runs and pictures, hashes verified."""

import json
import shutil

import pytest

from sfumato.interfaces.cli.facts import _parameters


def test_a_model(sfumato, model_folder):
    said = json.loads(sfumato("info", model_folder, "--json").stdout)
    assert (said["kind"], said["name"]) == ("model", "tiny test model")
    assert "3d style" in said["styles"]
    assert said["recipe"]["data"]["resolution"] == 16
    assert said["bytes"] == sum(
        f.stat().st_size for f in model_folder.iterdir() if f.name != "manifest.json"
    )


def test_parameters_are_counted(sfumato, model_folder, latent_folder):
    import sfumato as library

    for folder in (model_folder, latent_folder):
        said = json.loads(sfumato("info", folder, "--json").stdout)
        model = library.load(folder)
        wanted = sum(tensor.numel() for tensor in model.prompted.state_dict().values())
        assert said["parameters"] == wanted
        assert (said["autoencoder parameters"] is None) == (model.autoencoder is None)


def test_a_header_may_hold_notes_besides_tensors():
    header = {"__metadata__": {"format": "pt"}, "w": {"dtype": "F16", "shape": [3, 5]}}
    text = json.dumps(header).encode()
    assert _parameters(len(text).to_bytes(8, "little") + text) == 15


def test_for_people_facts_are_lines(sfumato, model_folder):
    lines = sfumato("info", model_folder).stdout.splitlines()
    assert lines[0].split() == ["kind", "model"]
    assert ["resolution", "16"] in [line.split() for line in lines]
    assert not any("None" in line for line in lines)


def test_damage_is_found(sfumato, model_folder, tmp_path):
    shutil.copytree(model_folder, tmp_path / "m")
    (tmp_path / "m" / "card.json").write_text("{}")
    result = sfumato("info", "m")
    assert result.exit_code == 1
    assert "card.json is damaged" in result.stderr


def test_a_run(sfumato, trained):
    run, _ = trained
    said = json.loads(sfumato("info", run, "--json").stdout)
    assert (said["kind"], said["finished"], said["phase"]) == ("run", True, "diffusion")
    assert (said["images seen"], said["total"]) == (32, 32)
    assert said["checkpoint"] == "images-000000032"


def test_a_run_without_a_checkpoint(sfumato, trained, tmp_path):
    run, _ = trained
    (tmp_path / "new").mkdir()
    shutil.copy(run / "recipe.toml", tmp_path / "new")
    said = json.loads(sfumato("info", "new", "--json").stdout)
    assert (said["finished"], said["phase"], said["images seen"]) == (False, None, 0)


def test_a_picture(sfumato, model_folder):
    sfumato("generate", "кот", "-m", model_folder, "-o", "a.png", "--seed", 3)
    said = json.loads(sfumato("info", "a.png", "--json").stdout)
    assert (said["kind"], said["prompt"], said["seed"]) == ("picture", "кот", 3)
    sfumato("generate", "кот", "-m", model_folder, "-o", "b.png", "--metadata", "none")
    result = sfumato("info", "b.png")
    assert result.exit_code == 1
    assert "no settings" in result.stderr


@pytest.mark.parametrize("what", ["nowhere", "."])
def test_what_is_nothing_is_said(sfumato, what):
    result = sfumato("info", what)
    assert result.exit_code == 1
    assert "no model in" in result.stderr
