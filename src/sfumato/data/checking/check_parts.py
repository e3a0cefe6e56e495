"""Pieces of the check's page: text that is safe, tiles, figures, bars, the sheet they lie on."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from html import escape
from importlib.resources import files

from sfumato.locale import language, translate

MADE_BY = '<meta name="generator" content="sfumato data check">'
"""Stands in every page, so that a later one may take its place."""

_LONGEST = 160  # characters of a name or caption


def document(title: str, body: str) -> str:
    """The page: one file that asks nobody for anything and runs nothing."""
    style = files("sfumato").joinpath("data/checking/check.css").read_text("utf-8")
    return (
        f'<!doctype html>\n<html lang="{language()}">\n<head>\n<meta charset="utf-8">\n'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "img-src data:; style-src 'unsafe-inline'\">\n"
        f"{MADE_BY}\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{text(title)}</title>\n<style>\n{style}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def tile(heading: str, big: str, small: str = "") -> str:
    """One number with what it counts."""
    note = f"<small>{text(small)}</small>" if small else ""
    return (
        f'<div class="tile"><span class="name">{text(heading)}</span><b>{text(big)}</b>{note}</div>'
    )


def figure(frame: str, origin: str, note: str) -> str:
    """A framed picture with its name and what is said of it."""
    caption = f"<b>{name(origin)}</b><br>{text(note)}"
    return f"<figure>{frame}<figcaption>{caption}</figcaption></figure>"


def bars(rows: Iterable[tuple[str, int]], most: int) -> str:
    """Rows of a bar chart; ``most`` is as long as the chart is wide."""
    return "".join(
        f'<div class="label">{name(label)}</div><div class="bar">'
        f'<i style="width:{85 * count / max(1, most):.1f}%"></i>{number(count)}</div>'
        for label, count in rows
    )


def more(count: int) -> str:
    """A line about what is not shown; nothing if there is nothing."""
    if count < 1:
        return ""
    return f'<p class="soft">{text(translate("check.page.more", count=number(count)))}</p>'


def anchor(kind: str) -> str:
    """The place of a section inside the page."""
    return kind.replace(" ", "-")


def number(value: int) -> str:
    """12 345, with spaces that do not break."""
    return f"{value:,}".replace(",", "\N{NO-BREAK SPACE}")


def name(words: str) -> str:
    """A name or caption of a stranger, kept apart from the direction of the text around it."""
    return f"<bdi>{text(words)}</bdi>"


def text(words: str) -> str:
    """Text for the page: short, without signs that control, escaped."""
    short = words if len(words) <= _LONGEST else f"{words[: _LONGEST - 1]}…"
    plain = "".join(" " if unicodedata.category(sign) in ("Cc", "Cf") else sign for sign in short)
    return escape(plain)
