"""Tiny ImageNet's layout, with its grey pictures and with lists that lie."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from sfumato.data import open_source
from sfumato.data.sources.tiny_imagenet import class_names
from sfumato.errors import SfumatoError

WORDS = """n00000001\tentity
n01443537\tgoldfish, Carassius auratus
n02012849\tcrane
n03126707\tcrane
n02124075\tEgyptian cat
n09999999\tnot in the set
"""
WNIDS = ["n02124075", "n01443537", "n02012849", "n03126707"]


def jpeg(path, value, mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (64, 64), value if mode == "L" else (value, 0, 0)).save(path, "JPEG")


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "mine"
    for number, wnid in enumerate(WNIDS):
        for place in range(3):
            name = f"train/{wnid}/images/{wnid}_{place}.JPEG"
            jpeg(root / name, 40 * number, "L" if place == 2 else "RGB")
        (root / f"train/{wnid}/{wnid}_boxes.txt").write_text("x\t0\t0\t63\t63\n")
    jpeg(root / "val/images/val_0.JPEG", 200)
    jpeg(root / "val/images/val_1.JPEG", 100)
    (root / "val/val_annotations.txt").write_text(
        "val_0.JPEG\tn01443537\t0\t32\t44\t62\nval_1.JPEG\tn03126707\t1\t2\t3\t4\n"
    )
    (root / "test/images").mkdir(parents=True)
    (root / "words.txt").write_text(WORDS)
    (root / "wnids.txt").write_text("\n".join(WNIDS) + "\n")
    return root


def test_names_labels_and_parts(folder):
    train = open_source(folder)
    # two classes are called "crane": their numbers tell them apart
    cranes = ("crane (n02012849)", "crane (n03126707)")
    assert train.classes == ("Egyptian cat", "goldfish", *cranes)
    assert (len(train), train.size, train.channels) == (12, 64, 3)
    assert train[0].label == "goldfish" and train[0].captions == ("goldfish",)
    assert train[0].origin == "train/n01443537/images/n01443537_0.JPEG"
    assert train[2].image.shape == (3, 64, 64)  # a grey one
    assert np.ptp(train[2].image.astype(int), axis=0).max() == 0
    test = open_source(folder, split="test")
    assert [test[i].label for i in range(2)] == ["goldfish", "crane (n03126707)"]
    assert not train.report().problems and not test.report().problems


def test_by_name_below_the_archives_folder(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("SFUMATO_DATA", str(tmp_path / "own"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "user"))
    with pytest.raises(SfumatoError, match="not found"):
        open_source("tiny-imagenet")
    place = tmp_path / "own/tiny-imagenet/tiny-imagenet-200"
    place.parent.mkdir(parents=True)
    folder.rename(place)
    assert len(open_source("tiny-imagenet", size=32)) == 12


def test_what_lies_is_left_out_and_named(folder, tmp_path):
    secret = tmp_path / "secret.JPEG"
    jpeg(secret, 255)
    annotations = folder / "val/val_annotations.txt"
    annotations.write_text(
        annotations.read_text()
        + "../../../secret.JPEG\tn01443537\t0\t0\t1\t1\nval_0.JPEG\tn77777777\t0\nval_9.JPEG\n\n"
    )
    jpeg(folder / "val/images/val_2.JPEG", 1)
    test = open_source(folder, split="test")
    reasons = "\n".join(map(str, test.report().problems))
    assert len(test) == 2
    assert reasons.count("skipped") == 3 and "secret.JPEG" in reasons
    assert "val_2.JPEG: has no annotation" in reasons


def test_single_bad_pictures_are_replaced(folder, tmp_path):
    secret = tmp_path / "secret.JPEG"
    jpeg(secret, 255)
    images = folder / "train/n01443537/images"
    (images / "n01443537_0.JPEG").unlink()
    (images / "n01443537_0.JPEG").symlink_to(secret)
    (images / "n01443537_1.JPEG").write_bytes(b"")
    (images / "n01443537_2.JPEG").write_bytes(b"<html>")
    train = open_source(folder)
    assert len(train) == 12 and train.report().replaced == 3
    assert "leaves the folder" in train.report().text()
    assert train[0].origin == train[1].origin == "train/n02012849/images/n02012849_0.JPEG"


def test_lists_that_are_none_are_refused(folder):
    (folder / "wnids.txt").write_text("../../etc\n")
    with pytest.raises(SfumatoError, match="WordNet numbers"):
        open_source(folder)
    (folder / "wnids.txt").write_text("n00000001\n")
    with pytest.raises(SfumatoError, match="no pictures in train"):
        open_source(folder)
    (folder / "val/val_annotations.txt").unlink()
    with pytest.raises(SfumatoError, match="val_annotations.txt cannot be read"):
        open_source(folder, split="test")


def test_a_first_name_that_two_classes_share_is_told_in_full(tmp_path):
    (tmp_path / "wnids.txt").write_text("n00000001\nn00000002\nn00000003\n")
    words = "n00000001\tcrane, bird\nn00000002\tcrane, machine\nn00000003\tlion, king\n"
    (tmp_path / "words.txt").write_text(words)
    assert list(class_names(tmp_path).values()) == ["crane, bird", "crane, machine", "lion"]
