"""`sfumato info`: what a model, a training run or a picture is made of."""

from __future__ import annotations

from typing import Annotated

import typer

from sfumato.interfaces.cli.console import guarded, print_json
from sfumato.interfaces.cli.options import Debug, Json
from sfumato.locale import translate


@guarded
def info(
    what: Annotated[
        str | None,
        typer.Argument(metavar="PATH", help=translate("help.info.what"), show_default=False),
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Show recipe, sizes, licence, styles and state, with every hash verified."""
    from sfumato.interfaces.cli.facts import facts_of, lines_of, without_idle

    found = facts_of(what)
    if as_json:
        print_json(found)
        return
    for line in lines_of(without_idle(found)):
        typer.echo(line)
