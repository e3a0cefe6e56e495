"""`sfumato info`: facts of models, runs and pictures, hashes verified."""

import hashlib
import json
import shutil

import pytest

import sfumato as library


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


def test_for_people_facts_are_lines(sfumato, model_folder):
    lines = sfumato("info", model_folder).stdout.splitlines()
    assert lines[0].split() == ["kind", "model"]
    assert ["resolution", "16"] in [line.split() for line in lines]
    assert not any("None" in line for line in lines)


def test_settings_that_do_nothing_are_not_shown(sfumato, model_folder, latent_folder):
    plain, latent = (sfumato("info", one).stdout for one in (model_folder, latent_folder))
    assert "factor" in latent and "factor" not in plain and "vocabulary" in plain
    assert sfumato("info", model_folder, "--json").stdout.count('"factor"') == 1, "all of it"


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ({"kind": "text", "encoder": "sentence"}, {"kind", "encoder", "tokens", "drop"}),
        ({"kind": "text", "encoder": "tfidf"}, {"kind", "encoder", "tokens", "drop", "features"}),
        ({"kind": "labels", "encoder": "scratch"}, {"kind", "drop"}),
    ],
)
def test_an_encoder_has_its_own_settings(said, shown):
    from sfumato.interfaces.cli.facts import without_idle

    every = {"vocabulary": 8192, "layers": 2, "features": 128, "tokens": 24, "drop": 0.1}
    facts = {"kind": "run", "recipe": {"conditioning": {**said, **every}}}
    assert set(without_idle(facts)["recipe"]["conditioning"]) == shown
    assert facts["recipe"]["conditioning"].keys() > shown, "the facts themselves stay"


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
    assert "holds no settings" in result.stderr
    library.load(model_folder).generate("кот")[0].save("c.png")  # from Python, without settings
    result = sfumato("info", "c.png")
    assert result.exit_code == 1
    assert "holds no settings. Single pictures that the command line saves" in result.stderr


@pytest.mark.parametrize("what", ["nowhere", "."])
def test_what_is_nothing_is_said(sfumato, what):
    result = sfumato("info", what)
    assert result.exit_code == 1
    assert "no model in" in result.stderr


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("config.json", {"format": "sfumato-model/2", "recipe": None}, "Update Sfumato"),
        ("config.json", {"recipe": None}, "recipe in m is damaged"),
        ("config.json", {"recipe": {"data": 3}}, "recipe in m is damaged"),
        ("config.json", {"classes": 5}, "classes in m are damaged"),
        ("config.json", None, "settings in m are damaged"),
        ("card.json", None, "settings in m are damaged"),
        ("model.safetensors", None, "weights in m do not fit"),
    ],
)
def test_a_later_or_a_damaged_model_is_a_sentence(
    sfumato, model_folder, tmp_path, name, change, words
):
    shutil.copytree(model_folder, tmp_path / "m")
    content = b"[" * 50_000
    if change is not None:
        content = json.dumps({**json.loads((model_folder / name).read_bytes()), **change}).encode()
    rewrite(tmp_path / "m", name, content)
    result = sfumato("info", "m")
    assert result.exit_code == 1
    assert words in result.stderr


def test_json_knows_no_nan(sfumato, model_folder, tmp_path):
    shutil.copytree(model_folder, tmp_path / "m")
    rewrite(tmp_path / "m", "card.json", b'{"loss": NaN, "all": [Infinity, 1.5], "name": "x"}')

    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    said = json.loads(sfumato("info", "m", "--json").stdout, parse_constant=refuse)
    assert (said["loss"], said["all"], said["name"]) == (None, [None, 1.5], "x")


def rewrite(folder, name, content):
    """Another content for a file of a model, and a manifest that is true again."""
    (folder / name).write_bytes(content)
    manifest = json.loads((folder / "manifest.json").read_bytes())
    manifest["files"][name] = {
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
