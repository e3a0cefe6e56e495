"""`sfumato train` as a person meets it: interrupted, resumed, and on a folder full of trouble."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import pytest
import worker
from PIL import Image
from tiny import kept, recipe, same_bits

import sfumato
from sfumato.training.recipe import changed, save_recipe

POSIX = pytest.mark.skipif(os.name == "nt", reason="sends POSIX signals")


class Command:
    """`sfumato train` in a process of its own, and what it said."""

    def __init__(self, start: Callable[..., BaseProcess], told: Path, *words: object) -> None:
        self.told = told
        self.process = start(worker.command, ["train", *map(str, words)], told)

    def end(self) -> tuple[int | None, dict, str]:
        """Exit code, what --json printed, what people were told."""
        self.process.join(200)
        error = self.told.with_suffix(".err").read_text("utf-8")
        printed = self.told.with_suffix(".out").read_text("utf-8")
        return self.process.exitcode, json.loads(printed or "{}"), error


@POSIX
def test_ctrl_c_saves_and_stops_and_resume_goes_on(
    data: Path, tmp_path: Path, start: Callable[..., BaseProcess]
) -> None:
    changes = {"training": {"images": 1200}}
    file, out = tmp_path / "recipe.toml", tmp_path / "run"
    save_recipe(changed(recipe(), **changes), file)
    words = (data, "-o", out, "--recipe", file, "--json")
    first = Command(start, tmp_path / "first", *words)
    begin = time.monotonic()
    log = out / "log.jsonl"
    while not (log.exists() and log.stat().st_size) and first.process.is_alive():
        assert time.monotonic() - begin < 100
        time.sleep(0.02)
    assert first.process.pid is not None
    os.kill(first.process.pid, signal.SIGINT)
    code, told, error = first.end()
    assert code == 130, error
    assert told["interrupted"] and told["model"] is None
    assert 0 < told["images_seen"] < 1200
    assert "Traceback" not in error
    assert (out / f"images-{told['images_seen']:09d}" / "manifest.json").exists()
    assert not (out / "model").exists()

    code, told, error = Command(start, tmp_path / "second", *words, "--resume").end()
    assert code == 0, error
    assert told["images_seen"] == 1200 and not told["interrupted"]

    whole = start(worker.train, data, tmp_path / "whole", changes, tmp_path / "diary")
    whole.join(200)
    assert same_bits(kept(tmp_path / "whole"), kept(out))


def trouble(root: Path) -> Path:
    """Everything that the folders of people hold, made with real files."""
    root.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (90, 90, 3), dtype=np.uint8)
    Image.fromarray(noise).save(root / "a-truncated.jpg")
    whole = (root / "a-truncated.jpg").read_bytes()
    (root / "a-truncated.jpg").write_bytes(whole[: len(whole) // 2])
    (root / "b-text.png").write_text("A text that is called a picture.\n")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (60, 40), "red").save(root / "c-rotated.jpg", exif=exif)
    Image.new("RGBA", (40, 40), (0, 255, 0, 128)).save(root / "d-clear.png")
    Image.new("CMYK", (40, 40), (0, 255, 255, 0)).save(root / "e-cmyk.jpg")
    Image.fromarray(np.full((40, 40), 0xC0C0, np.uint16)).save(root / "f-deep.png")
    Image.new("P", (40, 40), 3).save(root / "g-palette.gif")
    Image.new("RGB", (40, 40), "yellow").save(root / "h-russian.png")
    Image.new("RGB", (40, 40), "cyan").save(root / "i-silent.png")
    Image.new("1", (20000, 10000)).save(root / "j-huge.png")
    for path in list(root.iterdir()):
        path.with_suffix(".txt").write_text(f"the picture {path.stem}", "utf-8")
    (root / "h-russian.txt").write_bytes("жёлтый квадрат".encode("cp1251"))
    (root / "i-silent.txt").write_text("")
    return root


def test_a_folder_full_of_trouble_trains_to_the_end(
    tmp_path: Path, start: Callable[..., BaseProcess]
) -> None:
    data, out = trouble(tmp_path / "trouble"), tmp_path / "run"
    file = tmp_path / "recipe.toml"
    save_recipe(recipe(), file)
    code, told, error = Command(start, tmp_path / "told", data, "-o", out, "--recipe", file).end()
    assert code == 0 and not told, error
    report = (out / "data-report.txt").read_text("utf-8")
    assert "3 of 10 pictures cannot be read and are replaced" in report
    for name, reason in {
        "a-truncated.jpg": "cut off",
        "b-text.png": "not a picture",
        "j-huge.png": "200 megapixels",
        "h-russian.txt": "cp1251",
        "i-silent.png": "empty caption",
    }.items():
        (line,) = [line for line in report.splitlines() if name in line]
        assert reason in line
        assert name in error, "it is said while training, too"
    model = sfumato.load(out)
    assert model.generate("жёлтый квадрат")[0].size == (16, 16)
