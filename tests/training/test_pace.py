"""Rates against a clock that the test turns."""

from __future__ import annotations

import pytest

from sfumato.training import pace
from sfumato.training.pace import Clock, Pace, Probe


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(pace.time, "monotonic", lambda: now[0])
    return now


def test_the_pace_is_that_of_about_the_last_ten_seconds(clock: list[float]) -> None:
    measure = Pace()
    for _ in range(50):
        clock[0] += 0.5
        assert measure.after(4) == pytest.approx(8)
    for _ in range(40):  # twice as slow from here
        clock[0] += 1.0
        rate = measure.after(4)
    assert rate == pytest.approx(4)
    clock[0] += 60
    assert 0 < measure.after(4) < 1


def test_the_probe_tells_once_and_leaves_the_first_steps_out(clock: list[float]) -> None:
    probe = Probe(seconds=8)
    clock[0] += 30  # the first step loads and compiles
    told = [probe.rate(10)]
    for n in range(2, 30):
        clock[0] += 1
        told.append(probe.rate(10 * n))
    assert [rate for rate in told if rate] == [pytest.approx(10.0)]
    assert next(i for i, rate in enumerate(told) if rate) == 9  # the second step plus 8 seconds


def test_slow_steps_are_probed_for_at_least_five(clock: list[float]) -> None:
    probe = Probe(seconds=0.5)
    told = []
    for n in range(1, 8):
        clock[0] += 20
        told.append(probe.rate(4 * n))
    assert told == [0, 0, 0, 0, pytest.approx(0.2), 0, 0]


def test_a_run_of_minutes_follows_the_real_pace_until_the_rate_must_fall(
    clock: list[float],
) -> None:
    plan = Clock(end=clock[0] + 100, decay_fraction=0.4, images_seen=1000)
    assert plan.rate(1000) == 0  # no time has passed
    clock[0] += 10
    assert plan.rate(1500) == pytest.approx(50)  # 500 images in 10 s
    assert plan.left() == pytest.approx(0.97 * 90)
    assert plan.rate(1600) == 0  # asked again at once
    clock[0] += 40
    assert plan.rate(1500) == pytest.approx(10)  # nothing since
    assert not plan.settled
    clock[0] += 11
    assert plan.rate(2000) > 0
    assert plan.settled  # 60 of 100 s are over
    clock[0] += 5
    assert plan.rate(9000) == 0


def test_the_time_is_up_at_its_end(clock: list[float]) -> None:
    plan = Clock(end=clock[0] + 5, decay_fraction=0.4, images_seen=0)
    told = []
    for _ in range(3):
        clock[0] += 2.5
        told.append(plan.over)
    assert told == [False, True, True]


def test_a_run_of_minutes_always_has_a_second_left(clock: list[float]) -> None:
    assert Clock(end=clock[0] - 5, decay_fraction=0.4, images_seen=0).left() == 1.0
