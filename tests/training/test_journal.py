"""What a run writes for people."""

from __future__ import annotations

import json
import math
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sfumato.errors import SfumatoError
from sfumato.training import journal as module
from sfumato.training.journal import Journal
from sfumato.training.trainer import TrainStep


def step(images: int, loss: list[float], t: list[float], norm: float = 1.0) -> TrainStep:
    return TrainStep(
        loss=torch.tensor(loss),
        t=torch.tensor(t, dtype=torch.float64),
        shown=tuple(range(len(loss))),
        learning_rate=images / 1e6,
        grad_norm=norm,
        images_seen=images,
        images_per_second=12.5,
        total=1000,
    )


def lines(folder: Path) -> list[dict]:
    """Read as strictly as JSON is meant: no NaN, no infinity."""

    def refuse(name: str) -> float:
        raise AssertionError(f"{name} is no JSON")

    text = (folder / "log.jsonl").read_text("utf-8")
    return [json.loads(line, parse_constant=refuse) for line in text.splitlines()]


def test_a_line_is_the_mean_of_its_steps_in_bands_of_time(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "new" / "run", every=8)
    journal.heard(step(4, [1.0, 2.0, 3.0, 4.0], [0.0, 0.24, 0.25, 0.5], norm=3.0))
    assert not journal.path.exists()
    journal.heard(step(8, [5.0, 6.0, 7.0, 8.0], [0.1, 0.99, 1.0, 0.4], norm=2.0))
    assert lines(tmp_path / "new" / "run") == [
        {
            "images": 8,
            "loss": 4.5,
            "bands": [pytest.approx((1 + 2 + 5) / 3), 5.5, 4.0, 6.5],
            "learning_rate": 8e-6,
            "grad_norm": 3.0,
            "images_per_second": 12.5,
        }
    ]


def test_an_empty_band_and_numbers_without_end_are_null(tmp_path: Path) -> None:
    journal = Journal(tmp_path, every=4)
    journal.heard(step(4, [1.0, math.nan], [0.1, 0.6], norm=math.inf))
    journal.heard(step(8, [math.inf, 1.0], [0.1, 0.9], norm=math.nan))
    first, second = lines(tmp_path)
    assert first["loss"] is None and first["grad_norm"] is None
    assert first["bands"] == [1.0, None, None, None]
    assert second["loss"] is None and second["bands"] == [None, None, None, 1.0]
    journal.draw()
    assert Image.open(tmp_path / "loss.png").width > 100


def test_what_is_left_of_a_line_is_written_at_the_end(tmp_path: Path) -> None:
    """A run shorter than a line would have no log and no curve."""
    journal = Journal(tmp_path, every=1000)
    journal.heard(step(4, [1.0], [0.5]))
    journal.draw()
    assert not (tmp_path / "loss.png").exists()
    journal.close()
    assert [line["images"] for line in lines(tmp_path)] == [4]
    assert (tmp_path / "loss.png").exists()
    Journal(tmp_path, every=1000, images_seen=4).close()
    assert [line["images"] for line in lines(tmp_path)] == [4]


@settings(max_examples=20)
@given(
    batch=st.integers(1, 20),
    every=st.integers(1, 50),
    stop=st.integers(1, 30),
    back=st.integers(0, 9),
)
def test_a_resumed_log_has_every_image_once_and_in_order(
    tmp_path_factory, batch, every, stop, back
) -> None:
    folder = tmp_path_factory.mktemp("log")
    first, draws = Journal(folder, every), Mock()
    for n in range(1, stop + 1):
        first.heard(step(n * batch, [1.0] * batch, [0.5] * batch))
    with first.path.open("a") as log:
        log.write('{"images": 12, "lo')  # killed in the middle of a line
    begin = max(0, stop - back)
    second = Journal(folder, every, images_seen=begin * batch)
    second.draw = draws  # type: ignore[method-assign]
    for n in range(begin + 1, 41):
        second.heard(step(n * batch, [2.0] * batch, [0.5] * batch))
    second.close()
    draws.assert_called_once()
    seen = [line["images"] for line in lines(folder)]
    assert seen == sorted(set(seen)) and seen[-1] == 40 * batch
    crossed = {n * batch for n in range(1, 41) if n * batch // every > (n - 1) * batch // every}
    # a line that the kill took is made up for by the next one
    assert set(seen) - crossed <= {40 * batch}
    assert {n for n in crossed if n > begin * batch} <= set(seen)
    assert all(
        line["loss"] == (1.0 if line["images"] <= begin * batch else 2.0) for line in lines(folder)
    )


def test_what_a_kill_left_half_written_is_swept(tmp_path: Path) -> None:
    (tmp_path / "samples").mkdir()
    for place in (tmp_path, tmp_path / "samples"):
        (place / ".ab12.part").write_text("half a picture")
        (place / "mine.part").write_text("a person's")
    Journal(tmp_path, 8)
    left = sorted(path.name for path in tmp_path.rglob("*.part"))
    assert left == ["mine.part", "mine.part"]


def test_foreign_lines_in_a_log_are_dropped_on_resuming(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text('{"images": 4}\n[]\n3\n{"no": 1}\n{"images": "x"}\n\n')
    Journal(tmp_path, 8, images_seen=8)
    assert (tmp_path / "log.jsonl").read_text() == '{"images": 4}\n'


def test_samples_keep_to_their_share_of_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    journal = Journal(tmp_path, 8)

    def slow() -> Image.Image:
        now[0] += 10
        return Image.new("RGB", (8, 8), "red")

    now[0] = 50
    assert journal.sheet(100, slow), "the first minute is free"
    now[0] = 100
    assert not journal.sheet(200, slow), "10 of 100 seconds are more than a twentieth"
    assert journal.sheet(250, slow, always=True)
    now[0] = 500
    assert journal.sheet(300, slow)
    names = sorted(path.name for path in (tmp_path / "samples").iterdir())
    assert names == ["000000100.png", "000000250.png", "000000300.png"]
    assert Image.open(tmp_path / "samples" / names[0]).getpixel((0, 0)) == (255, 0, 0)


def test_tensorboard_on_request(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    def told() -> list[tuple[int, float]]:
        board = EventAccumulator(str(tmp_path / "tensorboard"))
        board.Reload()
        return [(event.step, event.value) for event in board.Scalars("loss")]

    journal = Journal(tmp_path, 4, tensorboard=True)
    for n in (4, 8, 12):
        journal.heard(step(n, [n / 4], [0.5]))
    journal.heard(step(16, [math.nan], [0.5]))
    journal.close()
    assert told() == [(4, 1.0), (8, 2.0), (12, 3.0)]
    again = Journal(tmp_path, 4, images_seen=8, tensorboard=True)
    again.heard(step(12, [7.0], [0.5]))
    again.close()
    assert told() == [(4, 1.0), (8, 2.0), (12, 7.0)], "a resumed run takes later events back"


def test_a_missing_tensorboard_is_said_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torch.utils.tensorboard", None)
    with pytest.raises(SfumatoError, match=r"not installed\. Install it: pip install"):
        Journal(tmp_path, 4, tensorboard=True)


def test_the_bank_is_kept_by_bands_and_taken_back(tmp_path: Path) -> None:
    journal = Journal(tmp_path, every=1000)
    loss, t = torch.tensor([1.0, 3.0, 5.0]), torch.tensor([0.1, 0.2, 0.9])
    journal.bank(8, loss, t, initial=0.25)
    journal.bank(16, loss * 2, t, initial=0.0)
    assert [json.loads(line) for line in journal.bank_path.read_text("utf-8").splitlines()] == [
        {"images": 8, "loss": 3.0, "bands": [2.0, None, None, 5.0], "initial": 0.25},
        {"images": 16, "loss": 6.0, "bands": [4.0, None, None, 10.0], "initial": 0.0},
    ]
    Journal(tmp_path, every=1000, images_seen=8)
    assert len(journal.bank_path.read_text("utf-8").splitlines()) == 1
