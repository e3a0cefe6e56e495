"""The two READMEs say the same, every link leads somewhere, every command line parses."""

from __future__ import annotations

import ast
import inspect
import re
import shlex
from pathlib import Path

import pytest
import typer.main

import sfumato
from sfumato.interfaces.cli.app import app
from sfumato.interfaces.cli.console import FAILURE, INTERRUPTED, OK, USAGE

ROOT = Path(__file__).parents[1]
ENGLISH, RUSSIAN = ROOT / "README.md", ROOT / "README.ru.md"
BOTH = pytest.mark.parametrize("page", [ENGLISH, RUSSIAN], ids=lambda path: path.name)
DOCUMENTS = [
    ENGLISH,
    RUSSIAN,
    *(ROOT / name for name in ("CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "benchmarks").glob("*.md")),
]

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
#: `WHAT` stands for several kinds of things in the tables; the rest is as it is typed.
EXAMPLES = {
    "PROMPT...": "a prompt",
    "DATA": "emoji",
    "RUN": "runs/x",
    "WHAT": "x.png",
    "PATH": "x.png",
}


def blocks(page: Path, language: str | None = None) -> list[str]:
    found = BLOCK.findall(page.read_text("utf-8"))
    return [body for name, body in found if language in (None, name)]


def prose(page: Path) -> str:
    return BLOCK.sub("", page.read_text("utf-8"))


def code_spans(page: Path) -> list[str]:
    return re.findall(r"`([^`\n]+)`", prose(page))


def without_words(code: str, language: str) -> str:
    """Code without what may be translated: comments, and what stands in double quotes."""
    if language == "text":
        return "\n".join(line for line in code.split("\n\n")[0].splitlines())
    code = re.sub(r'"[^"\n]*"', '""', code)
    return re.sub(r"\s*#.*", "", code)


def command_lines(page: Path) -> list[list[str]]:
    """Every `sfumato ...` of a page as arguments, from its blocks, tables and sentences."""
    lines = "\n".join(blocks(page, "bash")).replace("\\\n", " ").splitlines()
    found = []
    for line in lines + code_spans(page):
        for part in re.split(r"&&|\|\||;", line):
            words = shlex.split(part, comments=True)
            while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                words.pop(0)
            if words[:1] == ["sfumato"] and len(words) > 1:
                found.append([EXAMPLES.get(word, word) for word in words[1:]])
    return found


def parse(arguments: list[str]) -> list[str]:
    """Parse with the real command line, without running anything; the path of commands."""
    command, context, path = typer.main.get_command(app), None, []
    rest = ["--help"] if arguments == ["--help"] else list(arguments)
    while hasattr(command, "commands") and rest and not rest[0].startswith("-"):
        context = command.make_context("sfumato", [], parent=context, resilient_parsing=True)
        name = rest.pop(0)
        path.append(name)
        assert name in command.commands, f"there is no command {' '.join(path)}"
        command = command.commands[name]
    if rest in (["--help"], ["--version"]):
        return path
    command.make_context(" ".join(path), rest, parent=context)
    return path


def leaves(command: object, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """All commands: ("generate",), ("data", "list"), ..."""
    below = getattr(command, "commands", None)
    if below is None:
        return [path]
    return [leaf for name, each in below.items() for leaf in leaves(each, (*path, name))]


def test_the_headings_correspond():
    english, russian = (
        re.findall(r"^(#+) \S", prose(page), re.MULTILINE) for page in (ENGLISH, RUSSIAN)
    )
    assert len(english) > 5
    assert english == russian


def test_the_code_is_the_same():
    english, russian = (BLOCK.findall(page.read_text("utf-8")) for page in (ENGLISH, RUSSIAN))
    assert len(english) > 5
    assert [name for name, _ in english] == [name for name, _ in russian]
    for (name, ours), (_, theirs) in zip(english, russian, strict=True):
        assert without_words(ours, name) == without_words(theirs, name)


def test_tables_lists_and_pictures_correspond():
    for pattern in (r"^\|.*\|$", r"^- ", r"^!\[.*\]\((.*)\)$", r"^<!-- numbers:"):
        english, russian = (
            re.findall(pattern, prose(page), re.MULTILINE) for page in (ENGLISH, RUSSIAN)
        )
        assert len(english) == len(russian), pattern
        if "!" in pattern and "(" in pattern:
            assert english == russian


def test_the_tables_hold_the_same_commands_and_numbers():
    def rows(page: Path) -> list[list[str]]:
        lines = re.findall(r"^\|(.*)\|$", prose(page), re.MULTILINE)
        return [re.findall(r"`[^`]+`|\d[\d.,]*", line) for line in lines]

    assert rows(ENGLISH) == rows(RUSSIAN)


def test_the_two_promised_commands_stand_there_to_the_letter():
    for page in (ENGLISH, RUSSIAN):
        lines = "\n".join(blocks(page, "bash")).splitlines()
        assert 'pip install -c constraints.txt . && sfumato generate "red heart"' in lines
        assert 'pip install -c constraints.txt ".[test]" && pytest -n auto' in lines


@pytest.mark.parametrize("page", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_and_picture_exists(page):
    missing = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        if not file.exists():
            missing.append(target)
        elif anchor:
            headings = re.findall(r"^#+ (.*)$", file.read_text("utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}
            if anchor not in slugs:
                missing.append(target)
    assert not missing, f"{page.name} links to what is not there: {', '.join(missing)}"


@BOTH
def test_every_command_line_parses(page):
    lines = command_lines(page)
    assert len(lines) > 10
    for arguments in lines:
        parse(arguments)


@BOTH
def test_every_command_is_documented(page):
    documented = {tuple(parse(arguments)) for arguments in command_lines(page)}
    assert set(leaves(typer.main.get_command(app))) <= documented


@pytest.mark.parametrize(
    "wrong",
    [["generat", "x"], ["data", "chek", "x"], ["generate", "x", "--stepps", "3"],
     ["generate", "x", "--steps", "many"], ["train", "emoji", "--size", "huge", "-o", "x"]],
)  # fmt: skip
def test_wrong_command_lines_would_be_seen(wrong):
    with pytest.raises(Exception, match=r"."):
        parse(wrong)


@BOTH
def test_the_exit_codes_are_those_of_the_program(page):
    codes = re.findall(r"^\| (\d+) \|", prose(page), re.MULTILINE)
    assert [int(code) for code in codes] == [OK, FAILURE, USAGE, INTERRUPTED]


@BOTH
def test_python_examples_call_what_exists(page):
    """They parse, and every call on `sfumato` and on a model binds to the real signature."""
    examples = blocks(page, "python")
    assert examples
    bound = 0
    for code in examples:
        for node in ast.walk(ast.parse(code)):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            owner = node.func.value
            if not isinstance(owner, ast.Name) or owner.id not in ("sfumato", "model"):
                continue
            face, myself = (sfumato, []) if owner.id == "sfumato" else (sfumato.TextToImage, [None])
            signature = inspect.signature(getattr(face, node.func.attr))
            keywords = {keyword.arg: None for keyword in node.keywords}
            assert None not in keywords
            signature.bind(*myself, *node.args, **keywords)
            bound += 1
    assert bound >= 5


@BOTH
def test_no_number_is_left_to_be_measured(page):
    left = re.findall(r"<!-- numbers:.*?-->", page.read_text("utf-8"))
    assert not left, "measure these, then write them down: " + "; ".join(left)
