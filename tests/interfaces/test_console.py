"""How every command ends: one sentence and a documented exit code."""

import json

import pytest
import typer

from sfumato.errors import SfumatoError
from sfumato.interfaces.cli.console import guarded


@pytest.fixture
def end(monkeypatch, runner):
    """Run a command that raises; gives the result."""
    monkeypatch.setenv("SFUMATO_LANG", "en")

    def run(error, *flags):
        app = typer.Typer(pretty_exceptions_enable=False)

        @app.command()
        @guarded
        def command(
            debug: bool = typer.Option(False, "--debug"),
            as_json: bool = typer.Option(False, "--json"),
        ) -> None:
            raise error

        return runner.invoke(app, list(flags))

    return run


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (SfumatoError("No pictures. Add some."), 1, "No pictures. Add some.\n"),
        (KeyboardInterrupt(), 130, "Interrupted.\n"),
        (MemoryError(), 1, "The memory is full."),
        (ValueError("odd\nsecond line"), 1, "(ValueError: odd)"),
        (RuntimeError(), 1, "(RuntimeError: no reason given)"),
    ],
)
def test_an_error_is_one_sentence(end, error, code, sentence):
    result = end(error)
    assert result.exit_code == code
    assert sentence in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


def test_machines_get_the_same_sentence(end):
    result = end(SfumatoError("Привет."), "--json")
    assert json.loads(result.stdout) == {"error": "Привет."}


def test_debug_lets_the_error_through(end):
    error = ValueError("odd")
    result = end(error, "--debug")
    assert result.exit_code == 1
    assert result.exception is error


def test_an_ordered_end_is_left_alone(end):
    assert end(typer.Exit(7)).exit_code == 7
    assert end(typer.BadParameter("wrong")).exit_code == 2


def test_a_closed_pipe_is_no_reason_to_shout(run):
    """`sfumato data list | head -1`, with a reader that goes at once."""
    code = (
        "import os, sys, subprocess\n"
        "reader, writer = os.pipe(); os.close(reader)\n"
        "command = [sys.executable, '-u', '-m', 'sfumato', 'data', 'list']\n"
        "done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True)\n"
        "assert done.stderr == '', done.stderr\n"
        "assert done.returncode == 1, done.returncode"
    )
    done = run("-c", code)
    assert done.returncode == 0, done.stderr
