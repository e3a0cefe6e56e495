"""The sections of the report, one function a part: its numbers and pictures as HTML."""

from __future__ import annotations

from html import escape
from typing import Any

from sfumato.evaluation.charts import curve, ruler
from sfumato.evaluation.page import (
    Words,
    between,
    gallery,
    number,
    percent,
    seconds,
    share_row,
    table,
)

Numbers = dict[str, Any]
Shown = dict[str, list[dict[str, Any]]]


def agreement(say: Words, found: Numbers, pictures: Shown) -> str:
    """Does it draw what was asked for?"""
    chance, quoted = found["chance"], found["headline"]
    five, first = say("report.agreement.top5"), say("report.agreement.top1")
    many = quoted == "top5"
    guesses = say("report.agreement.five") if many else say("report.agreement.one")
    head = [
        say("report.agreement.which"),
        "",
        five if many else first,
        say("report.agreement.real"),
        say("report.agreement.ratio"),
        first if many else five,
        say("report.pictures"),
    ]
    seen = "report.agreement.held_in" if "styles" in found else "report.agreement.asked"
    rows = [
        share_row(say, title, found[name], chance, quoted)
        for name, title in (
            ("held-in", say(seen)),
            ("held-out", say("report.agreement.held_out")),
            ("held-in second language", say("report.agreement.held_in_second")),
            ("held-out second language", say("report.agreement.held_out_second")),
            ("apart", say("report.agreement.apart")),
        )
        if name in found
    ]
    body = [
        f"<h2>{say('report.agreement')}</h2>",
        f"<p>{say('report.agreement.text', labels=found['labels'], guesses=guesses)}</p>",
        f'<p><small><span class="key own"></span>{say("report.samples")}'
        f'<span class="key ceiling"></span>{say("report.ceiling")}'
        f'<span class="key chance"></span>{say("report.chance")} '
        f"({percent(chance[quoted])})</small></p>",
        table(head, rows),
    ]
    for name, key in (
        ("held-in second language", "report.agreement.loss"),
        ("held-out second language", "report.agreement.loss.unseen"),
    ):
        if name in found:
            loss = {k: f"{100 * found[name]['loss'][k]:.1f}" for k in ("value", "low", "high")}
            body.append(
                f"<p>{say(key, points=loss['value'], low=loss['low'], high=loss['high'])}</p>"
            )
    for name, title in (
        ("styles", say("report.agreement.styles")),
        ("held-out styles", say("report.agreement.styles.unseen")),
        ("groups", say("report.agreement.groups")),
    ):
        if name in found:
            lines = [share_row(say, escape(k), v, chance, quoted) for k, v in found[name].items()]
            body.append(f"<h3>{title}</h3>" + table(head, lines))
    if found["unknown"]:
        body.append(f"<p><small>{say('report.agreement.unknown', n=found['unknown'])}</small></p>")
    if pictures.get("worst"):
        body.append(
            f"<h3>{say('report.agreement.worst')}</h3><p>{say('report.agreement.worst.text')}</p>"
            + gallery(pictures["worst"], "pairs")
        )
    return "".join(body)


def distribution(say: Words, found: Numbers, pictures: Shown) -> str:
    """Do the pictures, together, look like real ones?"""
    head = [
        say("report.distribution.measure"),
        say("report.samples"),
        say("report.distribution.perfect"),
        say("report.distribution.halves"),
        say("report.meaning"),
    ]
    rows = []
    for name, title, meaning in (
        ("kernel", say("report.distribution.kernel.name"), say("report.distribution.kernel")),
        ("frechet", say("report.distribution.frechet.name"), say("report.distribution.frechet")),
    ):
        one = found[name]
        value = f"{number(one['value'])} <small>{number(one['low'])}–{number(one['high'])}</small>"
        rows.append([title, value, number(one["perfect"]), number(one["halves"]), meaning])
    for name, title, meaning in (
        (
            "precision",
            say("report.distribution.precision.name"),
            say("report.distribution.precision"),
        ),
        ("recall", say("report.distribution.recall.name"), say("report.distribution.recall")),
    ):
        if name in found:
            one = found[name]
            value = f"{percent(one['value'])} <small>{between(one['low'], one['high'])}</small>"
            rows.append([title, value, percent(one["perfect"]), "–", meaning])
    text = say("report.distribution.text", samples=found["samples"], real=found["references"])
    return f"<h2>{say('report.distribution')}</h2><p>{text}</p>" + table(head, rows)


def copies(say: Words, found: Numbers, pictures: Shown) -> str:
    """Does it copy?"""
    honest = (
        say("report.copies.held_out")
        if found["honest"] == "held-out"
        else say("report.copies.training")
    )
    head = [
        say("report.copies.nearer"),
        say("report.copies.features"),
        say("report.copies.pixels"),
        say("report.copies.expected"),
        say("report.copies.copier"),
    ]
    lines = [(say("report.copies.any"), "nearer than any", "", "0%")]
    lines += [
        (say("report.copies.quantile", q=q), "nearer than quantiles", q, q)
        for q in found["features"]["nearer than quantiles"]
    ]
    if "nearer than own" in found["features"]:
        lines.append((say("report.copies.own"), "nearer than own", "", "50%"))
    rows = []
    for name, key, inner, expected in lines:
        cells = []
        for kind in ("features", "pixels"):
            one = found[kind][key][inner] if inner else found[kind][key]
            cells.append(
                f"{percent(one['value'])} <small>{between(one['low'], one['high'])}</small>"
            )
        rows.append([name, *cells, expected, _copier(found, key, inner)])
    learned = say("report.copies.text", n=found["training pictures"])
    if found["recoloured"]:
        learned += " " + say("report.copies.recoloured", n=found["recoloured"])
    body = [
        f"<h2>{say('report.copies')}</h2>",
        f"<p>{learned} {honest} {say('report.copies.control', n=found['copier pictures'])}</p>",
        table(head, rows),
    ]
    if "held-in" in found:
        body.append(f"<p>{_known_pairs(say, found['held-in'])}</p>")
    for kind, title in (
        ("features", say("report.copies.closest")),
        ("pixels", say("report.copies.closest_pixels")),
    ):
        body.append(f"<h3>{title}</h3>" + gallery(pictures.get(kind, []), "pairs"))
    return "".join(body)


def _copier(found: Numbers, key: str, inner: str) -> str:
    """What copies score, in features and in pixels."""
    said = []
    for kind in ("features", "pixels"):
        one = found[kind]["copier"].get(key)
        said.append("–" if one is None else percent((one[inner] if inner else one)["value"]))
    return " / ".join(said)


def _known_pairs(say: Words, found: Numbers) -> str:
    """The sentence about samples of pairs that were trained on."""
    features, pixels = found["features"], found["pixels"]
    return say(
        "report.copies.known",
        features=percent(features["nearer than quantiles"]["5%"]["value"]),
        pixels=percent(pixels["nearer than quantiles"]["5%"]["value"]),
        asked=percent(features["asked one"]["value"]),
        asked_pixels=percent(pixels["asked one"]["value"]),
    )


def colours(say: Words, found: Numbers, pictures: Shown) -> str:
    """Is the colour right?"""
    real = "" if found["real"] is None else say("report.colours.real", real=percent(found["real"]))
    text = say(
        "report.colours.text",
        share=percent(found["value"]),
        interval=between(found["low"], found["high"]),
        n=found["pictures"],
        chance=percent(found["chance"]),
    )
    rows = [
        [escape(name), ruler(share, float("nan"), float("nan")), percent(share)]
        for name, share in sorted(found["colours"].items(), key=lambda item: -item[1])
    ]
    head = [say("report.colours.colour"), "", say("report.colours.right")]
    if other := found.get("other pairs"):
        text += " " + say(
            "report.colours.others",
            share=percent(other["value"]),
            interval=between(other["low"], other["high"]),
            n=other["pictures"],
        )
    return (
        f"<h2>{say('report.colours')}</h2><p>{text} {real}</p>"
        + gallery(pictures.get("first", []))
        + f"<details><summary>{say('report.colours.by')}</summary>{table(head, rows)}</details>"
    )


def alpha(say: Words, found: Numbers, pictures: Shown) -> str:
    """Is the transparency clean?"""
    text = say(
        "report.alpha.text",
        share=percent(found["value"], 1),
        interval=between(found["low"], found["high"], 1),
        real=percent(found["real"], 1),
    )
    return f"<h2>{say('report.alpha')}</h2><p>{text}</p>" + gallery(
        pictures.get("first", []), "pairs", "white black"
    )


def swapped(say: Words, found: Numbers, pictures: Shown) -> str:
    """How much do the words decide?"""
    own, apart = found["own prompt"], found["pixel difference"]
    text = say(
        "report.swapped.text",
        n=found["count"],
        share=percent(own["value"]),
        interval=between(own["low"], own["high"]),
        apart=percent(apart["value"], 1),
        real=percent(found["real difference"], 1),
    )
    return f"<h2>{say('report.swapped')}</h2><p>{text}</p>" + gallery(
        pictures.get("first", []), "pairs"
    )


def guidance(say: Words, found: Numbers, pictures: Shown) -> str:
    """The guidance curve."""
    return _curves(say, found, pictures, say("report.guidance"), say("report.guidance.text"))


def steps(say: Words, found: Numbers, pictures: Shown) -> str:
    """The steps curve."""
    return _curves(say, found, pictures, say("report.steps"), say("report.steps.text"))


def speed(say: Words, found: Numbers, pictures: Shown) -> str:
    """Seconds and memory."""
    rows = [
        [say("report.speed.one"), seconds(found["one"])],
        [say("report.speed.sixteen"), seconds(found["sixteen"])],
        [say("report.speed.first"), seconds(found["first one"])],
        [say("report.speed.load"), seconds(found["load"])],
        [say("report.speed.memory"), f"{found['peak bytes'] / 1e6:.0f} MB"],
    ]
    text = say("report.speed.text", steps=found["steps"])
    if found.get("busy") is not None:
        text += " " + say("report.speed.busy", load=found["busy"])
    head = [say("report.speed.what"), say("report.speed.value")]
    return f"<h2>{say('report.speed')}</h2><p>{text}</p>" + table(head, rows)


def _curves(say: Words, found: Numbers, pictures: Shown, title: str, text: str) -> str:
    points, default = found["points"], found["default"]
    charts = []
    quoted = found["headline"]
    if all(quoted in point for point in points):
        key = "report.agreement.top5" if quoted == "top5" else "report.agreement.top1"
        name = say(key)
        line = [{"at": point["at"], **point[quoted]} for point in points]
        level = (found["real"][quoted], say("report.ceiling")) if "real" in found else None
        charts.append(f"<div><h3>{name}</h3>{curve(line, True, name, default, level)}</div>")
    name = say("report.curve.kernel")
    line = [{"at": point["at"], **point["kernel"]} for point in points]
    charts.append(f"<div><h3>{name}</h3>{curve(line, False, name, default)}</div>")
    body = [
        f"<h2>{title}</h2><p>{text} {say('report.curve.text', n=found['count'])}</p>",
        f'<div class="curves">{"".join(charts)}</div>',
    ]
    if "missing" in found:
        settings = ", ".join(f"{value:g}" for value in found["missing"])
        body.append(f"<p><small>{say('report.curve.missing', settings=settings)}</small></p>")
    body.append(
        f"<details><summary>{say('report.curve.look')}</summary>"
        + gallery(pictures.get("rows", []), "six")
        + "</details>"
    )
    return "".join(body)
