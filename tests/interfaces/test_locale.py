"""Every message exists in both languages, with the same places to fill, and is used."""

import ast
import string
from pathlib import Path

import pytest

import sfumato
from sfumato.locale import LANGUAGES, language, messages, translate

ROOT = Path(sfumato.__file__).parent


def fields(text):
    return sorted(name for _, name, _, _ in string.Formatter().parse(text) if name is not None)


def trees():
    return [ast.parse(path.read_text("utf-8"), path) for path in sorted(ROOT.rglob("*.py"))]


def calls():
    """Every call of translate: (key node, names of the values, whether ** is used)."""
    for tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "translate":
                names = {keyword.arg for keyword in node.keywords}
                yield node.args[0], names - {None}, None in names


@pytest.mark.parametrize("other", [name for name in LANGUAGES if name != "en"])
def test_both_languages_say_the_same(other):
    english, foreign = messages("en"), messages(other)
    assert english.keys() == foreign.keys()
    for key, text in english.items():
        assert fields(text) == fields(foreign[key]), key
        assert foreign[key].strip(), key


def test_russian_is_russian():
    same = {
        key
        for key, text in messages("ru").items()
        if not any("а" <= c <= "я" for c in text.lower())
    }
    assert same == {"doctor.extras_cure", "doctor.torch_cure"}  # commands to type


def test_every_key_that_is_asked_for_exists_and_is_filled():
    english = messages("en")
    found = list(calls())
    assert len(found) > 30
    for key, given, starred in found:
        if isinstance(key, ast.Name):
            continue  # chosen from constants, which the next test looks at
        assert isinstance(key, ast.Constant), ast.unparse(key)
        assert key.value in english, key.value
        wanted = set(fields(english[key.value]))
        assert given <= wanted, key.value
        assert starred or given == wanted, key.value


def test_no_message_is_unused():
    constants = {
        node.value
        for tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert set(messages("en")) <= constants


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({}, "en"),
        ({"LANG": "ru_RU.UTF-8"}, "ru"),
        ({"LANG": "ru_RU.UTF-8", "LC_ALL": "C.UTF-8"}, "en"),
        ({"LANG": "de_DE.UTF-8"}, "en"),
        ({"LANG": "en_US.UTF-8", "LC_MESSAGES": "ru_RU"}, "ru"),
        ({"LC_ALL": "en_US.UTF-8", "SFUMATO_LANG": "ru"}, "ru"),
        ({"LC_ALL": "ru_RU.UTF-8", "SFUMATO_LANG": "EN"}, "en"),
    ],
)
def test_the_language_is_the_users(environment, wanted):
    assert language(environment) == wanted


def test_translate_fills_in(monkeypatch):
    monkeypatch.setenv("SFUMATO_LANG", "ru")
    assert translate("generate.saved", path="a.png") == "Сохранено: a.png"
    monkeypatch.setenv("SFUMATO_LANG", "en")
    assert translate("generate.saved", path="a.png") == "Saved a.png"
    with pytest.raises(KeyError):
        translate("no.such.message")
    with pytest.raises(KeyError):
        translate("generate.saved")
