from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from sfumato.training import machine
from sfumato.training.forecast import Forecast, bf16_pays, forecast, peak_memory, threads_allowed
from sfumato.training.units import human_bytes, human_time


def test_a_forecast_is_arithmetic() -> None:
    said = forecast(
        images=74_000,
        images_per_second=74.0,
        peak_bytes=900_000_000,
        checkpoint_bytes=100_000_000,
        checkpoints=4,
        later_bytes=50_000_000,
        other_disk_bytes=7,
        fixed_seconds=60.0,
        overhead=0.1,
    )
    assert said.seconds == pytest.approx(60 + 1000 * 1.1)
    assert said.memory_bytes == 950_000_000
    assert said.disk_bytes == 408_000_007  # four of them, 2% of slack
    assert said.sentence == "19 min at 74 images/s, up to 950 MB of memory and 408 MB of disk."
    with pytest.raises(ValueError, match="images_per_second"):
        forecast(images=1, images_per_second=0, peak_bytes=1, checkpoint_bytes=1, checkpoints=1)


def test_the_grade_compares_truth_with_forecast() -> None:
    said = Forecast(100.0, 1_000, 0, 50.0)
    truth = Forecast(125.0, 900, 10, 40.0)
    grade = said.grade(truth)
    assert grade.ratios["seconds"] == 1.25
    assert grade.ratios["memory_bytes"] == 0.9
    assert math.isnan(grade.ratios["disk_bytes"])
    assert grade.sentence == (
        "It took 2 min 5 s (+25% against the forecast) at 40 images/s (-20%), "
        "900 B of memory (-10%) and 10 B of disk (not forecast)."
    )


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1_000, "1.0 kB"),
        (1_234_567, "1.2 MB"),
        (99_900_000, "100 MB"),
        (999_700_000, "1.0 GB"),
        (2.5e12, "2.5 TB"),
    ],
)
def test_bytes_in_words(size: float, words: str) -> None:
    assert human_bytes(size) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.42, "0.4 s"),
        (9.97, "10 s"),
        (59.6, "1 min 0 s"),
        (75, "1 min 15 s"),
        (1440, "24 min"),
        (3599, "1 h 0 min"),
        (5400, "1 h 30 min"),
        (90_000, "25 h 0 min"),
    ],
)
def test_seconds_in_words(seconds: float, words: str) -> None:
    assert human_time(seconds) == words


def test_peak_memory_sees_an_allocation_and_does_not_fall() -> None:
    code = (
        "from sfumato.training.machine import peak_memory as peak\n"
        "before = peak(); block = b'x' * 200_000_000; during = peak(); del block\n"
        "print(before, during, peak())"
    )
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    before, during, after = map(int, told.stdout.split())
    assert 1_000_000 < before < 150_000_000  # this very process is larger; it must not be counted
    assert 195_000_000 < during - before < 205_000_000
    assert after > during - 2_000_000  # the kernel's counters are exact to some pages


def test_peak_memory_without_proc(monkeypatch: Any) -> None:
    with_proc = peak_memory()

    def absent(*_: Any, **__: Any) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(machine.Path, "read_text", absent)
    assert with_proc * 0.5 < peak_memory() < with_proc * 20


def tree(root: Path, groups: str, quotas: dict[str, str]) -> Path:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(groups)
    for name, content in quotas.items():
        path = root / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


V1 = "3:cpu,cpuacct:/box\n2:memory:/box\n"


@pytest.mark.parametrize(
    ("groups", "quotas", "expected"),
    [
        ("0::/\n", {"cpu.max": "max 100000\n"}, 16),
        ("0::/\n", {"cpu.max": "300000 100000\n"}, 3),
        ("0::/\n", {"cpu.max": "250000 100000\n"}, 2),
        ("0::/\n", {"cpu.max": "50000 100000\n"}, 1),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000", "a/cpu.max": "400000 100000"}, 4),
        ("0::/a/b\n", {"a/b/cpu.max": "200000 100000", "a/cpu.max": "400000 100000"}, 2),
        ("0::/hidden\n", {"cpu.max": "500000 100000"}, 5),
        ("0::/../hidden\n", {"cpu.max": "500000 100000"}, 5),
        ("0::/\n", {"cpu.max": "nonsense"}, 16),
        (V1, {"cpu,cpuacct/box/cpu.cfs_quota_us": "-1"}, 16),
        (
            V1,
            {
                "cpu,cpuacct/box/cpu.cfs_quota_us": "600000",
                "cpu,cpuacct/box/cpu.cfs_period_us": "100000",
            },
            6,
        ),
        (V1, {"cpu/cpu.cfs_quota_us": "700000", "cpu/cpu.cfs_period_us": "100000"}, 7),
        (V1, {"cpu/cpu.cfs_quota_us": "700000", "cpu/cpu.cfs_period_us": "0"}, 16),
        (V1, {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 16),
    ],
)
def test_quotas_of_control_groups(
    groups: str, quotas: dict[str, str], expected: int, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(machine, "cores", lambda: 16)
    assert threads_allowed(tree(tmp_path, groups, quotas), environ={}) == expected


@pytest.mark.parametrize(
    ("stated", "expected"), [("3", 3), ("64", 16), ("4,2", 4), ("", 16), ("x", 16), ("0", 16)]
)
def test_a_stated_number_of_threads_is_honoured(
    stated: str, expected: int, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(machine, "cores", lambda: 16)
    assert threads_allowed(tmp_path, environ={"OMP_NUM_THREADS": stated}) == expected


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="Linux only")
def test_affinity_counts() -> None:
    own = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(own)})
        assert threads_allowed(environ={}) == 1
    finally:
        os.sched_setaffinity(0, own)


def test_the_real_probe_answers_soon_and_says_why() -> None:
    pays, why = bf16_pays()
    assert ("times as fast as fp32 here" if pays else "bf16 gains too little here") in why
    assert "512^3" in why and why.endswith(".")


class Clock:
    """A clock that only work moves, with a first call that is much slower, as kernels are."""

    def __init__(self, seconds: dict[torch.dtype, float]) -> None:
        self.now, self.seconds, self.calls = 0.0, seconds, dict.fromkeys(seconds, 0)

    def perf_counter(self) -> float:
        return self.now

    def matmul(self, matrix: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        self.calls[matrix.dtype] += 1
        warm = self.calls[matrix.dtype] > 1
        self.now += self.seconds[matrix.dtype] * (1 if warm else 50)
        return matrix


@pytest.mark.parametrize(
    ("bf16", "pays", "words"),
    [
        (0.001, True, "4.0 times as fast as fp32 here (1 ms against 4 for"),
        (0.0035, False, "bf16 gains too little here (3.5 ms against 4 in fp32"),
        (0.4, False, "bf16 gains too little here (4e+02 ms against 4 in fp32"),
    ],
)
def test_the_decision_follows_the_times(
    bf16: float, pays: bool, words: str, monkeypatch: Any
) -> None:
    clock = Clock({torch.float32: 0.004, torch.bfloat16: bf16})
    monkeypatch.setattr(machine, "time", clock)
    monkeypatch.setattr(torch, "matmul", clock.matmul)
    answer, why = bf16_pays()
    assert answer is pays and words in why


def test_a_device_without_bf16_is_off(monkeypatch: Any) -> None:
    def refuse(*_: Any) -> None:
        raise RuntimeError("not implemented for 'BFloat16'\nstack")

    monkeypatch.setattr(torch, "matmul", refuse)
    pays, why = bf16_pays()
    assert not pays and "not implemented for 'BFloat16')" in why


def test_forecast_and_grade_speak_russian(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SFUMATO_LANG", "ru")
    said = Forecast(125.0, 1_500_000, 10, 50.0)
    assert said.sentence == "2 мин 5 с при 50 картинок/с, до 1.5 МБ памяти и 10 Б на диске."
    assert "(+0% к прогнозу)" in said.grade(said).sentence
