"""examples/main.py: nothing -> data -> training -> pictures, and at once when there is a model."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
import tiny
from PIL import Image

import sfumato
from sfumato.data.online import collect
from sfumato.errors import SfumatoError
from sfumato.networks.tiny_unet import TinyUNet
from sfumato.training.recipe import load_recipe

pytest.importorskip("sklearn")
pytestmark = pytest.mark.usefixtures("quick")
BRIEFLY = ["--minutes", "0.01", "--image_size", "16", "--device", "cpu"]


@pytest.fixture(scope="module")
def module(example):
    return example("main")


def test_from_a_folder_to_pictures_and_then_at_once(module, squares, tmp_path, capsys):
    out = tmp_path / "mine"
    module.main([str(squares), "--output_dir", str(out), *BRIEFLY])
    said = capsys.readouterr().out
    assert str(out / "pictures" / "first.png") in said and f"--model {out}" in said
    # eight pictures of five colours, and a colour is asked for once
    drawn = sorted(path.name for path in (out / "pictures").iterdir())
    assert drawn == [*(f"{number:04d}.png" for number in range(5)), "first.png"]
    assert Image.open(out / "pictures" / "0000.png").size == (16, 16)
    recipe = load_recipe(out / "recipe.toml")
    assert (recipe.network.name, recipe.conditioning.encoder) == ("tiny-unet", "tfidf")
    network = sfumato.load(out).prompted.network
    assert isinstance(network, TinyUNet) and recipe.network.width == 16, "3 -> 16 -> 32 -> 64"

    written = (out / "model" / "manifest.json").stat().st_mtime_ns
    module.main(["--output_dir", str(out), "--prompts", "a red square", "--device", "cpu"])
    assert (out / "model" / "manifest.json").stat().st_mtime_ns == written
    assert "a red square" in capsys.readouterr().out

    (tmp_path / "others").mkdir()
    for other in (["emoji"], [str(tmp_path / "others")], ["--query", "street art"]):
        with pytest.raises(SfumatoError, match=f"training on {squares}, not on .*--output_dir"):
            module.main([*other, "--output_dir", str(out), *BRIEFLY])
    with pytest.raises(SfumatoError, match="no folder"):
        module.main([str(tmp_path / "nowhere"), "--output_dir", str(out), *BRIEFLY])


def test_emoji_where_nothing_is_said(module, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(module, "Run", lambda given, *_, **__: asked.append(given))
    monkeypatch.setattr(module, "follow", lambda *_, **__: {"interrupted": True})
    with pytest.raises(KeyboardInterrupt):
        module.main(["--output_dir", str(tmp_path / "mine")])
    assert asked == ["emoji"]


def test_the_rest_of_a_training_has_its_minutes_already(module, tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr(module, "Run", lambda *_, training, **__: told.append(training["minutes"]))
    monkeypatch.setattr(module, "follow", lambda *_, **__: {"interrupted": True})
    begun = tmp_path / "begun"
    begun.mkdir()
    (begun / "recipe.toml").write_text('[data]\nname = "emoji"\n')
    for folder, *more in ((tmp_path / "new",), (begun,), (begun, "--minutes", "5")):
        with pytest.raises(KeyboardInterrupt):
            module.main(["--output_dir", str(folder), *more])
    assert told == [30.0, None, 5.0]


def test_pictures_of_a_search(module, tmp_path, monkeypatch, capsys):
    asked = []

    def gathered(query, folder, count, search, client):
        asked.append((query, count, type(search).__name__))
        tiny.squares(folder, count)
        return SimpleNamespace(total=count)

    monkeypatch.setattr(collect, "collect", gathered)
    out = tmp_path / "mine"
    begin = ["--query", "street art", "--count", "6", "--output_dir", str(out), *BRIEFLY]
    stop = SimpleNamespace(ever=True)

    def stopped(run, quiet):
        assert len(run.source) == 6
        return {"interrupted": stop.ever} if stop.ever else follow(run, quiet)

    follow = module.follow
    monkeypatch.setattr(module, "follow", stopped)
    with pytest.raises(KeyboardInterrupt):
        module.main(begin)
    stop.ever = False
    module.main(begin)
    assert asked == [("street art", 6, "DuckDuckGo")], "what was found is not searched again"
    assert (out / "pictures" / "first.png").is_file()
    assert "belongs to its makers" in capsys.readouterr().out


def test_a_search_without_its_package_says_what_to_install(module, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ddgs", None)
    with pytest.raises(SfumatoError, match=r"sfumato\[collect\]"):
        module.main(["--query", "street art", "--output_dir", str(tmp_path / "mine"), *BRIEFLY])
