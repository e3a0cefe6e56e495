"""The findings of a check as one page: thumbnails, advice, charts, and nothing from elsewhere.

File names and captions come from strangers: all text passes through `check_parts.text`, and the
page forbids itself scripts and every address.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np

from sfumato.data.checking.check_parts import (
    anchor,
    bars,
    document,
    figure,
    more,
    name,
    number,
    text,
    tile,
)
from sfumato.data.checking.check_place import demand_folder, refused
from sfumato.data.checking.health import HealthReport, percent
from sfumato.data.checking.thumbs import seen, whole
from sfumato.data.example import Problem
from sfumato.data.findings import ADVICE, KINDS, SERIOUS, spoken
from sfumato.locale import translate

THUMBS = 200
"""Most thumbnails on a page; with these it stays well below 5 MB."""

_SAMPLES, _EACH, _GROUPED, _IN_GROUP, _NAMED = 40, 18, 40, 5, 60
_CLASSES = 8  # largest and smallest that are drawn
_EDGES = (32, 64, 128, 256, 512, 1024, 2048)


def write_page(report: HealthReport, folder: Path, seed: int = 0) -> tuple[Path, Path]:
    """Write check.html and check.json into a folder, made if need be; returns both paths.

    Raises:
        SfumatoError: see `demand_folder`, or the disk refuses.
    """
    demand_folder(folder)
    page, numbers = folder / "check.html", folder / "check.json"
    # names of files need not be text
    html = build_page(report, seed).encode("utf-8", "backslashreplace")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        page.write_bytes(html)
        numbers.write_text(json.dumps(report.to_dict(), indent=1) + "\n", "ascii")
    except OSError as error:
        raise refused(folder, error) from None
    return page, numbers


def build_page(report: HealthReport, seed: int = 0) -> str:
    """The page as HTML, in the user's language.

    Args:
        report: made by `check`; its source is asked for the pictures that are shown.
        seed: of the choice of samples.
    """
    return _Page(report).html(seed)


class _Page:
    """One page in the making; counts its thumbnails."""

    def __init__(self, report: HealthReport) -> None:
        self.report = report
        self.left = THUMBS

    def html(self, seed: int) -> str:
        report = self.report
        samples = self._samples(seed)  # first, so that findings never use them up
        sections = [self._section(kind, found) for kind, found in report.findings.items()]
        body = "\n".join((self._head(), *sections, self._balance(), self._sides(), samples))
        return document(translate("check.page.title", name=report.name), body)

    def _head(self) -> str:
        report = self.report
        mood, key = "bad", "check.page.serious"
        if not report.serious:
            mood, key = "good", "check.page.fine" if report.healthy else "check.page.notes"
        verdict = translate(key, **({"count": report.serious} if report.serious else {}))
        judged = translate("check.page.judged", size=report.size, channels=report.channels)
        parts = [
            f"<h1>{text(translate('check.page.title', name=report.name))}</h1>",
            f'<p class="soft">{text(judged)}</p>',
            f'<p class="verdict {mood}">{text(verdict)}</p>',
        ]
        if report.few:
            parts.append(f"<p>{text(translate('train.few', count=report.readable))}</p>")
        parts.append(f'<div class="tiles">{"".join(self._tiles())}</div>')
        if report.findings:
            rows = [
                f'<li><a class="{"grave" if kind in SERIOUS else "mild"}" href="#{anchor(kind)}">'
                f"{text(translate(meaning, count=len(report.findings[kind])))}</a></li>"
                for kind, meaning in KINDS.items()
                if kind in report.findings
            ]
            parts.append(f'<ul class="list">{"".join(rows)}</ul>')
        if report.serious and report.files is not None:
            where = shlex.quote(str(report.files.root))
            copy = shlex.quote(f"{report.name}-clean")
            command = f"sfumato data check {where} --write-clean {copy}"
            parts.append(f"<p>{text(translate('check.page.clean'))}</p>")
            parts.append(f"<pre>{escape(command)}</pre>")
        return "\n".join(parts)

    def _tiles(self) -> list[str]:
        report = self.report
        found = sum(report.counts().values())
        tiles = [
            tile(translate("check.page.pictures"), number(report.total)),
            tile(translate("check.page.captions"), number(report.captions)),
        ]
        if report.classes:
            tiles.append(tile(translate("check.page.classes"), number(len(report.classes))))
        grave = translate("check.page.of_serious", count=number(report.serious))
        tiles.append(tile(translate("check.page.findings"), number(found), grave))
        if report.channels > 1:
            transparent = percent(report.transparent, report.readable)
            grey = percent(report.grey, report.readable)
            tiles.append(tile(translate("check.page.transparent"), transparent))
            tiles.append(tile(translate("check.page.grey"), grey))
        return tiles

    def _section(self, kind: str, found: Sequence[Problem]) -> str:
        meaning, key = KINDS[kind], ADVICE[kind]
        title = text(translate(meaning, count=len(found)))
        if kind == "shape" and self.report.channels == 4:
            key = "check.advice.padded"
        advice = f'<p class="advice">{text(translate(key))}</p>'
        if kind == "near duplicate":
            shown = self._groups()
        elif kind == "duplicate":
            shown = self._copies(found)
        else:
            shown = self._gallery(kind, found)
        return f'<section><h2 id="{anchor(kind)}">{title}</h2>\n{advice}\n{shown}</section>'

    def _gallery(self, kind: str, found: Sequence[Problem]) -> str:
        pictures: list[str] = []
        names: list[str] = []
        for one in found:
            index = self.report.places.get(one.origin)
            if index is not None and kind != "unreadable" and len(pictures) < _EACH:
                frame = self._shape(index) if kind == "shape" else None
                frame = frame or self._frame(index)
                if frame:
                    pictures.append(figure(frame, one.origin, spoken(one)))
                    continue
            names.append(f"<li>{name(one.origin)} <span>{text(spoken(one))}</span></li>")
        wide = " wide" if kind == "shape" else ""
        shown = f'<div class="gallery{wide}">{"".join(pictures)}</div>' if pictures else ""
        if names:
            shown += f'<ul class="names">{"".join(names[:_NAMED])}</ul>'
        return shown + more(len(names) - _NAMED)

    def _groups(self) -> str:
        shown, used = [], 0
        for group in self.report.groups:
            figures = []
            for place, origin in enumerate(group[:_IN_GROUP]):
                frame = self._frame(self.report.places[origin]) if used < _GROUPED else None
                if frame is None:
                    break
                used += 1
                note = translate("check.page.kept") if place == 0 else ""
                figures.append(self._member(frame, origin, note))
            if not figures:
                break
            rest = (
                f"<small>+{len(group) - len(figures)}</small>" if len(group) > len(figures) else ""
            )
            shown.append(f'<div class="group">{"".join(figures)}{rest}</div>')
        return f'<div class="groups">{"".join(shown)}</div>' + more(
            sum(len(group) - 1 for group in self.report.groups[len(shown) :])
        )

    def _member(self, frame: str, origin: str, note: str) -> str:
        index = self.report.places[origin]
        said = " × ".join(map(str, self._dimensions(index)))
        source = self.report.source
        if source is not None and source[index].captions:
            said = f"{said} · {source[index].captions[0]}" if said else source[index].captions[0]
        if not note:
            return figure(frame, origin, said)
        caption = f'<span class="kept">{text(note)}</span> <b>{name(origin)}</b><br>{text(said)}'
        return f'<figure class="first">{frame}<figcaption>{caption}</figcaption></figure>'

    def _copies(self, found: Sequence[Problem]) -> str:
        """The same picture is shown once, with the names of all its files."""
        together: dict[str, list[str]] = {}
        astray = {one.origin for one in found if "label" in one.values}
        for one in found:
            together.setdefault(str(one.values.get("other", "")), []).append(one.origin)
        shown = []
        for first, others in list(together.items())[:_EACH]:
            index = self.report.places.get(others[0])
            frame = self._frame(index) if index is not None else None
            if frame is None:
                break
            names = "<br>= ".join(name(one) for one in (first, *others[: _IN_GROUP - 1]))
            unseen = len(others) - (_IN_GROUP - 1)
            names += f"<br>+{unseen}" if unseen > 0 else ""
            if not astray.isdisjoint(others):
                names += f'<br><span class="bad">{text(translate("check.page.astray"))}</span>'
            shown.append(f"<figure>{frame}<figcaption>{names}</figcaption></figure>")
        rest = sum(len(others) for others in list(together.values())[len(shown) :])
        return f'<div class="gallery">{"".join(shown)}</div>' + more(rest)

    def _samples(self, seed: int) -> str:
        source = self.report.source
        if source is None:
            return ""
        from sfumato.diffusion.randomness import seed_of  # it starts torch

        broken: dict[int, str] = getattr(source, "unreadable", {})
        readable = [index for index in range(len(source)) if index not in broken]
        generator = np.random.default_rng(seed_of(seed, "check page", "samples"))
        count = min(_SAMPLES, len(readable))
        chosen = sorted(generator.choice(len(readable), count, replace=False).tolist())
        figures = []
        for place in chosen:
            frame = self._frame(readable[place])
            captions = source[readable[place]].captions
            if frame and captions:
                caption = captions[int(generator.integers(len(captions)))]
                figures.append(
                    f"<figure>{frame}<figcaption><q>{name(caption)}</q></figcaption></figure>"
                )
        if not figures:
            return ""
        fitted = self.report.channels == 4
        what = "check.page.samples.fitted" if fitted else "check.page.samples.what"
        return (
            f"<section><h2>{text(translate('check.page.samples'))}</h2>"
            f'<p class="soft">{text(translate(what))}</p>'
            f'<div class="gallery">{"".join(figures)}</div></section>'
        )

    def _balance(self) -> str:
        ordered = sorted(self.report.classes.items(), key=lambda item: (-item[1], item[0]))
        if not ordered:
            return ""
        top, rest = ordered[:_CLASSES], ordered[_CLASSES:]
        bottom, between = rest[-_CLASSES:], len(rest[:-_CLASSES])
        most = max(1, ordered[0][1])
        gap = text(translate("check.page.between", count=between))
        rows = bars(top, most)
        rows += f'<div class="gap">{gap}</div>' if between else ""
        rows += bars(bottom, most)
        title = text(translate("check.page.balance"))
        return f'<section><h2>{title}</h2><div class="bars">{rows}</div></section>'

    def _sides(self) -> str:
        sides = self.report.sides()
        if not sides:
            return ""
        counts = np.bincount(np.searchsorted(_EDGES, sides, side="right"), minlength=8)
        names = [f"< {_EDGES[0]}"]
        names += [f"{low}–{high - 1}" for low, high in zip(_EDGES, _EDGES[1:], strict=False)]
        names.append(f"≥ {_EDGES[-1]}")
        (filled,) = np.nonzero(counts)
        shown = slice(int(filled[0]), int(filled[-1]) + 1)
        rows = bars(list(zip(names, counts.tolist(), strict=True))[shown], int(counts.max()))
        what = translate("check.page.sides.what", size=self.report.size)
        return (
            f"<section><h2>{text(translate('check.page.sides'))}</h2>"
            f'<p class="soft">{text(what)}</p><div class="bars">{rows}</div></section>'
        )

    def _frame(self, index: int) -> str | None:
        """A thumbnail of what the trainer sees; None when the page has enough of them."""
        source = self.report.source
        if source is None or self.left < 1:
            return None
        self.left -= 1
        image = source[index].image
        kind = ' class="small"' if max(image.shape[1:]) <= 32 else ""
        return f'<div class="frame"><img{kind} src="{seen(image)}" alt="" loading="lazy"></div>'

    def _shape(self, index: int) -> str | None:
        """The whole picture, with a frame around what the trainer sees of it."""
        files_ = self.report.files
        if files_ is None or self.left < 1:
            return None
        source = whole(files_.paths[index])
        if source is None:
            return None
        self.left -= 1
        width, height = self.report.dimensions[index]
        kept = ""
        if self.report.channels != 4:
            across, down = (100 * min(width, height) / side for side in (width, height))
            kept = (
                f'<span style="left:{(100 - across) / 2:.1f}%;top:{(100 - down) / 2:.1f}%;'
                f'width:{across:.1f}%;height:{down:.1f}%"></span>'
            )
        # the frame is three by two
        size = "width:100%" if 2 * width > 3 * height else "height:100%"
        style = f"{size};aspect-ratio:{width}/{height}"
        return (
            f'<div class="frame plain"><div class="whole" style="{style}">'
            f'<img src="{source}" alt="" loading="lazy">{kept}</div></div>'
        )

    def _dimensions(self, index: int) -> tuple[int, ...]:
        known = self.report.dimensions
        return known[index] if known else ()
