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


def test_scores_on_a_card_are_those_of_a_report_about_this_model() -> None:
    publish = module("scripts", "publish_model")
    share = {"value": 0.8, "low": 0.7, "high": 0.9}
    report = {
        "model": {
            "card": {"images seen": 7},
            "sampling": {"steps": 20, "sampler": "euler", "guidance_scale": 3.0},
        },
        "judge": {"sha256": "abcdef012345"},
        "settings": {"seed": 4, "command": "sfumato evaluate --minutes 3"},
        "surroundings": {"date": "2026-01-02T03:04:05"},
        "parts": {
            "agreement": {"held-in": {"count": 9, "top5": {"ratio": share}}},
            "colours": {**share, "pictures": 200, "other pairs": {**share, "pictures": 150}},
            "copies": {
                "features": {"nearer than quantiles": {"5%": {"value": 0.002}}},
                "pixels": {"nearer than quantiles": {"5%": {"value": 0.06}}},
                "held-in": {"pixels": {"nearer than quantiles": {"5%": {"value": 0.165}}}},
            },
        },
    }
    sampling = report["model"]["sampling"]
    scores = publish.scores_of(report, {"images seen": 7}, sampling)
    assert scores["score, things and styles seen together"] == (
        "top-5 is 80.0% of what real pictures score (70.0% to 90.0%, 9 pictures)"
    )
    assert scores["score, colour"] == (
        "right in 80.0% of 200 pictures; of prompts that nobody worked towards 80.0% of 150 "
        "(70% to 90%)"
    )
    assert "0.2% in features, 6.0% in pixels" in scores["score, copies"]
    assert "seen together 16.5% in pixels" in scores["score, copies"]
    assert scores["scores measured with"].startswith("sfumato evaluate --minutes 3, ")
    assert "judge abcdef01 " in scores["scores measured with"]
    assert "seed 4, 20 steps of euler, guidance 3, 2026-01-02" in scores["scores measured with"]
    with pytest.raises(SfumatoError, match="another model"):
        publish.scores_of(report, {"images seen": 8}, sampling)
    with pytest.raises(SfumatoError, match="made with steps = 20, and the model would get 10"):
        publish.scores_of(report, {"images seen": 7}, {**sampling, "steps": 10})
