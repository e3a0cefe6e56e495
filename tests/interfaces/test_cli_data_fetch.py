"""`sfumato data fetch` and `sfumato data collect`, against a server on this machine."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
from dataclasses import replace

import numpy as np
import pytest
from misbehaving_server import Server, fine, status
from PIL import Image

from sfumato.data.online import catalogue
from sfumato.data.online.catalogue import Remote, entry
from sfumato.data.online.client import Client, Limits
from sfumato.data.online.download import Digest
from sfumato.data.online.search import DuckDuckGo, Found
from sfumato.errors import SfumatoError
from sfumato.interfaces.cli import data_collect


@pytest.fixture
def mnist(server, monkeypatch, tmp_path):
    """A tiny MNIST under the real one's names, at this machine's server."""
    monkeypatch.setenv("SFUMATO_DATA", str(tmp_path / "sets"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "own"))
    known, files = entry("mnist"), []
    for remote in known.files:
        values = np.zeros((2, 28, 28) if "images" in remote.name else (2,), np.uint8)
        sides = b"".join(side.to_bytes(4, "big") for side in values.shape)
        head = b"\0\0\x08" + bytes([values.ndim])
        content = gzip.compress(head + sides + values.tobytes())
        server.routes[f"/{remote.name}"] = fine(content)
        digest = Digest("md5", hashlib.md5(content).hexdigest())
        files.append(Remote(remote.name, len(content), digest, remote.folders))
    tiny = replace(known, files=tuple(files))
    others = tuple(one for one in catalogue.CATALOGUE if one.name != "mnist")
    monkeypatch.setattr(catalogue, "CATALOGUE", (tiny, *others))
    return tiny


def test_terms_are_stated_and_a_question_asked(sfumato, server, mnist, tmp_path):
    for answer in ("n\n", "\n", ""):
        result = sfumato("data", "fetch", "mnist", "--mirror", server.url, input=answer)
        assert result.exit_code == 1 and "CC BY-SA 3.0" in result.stderr
        assert "--yes" in result.stderr and not server.asked
    result = sfumato("data", "fetch", "mnist", "--mirror", server.url, input="y\n")
    assert result.exit_code == 0, result.output
    folder = tmp_path / "sets" / "mnist"
    assert str(folder) in result.stdout and "sfumato train mnist" in result.stdout
    assert len(list(folder.glob("*.gz"))) == 4
    asked = len(server.asked)
    result = sfumato("data", "fetch", "mnist")
    assert result.exit_code == 0 and "already" in result.stdout and len(server.asked) == asked
    checked = sfumato("data", "check", folder, "--json")
    assert json.loads(checked.stdout)["pictures"] == 2


def test_for_machines(sfumato, server, mnist, tmp_path):
    options = ("data", "fetch", "mnist", "-o", "here", "--json")
    result = sfumato(*options, "--yes", "--mirror", server.url)
    said = json.loads(result.stdout)
    assert said["verified"] and not said["already"] and said["files"] == 4
    assert json.loads(sfumato(*options).stdout)["already"]
    result = sfumato("data", "fetch", "mnist", "-o", "there", "--json", input="")
    assert result.exit_code == 1 and "--yes" in json.loads(result.stdout)["error"]


def test_a_mirror_that_lacks_it(sfumato, server, mnist, tmp_path):
    server.routes.clear()
    result = sfumato("data", "fetch", "mnist", "--yes", "--mirror", server.url)
    assert result.exit_code == 1 and "404" in result.stderr and "browser" in result.stderr


def test_only_the_named_mirror_may_be_inside(sfumato, server, mnist):
    inner = Server()
    try:
        for remote in mnist.files:
            where = f"{inner.url}/{remote.name}"
            server.routes[f"/{remote.name}"] = status(302, Location=where)
        result = sfumato("data", "fetch", "mnist", "--yes", "--mirror", server.url)
        assert result.exit_code == 1 and "refused" in result.stderr and not inner.asked
    finally:
        inner.close()


def test_what_the_user_has_to_get(sfumato, monkeypatch, tmp_path):
    monkeypatch.setenv("SFUMATO_DATA", str(tmp_path / "sets"))
    monkeypatch.setattr(catalogue, "lies_at", lambda _: None)
    result = sfumato("data", "fetch", "flickr30k")
    assert result.exit_code == 1
    for word in ("form", "captions.txt", "results.csv", str(tmp_path / "sets" / "flickr30k")):
        assert word in result.stderr
    for name in ("clipart", "openclipart"):
        assert "apt install openclipart" in sfumato("data", "fetch", name).stderr
    assert "clipart" in (said := sfumato("data", "fetch", "--help").stdout)
    assert "openclipart" not in said
    result = sfumato("data", "fetch", "cifar-100")
    assert result.exit_code == 1 and "Known: mnist" in result.stderr
    assert "openclipart" not in result.stderr


def test_what_lies_elsewhere_is_said(sfumato, monkeypatch, tmp_path):
    monkeypatch.setenv("SFUMATO_DATA", str(tmp_path / "sets"))
    monkeypatch.setattr(catalogue, "lies_at", lambda _: tmp_path / "debian")
    result = sfumato("data", "fetch", "fashion-mnist")
    assert result.exit_code == 0 and str(tmp_path / "debian") in result.stdout
    assert "not verified" in result.stdout


def test_fetching_speaks_russian(sfumato, server, mnist, monkeypatch):
    monkeypatch.setenv("SFUMATO_LANG", "ru")
    result = sfumato("data", "fetch", "mnist", "--mirror", server.url, input="да\n")
    assert result.exit_code == 0, result.output
    assert "Условия" in result.stderr and "загружен и проверен" in result.stdout


def test_failures_speak_russian(sfumato, server, mnist, monkeypatch):
    monkeypatch.setenv("SFUMATO_LANG", "ru")
    server.routes.clear()
    said = sfumato("data", "fetch", "mnist", "--yes", "--mirror", server.url).stderr
    sentence = said[said.index("Не удалось получить") :]
    assert "там ничего нет" in sentence and "Or " not in sentence and "Look" not in sentence
    assert all(url in sentence for url in mnist.files[0].urls)
    assert "Набора данных" in sfumato("data", "fetch", "mnits").stderr


class Search:
    def __init__(self, found):
        self.found, self.options = found, None

    def find(self, query, options):
        self.options = options
        if isinstance(self.found, Exception):
            raise self.found
        yield from self.found


@pytest.fixture
def search(server, monkeypatch):
    found = []
    for number in range(6):
        grain = np.random.default_rng(number).integers(0, 256, (6, 6, 3), np.uint8)
        stream = io.BytesIO()
        Image.fromarray(grain).resize((160, 160), Image.Resampling.BICUBIC).save(stream, "PNG")
        server.routes[f"/{number}"] = fine(stream.getvalue())
        found.append(Found(f"{server.url}/{number}", title=f"Mural number {number}"))
    server.routes["/2"] = fine(b"<html>", Content_Type="image/png")
    search = Search(found)
    monkeypatch.setattr(data_collect, "image_search", lambda: search)
    limits = Limits(total=2, tries=1)
    client = Client(limits, trusted=[server.place])
    monkeypatch.setattr("sfumato.data.online.client.Client", lambda *_: client)
    return search


def test_collecting(sfumato, search, tmp_path):
    options = ("--safe", "off", "--region", "RU-ru", "--size", "large")
    result = sfumato("data", "collect", "street art", "--count", 3, *options)
    assert result.exit_code == 0, result.output
    assert "Kept: 3. Now there are 3 in street-art" in result.stdout
    assert "no picture whatever its name says: 1" in result.stdout
    assert "belong to their makers" in result.stderr
    told = search.options
    assert (told.safe, told.region, told.size) == ("off", "ru-ru", "large")
    result = sfumato("data", "collect", "street art", "-n", 9, "--json")
    said = json.loads(result.stdout)
    assert said["total"] == 5 and said["counts"] == {"kept": 2} and result.exit_code == 0
    checked = json.loads(sfumato("data", "check", "street-art", "--json").stdout)
    assert checked["pictures"] == 5 and checked["counts"]["caption missing"] == 0


def test_collecting_speaks_russian(sfumato, search, monkeypatch):
    monkeypatch.setenv("SFUMATO_LANG", "ru")
    result = sfumato("data", "collect", "граффити", "--count", 3)
    assert result.exit_code == 0, result.output
    assert "Сохранено: 3. Теперь в граффити их 3" in result.stdout
    assert "принадлежат их авторам" in result.stderr


def test_collecting_without_a_network(sfumato, monkeypatch):
    class Gone:
        def images(self, *_, **__):
            raise RuntimeError("error sending request: " + "http://inner.example/ " * 20)

    monkeypatch.setattr(data_collect, "image_search", lambda: DuckDuckGo(open_search=Gone))
    for language, words in (("en", "does not answer. Check"), ("ru", "не отвечает. Проверьте")):
        monkeypatch.setenv("SFUMATO_LANG", language)
        result = sfumato("data", "collect", "street art")
        assert result.exit_code == 1 and words in result.stderr
        assert "inner.example" not in result.stderr


def test_a_torn_row_is_told_of(sfumato, search, tmp_path):
    (tmp_path / "art").mkdir()
    (tmp_path / "art" / "metadata.jsonl").write_text('{"file_name": "mine.png", "te')
    result = sfumato("data", "collect", "street art", "-n", 1, "-o", "art")
    assert result.exit_code == 0 and "metadata.jsonl.torn" in result.stderr


def test_offline_is_one_sentence(sfumato, search, tmp_path):
    search.found = SfumatoError("The image search does not answer (no network). Try again later.")
    result = sfumato("data", "collect", "street art", "-o", "art")
    assert result.exit_code == 1 and "does not answer" in result.stderr
    assert "Traceback" not in result.output and not (tmp_path / "art").exists()


def test_mistyped_options(sfumato, search):
    assert sfumato("data", "collect", "x", "--safe", "onn").exit_code == 2
    assert sfumato("data", "collect", "x", "--count", 0).exit_code == 2
    result = sfumato("data", "collect", "x", "--region", "russia")
    assert result.exit_code == 1 and "us-en" in result.stderr
