"""Remarks that a reader gave as a sentence only: their kind and values, read from the sentence.

These are the sentences of metadata tables, links and archives; all other readers give the kind.
"""

from __future__ import annotations

import re
from dataclasses import replace

from sfumato.data.example import Problem

#: Sentence -> its kind, and what the groups of the pattern hold.
_PATTERNS = [
    (re.compile(pattern, re.DOTALL), kind, names.split())
    for pattern, kind, names in (
        (r"is a link that leaves the folder; not followed", "link_away", ""),
        (r"is not UTF-8; read as (.*)", "encoded", "encoding"),
        (r"row (\d+) names no file; .*", "row", "number"),
        (r"line (\d+) is not a JSON object; .*", "line", "number"),
        (r"cannot be opened \((.*)\)", "unopened", "why"),
        (r"the file is empty", "empty", ""),
    )
]


def understood(problem: Problem) -> Problem:
    """The same problem with its kind and values, as far as its sentence is known."""
    if problem.kind:
        return problem
    for pattern, kind, names in _PATTERNS:
        found = pattern.fullmatch(problem.reason)
        if found:
            return replace(problem, kind=kind, values=dict(zip(names, found.groups(), strict=True)))
    return problem
