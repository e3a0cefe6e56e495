"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from enum import Enum
from typing import Annotated, Any, TypeVar

import typer

from sfumato.locale import translate

Json = Annotated[bool, typer.Option("--json", metavar="", help=translate("help.json"))]
Debug = Annotated[bool, typer.Option("--debug", metavar="", help=translate("help.debug"))]
Device = Annotated[str | None, typer.Option(metavar="DEVICE", help=translate("help.device"))]

#: Names people know from other tools, for the same thing; the help of each option mentions them.
ALIASES = {
    "cfg-scale": "guidance-scale",
    "num-inference-steps": "steps",
    "train-batch-size": "batch-size",
    "output-dir": "output",
}

Kind = TypeVar("Kind", bound=Enum)


def known_as(name: str) -> str:
    """Our name of an option that other tools call differently."""
    return ALIASES.get(name, name)


def choice(kind: type[Enum], **more: Any) -> Any:
    """An option whose value is one of an enumeration; a mistyped one gets the nearest offered."""
    names = "|".join(str(one.value) for one in kind)
    return typer.Option(metavar=f"[{names}]", parser=one_of(kind), **more)


def one_of(kind: type[Kind]) -> Callable[[str | Kind], Kind]:
    """What turns a word of the command line into a member of an enumeration.

    Raises:
        typer.BadParameter: it is none; the sentence names all, and the nearest.
    """
    names = [str(one.value) for one in kind]

    def parse(text: str | Kind) -> Kind:
        if isinstance(text, kind):  # a default
            return text
        if text in names:
            return kind(text)
        key = "usage.choice"
        near = get_close_matches(str(text).lower(), names, n=1, cutoff=0.5)
        if near:
            meant = translate("usage.meant", name=near[0])
            raise typer.BadParameter(
                f"{translate(key, value=text, names=', '.join(names))} {meant}"
            )
        raise typer.BadParameter(translate(key, value=text, names=", ".join(names)))

    return parse
