"""Help and complaints: in the user's language, with names that explain."""

import json
import re

import pytest

from sfumato.interfaces.cli.options import ALIASES
from sfumato.interfaces.cli.usage import spoken

COMMANDS = [
    "", "generate", "train", "evaluate", "judge", "data", "data list", "data check", "info",
    "doctor",
]  # fmt: skip

#: Three English words in a row are a sentence; names, metavars and examples are shorter.
COMMAND = r"sfumato [\w -]+"
ENGLISH = r"\b[A-Za-z]{2,} [a-z]{2,} [a-z]{2,}\b"


@pytest.fixture(scope="module")
def russian(run):
    """All that the help of every command is made of, read from the commands themselves."""
    code = (
        "import json, typer\n"
        "from sfumato.interfaces.cli.app import app\n"
        "def tell(command, name):\n"
        "    yield name, [command.help], [(p.name, p.help, p.hidden) for p in command.params\n"
        "                 if 'completion' not in p.name]\n"
        "    for key, one in getattr(command, 'commands', {}).items():\n"
        "        yield from tell(one, (name + ' ' + key).strip())\n"
        "print(json.dumps(list(tell(typer.main.get_command(app), ''))))"
    )
    done = run("-c", code, env={"SFUMATO_LANG": "ru"})
    assert done.returncode == 0, done.stderr
    return {name: (helps, parameters) for name, helps, parameters in json.loads(done.stdout)}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_help_text_is_russian(russian, command):
    helps, parameters = russian[command]
    for text in [*helps, *(help_ for _, help_, hidden in parameters if not hidden)]:
        assert re.search("[а-я]", text), (command, text)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_that_is_seen_holds_no_english_sentence(run, command):
    env = {"SFUMATO_LANG": "ru", "COLUMNS": "200"}
    done = run("-m", "sfumato", *command.split(), "--help", env=env)
    assert done.returncode == 0, done.stderr
    seen = re.sub(COMMAND, "", done.stdout)
    assert not re.search(ENGLISH, seen), re.search(ENGLISH, seen)
    for word in ("Usage", "Options", "Commands", "Arguments", "default", "required", "<bool>"):
        assert word not in seen
    assert "Вызов:" in seen and "Параметры" in seen


@pytest.mark.parametrize("group", [(), ("data",)])
def test_a_group_alone_shows_its_help_and_is_no_mistake(sfumato, group):
    alone, asked = sfumato(*group), sfumato(*group, "--help")
    assert alone.exit_code == 0
    assert alone.stdout == asked.stdout and "Usage" in alone.stdout


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ("generte", "Нет такой команды: generte. Может быть, generate?"),
        ("xyz", "Нет такой команды: xyz."),
        ("generate a --guidence-scale 3", "параметра: --guidence-scale. Может быть, --guidance-"),
        ("generate a --xyz", "Нет такого параметра: --xyz."),
        ("generate a --sampler eulr", "eulr: нет такого значения. Есть ddpm, ddim,"),
        ("generate a --sampler eulr", "Может быть, euler?"),
        ("generate a -n 0", "Не подходит значение '--count' / '-n': "),
        ("generate a -n two", "нужно целое число."),
        ("generate a --guidance-scale two", "нужно число."),
        ("generate", "Скажите, что нарисовать"),
        ("generate -o", "После -o нужно значение."),
        ("generate a --json=1", "После --json значение не нужно."),
        ("data check", "Не хватает аргумента DATA."),
        ("data list all", "Лишнее: all."),
        ("train d -o r --network patch-une", "Может быть, patch-unet?"),
        ("train d -o r --size larg", "Может быть, large?"),
    ],
)
def test_what_typer_says_of_a_wrong_line_is_said_in_russian(sfumato, monkeypatch, request_, words):
    monkeypatch.setenv("SFUMATO_LANG", "ru")
    result = sfumato(*request_.split())
    assert result.exit_code == 2
    said = re.sub(r"[│\s]+", " ", result.stderr)
    assert words in said
    assert "Ошибка" in said and not re.search(ENGLISH, re.sub(COMMAND, "", said)), said


@pytest.mark.parametrize(
    ("sentence", "words"),
    [  # other releases of Typer and Click word it otherwise
        ("No such option '--a'. Did you mean '--b'?",
         "Нет такого параметра: --a. Может быть, --b?"),
        ("No such option: --a (Possible options: --b, --c)",
         "Нет такого параметра: --a. Может быть, --b, --c?"),
        ("Invalid value for '--n': 0 is not in the range x>=1.",
         "Не подходит значение '--n': 0 вне пределов x>=1."),
        ("Invalid value for '--n': 'x' is not a valid integer range.",
         "Не подходит значение '--n': нужно целое число."),
        ("Invalid value: something new", "something new"),
    ],
)  # fmt: skip
def test_other_wordings_are_understood(monkeypatch, sentence, words):
    monkeypatch.setenv("SFUMATO_LANG", "ru")
    assert spoken(sentence) == words
    monkeypatch.setenv("SFUMATO_LANG", "en")
    assert spoken(sentence) == sentence.removeprefix("Invalid value: ")


@pytest.mark.parametrize("language", ["en", "ru"])
def test_names_of_other_tools_are_told(run, language):
    env = {"COLUMNS": "200", "SFUMATO_LANG": language}
    told = "".join(
        run("-m", "sfumato", command, "--help", env=env).stdout for command in ("generate", "train")
    )
    for name in ALIASES:
        assert f"--{name}" in told


def test_no_metavar_is_a_single_letter_but_n(run):
    for command in ("generate", "train", "evaluate", "judge"):
        seen = run("-m", "sfumato", command, "--help", env={"COLUMNS": "200"}).stdout
        letters = re.findall(r"--[\w-]+ +(?:-\w +)?([A-Z])(?= )", seen)
        assert set(letters) <= {"N"}
