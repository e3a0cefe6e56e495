"""examples/web.py: what the button does, and what is said without Gradio."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest
import tiny
from PIL import Image

import sfumato
from sfumato.errors import SfumatoError


@pytest.fixture(scope="module")
def module(example):
    return example("web")


@pytest.fixture(scope="module")
def model() -> sfumato.TextToImage:
    return tiny.model(16, 3)


def test_as_many_pictures_as_asked_and_the_way_if_wanted(module, model):
    draw = module.drawer(model)
    pictures, way = draw("red heart", 2.0, False, 7.0)
    wanted = model.generate("red heart", count=2, seed=7)
    assert [p.tobytes() for p in pictures] == [p.tobytes() for p in wanted] and way == []
    pictures, way = draw("red heart", 1, True, 7)
    # alone: in company the last bit may round otherwise
    assert pictures[0].tobytes() == model.generate("red heart", seed=7)[0].tobytes()
    assert [label for _, label in way] == ["t = 1.00", "t = 0.75", "t = 0.50", "t = 0.25"]
    told: list[tuple[int, int]] = []
    draw("red heart", progress=told.append)
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    with pytest.raises(SfumatoError, match="no prompt"):
        draw("  ")


def test_without_gradio_one_sentence_says_what_to_do(module, monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(SfumatoError, match=r"sfumato\[web\].*sfumato generate"):
        module.main([])


class Anything:
    """Stands in for every part of a page and keeps what it was called with."""

    calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []

    def __init__(self, name: str) -> None:
        self.name = name

    def __getattr__(self, name: str) -> Anything:
        return Anything(name)

    def __call__(self, *args: Any, **kwargs: Any) -> Anything:
        self.calls.append((self.name, args, kwargs))
        return self

    def __enter__(self) -> Anything:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def test_the_page_is_for_this_computer_only(module, model, monkeypatch):
    class Error(Exception):
        pass

    gradio: Any = ModuleType("gradio")
    gradio.__getattr__ = Anything
    gradio.Error = Error
    monkeypatch.setitem(sys.modules, "gradio", gradio)
    monkeypatch.setattr(sfumato, "load", lambda path, device: model)
    module.main(["--port", "7999"])
    calls = {name: (args, kwargs) for name, args, kwargs in Anything.calls}
    wanted = {"server_name": "127.0.0.1", "server_port": 7999, "share": False}
    assert calls["launch"] == ((), wanted)
    assert calls["Blocks"][1]["analytics_enabled"] is False
    clicked = calls["click"][0][0]
    with pytest.raises(Error, match="no prompt"):
        clicked(" ", 1, False, 0, None)
    assert len(clicked("red heart", 3, False, 0, None)[0]) == 3


def test_gradio_itself_builds_the_page_and_draws(module, model):
    # a hundred megabytes, so not among the tests' needs: .ci/run installs it at the end
    gradio = pytest.importorskip("gradio", reason='needs pip install "sfumato[web]"')
    page = module.page(gradio, module.drawer(model))
    labels = {one["props"].get("label") for one in page.config["components"]}
    assert {"Prompt", "Number of pictures", "Seed", "Show the process", "Pictures"} <= labels
    (button,) = [one for one in page.fns.values() if one.targets]
    pictures, way = button.fn("red heart", 2, True, 7, None)
    wanted = model.generate("red heart", count=2, seed=7)
    assert [p.tobytes() for p in pictures] == [p.tobytes() for p in wanted] and len(way) == 4
    with pytest.raises(gradio.Error, match="no prompt"):
        button.fn(" ", 1, False, 0, None)
    gradio_client = pytest.importorskip("gradio_client")  # it comes with Gradio
    try:
        page.launch(server_name="127.0.0.1", share=False, prevent_thread_lock=True, quiet=True)
        browser = gradio_client.Client(page.local_url, verbose=False, analytics_enabled=False)
        drawn, _ = browser.predict("red heart", 1, False, 7, api_name="/clicked")
        with Image.open(drawn[0]["image"]) as picture:
            assert picture.size == wanted[0].size
    finally:
        page.close()
