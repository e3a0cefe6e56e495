"""`sfumato data collect`: a data set from a picture search."""

from __future__ import annotations

import sys
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sfumato.interfaces.cli.console import (
    FAILURE,
    INTERRUPTED,
    guarded,
    note,
    on_terminal,
    print_json,
)
from sfumato.interfaces.cli.options import Debug, Json, choice
from sfumato.locale import translate

if TYPE_CHECKING:
    from sfumato.data.online.collect import Summary

#: What may become of an address, in the order of the summary.
_OUTCOMES = {
    "duplicate": "collect.duplicate",
    "broken": "collect.broken",
    "small": "collect.small",
    "blank": "collect.blank",
    "large": "collect.large",
    "missing": "collect.missing",
    "server": "collect.server",
    "slow": "collect.slow",
    "connection": "collect.connection",
    "offline": "collect.offline",
    "address": "collect.address",
    "redirects": "collect.redirects",
    "declined": "collect.declined",
}


class Safe(Enum):
    """How strictly the search leaves things out."""

    ON = "on"
    MODERATE = "moderate"
    OFF = "off"


class Extent(Enum):
    """How large the search wants pictures to be."""

    ANY = "any"
    SMALL = "small"
    MEDIUM = "medium"
    LARGE = "large"


@guarded
def collect(
    query: Annotated[str, typer.Argument(metavar="WORDS", help=translate("help.collect.query"))],
    count: Annotated[
        int,
        typer.Option("--count", "-n", min=1, metavar="N", help=translate("help.collect.count")),
    ] = 100,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help=translate("help.collect.output")),
    ] = None,
    safe: Annotated[Safe, choice(Safe, help=translate("help.collect.safe"))] = Safe.MODERATE,
    region: Annotated[
        str, typer.Option(metavar="XX-YY", help=translate("help.collect.region"))
    ] = "wt-wt",
    size: Annotated[Extent, choice(Extent, help=translate("help.collect.size"))] = Extent.ANY,
    smallest: Annotated[
        int,
        typer.Option("--min-side", min=1, metavar="N", help=translate("help.collect.smallest")),
    ] = 128,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Gather captioned pictures from an image search; the same command goes on."""
    from sfumato.data.online.client import Client
    from sfumato.data.online.collect import PICTURE_LIMITS, slug
    from sfumato.data.online.collect import collect as gather
    from sfumato.data.online.search import SearchOptions

    folder = output or Path(slug(query))
    options = SearchOptions(safe.value, region.lower(), size.value)
    note(translate("collect.rights"))
    bar = _Pictures(count)
    try:
        summary = gather(
            *(query, folder, count, image_search(), Client(PICTURE_LIMITS), options),
            smallest=smallest,
            watch=bar.show,
        )
    finally:
        bar.close()
    if summary.torn:
        note(translate("collect.torn", file=summary.torn))
    if as_json:
        print_json(summary.to_dict())
    else:
        _tell(summary)
    if summary.interrupted:
        note(translate("collect.stopped"))
        raise typer.Exit(INTERRUPTED)
    if summary.trouble:
        typer.secho(summary.trouble, fg=typer.colors.RED, err=True)
        raise typer.Exit(FAILURE)


def image_search() -> Any:
    """The search that is used; tests put their own in its place."""
    from sfumato.data.online.search import DuckDuckGo

    return DuckDuckGo()


def _tell(summary: Summary) -> None:
    kept = summary.counts["kept"]
    typer.echo(translate("collect.kept", kept=kept, total=summary.total, folder=summary.folder))
    for outcome, key in _OUTCOMES.items():
        if summary.counts[outcome]:
            typer.echo(f"  {translate(key)}: {summary.counts[outcome]}")
    if summary.total < summary.wanted and not summary.interrupted and not summary.trouble:
        typer.echo(translate("collect.fewer", wanted=summary.wanted))
    if summary.total:
        typer.echo(translate("collect.next", folder=summary.folder))


class _Pictures:
    """A bar of the pictures kept; nothing where no bar can be drawn."""

    def __init__(self, count: int) -> None:
        from tqdm import tqdm

        self._bar = tqdm(
            desc=translate("collect.bar"),
            total=count,
            disable=not on_terminal(),
            dynamic_ncols=True,
            file=sys.stderr,
        )

    def show(self, summary: Summary) -> None:
        """One more address is done with."""
        left_out = sum(summary.counts.values()) - summary.counts["kept"]
        self._bar.set_postfix_str(translate("collect.left_out", count=left_out), refresh=False)
        self._bar.update(summary.total - self._bar.n)
        self._bar.refresh()

    def close(self) -> None:
        """Leave the bar standing as it is."""
        self._bar.close()
