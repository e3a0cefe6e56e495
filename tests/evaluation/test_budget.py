"""The clock of an evaluation, and the store that survives an interruption."""

import json

import numpy as np
import pytest

from sfumato.evaluation.budget import SHARES, Budget
from sfumato.evaluation.samples import Rate
from sfumato.evaluation.store import Store


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def test_shares_are_of_the_time_that_is_left():
    clock = Clock()
    budget = Budget(10, clock)
    whole = budget.left
    assert 0.8 * 600 < whole < 600
    first = budget.allot("held-in")
    assert first == pytest.approx(whole * SHARES["held-in"] / sum(SHARES.values()))
    # it took no time at all: the next ones share everything
    rest = sum(share for name, share in SHARES.items() if name != "held-in")
    assert budget.allot("held-out") == pytest.approx(whole * SHARES["held-out"] / rest)


def test_the_last_part_gets_all_that_is_left_and_never_more():
    clock = Clock()
    budget = Budget(1, clock)
    for name in list(SHARES)[:-1]:
        budget.drop(name)
    clock.now += 20
    left = budget.left
    assert budget.allot("steps") == pytest.approx(left)
    clock.now += 1000
    assert budget.left == 0


def test_counts_are_whole_batches_that_fit():
    budget = Budget(10, Clock())
    seconds = budget.left * SHARES["held-in"] / sum(SHARES.values())
    rate = Rate()
    rate.add(8.0, pictures=16, evaluations=40)  # half a second a picture
    count = budget.count("held-in", rate, 40, most=10_000)
    assert count % 16 == 0
    assert count * 0.5 <= seconds < (count + 16) * 0.5
    assert Budget(10, Clock()).count("held-in", rate, 40, most=20) == 20
    assert Budget(0.01, Clock()).count("held-in", rate, 40, most=20) == 0
    assert Budget(float("inf"), Clock()).count("held-in", rate, 40, most=777) == 777


def test_a_part_may_take_what_is_missing_from_those_after_it():
    rate = Rate()
    rate.add(16.0, pictures=16, evaluations=1)  # a second a picture
    budget = Budget(10, Clock())
    left = budget.left  # 552 s; colours alone get less than a tenth of them
    assert budget.count("colours", rate, 1, most=400, least=200) == 200
    assert budget.count("guidance", rate, 1, most=400, least=int(left) + 1) == 0
    assert budget.count("steps", rate, 1, most=400, least=32) > 32


def test_the_rate_follows_the_machine():
    rate = Rate()
    rate.add(1.0, 16, 40)
    assert rate.seconds == pytest.approx(1 / 640)
    for _ in range(30):
        rate.add(2.0, 16, 40)
    assert rate.seconds == pytest.approx(2 / 640, rel=1e-3)


def test_a_finished_part_comes_back_under_its_key_alone(tmp_path):
    store = Store(tmp_path, "a")
    store.write("agreement", {"numbers": {"x": 1.5}, "pictures": {}})
    assert Store(tmp_path, "a").read("agreement") == {"numbers": {"x": 1.5}, "pictures": {}}
    assert Store(tmp_path, "b").read("agreement") is None
    assert store.read("copies") is None


def test_counts_are_decided_once(tmp_path):
    assert Store(tmp_path, "a").decide("held-in", 48) == 48
    assert Store(tmp_path, "a").decide("held-in", 99) == 48
    assert Store(tmp_path, "b").decide("held-in", 99) == 99


def test_arrays_come_back_under_their_key_alone(tmp_path):
    store = Store(tmp_path, "x")
    kept = {"features": np.arange(6, dtype=np.float32).reshape(2, 3), "ranks": np.array([3, -1])}
    store.keep("real", kept, "a")
    found = store.arrays("real", "a")
    assert found is not None
    assert found.keys() == kept.keys()
    assert all((found[name] == kept[name]).all() for name in kept)
    assert store.arrays("real", "b") is None


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"key": "a"}', b"\xff\xfe"])
def test_damage_is_as_good_as_nothing(tmp_path, damage):
    store = Store(tmp_path, "a")
    store.write("part", {"numbers": {}})
    (tmp_path / "parts" / "part.json").write_bytes(damage)
    (tmp_path / "parts" / "real.safetensors").write_bytes(damage)
    assert store.read("part") is None
    assert store.arrays("real", "a") is None


def test_what_is_kept_is_plain_json(tmp_path):
    Store(tmp_path, "a").write("part", {"numbers": {"имя": 1}})
    text = (tmp_path / "parts" / "part.json").read_text("utf-8")
    assert json.loads(text)["part"] == {"numbers": {"имя": 1}}
