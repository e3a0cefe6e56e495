"""How commands speak and how they end: exit codes, errors in one sentence, progress bars."""

from __future__ import annotations

import functools
import io
import json
import math
import os
import sys
from collections.abc import Callable
from typing import Any, ParamSpec

import typer

from sfumato.errors import SfumatoError
from sfumato.interfaces.cli.interrupts import patient_imports
from sfumato.locale import translate

OK, FAILURE, USAGE, INTERRUPTED = 0, 1, 2, 130

P = ParamSpec("P")


def guarded(command: Callable[P, None]) -> Callable[P, None]:
    """Let a command end as documented: one sentence for an error, a traceback with --debug."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        debug, as_json = bool(kwargs.get("debug")), bool(kwargs.get("as_json"))
        try:
            with patient_imports():
                command(*args, **kwargs)
        except (typer.Exit, typer.Abort, typer.BadParameter):
            raise
        except KeyboardInterrupt:
            fail(translate("interrupted"), as_json, INTERRUPTED)
        except BrokenPipeError:
            # the reader has gone (`| head`): nobody is left to tell
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(FAILURE) from None
        except Exception as error:
            if debug:
                raise
            fail(_sentence(error), as_json)

    return run


def fail(sentence: str, as_json: bool = False, code: int = FAILURE) -> None:
    """Say why, for people on standard error and for machines as JSON, and end."""
    typer.secho(sentence, fg=typer.colors.RED, err=True)
    if as_json:
        print_json({"error": sentence})
    raise typer.Exit(code)


def note(text: str) -> None:
    """A line about what goes on; on standard error, so that results can be piped."""
    typer.echo(text, err=True)


def print_json(value: Any) -> None:
    """One JSON object on standard output, in ASCII, which every pipe of every system carries."""
    typer.echo(json.dumps(_finite(value), allow_nan=False))


def speak_everywhere() -> None:
    """Let no letter end a command: what the output's encoding lacks is written as its number."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def on_terminal() -> bool:
    """Whether a person watches standard error."""
    return sys.stderr.isatty()


def _finite(value: Any) -> Any:
    """The same with null for what JSON does not know: not a number, and infinities."""
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _sentence(error: Exception) -> str:
    if isinstance(error, SfumatoError):
        return str(error)
    if isinstance(error, MemoryError):
        return translate("error.memory")
    text = str(error).strip().partition("\n")[0] or translate("error.silent")
    return translate("error.unexpected", kind=type(error).__name__, text=text)
