"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

Json = Annotated[
    bool, typer.Option("--json", metavar="", help="Print one JSON object and nothing else.")
]
Debug = Annotated[bool, typer.Option("--debug", metavar="", help="Show where an error arose.")]
Device = Annotated[
    str | None, typer.Option(metavar="D", help="cpu, cuda or mps; without it, the best here.")
]

#: Names people know from other tools, for the same thing.
ALIASES = {
    "cfg-scale": "guidance-scale",
    "num-inference-steps": "steps",
    "train-batch-size": "batch-size",
    "output-dir": "output",
}


def known_as(name: str) -> str:
    """Our name of an option that other tools call differently."""
    return ALIASES.get(name, name)
