"""The report as one self-contained page: every number with its meaning, floor and ceiling."""

from __future__ import annotations

from html import escape
from typing import Any

from sfumato.evaluation import sections
from sfumato.evaluation.bars import telling, verdicts
from sfumato.evaluation.page import Words, gallery, number, percent, seconds, table, tile, whole

Report = dict[str, Any]
Pictures = dict[str, dict[str, list[dict[str, Any]]]]

_PARTS = {
    "gallery": "report.part.gallery",
    "agreement": "report.part.agreement",
    "distribution": "report.part.distribution",
    "copies": "report.part.copies",
    "alpha": "report.part.alpha",
    "colours": "report.part.colours",
    "speed": "report.part.speed",
    "swapped": "report.part.swapped",
    "guidance": "report.part.guidance",
    "steps": "report.part.steps",
}


def page(report: Report, pictures: Pictures, left: dict[str, str], language: str) -> str:
    """The page as HTML.

    Args:
        report: what stands in report.json.
        pictures: part -> name -> pictures as `bench.shown` makes them.
        left: part -> key of the reason why it is missing.
        language: "en" or "ru".
    """
    say = Words(language)
    card = report["model"]["card"]
    title = say("report.title", model=card.get("name", say("report.unnamed")))
    body = [_head(say, report, title), _tiles(say, report["parts"]), _bars(say, report)]
    first = pictures.get("gallery", {}).get("first", [])
    if first:
        body += [
            f"<h2>{say('report.gallery')}</h2><p>{say('report.gallery.text')}</p>",
            gallery(first),
        ]
    for name, section in (
        ("agreement", sections.agreement),
        ("distribution", sections.distribution),
        ("copies", sections.copies),
        ("colours", sections.colours),
        ("alpha", sections.alpha),
        ("swapped", sections.swapped),
        ("guidance", sections.guidance),
        ("steps", sections.steps),
        ("speed", sections.speed),
    ):
        if name in report["parts"]:
            body.append(section(say, report["parts"][name], pictures.get(name, {})))
    body += [_left(say, left), _basis(say, report)]
    return whole(title, language, "\n".join(filter(None, body)))


def _head(say: Words, report: Report, title: str) -> str:
    model, data, judge = report["model"], report["data"], report["judge"]
    side = model["size"]
    sampling = model["sampling"]
    facts = say(
        "report.facts",
        side=side,
        data=data["name"],
        steps=sampling["steps"],
        sampler=sampling["sampler"],
        scale=f"{sampling['guidance_scale']:g}",
        date=report["surroundings"]["date"][:10],
    )
    accuracy = judge["accuracy"].get("top5")
    known = "report.judge.instances" if judge.get("kind") == "instances" else "report.judge"
    if judge["accuracy"].get("count") == 0:
        known = "report.judge.unmeasured"
    words = say(known, name=judge["name"], labels=judge["labels"], top5=percent(accuracy))
    if judge["trained on the references"]:
        words += " " + say("report.judge.own")
    path = model.get("path")
    where = f'<p class="soft"><code>{escape(path)}</code></p>' if path else ""
    return f'<h1>{title}</h1>{where}<p class="soft">{facts}</p><p class="soft">{words}</p>'


def _tiles(say: Words, parts: dict[str, Any]) -> str:
    found = []
    if "agreement" in parts:
        quoted = parts["agreement"]["headline"]
        top = parts["agreement"]["held-in"][quoted]
        found.append(
            tile(
                say("report.tile.agreement"),
                percent(top["ratio"]["value"]),
                say(
                    "report.tile.agreement.text",
                    made=percent(top["value"]),
                    real=percent(top["real"]),
                ),
            )
        )
        if "held-out" in parts["agreement"]:
            top = parts["agreement"]["held-out"][quoted]
            found.append(
                tile(
                    say("report.tile.unseen"),
                    percent(top["ratio"]["value"]),
                    say("report.tile.unseen.text", made=percent(top["value"])),
                )
            )
    if "distribution" in parts:
        one = parts["distribution"]["kernel"]
        found.append(
            tile(
                say("report.tile.kernel"),
                number(one["value"]),
                say("report.tile.kernel.text", floor=number(max(0.0, one["perfect"]))),
            )
        )
    if "colours" in parts:
        one = parts["colours"]
        text = say("report.tile.colours.text", chance=percent(one["chance"]))
        found.append(tile(say("report.tile.colours"), percent(one["value"]), text))
    if "copies" in parts:
        space = telling(parts["copies"])
        one = parts["copies"][space]["nearer than quantiles"]["5%"]
        copier = parts["copies"][space]["copier"]["nearer than quantiles"]["5%"]
        held = parts["copies"]["honest"] == "held-out"
        key = "report.tile.copies.text" if held else "report.tile.copies.training"
        text = say(key, copier=percent(copier["value"]))
        found.append(tile(say("report.tile.copies"), percent(one["value"]), text))
    if "alpha" in parts:
        text = say("report.tile.alpha.text", real=percent(parts["alpha"]["real"]))
        found.append(tile(say("report.tile.alpha"), percent(parts["alpha"]["value"]), text))
    if "speed" in parts:
        one = parts["speed"]
        text = say(
            "report.tile.speed.text",
            sixteen=f"{one['sixteen']:.2f}",
            memory=f"{one['peak bytes'] / 1e9:.1f}",
        )
        found.append(tile(say("report.tile.speed"), seconds(one["one"]), text))
    return f'<div class="tiles">{"".join(found)}</div>' if found else ""


def _bars(say: Words, report: Report) -> str:
    found = verdicts(report)
    if not found:
        return ""
    lines = []
    for one in found:
        mark = '<span class="yes">✓</span>' if one.reached else '<span class="no">✗</span>'
        value = percent(one.value) if one.percent else seconds(one.value)
        bar = percent(one.bar) if one.percent else seconds(one.bar)
        text = say(one.key, value=value, bar=bar)
        lines.append(f"<li>{mark}<span>{text}</span></li>")
    return (
        f"<h2>{say('report.bars')}</h2><p>{say('report.bars.text')}</p>"
        f'<ul class="bars">{"".join(lines)}</ul>'
    )


def _left(say: Words, left: dict[str, str]) -> str:
    if not left:
        return ""
    rows = [[say(_PARTS[part]), say(reason)] for part, reason in left.items()]
    return f"<h2>{say('report.left')}</h2>" + table(
        [say("report.left.part"), say("report.left.why")], rows
    )


def _basis(say: Words, report: Report) -> str:
    model, around = report["model"], report["surroundings"]
    versions = ", ".join(f"{name} {version}" for name, version in around["libraries"].items())
    facts = {
        "report.basis.command": report["settings"]["command"] or "–",
        "report.basis.weights": model["sha256"],
        "report.basis.data": report["data"]["sha256"],
        "report.basis.judge": report["judge"]["sha256"],
        "report.basis.code": around["code"],
        "report.basis.versions": f"sfumato {around['sfumato']}, Python {around['python']}, "
        + versions,
        "report.basis.machine": f"{around['processor']}, {around['threads']} threads, "
        + around["system"],
        "report.basis.seed": str(report["settings"]["seed"]),
        "report.basis.drawn": ", ".join(
            f"{part} {count}" for part, count in report["settings"]["drawn"].items()
        )
        or "–",
    }
    rows = [[say(key), f"<code>{escape(value)}</code>"] for key, value in facts.items()]
    rows += [
        [escape(name), f"<code>{escape(digest)}</code>"]
        for name, digest in model["manifest"].items()
    ]
    return f"<h2>{say('report.basis')}</h2><p>{say('report.basis.text')}</p>" + table(
        [say("report.basis.what"), say("report.basis.value")], rows
    )
