"""What scripts and benchmarks write down is what was really the case."""

from __future__ import annotations

import hashlib
import importlib
import json
import sys
from argparse import Namespace
from pathlib import Path
from types import ModuleType

import pytest
from tiny import model

from sfumato.errors import SfumatoError

ROOT = Path(__file__).resolve().parents[1]


def module(folder: str, name: str) -> ModuleType:
    if not (ROOT / folder / f"{name}.py").is_file():
        pytest.skip(f"{folder} are not here")
    sys.path.insert(0, str(ROOT / folder))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(ROOT / folder))


def test_a_published_card_says_what_the_run_kept(tmp_path: Path) -> None:
    publish = module("scripts", "publish_model")
    made = model(32, 4)
    made.card = {"images seen": 7}
    card = publish.card_of(made, tmp_path)
    assert card["images seen"] == 7 and card["what"].startswith("32x32 ")
    assert card["parameters"] == sum(p.numel() for p in made.prompted.parameters())
    assert not any("laptop" in str(value) or "sha256" in key for key, value in card.items())
    (tmp_path / "data.json").write_text(json.dumps({"pictures": 12, "captions": "abc"}))
    (tmp_path / "recipe.toml").write_bytes(b"[data]")
    card = publish.card_of(made, tmp_path)
    assert (card["pictures"], card["captions digest"]) == (12, "abc")
    assert card["recipe.toml sha256"] == hashlib.sha256(b"[data]").hexdigest()


def test_a_model_of_other_pictures_is_not_published(tmp_path: Path) -> None:
    publish = module("scripts", "publish_model")
    with pytest.raises(SfumatoError, match="trained on photos"):
        publish.card_of(model(16, 1, data={"name": "photos"}), tmp_path)


@pytest.mark.parametrize(
    ("steps", "scale", "written"), [(None, None, (20, 3.0)), (5, 0.0, (5, 0.0)), (None, 1, (20, 1))]
)
def test_a_scale_of_nothing_is_written_down(
    steps: int | None, scale: float | None, written: tuple[float, float]
) -> None:
    bench = module("benchmarks", "fashion_agreement")
    wanted = Namespace(steps=steps, guidance_scale=scale)
    defaults = {"steps": 20, "guidance_scale": 3.0, "sampler": "euler"}
    assert tuple(bench.used(wanted, defaults).values()) == written
