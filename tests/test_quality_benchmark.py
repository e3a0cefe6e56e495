"""The quality benchmark: its arithmetic, what it goes on with, and a run of seconds."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmark_modules import BENCHMARKS, benchmarks

from sfumato.errors import SfumatoError

ROOT = BENCHMARKS.parent

quality, quality_contenders, quality_score, quality_task, quality_worker = benchmarks(
    "quality", "quality_contenders", "quality_score", "quality_task", "quality_worker"
)


def measured(name: str, seed: int, minutes: float = 5.0, **changes: float) -> dict[str, Any]:
    plain = dict.fromkeys((*quality_score.MEASURES, "train_memory", "draw_memory"), 1.0)
    key = {"name": name, "seed": seed, "minutes": minutes, "parameters": 2e6}
    return {**key, **plain, **changes}


def test_the_interval_of_three_seeds_is_students() -> None:
    # by hand: sd 1, t(0.975, 2) = 4.3027, 4.3027 / sqrt(3) = 2.4842
    mean, half = quality_score.spread([1.0, 2.0, 3.0])
    assert mean == 2 and half == pytest.approx(2.4842, abs=1e-3)
    assert quality_score.spread([7.0]) == (7.0, None)


@pytest.mark.parametrize("count", [2, 3, 5])
def test_the_interval_holds_the_truth_95_times_in_100(count: int) -> None:
    drawn = np.random.default_rng(3).normal(5.0, 2.0, (4000, count))
    spreads = [quality_score.spread(list(values)) for values in drawn]
    held = np.mean([abs(mean - 5.0) <= half for mean, half in spreads if half is not None])
    assert held == pytest.approx(0.95, abs=0.015)  # four standard errors of 4000 draws


def test_the_verdict_compares_with_the_better_peer_of_the_same_seed() -> None:
    rounds = [
        measured("sfumato", 0, frechet=10.0, agreement=0.9),
        measured("diffusers", 0, frechet=40.0, agreement=0.5),
        measured("guidance-unet", 0, frechet=20.0, agreement=0.7),
        measured("sfumato", 1, frechet=30.0, agreement=0.8),
        measured("diffusers", 1, frechet=40.0, agreement=0.9),
        {"name": "guidance-unet", "seed": 1, "minutes": 5.0, "error": "out of memory"},
        measured("sfumato", 2, frechet=1.0),  # alone: nothing to compare with
    ]
    (verdict,) = quality_score.verdicts(rounds)
    assert verdict["frechet"] == [0.5, 0.75] and verdict["seeds"] == 2
    assert verdict["agreement"] == pytest.approx([0.2, -0.1])


def test_the_table_has_a_row_for_each_and_says_what_failed() -> None:
    rounds = [
        measured("sfumato", 0, 10.0, frechet=10.0, agreement=0.875),
        measured("sfumato", 1, 10.0, frechet=12.0, agreement=0.875),
        measured("sfumato", 0, 5.0, frechet=33.0),
        {"name": "diffusers", "seed": 0, "minutes": 5.0, "error": "ImportError: diffusers"},
    ]
    shown = quality_score.table(rounds, {"frechet": 4.0, "kernel": 0.01, "agreement": 0.93})
    rows = [line for line in shown.splitlines() if line.startswith("| ")]
    assert len(rows) == 5  # head, floor and three
    assert len({row.count("|") for row in rows}) == 1
    assert "not measured: ImportError: diffusers" in shown
    assert "| 11 +- 13 " in rows[-1] and "87.5% +- 0.0" in rows[-1]  # 12.706 * sqrt(2) / sqrt(2)
    assert "93.0%" in rows[1] and rows[2].startswith("| 5 | Sfumato")


def test_only_what_is_missing_or_failed_is_measured() -> None:
    rounds = [
        measured("sfumato", 0, 5.0),
        {"name": "diffusers", "seed": 0, "minutes": 5.0, "error": "no memory"},
        measured("diffusers", 1, 5.0),
    ]
    todo = quality.missing(rounds, ["sfumato", "diffusers"], [10.0, 5.0], seed=0)
    assert todo == [("diffusers", 5.0), ("sfumato", 10.0), ("diffusers", 10.0)]


def test_turns_end_at_every_goal() -> None:
    turns = quality.milestones([2.0, 0.5], 40.0)
    assert turns == [(30.0, 0.5), (70.0, None), (110.0, None), (120.0, 2.0)]
    assert quality.milestones([1.0], 30.0) == [(30.0, None), (60.0, 1.0)]


def test_a_folder_of_other_settings_is_not_mixed_with(tmp_path: Path) -> None:
    asked = quality.parsed(["-o", str(tmp_path), "--minutes", "1", "2"])
    record = quality.begun(asked)
    (tmp_path / "rounds.json").write_text(json.dumps(record))
    assert quality.begun(quality.parsed(["-o", str(tmp_path), "--minutes", "2", "1"])) == record
    with pytest.raises(SfumatoError, match="another folder"):
        quality.begun(quality.parsed(["-o", str(tmp_path), "--minutes", "1", "2", "--count", "3"]))


class Counting:
    """A contender whose state on the disk is a number."""

    parameters = 1

    def __init__(self, file: Path) -> None:
        self.file = file
        self.images = self.restored = int(file.read_text()) if file.exists() else 0
        self.shares: list[float] = []

    def step(self, share: float) -> float:
        self.shares.append(share)
        self.images += 16
        sum(range(200_000))
        return 1.0

    def save(self) -> None:
        self.file.write_text(str(self.images))


def test_time_goes_on_where_the_state_does(tmp_path: Path) -> None:
    timed = quality_worker.Timed(Counting(tmp_path / "state"), tmp_path, budget=0.2)
    first = timed.train(0.1)
    assert first["seconds"] >= 0.1 and first["images"] % 16 == 0
    before = (tmp_path / "state").read_text()
    timed.train(0.15)
    shares = timed.contender.shares  # type: ignore[attr-defined]
    assert shares[0] == 0 and 0.1 / 0.2 <= max(shares) <= 0.15 / 0.2
    # killed between the time and the state: the state before it has its own time still
    (tmp_path / "state").write_text(before)
    again = quality_worker.Timed(Counting(tmp_path / "state"), tmp_path, budget=0.2)
    assert again.seconds == first["seconds"] and again.contender.images == first["images"]
    assert again.train(first["seconds"])["images"] == first["images"]  # nothing left to do


class Interrupted(Counting):
    """Saves itself and ends after four steps, as our run does."""

    def step(self, share: float) -> float:
        if self.images == 64:
            self.save()
            raise RuntimeError("interrupted")
        return super().step(share)


def test_a_state_that_was_saved_by_itself_has_its_time(tmp_path: Path) -> None:
    timed = quality_worker.Timed(Interrupted(tmp_path / "state"), tmp_path, budget=1e9)
    with pytest.raises(RuntimeError, match="interrupted"):
        timed.train(1e9)
    again = quality_worker.Timed(Counting(tmp_path / "state"), tmp_path, budget=1e9)
    assert again.contender.images == 64 and again.seconds == timed.seconds > 0
    (tmp_path / "state").write_text("80")
    with pytest.raises(RuntimeError, match="does not know"):
        quality_worker.Timed(Counting(tmp_path / "state"), tmp_path, budget=1e9)


class Line(quality_contenders.Peer):
    """A peer of one weight, to look at what all peers share."""

    batch = 3

    def build(self) -> Any:
        from torch import nn, optim

        network = nn.Linear(1, 1)
        self.seen: list[list[int]] = []
        self.noise: list[float] = []
        return network, optim.Adam(network.parameters(), 0.1)

    def loss(self, pictures: Any, labels: Any) -> Any:
        import torch

        self.seen.append(labels.tolist())
        noise = torch.randn(3, 1)
        self.noise.append(float(noise[0]))
        return (self.network(noise) ** 2).mean()


def test_a_resumed_peer_takes_the_steps_of_one_that_was_not_stopped(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    data = tmp_path / "data.safetensors"
    pictures = torch.zeros(10, 1, 28, 28, dtype=torch.uint8)
    save_file({"pictures": pictures, "labels": torch.arange(10)}, data)

    def line(name: str) -> Line:
        (tmp_path / name).mkdir(exist_ok=True)
        return Line(quality_task.Task(data, tmp_path / name, (), 5, 1, False))

    whole = line("whole")
    for _ in range(7):
        whole.step(0.5)
    part = line("part")
    for _ in range(4):
        part.step(0.5)
    part.save()
    rest = line("part")
    assert rest.restored == 12
    for _ in range(3):
        rest.step(0.5)
    assert part.seen + rest.seen == whole.seen
    assert part.noise + rest.noise == whole.noise and len(set(whole.noise)) == 7
    for one, other in zip(whole.network.parameters(), rest.network.parameters(), strict=True):
        assert torch.equal(one, other)
    epochs = [sum(whole.seen[i : i + 3], []) for i in (0, 3)]
    assert all(len(set(epoch)) == 9 for epoch in epochs) and epochs[0] != epochs[1]


def idx(folder: Path, part: str, count: int) -> None:
    """Pictures whose class is the height of a bar."""
    draw = np.random.default_rng(len(part))
    labels = np.arange(count) % 10
    pictures = draw.integers(0, 60, (count, 28, 28)).astype(np.uint8)
    for picture, label in zip(pictures, labels, strict=True):
        picture[: 2 * label + 4, 6:22] = 230
    heads = {
        "images-idx3": struct.pack(">4I", 0x803, count, 28, 28) + pictures.tobytes(),
        "labels-idx1": struct.pack(">2I", 0x801, count) + labels.astype(np.uint8).tobytes(),
    }
    for kind, content in heads.items():
        (folder / f"{part}-{kind}-ubyte").write_bytes(content)


def run(folder: Path, *told: str) -> dict[str, Any]:
    """The command on small made-up data; SFUMATO_PEERS_PYTHON may name an environment."""
    data = folder / "data"
    if not data.exists():
        data.mkdir()
        idx(data, "train", 150)
        idx(data, "t10k", 120)
    out = folder / "out"
    command = [sys.executable, str(BENCHMARKS / "quality.py"), "-o", str(out)]
    command += ["--judge-minutes", "0.01", "--count", "2", "--slice", "0.6", *told]
    places = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    env = os.environ | {"SFUMATO_DATA": str(data), "PYTHONPATH": places}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert (out / "table.md").read_text() in done.stdout
    record: dict[str, Any] = json.loads((out / "rounds.json").read_text())
    return record


@pytest.mark.slow
def test_a_run_of_seconds(tmp_path: Path) -> None:
    absent = ("--peers-python", str(tmp_path / "nobody"))
    told = ("--minutes", "0.02", "--only", "sfumato", "diffusers", "--seeds", "0", *absent)
    record = run(tmp_path, *told)
    of = {r["name"]: r for r in record["rounds"]}
    assert "No such file" in of["diffusers"]["error"]
    ours = of["sfumato"]
    assert ours["seconds"] >= 1.2 and ours["images"] % 64 == 0 and ours["images"] > 0
    assert ours["draw_rate"] > 0 and 0 <= ours["agreement"] <= 1 and ours["frechet"] > 0
    # the real pictures are nearer to real pictures
    assert record["floor"]["frechet"] < ours["frechet"]


@pytest.mark.slow
def test_from_the_state_that_was_kept_the_same_pictures_are_drawn(tmp_path: Path) -> None:
    told = ("--minutes", "0.02", "--only", "sfumato", "--seeds", "0")
    record = run(tmp_path, *told)
    (ours,) = record["rounds"]
    (tmp_path / "out" / "rounds.json").write_text(json.dumps({**record, "rounds": []}))
    (again,) = run(tmp_path, *told)["rounds"]
    measures = ("frechet", "kernel", "agreement", "images", "seconds", "train_memory")
    assert {m: again[m] for m in measures} == {m: ours[m] for m in measures}


@pytest.mark.slow
def test_every_peer_is_measured_or_says_why_not(tmp_path: Path) -> None:
    python = os.environ.get("SFUMATO_PEERS_PYTHON", sys.executable)
    peers = [name for name, (_, is_ours, _) in quality_contenders.CONTENDERS.items() if not is_ours]
    told = ("--minutes", "0.01", "--seeds", "0", "--only", *peers, "--peers-python", python)
    rounds = run(tmp_path, *told, "--count", "1")["rounds"]
    assert {r["name"] for r in rounds} == set(peers)
    for found in rounds:
        if "error" in found:
            assert found["error"].startswith(("ImportError", "ModuleNotFoundError")), found
        else:
            assert found["images"] > 0 and 0 <= found["agreement"] <= 1 and found["frechet"] > 0
