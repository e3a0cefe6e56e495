"""The command `sfumato`."""

from __future__ import annotations

from typing import Annotated

import typer

from sfumato import __version__
from sfumato.interfaces.cli.console import speak_everywhere
from sfumato.interfaces.cli.data import data
from sfumato.interfaces.cli.doctor import doctor
from sfumato.interfaces.cli.evaluate import evaluate
from sfumato.interfaces.cli.generate import generate
from sfumato.interfaces.cli.info import info
from sfumato.interfaces.cli.judge import judge
from sfumato.interfaces.cli.options import known_as
from sfumato.interfaces.cli.start import start
from sfumato.interfaces.cli.train import train
from sfumato.interfaces.cli.usage import Command, Group
from sfumato.locale import translate

app = typer.Typer(
    name="sfumato",
    cls=Group,
    help=translate("help.sfumato"),
    epilog=translate("help.codes"),
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "token_normalize_func": known_as},
)
app.command(cls=Command, help=translate("help.generate"))(generate)
app.command(cls=Command, help=translate("help.start"))(start)
app.command(cls=Command, help=translate("help.train"))(train)
app.command(cls=Command, help=translate("help.evaluate"))(evaluate)
app.add_typer(data, name="data")
app.command(cls=Command, help=translate("help.judge"))(judge)
app.command(cls=Command, help=translate("help.info"))(info)
app.command(cls=Command, help=translate("help.doctor"))(doctor)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"sfumato {__version__}")
        raise typer.Exit()


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_version,
            is_eager=True,
            metavar="",
            help=translate("help.version"),
        ),
    ] = False,
) -> None:
    """From words to pictures, and from pictures to a model of your own."""


def main() -> None:
    """Run the command line; ends the process with a documented exit code."""
    speak_everywhere()
    app(prog_name="sfumato")
