"""`sfumato doctor`: is this machine ready, and what to do where it is not."""

from __future__ import annotations

import typer

from sfumato.interfaces.cli.console import FAILURE, guarded, print_json
from sfumato.interfaces.cli.options import Debug, Json
from sfumato.locale import translate

_MARKS = {"ok": "doctor.ok", "warn": "doctor.warn", "fail": "doctor.fail"}


@guarded
def doctor(as_json: Json = False, debug: Debug = False) -> None:
    """Look at Python, torch, processor, memory, disk, the embedded model and the terminal.

    Each line is ok, a warning with its cure, or a failure with its cure (exit code 1).
    """
    from sfumato.interfaces.cli.checks import Health, examine

    failed = False
    found = []
    for check in examine():
        failed = failed or check.health is Health.FAIL
        found.append(check.to_dict())
        if not as_json:
            colour = {
                Health.OK: typer.colors.GREEN,
                Health.WARN: typer.colors.YELLOW,
                Health.FAIL: typer.colors.RED,
            }[check.health]
            key = _MARKS[check.health.value]
            mark = typer.style(f"{translate(key):>4}", fg=colour, bold=True)
            typer.echo(f"{mark}  {check.label}: {check.text}")
            if check.cure:
                typer.echo(f"      → {check.cure}")
    if as_json:
        print_json({"checks": found, "ready": not failed})
    elif not failed:
        typer.echo(translate("doctor.ready"))
    if failed:
        raise typer.Exit(FAILURE)
