"""`sfumato data`: what there is to train on, and whether it is fit for it."""

from __future__ import annotations

from typing import Annotated

import typer

from sfumato.interfaces.cli.console import guarded, note, print_json
from sfumato.interfaces.cli.options import Debug, Json
from sfumato.interfaces.cli.usage import Command, Group
from sfumato.locale import translate

data = typer.Typer(cls=Group, help=translate("help.data"))


@data.command("list", cls=Command, help=translate("help.data.list"))
@guarded
def list_(as_json: Json = False, debug: Debug = False) -> None:
    """List the data sets known by name, and the kinds of folders that are understood."""
    from sfumato.data.listing import listing

    found = listing()
    if as_json:
        print_json({"data": [one.to_dict() for one in found]})
        return
    for one in found:
        typer.secho(one.name, bold=True)
        pictures = f"{one.pictures:,}".replace(",", " ") if one.pictures else None
        for key, value in (
            (translate("data.what"), one.what),
            (translate("data.pictures"), pictures),
            (translate("data.licence"), one.licence),
            (translate("data.where"), one.found or one.get),
        ):
            if value:
                typer.echo(f"  {key}: {value}")


@data.command(cls=Command, help=translate("help.data.check"))
@guarded
def check(
    source: Annotated[str, typer.Argument(metavar="DATA", help=translate("help.data.source"))],
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Look for unreadable, tiny, blank and doubled pictures and missing captions.

    Nothing is changed or deleted.  Findings are no failure: the exit code is 0.
    """
    from sfumato.data.check import check as examine

    note(translate("data.checking", data=source))
    report = examine(source)
    if as_json:
        print_json(report.to_dict())
    else:
        typer.echo(report.text())
