"""The command `sfumato`."""

from __future__ import annotations

from typing import Annotated

import typer

from sfumato import __version__
from sfumato.interfaces.cli.console import EXIT_CODES
from sfumato.interfaces.cli.data import data
from sfumato.interfaces.cli.doctor import doctor
from sfumato.interfaces.cli.generate import generate
from sfumato.interfaces.cli.info import info
from sfumato.interfaces.cli.options import known_as
from sfumato.interfaces.cli.train import train

app = typer.Typer(
    name="sfumato",
    help="From words to pictures, and from pictures to a model of your own.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "token_normalize_func": known_as},
)
app.command()(generate)
app.command()(train)
app.add_typer(data, name="data")
app.command()(info)
app.command()(doctor)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"sfumato {__version__}")
        raise typer.Exit()


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_version, is_eager=True, metavar="", help="Show the version."
        ),
    ] = False,
) -> None:
    """From words to pictures, and from pictures to a model of your own."""


def main() -> None:
    """Run the command line; ends the process with a documented exit code."""
    app(prog_name="sfumato")
