"""File names from prompts: readable, safe, never replacing anything."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sfumato.errors import SfumatoError
from sfumato.interfaces.cli import naming
from sfumato.interfaces.cli.naming import Target, stem
from sfumato.pictures.metadata import Settings


@pytest.mark.parametrize(
    ("prompt", "wanted"),
    [
        ("Red heart!", "red-heart-7"),
        ("красное сердце, стиль ното", "красное-сердце-стиль-ното-7"),
        ("../../etc/passwd", "etc-passwd-7"),
        ("❤️", "picture-7"),
        ("", "picture-7"),
        ("a_b  c\n-d-", "a-b-c-d-7"),
        ("日本", "日本-7"),
    ],
)
def test_names_are_readable(prompt, wanted):
    assert stem(prompt, 7) == wanted


@given(st.text(max_size=300), st.integers(0, 2**64))
def test_names_are_safe_everywhere(prompt, seed):
    name = stem(prompt, seed)
    assert re.fullmatch(r"[^\W_]+(-[^\W_]+)*", name)
    assert name.endswith(f"-{seed}")
    assert len(name.encode()) < 255 - len("-999999.png")


def save(target, number=0, of=1):
    picture = Image.new("L", (2, 2), number)
    return target.save(picture, Settings(prompt="a", seed=1), "full", number, of)


def test_a_folder_never_loses_a_file(tmp_path):
    target = Target.of(f"{tmp_path}/new")
    assert [save(target).name for _ in range(3)] == ["a-1.png", "a-1-2.png", "a-1-3.png"]


def test_a_name_taken_by_a_faster_process_is_passed_over(tmp_path, monkeypatch):
    calls = []

    def faster(path, *rest, **options):
        calls.append(path.name)
        assert options["overwrite"] is False
        if len(calls) == 1:
            raise FileExistsError
        path.write_bytes(b"")

    monkeypatch.setattr(naming, "save_png", faster)
    assert save(Target.of(str(tmp_path))).name == "a-1-2.png"
    assert calls == ["a-1.png", "a-1-2.png"]


def test_a_named_file_is_replaced_and_several_are_numbered(tmp_path):
    target = Target.of(f"{tmp_path}/x.PNG")
    assert save(target) == save(target) == tmp_path / "x.PNG"
    assert [save(target, n, 3).name for n in range(3)] == ["x-1.png", "x-2.png", "x-3.png"]


def test_other_endings_are_refused():
    with pytest.raises(SfumatoError, match="PNG"):
        Target.of("x.webp")


def test_home_is_understood(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert Target.of("~/x.png").file == tmp_path / "x.png"
    assert Target.of(None) == Target.of(".")
