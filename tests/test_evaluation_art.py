"""The parts of scripts/build_evaluation_art.py that need no network and no renderer."""

from __future__ import annotations

import importlib.util
import sys
import types
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"


@pytest.fixture(scope="module")
def script():
    if sys.version_info < (3, 11):
        pytest.skip("the scripts need Python 3.11")
    if not (SCRIPTS / "build_evaluation_art.py").is_file():
        pytest.skip("the scripts are not here")
    if importlib.util.find_spec("resvg_py") is None:  # the renderer is imported, not used
        sys.modules["resvg_py"] = types.ModuleType("resvg_py")
    sys.path.insert(0, str(SCRIPTS))
    try:
        return importlib.import_module("build_evaluation_art")
    finally:
        sys.path.remove(str(SCRIPTS))


@pytest.fixture
def things(script):
    rows = [
        {"thing": "00a9-fe0f", "name_en": "copyright"},
        {"thing": "0023-fe0f-20e3", "name_en": "keycap: #"},
        {"thing": "1f43b", "name_en": "bear"},
        {"thing": "1f639", "name_en": "cat with tears of joy"},
        {"thing": "1f1eb-1f1f7", "name_en": "flag: France"},
        {"thing": "2b55", "name_en": "hollow red circle"},
        {"thing": "1f98a", "name_en": "fox"},
    ]
    return script.embedded_things(rows)


def icons(*names):
    return {"icons": {name: {"body": ""} for name in names}}


def test_things_are_known_by_their_bare_code_points(things):
    assert list(things)[:2] == ["00a9", "0023-20e3"]
    assert things["00a9"]["thing"] == "00a9-fe0f"


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("a9", "00a9"),
        ("23-20e3", "0023-20e3"),
        ("1F1EB-1F1F7", "1f1eb-1f1f7"),
        ("2764-fe0f-200d-1f525", "2764-200d-1f525"),
    ],
)
def test_code_points_have_four_digits(script, code, expected):
    assert script.padded(code) == expected


def test_files_are_found_by_their_code_points(script, things):
    paths = ["a9.svg", "23-20e3.svg", "1f43b.svg", "1f43b-1f3fb.svg", "readme.svg"]
    found = script.files_of_things(paths, things)
    assert found == {"00a9": "a9.svg", "0023-20e3": "23-20e3.svg", "1f43b": "1f43b.svg"}


def test_a_name_for_several_things_says_nothing(script):
    assert script.names_of({"a9": "sign", "ae": "sign", "1f43b": "bear"}) == {"bear": "1f43b"}


def test_older_names_are_read_as_todays(script, things):
    collection = icons(
        *("bear-face", "cat-face-with-tears-of-joy", "flag-for-france", "heavy-large-circle"),
        *("fox", "pistol"),
    )
    assert script.older_names(collection, things) == {
        "bear-face": "1f43b",
        "cat-face-with-tears-of-joy": "1f639",
        "flag-for-france": "1f1eb-1f1f7",
        "heavy-large-circle": "2b55",
    }


def test_every_renamed_thing_is_in_the_embedded_set(script):
    from build_emoji import slug
    from sfumato.data.sources.emoji import EmojiSource

    source = EmojiSource(split="all")
    names = {slug(source.metadata(i)["name_en"]) for i in range(len(source))}
    assert set(script.RENAMED.values()) <= names


def test_packages_are_pinned_and_their_art_is_free_for_this_use(script):
    assert script.PACKAGES.keys() == {"twemoji", "emojione", "openmoji"}
    for package in script.PACKAGES.values():
        assert package["integrity"].startswith("sha512-") and len(package["integrity"]) == 95
        assert package["licence"] in script.LICENCE_TEXTS


def test_the_licences_name_every_maker_and_forbid_training(script):
    text = script.licences([("1f98a", "twemoji"), ("1f98a", "openmoji"), ("2b55", "twemoji")])
    assert "Do not train a generator" in text
    for maker, package in script.PACKAGES.items():
        (line,) = [line for line in text.splitlines() if line.startswith(f"| `{maker}`")]
        assert package["version"] in line and package["licence"] in line
        assert line.endswith(f"| { {'twemoji': 2, 'openmoji': 1}.get(maker, 0) } |")
