"""Pieces of the report's page: words in a language, tiles, tables, galleries."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from typing import Any

from sfumato.evaluation.charts import ruler
from sfumato.locale import messages


class Words:
    """The report's texts in one language.

    Args:
        language: "en" or "ru".
    """

    def __init__(self, language: str) -> None:
        self.language = language
        self._texts = messages(language)

    def __call__(self, key: str, **values: object) -> str:
        """A text with its values in place, ready for HTML."""
        return escape(self._texts[key].format(**values), quote=False)


def percent(value: float | None, digits: int = 0) -> str:
    """0.123 -> "12%"; a small share keeps a digit unless it is 0, nothing measured is a dash."""
    if value is None or not math.isfinite(value):
        return "–"
    small = abs(value) < 0.0995 and abs(100 * value - round(100 * value)) > 1e-9
    digits = max(digits, 1 if small else 0)
    return f"{100 * value:.{digits}f}%"


def between(low: float, high: float, digits: int = 0) -> str:
    """An interval of shares: "10–14%"."""
    if not math.isfinite(low + high):
        return ""
    return f"{percent(low, digits)[:-1]}–{percent(high, digits)}"


def seconds(value: float) -> str:
    """A time to two places: "0.56 s"."""
    return f"{value:.2f} s"


def number(value: float | None) -> str:
    """Three significant digits, never in powers of ten."""
    if value is None or not math.isfinite(value):
        return "–"
    if value == 0 or abs(value) < 5e-7:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:.{digits}f}"


def tile(name: str, big: str, meaning: str) -> str:
    """One headline."""
    return f'<div class="tile"><span class="name">{name}</span><b>{big}</b><p>{meaning}</p></div>'


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of ready HTML cells; cells that begin with a digit do not break."""
    top = "".join(f"<th>{cell}</th>" for cell in head)
    body = "".join(
        "<tr>" + "".join(f"<td{_kind(cell)}>{cell}</td>" for cell in row) + "</tr>" for row in rows
    )
    return (
        f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def share_row(
    say: Words, name: str, found: dict[str, Any], chance: dict[str, float], quoted: str
) -> list[str]:
    """A line of agreement: name, bar, share, ceiling, share of the ceiling, the other share,
    pictures.

    Args:
        quoted: "top5" or "top1", see `agreement.headline`.
    """
    top = found[quoted]
    other = found["top1" if quoted == "top5" else "top5"]
    marks = [
        (top["real"], say("report.ceiling"), "ceiling"),
        (chance[quoted], say("report.chance"), "chance"),
    ]
    of = top["ratio"]
    return [
        name,
        ruler(top["value"], top["low"], top["high"], marks=marks),
        f"{percent(top['value'])} <small>{between(top['low'], top['high'])}</small>",
        percent(top["real"]),
        f"<b>{percent(of['value'])}</b> <small>{between(of['low'], of['high'])}</small>",
        percent(other["value"]),
        str(found["count"]),
    ]


def gallery(pictures: Sequence[dict[str, Any]], kind: str = "", backgrounds: str = "") -> str:
    """Pictures with their captions; what stands beside one is shown beside it.

    Args:
        pictures: as `bench.shown` makes them.
        kind: "", "pairs" or "six".
        backgrounds: what to lay each picture on, for example "white black"; each is repeated.
    """
    shown = "".join(_figure(one, backgrounds) for one in pictures)
    return f'<div class="gallery {kind}">{shown}</div>'


def whole(title: str, language: str, body: str) -> str:
    """The page: one file that asks nobody for anything."""
    style = files("sfumato").joinpath("evaluation/report.css").read_text("utf-8")
    return (
        f'<!doctype html>\n<html lang="{language}">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>\n{style}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _kind(cell: str) -> str:
    plain = cell.replace("<b>", "")
    return ' class="number"' if plain[:1].isdigit() or plain[:1] in "–-−" else ""


def _figure(one: dict[str, Any], backgrounds: str) -> str:
    title = escape(one["title"])
    if backgrounds:
        images = [_image(one["src"], title, name) for name in backgrounds.split()]
    else:
        beside = [one[name] for name in ("real", "other") if name in one]
        images = [_image(source, title) for source in (one["src"], *beside)]
    note = f" <b>{escape(one['note'])}</b>" if one["note"] else ""
    caption = f"<figcaption>{title}{note}</figcaption>"
    return f'<figure><div class="row">{"".join(images)}</div>{caption}</figure>'


def _image(source: str, title: str, background: str = "") -> str:
    kind = f' class="{background}"' if background else ""
    return f'<img src="{escape(source)}" alt="{title}"{kind}>'
