"""Remarks that a reader gave as a sentence only: their kind and values, read from the sentence.

Used for folders, whose reader writes English sentences.  A `Problem` that carries its kind passes
through untouched.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import PurePath

from sfumato.data.captions import named_by
from sfumato.data.example import Problem

#: Sentence -> its kind, and what the groups of the pattern hold.
_PATTERNS = [
    (re.compile(pattern, re.DOTALL), kind, names.split())
    for pattern, kind, names in (
        (r"is a link to a folder; not followed", "link_folder", ""),
        (r"is a link that leaves the folder; not followed", "link_away", ""),
        (r"is a link that leaves the folder; not read", "link_unread", ""),
        (r"names (.*), which leaves the folder; refused", "leaves", "file"),
        (r"names (.*), which is not there or no picture; .*", "absent", "file"),
        (r"no captions and no classes found; .*", "bare", ""),
        (r"has no caption", "no_caption", ""),
        (r"has an empty caption", "empty_caption", ""),
        (r"has an empty caption file (.*)", "empty_file", "file"),
        (r"has a caption file (.*) that is a link .*", "caption_link", "file"),
        (r"has a caption file (.*) that cannot be read \((.*)\)", "caption_unread", "file why"),
        (r"is not UTF-8; read as (.*)", "encoded", "encoding"),
        (r"row (\d+) names no file; .*", "row", "number"),
        (r"line (\d+) is not a JSON object; .*", "line", "number"),
        (r"cannot be opened \((.*)\)", "unopened", "why"),
        (r"the file is empty", "empty", ""),
        (r"not a picture \((.*)\), .*", "no_picture", "kinds"),
        (r"there is too little memory .*", "memory", ""),
        (r"its header is broken or cut off \((.*)\)", "header", "why"),
        (r"its pixels are broken or cut off \((.*)\)", "broken", "why"),
        (r"too large: (.*, )?(\d+) megapixels, the limit is (\d+)", "too_large",
         "sides size limit"),
    )
]  # fmt: skip
_NAMED = {"file": "named_file", "folder": "named_folder", "nothing": "named_nothing"}


def understood(problem: Problem, name: str) -> Problem:
    """The same problem with its kind and values, as far as its sentence is known.

    Args:
        name: of the data set, by which a picture without a caption may be called.
    """
    if problem.kind:
        return problem
    named = re.fullmatch(r"(.*); '.*' is taken from its .*name", problem.reason, re.DOTALL)
    kind, values = _read(named[1] if named else problem.reason)
    if named and kind:
        words, whose = named_by(PurePath(problem.origin), name)
        values = {**values, "complaint": kind, "words": repr(words)}
        kind = _NAMED[whose]
    return replace(problem, kind=kind, values=values) if kind else problem


def _read(sentence: str) -> tuple[str, dict[str, str]]:
    for pattern, kind, names in _PATTERNS:
        found = pattern.fullmatch(sentence)
        if found:
            return kind, dict(zip(names, (value or "" for value in found.groups()), strict=True))
    return "", {}
