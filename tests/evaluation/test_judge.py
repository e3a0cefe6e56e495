"""A judge is its files, and what it says of a picture depends on that picture alone."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from shapes import KINDS, Shapes, shape

from sfumato.errors import SfumatoError
from sfumato.evaluation.judge import About, Judge, fitted
from sfumato.evaluation.judging import train_judge
from sfumato.evaluation.recognizer import Recognizer


@pytest.fixture(scope="module")
def judge():
    return train_judge(Shapes(), minutes=1e-6)


@pytest.fixture(scope="module")
def images():
    return np.stack([shape(kind, 100 + n) for n in range(3) for kind in KINDS])


def test_saved_is_loaded_bit_by_bit(judge, images, tmp_path):
    folder = judge.save(tmp_path / "judge")
    loaded = Judge.load(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["judge.json", "weights.safetensors"]
    assert loaded.about == judge.about
    assert loaded.hash == judge.hash and len(judge.hash) == 64
    assert np.array_equal(loaded.features(images), judge.features(images))
    assert np.array_equal(loaded.scores(images), judge.scores(images))


def test_the_contract(judge, images):
    features, scores = judge.features(images), judge.scores(images)
    assert features.dtype == scores.dtype == np.float32
    assert features.shape == (9, 256) and scores.shape == (9, 3)
    assert judge.labels == KINDS and (judge.side, judge.channels) == (16, 4)
    assert judge.accuracy.keys() == {"top1", "top5", "count"}
    np.testing.assert_allclose(np.exp(scores).sum(1), 1, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 16, rtol=1e-5)


def test_order_and_batches_do_not_matter(judge):
    many = np.stack([shape(KINDS[n % 3], n) for n in range(150)])  # more than one batch
    features, scores = judge.features(many), judge.scores(many)
    order = np.random.default_rng(0).permutation(len(many))
    np.testing.assert_allclose(judge.features(many[order]), features[order], atol=1e-3)
    alone = np.concatenate([judge.scores(many[n : n + 1]) for n in range(0, 150, 13)])
    np.testing.assert_allclose(alone, scores[::13], atol=1e-3)


def test_no_pictures_give_no_rows(judge, images):
    assert judge.features(images[:0]).shape == (0, 256)
    assert judge.scores(images[:0]).shape == (0, 3)


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((2, 4, 8, 8), np.float32),
        np.zeros((4, 8, 8), np.uint8),
        np.zeros((1, 2, 8, 8), np.uint8),
    ],
)
def test_only_8_bit_pictures_are_judged(judge, wrong):
    with pytest.raises(ValueError, match="expected uint8"):
        judge.scores(wrong)


def test_other_sizes_and_channels_are_resampled(judge):
    large = np.stack([shape(kind, 7, side=48) for kind in KINDS])
    assert judge.scores(large).argmax(1).tolist() == [0, 1, 2]
    assert judge.scores(large[:, :3]).shape == (3, 3)  # opaque: other pictures, no complaint
    opaque = train_judge(Shapes(channels=3), minutes=1e-6)
    on_white = np.stack([shape(kind, 7, channels=3) for kind in KINDS])
    seen = opaque.scores(np.stack([shape(kind, 7) for kind in KINDS]))
    np.testing.assert_allclose(seen, opaque.scores(on_white), atol=1e-3)


def test_a_picture_that_fits_is_not_touched(images):
    assert fitted(images, 16, 4) is images
    straight = fitted(images[:1], 16, 3)
    clear = images[0, 3] == 0
    assert (straight[0][:, clear] == 255).all()


def test_saving_replaces_a_judge_and_nothing_else(judge, tmp_path):
    folder = judge.save(tmp_path / "judge")
    judge.save(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["judge"]
    stranger = tmp_path / "pictures"
    stranger.mkdir()
    (stranger / "cat.png").write_text("x")
    with pytest.raises(SfumatoError, match=r"something else\. Choose"):
        judge.save(stranger)
    assert (stranger / "cat.png").read_text() == "x"


def change_weights(folder):
    path = folder / "weights.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def change(**values):
    def rewrite(folder):
        path = folder / "judge.json"
        path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | values), "utf-8")

    return rewrite


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (change_weights, "damaged"),
        (change(labels=["a", "b", "c"]), "damaged"),
        (change(accuracy={"top1": 1.0, "top5": 1.0, "count": 9}), "damaged"),
        (change(labels=[]), "damaged"),
        (change(labels=7), "damaged"),
        (change(canvas=17), "damaged"),
        (change(prototypes=10**9), "damaged"),
        (change(format="sfumato-judge/9"), "Update"),
        (change(hash=None), "damaged"),
        (lambda folder: (folder / "judge.json").write_text("[]"), "no judge"),
        (lambda folder: (folder / "judge.json").write_text("{"), "no judge"),
        (lambda folder: (folder / "weights.safetensors").unlink(), "no judge"),
        (lambda folder: (folder / "weights.safetensors").write_bytes(b"\x80\x04."), "damaged"),
    ],
)
def test_damage_is_refused(judge, tmp_path, damage, words):
    folder = judge.save(tmp_path / "judge")
    Judge.load(folder)
    damage(folder)
    with pytest.raises(SfumatoError, match=words):
        Judge.load(folder)


def test_the_hash_is_of_weights_and_settings():
    def made(name="a", change=0.0):
        torch.manual_seed(0)
        network = Recognizer(1, 2, canvas=16)
        with torch.no_grad():
            network.prototypes[0, 0, 0] += change
        about = About(name, "labels", ("x", "y"), 16, 1, 16, 1, {"top1": 1, "top5": 1, "count": 1})
        return Judge(about, network).hash

    assert made() == made()
    assert len({made(), made("b"), made(change=0.5)}) == 3
