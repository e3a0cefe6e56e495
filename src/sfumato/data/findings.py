"""What can be wrong with a data set: the kinds of findings, and the sentence for each remark.

A reader says what it met as a `Problem` with a kind and values; here a kind becomes a finding to
count and a sentence in the user's language.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sfumato.data.example import Problem
from sfumato.locale import language, messages

KINDS = {
    "unreadable": "check.unreadable",
    "blank": "check.blank",
    "duplicate": "check.duplicate",
    "near duplicate": "check.near",
    "leak": "check.leak",
    "caption missing": "check.uncaptioned",
    "caption encoding": "check.encoding",
    "caption odd": "check.odd",
    "class imbalance": "check.imbalance",
    "tiny": "check.tiny",
    "shape": "check.shape",
    "transparency": "check.transparency",
    "grey": "check.grey",
    "other": "check.other",
}
"""What is looked for, the gravest first, and its message."""

SERIOUS = (
    "unreadable",
    "blank",
    "duplicate",
    "near duplicate",
    "leak",
    "caption missing",
    "caption encoding",
)
"""What harms a training and what a clean copy is free of, but for captions that nobody wrote; the
rest is worth a look."""

ADVICE = {
    "unreadable": "check.advice.unreadable",
    "blank": "check.advice.blank",
    "duplicate": "check.advice.duplicate",
    "near duplicate": "check.advice.near",
    "leak": "check.advice.leak",
    "caption missing": "check.advice.uncaptioned",
    "caption encoding": "check.advice.encoding",
    "caption odd": "check.advice.odd",
    "class imbalance": "check.advice.imbalance",
    "tiny": "check.advice.tiny",
    "shape": "check.advice.shape",
    "transparency": "check.advice.transparency",
    "grey": "check.advice.grey",
    "other": "check.advice.other",
}
"""What to do about each kind of finding."""

SENTENCES = {
    # names and links
    "link_folder": "check.is.link_folder",
    "link_away": "check.is.link_away",
    "link_unread": "check.is.link_unread",
    "leaves": "check.is.leaves",
    "absent": "check.is.absent",
    "row": "check.is.row",
    "line": "check.is.line",
    # captions
    "bare": "check.is.bare",
    "no_caption": "check.is.no_caption",
    "empty_caption": "check.is.empty_caption",
    "empty_file": "check.is.empty_file",
    "caption_link": "check.is.caption_link",
    "caption_unread": "check.is.caption_unread",
    "orphan": "check.is.orphan",
    "named_file": "check.is.named_file",
    "named_folder": "check.is.named_folder",
    "named_nothing": "check.is.named_nothing",
    "encoded": "check.is.encoded",
    "punctuation": "check.is.punctuation",
    "long": "check.is.long",
    "file_name": "check.is.file_name",
    "markup": "check.is.markup",
    "address": "check.is.address",
    "mojibake": "check.is.mojibake",
    "garbled": "check.is.garbled",
    "same_caption": "check.is.same_caption",
    # files
    "unopened": "check.is.unopened",
    "empty": "check.is.empty",
    "no_picture": "check.is.no_picture",
    "memory": "check.is.memory",
    "header": "check.is.header",
    "broken": "check.is.broken",
    "too_large": "check.is.too_large",
    # pictures
    "pixels": "check.is.pixels",
    "blank": "check.is.blank",
    "same": "check.is.same",
    "same_class": "check.is.same_class",
    "near": "check.is.near",
    "near_class": "check.is.near_class",
    "cropped": "check.is.cropped",
    "padded": "check.is.padded",
    "see_through": "check.is.see_through",
    "opaque": "check.is.opaque",
    "grey": "check.is.grey",
    # classes
    "rare": "check.is.rare",
    "dominant": "check.is.dominant",
}
"""Kind of a remark -> its message."""


def remark(origin: str, kind: str, topic: str = "", **values: Any) -> Problem:
    """A problem by its kind; the reason is the English sentence of that kind.

    Raises:
        KeyError: no such kind, or a value is missing.
    """
    reason = _sentence(messages("en"), kind, values)
    return Problem(origin, reason, topic=topic, kind=kind, values=values)


def finding_of(problem: Problem) -> str:
    """Under which kind of finding a problem is counted: a key of `KINDS`."""
    if problem.replaced:
        return "unreadable"
    return problem.topic if problem.topic in KINDS else "other"


def spoken(problem: Problem) -> str:
    """The reason in the user's language; one whose kind is not known stays as it is."""
    if problem.kind not in SENTENCES:
        return problem.reason
    return _sentence(messages(language()), problem.kind, problem.values)


def _sentence(texts: Mapping[str, str], kind: str, values: Mapping[str, Any]) -> str:
    filled = dict(values)
    if "complaint" in filled:  # one sentence inside another
        filled["complaint"] = _sentence(
            texts, filled["complaint"], {k: v for k, v in filled.items() if k != "complaint"}
        )
    return texts[SENTENCES[kind]].format(**filled)
