"""examples/load_datasets.py is `sfumato data fetch`."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import replace

import numpy as np
import pytest
from misbehaving_server import Server, fine

from sfumato.data.online import catalogue
from sfumato.data.online.catalogue import Remote, entry
from sfumato.data.online.download import Digest


@pytest.fixture
def load(example, monkeypatch, tmp_path, capsys):
    """Runs the script; gives (exit code, output, errors)."""
    monkeypatch.setenv("SFUMATO_LANG", "en")
    monkeypatch.setenv("SFUMATO_DATA", str(tmp_path / "sets"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "own"))
    monkeypatch.setattr(catalogue, "lies_at", lambda _: None)

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            example("load_datasets").main(arguments)
        return (ended.value.code or 0, *capsys.readouterr())

    return run


def test_flickr30k_is_the_default_and_tells_where_to_ask(load, tmp_path):
    for arguments in ((), ("--dataset", "flickr30k")):
        code, _, errors = load(*arguments)
        assert code == 1 and "form" in errors and str(tmp_path / "sets" / "flickr30k") in errors


def test_an_unknown_name(load):
    code, _, errors = load("--dataset", "flickr8")
    assert code == 1 and "Known: mnist" in errors


def test_terms_first_then_it_is_fetched(load, monkeypatch, tmp_path):
    server = Server()
    try:
        known, files = entry("mnist"), []
        for remote in known.files:
            values = np.zeros((2, 28, 28) if "images" in remote.name else (2,), np.uint8)
            sides = b"".join(side.to_bytes(4, "big") for side in values.shape)
            content = gzip.compress(b"\0\0\x08" + bytes([values.ndim]) + sides + values.tobytes())
            server.routes[f"/{remote.name}"] = fine(content)
            digest = Digest("md5", hashlib.md5(content).hexdigest())
            files.append(Remote(remote.name, len(content), digest, remote.folders))
        monkeypatch.setattr(catalogue, "CATALOGUE", (replace(known, files=tuple(files)),))
        given = ("--dataset", "mnist", "--mirror", server.url, "--yes")
        code, said, errors = load(*given)
        assert code == 0 and "CC BY-SA" in errors and "sfumato train mnist" in said
        assert len(list((tmp_path / "sets" / "mnist").glob("*.gz"))) == 4
        code, said, _ = load(*given, "--output_dir", str(tmp_path / "here"))
        assert code == 0 and len(list((tmp_path / "here").glob("*.gz"))) == 4
    finally:
        server.close()
