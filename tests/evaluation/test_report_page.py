"""The page: every number with a meaning, in both languages, safe whatever a prompt says."""

import re
from html.parser import HTMLParser
from itertools import pairwise

import pytest

from sfumato.evaluation.bars import verdicts
from sfumato.evaluation.charts import curve, ruler, scale
from sfumato.evaluation.page import Words, between, number, percent
from sfumato.evaluation.report import page
from sfumato.locale import messages

PICTURE = {"src": "data:image/png;base64,AA", "title": "<script>alert(1)</script>", "note": "3"}


def measured(value, **more):
    return {"value": value, "low": value * 0.9, "high": min(1.0, value * 1.1), "count": 64, **more}


def share(value, real=0.9):
    top = measured(value, real=real, ratio=measured(value / real))
    return {"count": 64, "top1": top, "top5": top, "loss": measured(0.05), "language": "ru"}


def make_report():
    distance = measured(0.3, halves=0.01, perfect=0.02)
    guard = {
        "honest pictures": 300,
        "nearer than any": measured(0.01),
        "nearer than quantiles": {"1%": measured(0.01), "5%": measured(0.04)},
        "nearer than own": measured(0.4),
    }
    guard["copier"] = {
        **guard,
        "nearer than quantiles": {"1%": measured(0.6), "5%": measured(0.96)},
    }
    known = {**guard, "asked one": measured(0.47)}
    points = [
        {"at": at, "kernel": measured(0.3 / at), "frechet": 3.0, "top5": measured(0.1 * at)}
        for at in (1.0, 2.0, 3.0)
    ]
    sweep = {
        "count": 64,
        "default": 3.0,
        "headline": "top5",
        "points": points,
        "real": {"top5": 0.87},
        "missing": [8.0],
    }
    return {
        "model": {"card": {"name": "A & B <i>"}, "size": 64, "sha256": "5" * 64,
                  "sampling": {"steps": 20, "sampler": "euler", "guidance_scale": 3.0},
                  "manifest": {"model.safetensors": "6" * 64}},
        "data": {"name": "emoji", "kind": "pairs", "sha256": "7" * 64},
        "judge": {"name": "j", "labels": 1900, "accuracy": {"top5": 0.8}, "sha256": "8" * 64,
                  "trained on the references": True},
        "settings": {"command": "sfumato evaluate", "seed": 0, "drawn": {"held-in": 64}},
        "surroundings": {"date": "2026-01-02T03:04:05", "libraries": {"torch": "2"},
                         "code": "9" * 64, "sfumato": "0", "python": "3", "processor": "p",
                         "threads": 2, "system": "s"},
        "parts": {
            "agreement": {"labels": 1900, "headline": "top5", "held-in": share(0.5),
                          "held-out": share(0.3),
                          "held-out second language": share(0.2),
                          "held-out styles": {"noto": share(0.2), "flat": share(0.35)},
                          "held-in second language": share(0.45), "unknown": 2,
                          "chance": {"top1": 0.001, "top5": 0.005},
                          "styles": {"noto": share(0.4), "flat": share(0.6)}},
            "distribution": {"samples": 64, "references": 4000, "frechet": distance,
                             "kernel": distance, "precision": measured(0.7, perfect=0.8),
                             "recall": measured(0.5, perfect=0.8)},
            "copies": {"of": "held-out", "honest": "held-out", "training pictures": 8000,
                       "recoloured": 0, "copier pictures": 512,
                       "features": guard, "pixels": guard,
                       "held-in": {"features": known, "pixels": known}},
            "alpha": measured(0.97, real=0.99),
            "colours": measured(0.8, pictures=50, chance=0.2, real=1.0, colours={"red": 0.9},
                                **{"other pairs": measured(0.72, pictures=200)}),
            "swapped": {"count": 64, "own prompt": measured(0.9),
                        "pixel difference": measured(0.2), "real difference": 0.3},
            "guidance": sweep,
            "steps": sweep,
            "speed": {"one": 1.7, "sixteen": 5.0, "first one": 2.0, "load": 1.0, "steps": 20,
                      "peak bytes": 4 * 10**8, "busy": 0.5},
        },
    }  # fmt: skip


PICTURES = {
    "gallery": {"first": [PICTURE]},
    "agreement": {"worst": [{**PICTURE, "real": PICTURE["src"]}]},
    "alpha": {"first": [PICTURE]},
    "guidance": {"rows": [PICTURE]},
}


class Checker(HTMLParser):
    """Every tag is closed, in order."""

    VOID = {"meta", "img"}

    def __init__(self):
        super().__init__()
        self.open, self.tags = [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, tag


@pytest.mark.parametrize("language", ["en", "ru"])
def test_the_whole_page_is_well_formed_and_in_its_language(language):
    text = page(make_report(), PICTURES, {"speed": "report.left.time"}, language)
    checker = Checker()
    checker.feed(text)
    assert not checker.open
    assert "script" not in checker.tags
    assert "i" not in checker.tags
    assert "A &amp; B &lt;i&gt;" in text
    assert checker.tags.count("h2") == 13
    visible = re.sub(r"<style>.*?</style>|<[^>]*>", " ", text, flags=re.DOTALL)
    assert "{" not in visible
    assert "report." not in visible
    for key in ("report.copies", "report.steps", "report.distribution.kernel", "report.left"):
        assert Words(language)(key) in text
    foreign = messages("ru" if language == "en" else "en")["report.agreement"]
    assert foreign not in text


def test_floor_ceiling_and_interval_stand_beside_the_number():
    text = page(make_report(), {}, {}, "en")
    row = next(r for r in text.split("<tr>") if "things and styles seen together" in r)
    assert ">50% <small>45–55%</small>" in row
    assert ">90%<" in row  # the ceiling
    assert "<b>56%</b>" in row  # the share of it
    kernel = next(r for r in text.split("<tr>") if "kernel distance</td>" in r)
    assert "0.300" in kernel
    assert "0.0200" in kernel  # as many real pictures
    assert "0.0100" in kernel  # half against half
    assert text.count('<text class="level"') == 2  # the ceiling in both curves


@pytest.mark.parametrize("language", ["en", "ru"])
def test_the_card_of_copies_says_what_was_measured(language):
    """Where nothing was kept from training, training pictures' own distances are the measure."""
    report, say = make_report(), messages(language)
    kept = say["report.tile.copies.text"].format(copier="96%")
    among = say["report.tile.copies.training"].format(copier="96%")
    text = page(report, {}, {}, language)
    assert kept in text and among not in text
    report["parts"]["copies"] |= {"of": "held-in", "honest": "training"}
    text = page(report, {}, {}, language)
    assert kept not in text and among in text


def test_the_head_names_the_folder_and_claims_of_the_judge_no_more_than_it_knows():
    report = make_report()
    assert "<code>" not in page(report, {}, {}, "en").split("<h2>")[0]
    report["model"]["path"] = "runs/<mine>"
    head = page(report, {}, {}, "en").split("<h2>")[0]
    assert "<code>runs/&lt;mine&gt;</code>" in head and "knows 1900 things" in head
    report["judge"]["kind"] = "instances"
    head = page(report, {}, {}, "en").split("<h2>")[0]
    assert "1900 things" not in head and "tell 1900 of them apart" in head
    report["judge"] |= {"kind": "labels", "accuracy": {"top5": 0.0, "count": 0}}
    head = page(report, {}, {}, "en").split("<h2>")[0]
    assert "for 0%" not in head and "too few pictures" in head


def test_bars_are_judged_on_both_sides():
    found = {v.key: v.reached for v in verdicts(make_report())}
    assert found == {
        "report.bar.held_in": True,
        "report.bar.held_out": False,
        "report.bar.russian": True,
        "report.bar.russian_unseen": True,
        "report.bar.colours": False,
        "report.bar.alpha": True,
        "report.bar.copies": True,
        "report.bar.near_copies": True,
        "report.bar.one": False,
        "report.bar.sixteen": True,
    }
    other = make_report()
    other["data"]["kind"] = "test"
    assert verdicts(other) == []


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.5, "50%"), (0.012, "1.2%"), (0.0, "0%"), (1.0, "100%"), (0.0996, "10%"),
     (float("nan"), "–"), (None, "–"), (-0.031, "-3.1%"), (0.05, "5%")],
)  # fmt: skip
def test_shares(value, text):
    assert percent(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (0.01234, "0.0123"), (1.234, "1.23"), (123.4, "123"), (1e-9, "0"),
     (4567.8, "4568"), (float("nan"), "–"), (-0.5, "-0.500")],
)  # fmt: skip
def test_numbers(value, text):
    assert number(value) == text


def test_intervals():
    assert between(0.45, 0.55) == "45–55%"
    assert between(float("nan"), 0.5) == ""


def test_a_ruler_stays_on_its_track():
    found = ruler(0.5, 0.4, 1.7, marks=[(2.0, "ceiling", "ceiling"), (float("nan"), "x", "chance")])
    numbers = [float(n) for n in re.findall(r"(?:left|width):([\d.]+)%", found)]
    assert numbers == [50.0, 40.0, 60.0, 100.0, 0.0]


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0, 0.37), (-0.002, 0.013), (0, 8123)])
def test_scales_are_round_and_reach_around(low, high):
    ticks = scale(low, high)
    assert ticks[0] <= low
    assert ticks[-1] >= high
    assert 3 <= len(ticks) <= 8
    steps = [after - before for before, after in pairwise(ticks)]
    assert steps == pytest.approx([steps[0]] * len(steps))
    assert ticks[-2] < high


def test_a_curve_marks_the_models_own_setting_and_a_point_without_interval():
    points = [
        {"at": 1, "value": 0.1, "low": 0.05, "high": 0.2},
        {"at": 3, "value": 0.4, "low": float("nan"), "high": float("nan")},
    ]
    text = curve(points, True, "a name", default=3, level=(0.9, "real <b>"))
    assert text.count('class="dot own"') == 1
    assert "nan" not in text
    assert "real &lt;b&gt;" in text
    Checker().feed(text)
