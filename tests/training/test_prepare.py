"""From a data set to numbers: latents of unit variance, captions, vocabularies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import recipe, squares

from sfumato.architecture import Vocabulary, build_autoencoder, build_prompted
from sfumato.data import open_source
from sfumato.data.example import Example, Report
from sfumato.errors import SfumatoError
from sfumato.networks.autoencoder import Autoencoder
from sfumato.training import samples
from sfumato.training.law import resolve
from sfumato.training.prepare import (
    captions_of,
    enlarged,
    kind_of,
    latents_of,
    pictures_of,
    vocabulary_of,
)
from sfumato.training.recipe import recipe_of


class Handmade:
    """A source of grey levels: picture i is i everywhere."""

    name, size, channels = "handmade", 8, 1

    def __init__(self, captions: list[tuple[str, ...]], classes: tuple[str, ...] = ()) -> None:
        self.captions, self.classes = captions, classes

    def __len__(self) -> int:
        return len(self.captions)

    def __getitem__(self, index: int) -> Example:
        image = np.full((1, 8, 8), index, np.uint8)
        label = self.classes[index % len(self.classes)] if self.classes else None
        return Example(image, self.captions[index], label, str(index))

    def report(self) -> Report:
        return Report()


def test_pictures_are_in_minus_one_to_one_in_the_order_asked_for() -> None:
    source = Handmade([("",)] * 256)
    found = pictures_of(source)([255, 0, 51])
    assert found.shape == (3, 1, 8, 8) and found.dtype == torch.float32
    assert found[:, 0, 0, 0].tolist() == pytest.approx([1.0, -1.0, -0.6])


def test_what_a_data_set_can_be_steered_by() -> None:
    assert kind_of(Handmade([("a",), ()], classes=("x", "y"))) == "labels"
    assert kind_of(Handmade([(), ("a",)])) == "text"
    assert kind_of(Handmade([(), ()])) == "none"


def test_the_tokenizer_is_learned_once_and_kept(tmp_path: Path) -> None:
    kept = tmp_path / "tokenizer.json"
    settings = recipe(conditioning={"kind": "text"}).conditioning
    first = vocabulary_of(Handmade([("red heart", "красное сердце")]), settings, kept)
    second = vocabulary_of(Handmade([("something else",)]), settings, kept)
    assert first.tokenizer is not None and second.tokenizer is not None
    assert first.tokenizer.to_str() == second.tokenizer.to_str()
    assert first.tokenizer.decode(first.tokenizer.encode("Красное").ids).strip() == "красное"
    assert [p.name for p in tmp_path.iterdir()] == ["tokenizer.json"]


def test_classes_and_nothing_need_no_tokenizer(tmp_path: Path) -> None:
    source = Handmade([("a",)] * 2, classes=("cat", "dog"))
    settings = recipe(conditioning={"kind": "labels"}).conditioning
    assert vocabulary_of(source, settings, tmp_path / "t").classes == ("cat", "dog")
    settings = recipe(conditioning={"kind": "none"}).conditioning
    assert vocabulary_of(source, settings, tmp_path / "t") == Vocabulary()
    assert not list(tmp_path.iterdir())


def test_labels_without_classes_are_refused_in_a_sentence(tmp_path: Path) -> None:
    settings = recipe(conditioning={"kind": "labels"}).conditioning
    with pytest.raises(SfumatoError, match=r"has no classes\. Leave --text-encoder \(cond"):
        vocabulary_of(Handmade([("a",)]), settings, tmp_path / "t")


@pytest.mark.parametrize("kind", ["text", "labels", "none"])
def test_every_picture_has_its_captions_as_numbers(tmp_path: Path, kind: str) -> None:
    texts = [("one", "two"), (), ("three",), ("", "four", "five")]
    source = Handmade(texts, classes=("cat", "dog") if kind == "labels" else ())
    settled = resolve(recipe(conditioning={"kind": kind}), channels=1, resolution=16)
    vocabulary = vocabulary_of(source, settled.conditioning, tmp_path / "t.json")
    conditioner = build_prompted(settled, vocabulary).conditioner
    found = captions_of(source, kind, conditioner)
    told = {
        "text": [["one", "two"], [""], ["three"], ["", "four", "five"]],
        "labels": [["cat"], ["dog"], ["cat"], ["dog"]],
        "none": [[""]] * 4,
    }[kind]
    assert found.first.tolist() == [0, *np.cumsum([len(row) for row in told])]
    for place, row in enumerate(told):
        mine = found.ids[found.first[place] : found.first[place + 1]]
        assert mine.tolist() == conditioner.ids(row).tolist()


# ---- latents


def test_latents_are_normalised_kept_and_found_again(tmp_path: Path) -> None:
    settled = resolve(recipe(latent={"use": True}), channels=3, resolution=16)
    source = open_source(squares(tmp_path / "data", count=70), 16)
    torch.manual_seed(1)
    autoencoder = build_autoencoder(settled)
    assert autoencoder is not None
    pictures, kept = pictures_of(source), tmp_path / "latents.safetensors"
    raw = autoencoder.encode(pictures(list(range(70)))).detach()
    autoencoder.mean.fill_(7)  # statistics of an earlier time must not matter
    found = latents_of(autoencoder, pictures, 70, kept)
    assert found.shape == (70, 4, 2, 2) and not found.requires_grad
    assert found.mean((0, 2, 3)).abs().max() < 1e-4
    torch.testing.assert_close(found.std((0, 2, 3)), torch.ones(4), atol=1e-4, rtol=0)
    torch.testing.assert_close(autoencoder.mean, raw.mean((0, 2, 3)), rtol=1e-4, atol=1e-5)
    # the picture's own latent, in the data set's order, as `encode` now gives it
    torch.testing.assert_close(found, autoencoder.encode(pictures(list(range(70)))).detach())
    torch.testing.assert_close(
        autoencoder.decode(found[5:6]), autoencoder.decoder(raw[5:6]), rtol=1e-4, atol=1e-4
    )

    torch.manual_seed(1)
    fresh = build_autoencoder(settled)
    assert fresh is not None
    again = latents_of(fresh, lambda _: pytest.fail("they are kept"), 70, kept)
    assert torch.equal(again, found)
    assert torch.equal(fresh.mean, autoencoder.mean) and torch.equal(fresh.std, autoencoder.std)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data", "latents.safetensors"]


def test_damaged_latents_are_a_sentence(tmp_path: Path) -> None:
    kept = tmp_path / "latents.safetensors"
    kept.write_bytes(b"{")
    with pytest.raises(SfumatoError, match="latents.safetensors is damaged. Delete it and resume"):
        latents_of(Autoencoder(1, 2, 8), lambda _: torch.zeros(0), 0, kept)


def test_sheets_of_classes_do_not_read_the_data(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = recipe_of({"conditioning": {"kind": "labels"}})
    monkeypatch.setattr(samples, "classes_of", lambda _: pytest.fail("read again"))
    assert samples.prompts_for(asked, object(), ("a", "b")) == ["a", "b"]


def test_a_sheet_shows_every_caption_once() -> None:
    asked = recipe_of({"data": {"name": "mine"}, "conditioning": {"kind": "text"}})
    few = Handmade([(f"thing {i % 5}", "more") for i in range(240)])
    assert sorted(samples.prompts_for(asked, few)) == [f"thing {i}" for i in range(5)]
    many = Handmade([(f"thing {i % 70}",) for i in range(240)])
    shown = samples.prompts_for(asked, many)
    assert len(shown) == len(set(shown)) == samples.COUNT
    assert samples.prompts_for(asked, Handmade([("one",)])) == ["one"]


def test_pictures_that_are_enlarged_are_mentioned_once(tmp_path, monkeypatch):
    monkeypatch.setenv("SFUMATO_LANG", "en")
    folder = squares(tmp_path / "squares", 5, side=16)
    assert enlarged(open_source(folder, 16)) == []
    [note] = enlarged(open_source(folder, 24))
    assert "have 16 pixels a side or fewer; they are enlarged to 24" in note
    for number in range(5, 8):  # five of eight are small, then five of ten
        squares(tmp_path / str(number), 1, side=24)
        (tmp_path / str(number) / "000.png").rename(folder / f"{number}.png")
    assert enlarged(open_source(folder, 24)) == [note]
    for number in (8, 9):
        squares(tmp_path / str(number), 1, side=24)
        (tmp_path / str(number) / "000.png").rename(folder / f"{number}.png")
    assert enlarged(open_source(folder, 24)) == []
    assert enlarged(Handmade([("a",)])) == []  # nobody knows


def test_transparent_pictures_are_as_large_as_their_longer_side():
    source = Handmade([("a",)])
    source.dimensions = [(4, 8)]
    assert len(enlarged(source)) == 1
    source.channels = 4
    assert enlarged(source) == []


@pytest.mark.parametrize(("side", "notes"), [(64, 0), (128, 1)])
def test_the_emoji_know_how_large_they_are_stored(side, notes):
    assert len(enlarged(open_source("emoji", side))) == notes
