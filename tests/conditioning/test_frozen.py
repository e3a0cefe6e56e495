"""Frozen encoders: nothing of them learns or is saved, and they read every caption once."""

from __future__ import annotations

import copy
import os
import shutil
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn

from sfumato.conditioning import feature_cache
from sfumato.conditioning.feature_cache import cache_folder, distinct, key_of
from sfumato.conditioning.frozen import Frozen, FrozenEncoder
from sfumato.conditioning.locate import Identity
from sfumato.errors import SfumatoError

LENGTH, WIDTH = 8, 6


class Letters(FrozenEncoder):
    """One token a letter; a state knows its letter and all that came before it."""

    def __init__(self, weights: str = "0" * 64) -> None:
        super().__init__()
        self.identity = Identity("letters", "letters", None, weights)
        self.place, self.width, self.longest = "letters", WIDTH, 64
        generator = torch.Generator().manual_seed(int(weights[0], 16))
        self.module = nn.Embedding(256, WIDTH).requires_grad_(False)
        with torch.no_grad():
            self.module.weight.copy_(torch.randn(256, WIDTH, generator=generator))
        self.read: list[tuple[int, ...]] = []
        self.unloaded = 0

    def ids(self, prompts: list[str], length: int) -> Tensor:
        rows = torch.full((len(prompts), length), -1)
        for row, prompt in zip(rows, prompts, strict=True):
            numbers = [ord(letter) % 256 for letter in prompt][:length]
            row[: len(numbers)] = torch.tensor(numbers)
        return rows

    def encode(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        self.read += [tuple(row[row >= 0].tolist()) for row in ids]
        mask = (ids >= 0)[..., None]
        states = (self.module(ids.clamp(min=0)) * mask).cumsum(1) * mask
        return states, states.sum(1)

    def unload(self) -> None:
        self.unloaded += 1

    def depends_on(self) -> dict[str, str]:
        return {"weights": self.identity.sha256}


TEXTS = ["red heart", "blue", "red heart", "a", "", "blue heart and more"]


@pytest.fixture
def encoder() -> Letters:
    return Letters()


@pytest.fixture
def frozen(encoder: Letters) -> Frozen:
    torch.manual_seed(0)
    return Frozen(encoder, 10, LENGTH)


@pytest.fixture
def ids(frozen: Frozen) -> Tensor:
    return frozen.ids(TEXTS)


def seen(told):
    return [(v, t[m]) for v, t, m in zip(told.vector, told.tokens, told.mask, strict=True)]


# ---- the module


def test_the_encoder_is_no_part_of_the_module(frozen, encoder):
    names = {"tokens.weight", "tokens.bias", "vector.weight", "vector.bias"}
    names |= {"null_vector", "null_token"}
    assert set(frozen.state_dict()) == names == {n for n, _ in frozen.named_parameters()}
    assert len(list(frozen.modules())) == 3
    assert copy.deepcopy(frozen).encoder is encoder


def test_gradients_reach_the_projections_only(frozen, encoder, ids):
    told = frozen(ids)
    (told.vector.sum() + told.tokens[told.mask].sum()).backward()
    assert all(p.grad is not None and p.grad.any() for p in frozen.parameters())
    assert encoder.module.weight.grad is None


def test_what_is_told_is_projected_states_of_one_size(frozen, encoder):
    told = frozen(frozen.ids(["ab"]))
    embeddings = encoder.module.weight[[ord("a"), ord("b")]]
    states = torch.stack([embeddings[0], embeddings.sum(0)]).half().float()
    pooled = (embeddings[0] + embeddings.sum(0)).half().float()
    for told_, raw, layer in (
        (told.tokens[0], states, frozen.tokens),
        (told.vector[0], pooled, frozen.vector),
    ):
        sized = raw / raw.square().mean(-1, keepdim=True).sqrt()
        torch.testing.assert_close(told_, sized @ layer.weight.T + layer.bias)


def test_an_empty_prompt_is_the_null_and_needs_no_encoder(frozen, encoder):
    told = frozen(frozen.ids(["", " \n"]))
    null = frozen.null(2)
    assert torch.equal(told.vector, null.vector)
    assert all(torch.equal(t, frozen.null_token[None]) for _, t in seen(told))
    assert encoder.read == []


def test_a_batch_is_one_by_one_and_spaces_only_part_words(frozen):
    together = seen(frozen(frozen.ids(TEXTS)))
    for text, (vector, tokens) in zip(TEXTS, together, strict=True):
        [(alone, own)] = seen(frozen(frozen.ids([f"  {text}\n"])))
        torch.testing.assert_close(alone, vector)
        torch.testing.assert_close(own, tokens)


def test_no_room_for_words_is_refused(encoder):
    with pytest.raises(SfumatoError, match="no room for words. Take at least 4"):
        Frozen(encoder, 10, 3)
    encoder.longest = 5
    assert Frozen(encoder, 10, 24).ids(["a"]).shape == (1, 5)


# ---- features once


def test_every_caption_is_read_once_and_the_features_are_the_same(frozen, encoder, ids, tmp_path):
    before = seen(frozen(ids))
    encoder.read.clear()
    encoder.remember(ids, folder=tmp_path)
    wanted = {tuple(row[row >= 0].tolist()) for row in ids} - {()}
    assert sorted(encoder.read) == sorted(wanted) and encoder.unloaded == 1
    encoder.read.clear()
    after = seen(frozen(ids))
    assert encoder.read == []
    for (v, t), (w, u) in zip(before, after, strict=True):
        assert torch.equal(v, w) and torch.equal(t, u)


def test_another_run_finds_them_on_the_disk(frozen, encoder, ids, tmp_path):
    encoder.remember(ids, folder=tmp_path)
    other = Letters()
    other.remember(ids.flip(0)[[0, 0, 1, 2, 3, 4, 5]], folder=tmp_path)
    assert other.read == []
    mine, theirs = encoder.features(ids), other.features(ids)
    assert other.read == [] and all(map(torch.equal, mine, theirs))
    assert len(list(tmp_path.iterdir())) == 1


def test_other_weights_or_texts_have_other_features(frozen, encoder, ids, tmp_path):
    encoder.remember(ids, folder=tmp_path)
    other = Letters("1" + "0" * 63)
    other.remember(ids, folder=tmp_path)
    assert len(other.read) == 4
    assert not torch.equal(encoder.features(ids)[0], other.features(ids)[0])
    encoder.read.clear()
    encoder.remember(frozen.ids(["new", *TEXTS]), folder=tmp_path)
    assert len(encoder.read) == 5
    about, rows = encoder.depends_on(), distinct(ids)
    keys = {key_of(rows, about), key_of(rows[:-1], about), key_of(rows, {**about, "pooling": "x"})}
    assert len(keys) == 3


def test_an_unknown_prompt_is_computed(frozen, encoder, ids, tmp_path):
    encoder.remember(ids, folder=tmp_path)
    encoder.read.clear()
    new = frozen.ids(["a new one", "blue"])
    assert torch.equal(encoder.features(new)[0], Letters().features(new)[0])
    assert encoder.read


@settings(max_examples=60, deadline=None)
@given(
    known=st.lists(st.text("abc", max_size=LENGTH), min_size=1, max_size=12),
    asked=st.lists(st.text("abc", max_size=LENGTH), min_size=1, max_size=6),
    same_hash=st.booleans(),
)
def test_what_is_looked_up_is_what_would_be_computed(tmp_path_factory, known, asked, same_hash):
    folder = tmp_path_factory.mktemp("cache")
    encoder, truth = Letters(), Letters()
    with pytest.MonkeyPatch.context() as patch:
        if same_hash:  # the worst case: every row in one bucket
            patch.setattr(feature_cache, "_hashes", lambda ids: ids[:, :1].sum(1) * 0)
        encoder.remember(encoder.ids(known, LENGTH), folder=folder)
        for texts in (known, asked):
            ids = encoder.ids(texts, LENGTH)
            for mine, theirs in zip(encoder.features(ids), truth.features(ids), strict=True):
                torch.testing.assert_close(mine, theirs, atol=1e-2, rtol=2e-3)
    shutil.rmtree(folder)


def test_huge_numbers_stay_finite(encoder, ids, tmp_path):
    with torch.no_grad():
        encoder.module.weight *= 1e6
    computed = encoder.features(ids)
    encoder.remember(ids, folder=tmp_path)
    for mine, theirs in zip(encoder.features(ids), computed, strict=True):
        assert mine.isfinite().all() and torch.equal(mine, theirs)


# ---- the disk


def broken(kind: str, path: Path) -> None:
    content = bytearray(path.read_bytes())
    if kind == "a bit":
        content[-5] ^= 1
        path.write_bytes(content)
    elif kind == "short":
        path.write_bytes(content[:-7])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "a bit of the hash":
        content[content.index(b"sha256") + 12] ^= 1
        path.write_bytes(content)
    elif kind == "a bit of the shapes":
        content[content.index(b"shape") + 9] ^= 1
        path.write_bytes(content)
    elif kind == "no hash":
        save_file({"first": torch.zeros(1)}, path, {"key": "x"})


DAMAGE = ["a bit", "a bit of the hash", "a bit of the shapes", "short", "empty", "no hash"]


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_file_is_made_again(kind, frozen, encoder, ids, tmp_path):
    encoder.remember(ids, folder=tmp_path)
    good = encoder.features(ids)
    [path] = tmp_path.glob("*.safetensors")
    whole = path.read_bytes()
    encoder._table = None
    broken(kind, path)
    encoder.read.clear()
    encoder.remember(ids, folder=tmp_path)
    assert len(encoder.read) == 4
    assert path.read_bytes() == whole
    assert all(map(torch.equal, encoder.features(ids), good))


def test_a_foreign_file_is_made_again(frozen, encoder, ids, tmp_path):
    encoder.remember(ids, folder=tmp_path)
    [mine] = tmp_path.glob("*.safetensors")
    other = Letters("1" + "0" * 63)
    other.remember(ids, folder=tmp_path)
    [theirs] = set(tmp_path.glob("*.safetensors")) - {mine}
    encoder._table = None
    shutil.copy(theirs, mine)  # intact, and of another encoder
    encoder.read.clear()
    encoder.remember(ids, folder=tmp_path)
    assert len(encoder.read) == 4
    assert all(map(torch.equal, encoder.features(ids), Letters().features(ids)))


def test_two_processes_may_write_the_same_features(encoder, ids, tmp_path, monkeypatch):
    """The other one, whose numbers end in other bits, comes between any two of our renames."""
    other, replace = Letters(), feature_cache.os.replace
    with torch.no_grad():
        other.module.weight *= 1.01

    def interrupted(*paths):
        replace(*paths)
        if not other.read:
            other.remember(ids, folder=tmp_path / "elsewhere")  # all of it is computed now
            for path in (tmp_path / "elsewhere").iterdir():
                replace(path, tmp_path / path.name)

    monkeypatch.setattr(feature_cache.os, "replace", interrupted)
    encoder.remember(ids, folder=tmp_path)
    assert encoder.features(ids)[0].any()


def test_what_kills_left_behind_is_swept_away_after_a_day(encoder, ids, tmp_path):
    for name in (".x.1.partial", ".x.1.json", ".y.2.partial"):
        (tmp_path / name).write_text("")
        if "x" in name:
            os.utime(tmp_path / name, (0, 0))
    encoder.remember(ids, folder=tmp_path)
    assert {path.name for path in tmp_path.iterdir() if path.name[0] == "."} == {".y.2.partial"}


def test_stopping_leaves_nothing_behind(frozen, encoder, tmp_path, monkeypatch):
    monkeypatch.setattr(feature_cache, "BATCH", 2)
    ids = frozen.ids([f"text {i}" for i in range(9)])
    with pytest.raises(KeyboardInterrupt):
        encoder.remember(ids, stop=lambda: len(encoder.read) >= 4, folder=tmp_path)
    assert len(encoder.read) == 4 and not list(tmp_path.iterdir())
    encoder.read.clear()
    encoder.remember(ids, folder=tmp_path)
    assert len(encoder.read) == 9


def test_a_full_disk_is_one_sentence(encoder, ids, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=100)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(SfumatoError, match=r"MB are free.*SFUMATO_CACHE"):
        encoder.remember(ids, folder=tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(SfumatoError, match="could not be kept in"):
        encoder.remember(ids, folder=tmp_path / "file" / "below")


def test_captions_that_say_nothing_need_no_features(frozen, encoder, tmp_path):
    encoder.remember(frozen.ids(["", ""]), folder=tmp_path)
    assert encoder.read == []
    assert not encoder.features(frozen.ids([""]))[0].any()
    assert encoder.features(frozen.ids(["a"]))[0].any()


@pytest.mark.parametrize(
    ("platform", "told", "found"),
    [
        ("linux", {}, ".cache/sfumato"),
        ("linux", {"XDG_CACHE_HOME": "x"}, "x/sfumato"),
        ("darwin", {}, "Library/Caches/sfumato"),
        ("win32", {"LOCALAPPDATA": "local"}, "local/sfumato/cache"),
        ("linux", {"SFUMATO_CACHE": "own", "XDG_CACHE_HOME": "x"}, "own"),
    ],
)
def test_the_cache_lies_where_the_system_keeps_caches(platform, told, found, monkeypatch):
    for name in ("SFUMATO_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(feature_cache.sys, "platform", platform)
    assert cache_folder().as_posix().endswith(found)
