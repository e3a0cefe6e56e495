"""`sfumato data fetch`: a public data set, its terms first."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sfumato.errors import SfumatoError
from sfumato.interfaces.cli.console import guarded, note, on_terminal, print_json
from sfumato.interfaces.cli.options import Debug, Json
from sfumato.locale import translate

if TYPE_CHECKING:
    from tqdm import tqdm

    from sfumato.data.online.catalogue import Entry

_EVERY = 30.0  # seconds between two lines where no bar can be drawn


@guarded
def fetch(
    name: Annotated[str, typer.Argument(metavar="NAME", help=translate("help.fetch.name"))],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help=translate("help.fetch.output")),
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", metavar="", help=translate("help.fetch.yes"))
    ] = False,
    mirror: Annotated[
        str | None, typer.Option(metavar="URL", help=translate("help.fetch.mirror"))
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Fetch a public data set: terms, question, download, verification, unpacking."""
    from sfumato.data.online.addresses import parse
    from sfumato.data.online.catalogue import entry, lies_at
    from sfumato.data.online.client import Client
    from sfumato.data.online.fetch import fetch as bring
    from sfumato.data.online.fetch import installed
    from sfumato.data.places import data_folder

    wanted = entry(name)
    folder = output or data_folder(wanted.name)
    here = installed(wanted, folder)
    elsewhere = lies_at(wanted) if here is None and output is None else None
    if here is None and elsewhere is None:
        if not wanted.files:
            how = wanted.how
            raise SfumatoError(translate(how, folder=folder, page=wanted.page))
        _state_terms(wanted, folder, mirror)
        if not yes and not _agreed():
            raise SfumatoError(translate("fetch.not_agreed"))
        client = Client(trusted=[parse(mirror).place] if mirror else ())
        bar = _Bytes()
        try:
            here = bring(wanted, folder, client, mirror, bar.show)
        except KeyboardInterrupt:
            note(translate("fetch.stopped"))
            raise
        finally:
            bar.close()
    lies = here.folder if here else elsewhere
    already = here is None or here.already
    if as_json:
        told = {"files": here.files, "bytes": here.size} if here else {}
        said = {"name": wanted.name, "folder": str(lies), "already": already}
        print_json({**said, "verified": here is not None, **told})
        return
    if here is None:
        typer.echo(translate("fetch.elsewhere", name=wanted.name, folder=lies))
        return
    key = "fetch.already" if here.already else "fetch.done"
    typer.echo(translate(key, name=wanted.name, folder=lies, files=here.files))
    typer.echo(translate("fetch.train", data=wanted.name if output is None else lies))


def _state_terms(wanted: Entry, folder: Path, mirror: str | None) -> None:
    title, terms = wanted.title, wanted.terms
    note(f"{wanted.name}: {translate(title)}")
    note(translate("fetch.terms", terms=translate(terms)))
    source = mirror or wanted.files[0].folders[0]
    note(translate("fetch.size", size=f"{wanted.size / 1e6:.1f}", source=source))
    if wanted.unpacked:
        note(translate("fetch.unpacked", size=f"{wanted.unpacked / 1e6:.0f}"))
    note(translate("fetch.target", folder=folder))


def _agreed() -> bool:
    """Whether the person says yes; who cannot be asked has not."""
    typer.echo(translate("fetch.question"), nl=False, err=True)
    try:
        answer = sys.stdin.readline()
    except (OSError, ValueError):  # there is no standard input
        answer = ""
    if not answer.endswith("\n"):
        note("")
    return answer.strip().lower() in ("y", "yes", "д", "да")


class _Bytes:
    """A bar of megabytes for each file, or now and then a line where no bar can be drawn."""

    def __init__(self) -> None:
        self._bar: tqdm[Any] | None = None
        self._what: tuple[str, bool] | None = None
        self._last = time.monotonic()

    def show(self, name: str, done: int, total: int | None) -> None:
        """See `sfumato.data.online.fetch.Watch`."""
        if not on_terminal():
            if time.monotonic() - self._last >= _EVERY:
                self._last = time.monotonic()
                of = f"{total / 1e6:.1f}" if total else "?"
                note(translate("fetch.line", name=name, done=f"{done / 1e6:.1f}", total=of))
            return
        from tqdm import tqdm

        what = (name, total is None)
        if self._bar is None or what != self._what:
            self.close()
            self._what = what
            key = "fetch.bringing" if total else "fetch.unpacking"
            self._bar = tqdm(
                desc=translate(key, name=name),
                total=total,
                unit="B",
                unit_scale=True,
                dynamic_ncols=True,
                file=sys.stderr,
            )
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        """Leave the bar standing as it is."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
