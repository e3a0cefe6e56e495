"""`sfumato doctor`: findings with cures, on machines as different as tests can make them."""

import importlib.metadata
import json
import shutil

import pytest

from sfumato.interfaces.cli import checks
from sfumato.interfaces.cli.checks import GIB, Check, Health


def test_it_tells_people_and_machines_the_same(sfumato):
    plain, machine = sfumato("doctor"), sfumato("doctor", "--json")
    said = json.loads(machine.stdout)
    names = [one["name"] for one in said["checks"]]
    assert names[:4] == ["python", "torch", "threads", "memory"]
    for name in names:
        assert f"{name}: " in plain.stdout
    failed = any(one["health"] == "fail" for one in said["checks"])
    assert said["ready"] is not failed
    assert plain.exit_code == machine.exit_code == (1 if failed else 0)


def test_a_failure_has_exit_code_1_and_shows_its_cure(sfumato, monkeypatch):
    bad = [Check("torch", Health.FAIL, "not installed", "pip install torch")]
    monkeypatch.setattr(checks, "examine", lambda: iter(bad))
    result = sfumato("doctor")
    assert result.exit_code == 1
    assert "→ pip install torch" in result.stdout
    assert "Ready" not in result.stdout


def test_a_warning_has_exit_code_0(sfumato, monkeypatch):
    monkeypatch.setattr(checks, "examine", lambda: iter([Check("disk", Health.WARN, "little")]))
    result = sfumato("doctor")
    assert result.exit_code == 0
    assert "Ready" in result.stdout


def test_a_check_that_breaks_is_a_finding(monkeypatch):
    def broken():
        raise RuntimeError("no such processor")

    broken.__name__ = "bf16"
    monkeypatch.setattr(checks, "bf16", broken)
    found = {check.name: check for check in checks.examine()}
    assert found["bf16"].health is Health.FAIL
    assert found["bf16"].text == "no such processor"
    assert "extras" in found


def test_missing_torch_is_a_failure(monkeypatch):
    def missing(_):
        raise importlib.metadata.PackageNotFoundError

    monkeypatch.setattr(importlib.metadata, "version", missing)
    assert checks.torch().health is Health.FAIL
    assert "pip install torch" in checks.torch().cure


def machine(root, free_kib, limit=None, used="0", folder=""):
    (root / "proc").mkdir()
    (root / "proc" / "meminfo").write_text(f"MemTotal: 1 kB\nMemAvailable: {free_kib} kB\n")
    group = root / "sys/fs/cgroup" / folder
    group.mkdir(parents=True)
    names = (
        ("memory.limit_in_bytes", "memory.usage_in_bytes")
        if folder
        else ("memory.max", "memory.current")
    )
    if limit is not None:
        (group / names[0]).write_text(limit)
        (group / names[1]).write_text(used)
    return root


@pytest.mark.parametrize("folder", ["", "memory"])
def test_the_tighter_memory_limit_counts(tmp_path, folder):
    root = machine(tmp_path, 8 * 1024**2, str(3 * GIB), str(1 * GIB), folder)
    assert checks.free_memory(root) == 2 * GIB
    assert checks.memory(root).health is Health.OK


def test_no_limit_is_the_word_max(tmp_path):
    assert checks.free_memory(machine(tmp_path, 8 * 1024**2, "max")) == 8 * GIB


def test_little_memory_is_a_warning_with_a_cure(tmp_path):
    found = checks.memory(machine(tmp_path, 500_000))
    assert found.health is Health.WARN
    assert found.cure


def test_unknown_memory_is_said(tmp_path):
    assert checks.free_memory(tmp_path) is None
    assert checks.memory(tmp_path).health is Health.WARN


def test_little_disk_is_a_warning(monkeypatch):
    usage = shutil.disk_usage(".")
    monkeypatch.setattr(checks.shutil, "disk_usage", lambda _: usage._replace(free=GIB))
    assert checks.disk().health is Health.WARN
    monkeypatch.setattr(checks.shutil, "disk_usage", lambda _: usage._replace(free=9 * GIB))
    assert checks.disk().health is Health.OK
    monkeypatch.setattr(checks.os, "access", lambda *_: False)
    assert checks.disk().health is Health.WARN


def test_missing_extras_are_named_with_their_command(monkeypatch):
    monkeypatch.setattr(checks.importlib.util, "find_spec", lambda name: None)
    found = checks.extras()
    assert found.health is Health.OK  # a fresh install is not ill
    assert "pyarrow (captions in .parquet)" in found.text
    assert found.cure == 'pip install "sfumato[parquet,tensorboard,text,tfidf,hub,clipart,collect]"'


def test_a_damaged_embedded_model_is_a_failure(monkeypatch, tmp_path):
    monkeypatch.setattr(checks, "files", lambda _: tmp_path)
    assert checks.embedded_model().health is Health.FAIL


def test_an_intact_embedded_model_is_ok(monkeypatch, model_folder, tmp_path):
    shutil.copytree(model_folder, tmp_path / "resources" / "model")
    monkeypatch.setattr(checks, "files", lambda _: tmp_path)
    assert checks.embedded_model().health is Health.OK


def test_labels_and_marks_are_in_the_users_language(sfumato, monkeypatch):
    bad = Check("disk", Health.FAIL, "мало"), Check("memory", Health.OK, "есть")
    monkeypatch.setattr(checks, "examine", lambda: iter(bad))
    monkeypatch.setenv("SFUMATO_LANG", "ru")
    plain = sfumato("doctor").stdout
    assert "сбой  диск: мало" in plain and "ок  память: есть" in plain
    said = json.loads(sfumato("doctor", "--json").stdout)
    assert [one["name"] for one in said["checks"]] == ["disk", "memory"]  # for machines as ever


def test_every_label_is_of_a_check():
    assert set(checks._LABELS) < {check.name for check in checks.examine()}
