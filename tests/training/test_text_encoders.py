"""Every text encoder from training to a saved, reloaded model that draws."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import COLOURS, kept, recipe, same_bits, squares

import sfumato
from sfumato.architecture import build_prompted
from sfumato.conditioning.frozen import Frozen
from sfumato.conditioning.huggingface import Pretrained
from sfumato.conditioning.labels import Labels
from sfumato.conditioning.pretrained import pretrained
from sfumato.conditioning.text_transformer import TextTransformer
from sfumato.conditioning.tfidf import Terms, TfIdf
from sfumato.conditioning.vocabulary import Vocabulary
from sfumato.data.example import Example, Report
from sfumato.errors import SfumatoError
from sfumato.interfaces.cli.facts import facts_of
from sfumato.storage import embedded_parts
from sfumato.training.inherit import begin_with
from sfumato.training.journal import Journal
from sfumato.training.law import resolve
from sfumato.training.prepare import captions_of, classes_of, texts_of, vocabulary_of
from sfumato.training.recipe import changed, load_recipe, recipe_of
from sfumato.training.run import Run
from sfumato.training.sections import Conditioning, Start
from sfumato.training.start import recipe_for
from sfumato.training.unfinished import parts_at

pytest.importorskip("transformers")
pytest.importorskip("sklearn")
import tiny_encoders

KINDS = {"tfidf": TfIdf, "scratch": TextTransformer, "sentence": Frozen, "t5": Frozen}
KINDS["clip"] = Frozen
FROZEN = [name for name, kind in KINDS.items() if kind is Frozen]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return squares(tmp_path_factory.mktemp("data") / "squares")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    base = tmp_path_factory.mktemp("encoders")
    return {name: getattr(tiny_encoders, name)(base / f"tiny-{name}") for name in FROZEN}


@pytest.fixture(autouse=True)
def surroundings(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """A cache of this module's own, no curves, no network."""
    cache = tmp_path_factory.getbasetemp() / "encoders-cache"
    monkeypatch.setenv("SFUMATO_CACHE", str(cache))
    monkeypatch.delenv("SFUMATO_TEXT_MODEL", raising=False)
    monkeypatch.setattr(Journal, "draw", lambda _: None)
    yield


def asked(name: str, folders: dict[str, Path], **more: Any) -> dict[str, Any]:
    model = {"model": str(folders[name])} if name in folders else {}
    return {"kind": "text", "encoder": name, **model, **more}


def trained(data: Path, out: Path, wanted: dict[str, Any], images: int = 24) -> Run:
    run = Run(data, out, recipe=recipe(conditioning=wanted, training={"images": images}))
    list(run.steps())
    return run


@pytest.fixture(scope="module")
def runs(data, folders, tmp_path_factory) -> dict[str, Path]:
    """One finished run for each encoder; not to be changed."""
    base = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SFUMATO_CACHE", str(tmp_path_factory.getbasetemp() / "encoders-cache"))
        patch.setattr(Journal, "draw", lambda _: None)
        for name in KINDS:
            trained(data, base / name, asked(name, folders))
    return {name: base / name for name in KINDS}


@pytest.mark.parametrize("name", KINDS)
def test_the_saved_model_is_the_trained_one(name, runs, folders, tmp_path) -> None:
    model = sfumato.load(runs[name])
    assert isinstance(model.prompted.conditioner, KINDS[name])
    assert model.recipe.conditioning.encoder == name
    wake(model)
    moved = model.save(tmp_path / "moved", half=False)
    again = sfumato.load(moved)
    prompts = ["a red square", "a blue square", "", "zzz"]
    first, second = ([p.tobytes() for p in m.generate(prompts, seed=1)] for m in (model, again))
    assert first == second
    assert len(set(first)) == 4, "prompts matter"


def wake(model: sfumato.TextToImage) -> None:
    """So short a training leaves the last layers near zero."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.prompted.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.15)


@pytest.mark.parametrize("name", KINDS)
def test_stopped_and_resumed_is_the_same_to_the_last_bit(
    name, runs, data, folders, tmp_path, monkeypatch
) -> None:
    out = tmp_path / "run"
    wanted = recipe(conditioning=asked(name, folders), training={"images": 24})
    walk = Run(data, out, recipe=wanted).steps()
    next(walk)
    walk.close()
    if name in FROZEN:  # what was computed once is not computed again
        monkeypatch.setattr(Pretrained, "encode", lambda *_: pytest.fail("computed again"))
        monkeypatch.setattr(Run, "_draw", lambda *_, **__: None)  # own words may be asked for
    list(Run(data, out, resume=True).steps())
    assert same_bits(kept(out), kept(runs[name]))


@pytest.mark.parametrize("name", KINDS)
def test_an_unfinished_run_draws(name, data, folders, tmp_path) -> None:
    wanted = recipe(conditioning=asked(name, folders), training={"images": 24})
    walk = Run(data, tmp_path / "run", recipe=wanted).steps()
    next(walk)
    walk.close()
    assert sfumato.load(tmp_path / "run").generate("a red square")[0].size == (16, 16)


@pytest.mark.parametrize("name", FROZEN)
def test_nothing_of_a_frozen_encoder_is_trained_or_saved(name, runs, folders) -> None:
    learned = {name for name in kept(runs[name]) if "conditioner" in name}
    groups = {name.split("/", 1)[1] for name in learned if name.startswith(("weights/", "ema/"))}
    parts = ("tokens.weight", "tokens.bias", "vector.weight", "vector.bias")
    assert groups == {f"conditioner.{part}" for part in (*parts, "null_vector", "null_token")}
    model = runs[name] / "model"
    assert {path.name for path in model.iterdir()} == {
        "README.md", "card.json", "config.json", "manifest.json", "model.safetensors",
    }  # fmt: skip
    said = json.loads((model / "config.json").read_text())
    assert (
        said["text_encoder"]["model"] == said["recipe"]["conditioning"]["model"] == f"tiny-{name}"
    )
    assert len(said["text_encoder"]["sha256"]) == 64
    for path in model.iterdir():
        assert str(folders[name].parent).encode() not in path.read_bytes(), "no way to it"


def test_another_encoder_is_refused(runs, folders, data, tmp_path, monkeypatch) -> None:
    other = tiny_encoders.t5(tmp_path / "other", seed=5)
    model = shutil.copytree(runs["t5"] / "model", tmp_path / "model")
    monkeypatch.setenv("SFUMATO_CACHE", str(tmp_path / "empty"))
    with pytest.raises(SfumatoError, match="tiny-t5 .* is not on this machine"):
        sfumato.load(model)
    monkeypatch.setenv("SFUMATO_TEXT_MODEL", str(other))
    with pytest.raises(SfumatoError, match="other is another one than the model was trained with"):
        sfumato.load(model)
    monkeypatch.setenv("SFUMATO_TEXT_MODEL", str(folders["t5"]))
    assert sfumato.load(model).generate("a red square")

    # and by a run: the weights in the folder have changed since it began
    monkeypatch.delenv("SFUMATO_TEXT_MODEL")
    place = shutil.copytree(folders["t5"], tmp_path / "place")
    wanted = recipe(conditioning={"kind": "text", "encoder": "t5", "model": str(place)})
    walk = Run(data, tmp_path / "run", recipe=wanted).steps()
    next(walk)
    walk.close()
    shutil.copy(other / "model.safetensors", place)
    with pytest.raises(SfumatoError, match="place is another one"):
        list(Run(data, tmp_path / "run", resume=True).steps())


def test_info_names_the_encoder_without_loading_it(runs, monkeypatch) -> None:
    monkeypatch.setattr(Pretrained, "__init__", lambda *_: pytest.fail("loaded"))
    said = {name: facts_of(str(run / "model"))["text encoder"] for name, run in runs.items()}
    assert said["scratch"] == "scratch" and said["tfidf"] == "tfidf"
    sha = json.loads((runs["t5"] / "text_encoder.json").read_text())["sha256"]
    assert said["t5"] == f"t5: tiny-t5, sha256 {sha[:12]}"


def test_a_damaged_note_of_the_encoder_is_one_sentence(runs, tmp_path) -> None:
    run = shutil.copytree(runs["t5"], tmp_path / "run")
    shutil.rmtree(run / "model")
    (run / "text_encoder.json").write_text("{")
    with pytest.raises(SfumatoError, match=r"text_encoder\.json is damaged\. Delete it and resume"):
        sfumato.load(run)
    (run / "text_encoder.json").unlink()
    with pytest.raises(SfumatoError, match="is missing. Resume the run"):
        sfumato.load(run)


@pytest.mark.parametrize("name", ["scratch", "tfidf", "t5"])
def test_the_cure_of_damaged_words_cures(name, runs, data, tmp_path) -> None:
    run = shutil.copytree(runs[name], tmp_path / "run")
    shutil.rmtree(run / "model")
    words = {"scratch": "tokenizer.json", "tfidf": "tfidf.json", "t5": "text_encoder.json"}[name]
    (run / words).write_text("{")
    for act in (lambda: sfumato.load(run), lambda: list(Run(data, run, resume=True).steps())):
        with pytest.raises(SfumatoError, match=f"{words} is damaged. Delete it and resume"):
            act()
    (run / words).unlink()
    list(Run(data, run, resume=True).steps())
    assert sfumato.load(run)


# ---- one model after another


@pytest.mark.parametrize("name", ["tfidf", "sentence"])
def test_a_new_run_begins_with_the_words_of_a_model(name, runs, data, folders, tmp_path) -> None:
    short = {"images": 8, "batch_size": 8, "learning_rate": 1e-9, "threads": 1, "device": "cpu"}
    other = squares(tmp_path / "other", 12)
    for path in other.glob("*.txt"):
        path.write_text("ein rotes Quadrat\n", "utf-8")
    run = Run(other, tmp_path / "run", start={"model": str(runs[name] / "model")}, training=short)
    list(run.steps())
    if name == "tfidf":
        assert (run.folder / "tfidf.json").read_text() == (runs[name] / "tfidf.json").read_text()
    else:
        assert run.recipe.conditioning.model == str(folders[name])
    before = dict(sfumato.load(runs[name]).prompted.named_parameters())
    for key, parameter in sfumato.load(run.folder).prompted.named_parameters():
        torch.testing.assert_close(parameter, before[key], atol=2e-3, rtol=2e-3)


def test_a_text_encoder_that_is_taken_cannot_be_named_otherwise(runs, data, tmp_path) -> None:
    start = {"model": str(runs["t5"]), "take": ["network", "text"]}
    other = tiny_encoders.t5(tmp_path / "other", seed=5)
    with pytest.raises(SfumatoError, match="other is another one than the model was trained with"):
        Run(
            data, tmp_path / "run", start=start, conditioning={"model": str(other)},
            training={"images": 8, "batch_size": 8, "device": "cpu"},
        )  # fmt: skip
    assert not (tmp_path / "run").exists()


def test_weights_of_other_words_do_not_fit(runs, folders, tmp_path) -> None:
    parts = parts_at(runs["t5"])
    other = pretrained("t5", str(tiny_encoders.t5(tmp_path / "other", seed=5)))
    fresh = build_prompted(parts.recipe, Vocabulary(encoder=other))
    with pytest.raises(SfumatoError, match="The text of .* does not fit this run"):
        begin_with(fresh, parts, Start(model=str(runs["t5"]), take=("text",)))


def test_another_encoder_leaves_the_settings_of_the_models_own(runs, tmp_path) -> None:
    wanted = {"kind": "text", "encoder": "tfidf", "features": 5}
    start = {"model": str(runs["t5"]), "take": ["network"]}
    asked_ = recipe_for(tmp_path, "x", None, False, {"start": start, "conditioning": wanted})
    assert asked_.conditioning.model is None and asked_.conditioning.tokens is None
    resolve(changed(asked_, data={"resolution": 16}), channels=3, resolution=16)


# ---- what is not read


class Wordy:
    """Captions of one to eleven words, one of them strange."""

    name, size, channels, classes = "wordy", 8, 1, ()
    said = ["red heart", "red heart", "red " * 11, "blue " * 9 + "\n", "qqq"]

    def __len__(self) -> int:
        return len(self.said)

    def __getitem__(self, index: int) -> Example:
        return Example(np.zeros((1, 8, 8), np.uint8), (self.said[index],), None, str(index))

    def report(self) -> Report:
        return Report()


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize(("length", "cut"), [(8, 2), (10, 1), (13, 0)])
def test_captions_that_are_cut_are_counted(name, length, cut, folders, tmp_path) -> None:
    wanted = Conditioning(**asked(name, folders))
    words = vocabulary_of(Wordy(), wanted, tmp_path / "tokenizer.json")
    marks = {"tfidf": 0, "scratch": 0, "t5": 1}.get(name, 2)
    conditioner = {"tfidf": lambda: TfIdf(words.terms, 8, length),
                   "scratch": lambda: TextTransformer(words.tokenizer, 8, 1, 1, length)}.get(
        name, lambda: Frozen(words.encoder, 8, length + marks))()  # fmt: skip
    told = captions_of(Wordy(), "text", conditioner)
    assert told.cut == cut
    assert told.unknown == 0, "tfidf has learned them all"
    kept = captions_of(Wordy(), "none", conditioner)
    assert (kept.cut, kept.unknown) == (0, 0)


def test_captions_without_a_known_term_are_counted() -> None:
    told = captions_of(Wordy(), "text", TfIdf(Terms(("heart", "red"), (1.0, 1.0)), 8))
    assert told.unknown == 2, "blue and qqq"


def test_a_run_says_how_much_is_not_read(data, folders, tmp_path) -> None:
    run = Run(data, tmp_path / "run", recipe=recipe(
        conditioning=asked("t5", folders, tokens=4), training={"images": 8}))  # fmt: skip
    notes = [note for step in run.steps() for note in step.notes]
    # "a NAME square" and its mark fit; "square N, NAME" does not
    assert [note for note in notes if note.startswith("10 of 20 captions (50.0%) are longer")]


def test_pretrained_encoders_read_more_where_nothing_is_said() -> None:
    def tokens(**said: Any) -> int | None:
        settled = resolve(recipe_of({"conditioning": said}), channels=3, resolution=16)
        return settled.conditioning.tokens

    assert tokens(kind="text", encoder="sentence") == 64
    assert tokens(kind="text", encoder="sentence", tokens=24) == 24
    assert tokens(kind="text") == tokens(kind="text", encoder="tfidf") == 24


# ---- classes


def coloured_classes(folder: Path) -> Path:
    noise = np.random.default_rng(0)
    for number in range(10):
        name, colour = list(COLOURS.items())[number % len(COLOURS)]
        (folder / name).mkdir(parents=True, exist_ok=True)
        pixels = np.array(colour) + noise.integers(-5, 6, (16, 16, 3))
        picture = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
        picture.save(folder / name / f"{number}.png")
    return folder


def test_names_of_classes_are_texts(tmp_path, folders) -> None:
    data = coloured_classes(tmp_path / "classes")
    terms = trained(data, tmp_path / "tfidf", {"encoder": "tfidf"}, 8)  # kind "auto"
    assert terms.recipe.conditioning.kind == "text"
    found = json.loads((tmp_path / "tfidf" / "tfidf.json").read_text())["terms"]
    assert found == sorted(COLOURS)
    trained(data, tmp_path / "plain", {}, 8)
    assert isinstance(sfumato.load(tmp_path / "plain").prompted.conditioner, Labels)
    wanted = {"encoder": "tfidf", "template": "a photo of {}"}
    trained(data, tmp_path / "photo", wanted, 8)
    found = json.loads((tmp_path / "photo" / "tfidf.json").read_text())["terms"]
    assert found == sorted([*COLOURS, "photo"])
    assert load_recipe(tmp_path / "photo" / "recipe.toml").conditioning.template == "a photo of {}"


class Both:
    """Captions and labels, as the emoji have."""

    name, size, channels, classes = "both", 8, 1, ()
    said = [("red heart", "heart"), ("blue heart", "heart"), ("cat", "cat"), ("?", None)]

    def __len__(self) -> int:
        return len(self.said)

    def __getitem__(self, index: int) -> Example:
        caption, label = self.said[index]
        return Example(np.zeros((1, 8, 8), np.uint8), (caption,), label, str(index))

    def report(self) -> Report:
        return Report()


def test_labels_beside_captions_can_be_the_classes(tmp_path) -> None:
    source = Both()
    assert classes_of(source) == ("cat", "heart")
    words = vocabulary_of(source, Conditioning(kind="labels"), tmp_path / "tokenizer.json")
    labels = Labels(list(words.classes), 8)
    told = captions_of(source, "labels", labels)
    assert told.ids[:, 0].tolist() == [1, 1, 0, 2], "no label is the learned null"


def test_what_is_said_of_a_picture() -> None:
    def said(captions: tuple[str, ...], label: str | None, template: str | None = None):
        return texts_of(Example(np.zeros((1, 1, 1), np.uint8), captions, label, ""), template)

    assert said(("a cat",), "cat") == ("a cat",)
    assert said((), "cat") == ("cat",) and said((), None) == ()
    assert said(("cat",), "cat", "a {} and {0}") == ("a cat and {0}",)
    with pytest.raises(SfumatoError, match=r"conditioning\.template"):
        recipe_of({"conditioning": {"template": "no place"}})


class Silent(Both):
    """Pictures of which nothing is said."""

    said = [("", None)] * 3


def test_a_data_set_without_words_needs_another_encoder(tmp_path) -> None:
    with pytest.raises(SfumatoError, match="No caption holds a word"):
        vocabulary_of(Silent(), Conditioning(kind="text", encoder="tfidf"), tmp_path / "t.json")
    with pytest.raises(SfumatoError, match="has no classes"):
        vocabulary_of(Silent(), Conditioning(kind="labels"), tmp_path / "t.json")


# ---- what was made before there was a choice


def test_models_that_name_no_encoder_are_as_they_were() -> None:
    assert recipe_of({"conditioning": {"kind": "text"}}).conditioning.encoder == "scratch"
    parts = embedded_parts()
    assert isinstance(parts.prompted.conditioner, TextTransformer)


def test_the_forecast_counts_what_is_still_to_be_read(data, folders, tmp_path, monkeypatch) -> None:
    """The features lie on the disk and come into memory picture by picture."""
    monkeypatch.setenv("SFUMATO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("sfumato.training.run.PROBE_SECONDS", 0.05)
    monkeypatch.setattr("sfumato.training.finish.peak_memory", lambda: 1000)
    run = trained(data, tmp_path / "run", asked("sentence", folders), images=160)
    (cache,) = (tmp_path / "cache").rglob("*.safetensors")
    assert run.forecast is not None
    assert run.forecast.memory_bytes - 1000 == pytest.approx(cache.stat().st_size, rel=0.3)
