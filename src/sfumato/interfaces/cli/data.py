"""`sfumato data`: what there is to train on, and whether it is fit for it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from sfumato.interfaces.cli.console import guarded, note, on_terminal, print_json
from sfumato.interfaces.cli.data_collect import collect
from sfumato.interfaces.cli.data_fetch import fetch
from sfumato.interfaces.cli.options import Debug, Json
from sfumato.interfaces.cli.usage import Command, Group
from sfumato.locale import translate

data = typer.Typer(cls=Group, help=translate("help.data"))
data.command(cls=Command, help=translate("help.data.fetch"))(fetch)
data.command(cls=Command, help=translate("help.data.collect"))(collect)


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
            (translate("data.where"), one.found),
            (translate("data.how"), None if one.found else one.get),
        ):
            if value:
                typer.echo(f"  {key}: {value}")


@data.command(cls=Command, help=translate("help.data.check"))
@guarded
def check(
    source: Annotated[str, typer.Argument(metavar="DATA", help=translate("help.data.source"))],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FOLDER", help=translate("help.data.check.output")),
    ] = None,
    clean: Annotated[
        Path | None,
        typer.Option("--write-clean", metavar="FOLDER", help=translate("help.data.check.clean")),
    ] = None,
    size: Annotated[
        int | None, typer.Option(metavar="PIXELS", help=translate("help.data.check.size"))
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Look for pictures and captions that would harm a training.

    Nothing is changed or deleted.  Findings are no failure: the exit code is 0.
    """
    from sfumato.data.checking.check import check as examine
    from sfumato.interfaces.cli.evaluate import Bar

    if output is not None:
        from sfumato.data.checking.check_place import demand_folder

        demand_folder(output)
    if clean is not None:
        _demand_clean(source, clean)
    note(translate("data.checking", data=source))
    show = Bar() if on_terminal() else None

    def progress(phase: str, done: int, total: int) -> None:
        if show:
            key = "data.copying" if phase == "copying" else "data.looking"
            key = "data.comparing" if phase == "comparing" else key
            show.step(translate(key), done, total)

    extra: dict[str, Any] = {}
    said = []
    try:
        report = examine(source, size=size, progress=progress)
        if output is not None:
            from sfumato.data.checking.check_page import write_page

            page, numbers = write_page(report, output)
            extra["page"] = str(page)
            said.append(translate("data.page", page=page, numbers=numbers))
        if clean is not None:
            from sfumato.data.checking.clean import write_clean

            done = write_clean(report, clean, progress)
            extra["clean"] = done.to_dict()
            said.append(done.text())
    finally:
        if show:
            show.close()
    if as_json:
        print_json({**report.to_dict(), **extra})
        return
    typer.echo(report.text())
    if not (report.healthy or said):
        note(translate("check.next"))
    for line in said:
        note(line)


def _demand_clean(source: str, clean: Path) -> None:
    """Refuse what cannot become a clean copy before looking at thousands of pictures."""
    from sfumato.data import NAMES
    from sfumato.data.checking.clean import demand_target

    folder = Path(source).expanduser()
    if source in NAMES:
        demand_target(None, clean, source)
    elif folder.is_dir():
        demand_target(folder, clean, source)
