# /// script
# requires-python = ">=3.11"
# dependencies = ["numpy", "pillow==13.0.0", "resvg-py==0.5.0", "tqdm"]
# ///
"""Build the evaluation art: the things of the embedded emoji, drawn by three other makers.

    python scripts/build_evaluation_art.py -o FOLDER

FOLDER/THING/MAKER.webp, a folder of classes as `sfumato judge FOLDER` reads it: the class is the
thing, named by its code points as in the embedded set. A judge trained on it has seen no drawing
that a generator was trained on, so it recognises the thing and not the drawing.

The art is under CC BY 4.0 and CC BY-SA 4.0. It is for evaluation alone: it is fetched by whoever
evaluates, never trained on by a generator and never part of the package. Needs Python 3.11, `npm`
and the two rendering libraries that `build_emoji.py` needs, whose rendering it shares.
"""

from __future__ import annotations

import argparse
import json
import shutil
import zipfile
from collections import Counter
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from build_emoji import RESOURCES, Things, bare, by_code_points, by_name, fetch, read_json, slug
from build_emoji import read_members as members_of
from emoji_drawings import Drawing, encode, render, svg_document

PACKAGES: dict[str, dict[str, str]] = {
    "twemoji": {
        "name": "@twemoji/svg",
        "version": "15.0.0",
        "integrity": "sha512-ZSPef2B6nBaYnfgdTbAy4jgW95o7pi2xPGwGCU+WMTxo7J6B1lMPTWwSq/wTuiMq+N0khQ"
        "90CcvYp1wFoQpo/w==",
        "maker": "Twemoji, copyright Twitter, Inc. and other contributors, "
        "https://github.com/jdecked/twemoji",
        "licence": "CC BY 4.0",  # of the art; the MIT that the package states covers its code
    },
    "emojione": {
        "name": "@iconify-json/emojione",
        "version": "1.2.3",
        "integrity": "sha512-T9+T3HIbJNLKKsmxYKlaYhvnHYkz/HNYTV7SHCXVZPfeUi4FqskY70YeN8yYAZT8cCv7w5"
        "vJxS4Q1m8zb9CMMg==",
        "maker": "EmojiOne 2 / EmojiTwo, copyright Emoji One and contributors, "
        "https://github.com/EmojiTwo/emojitwo",
        "licence": "CC BY 4.0",
    },
    "openmoji": {
        "name": "@iconify-json/openmoji",
        "version": "1.2.29",
        "integrity": "sha512-vXdhkqcXVSO6suy+m9LbcUM3OdVyuNOtpV8/als/WqfkQIRxevL5Geb/g+6GH/Qwnq1Oqk"
        "sEmaDGTCmZ5nFKJQ==",
        "maker": "OpenMoji, copyright the OpenMoji project, https://openmoji.org",
        "licence": "CC BY-SA 4.0",
    },
}
LICENCE_TEXTS = {
    "CC BY 4.0": "https://creativecommons.org/licenses/by/4.0/",
    "CC BY-SA 4.0": "https://creativecommons.org/licenses/by-sa/4.0/",
}
RENAMED = {
    "ab-button": "ab-button-blood-type",
    "a-button": "a-button-blood-type",
    "b-button": "b-button-blood-type",
    "blond-haired-person": "person-blond-hair",
    "bride-with-veil": "person-with-veil",
    "direct-hit": "bullseye",
    "dizzy-face": "face-with-crossed-out-eyes",
    "exclamation-mark": "red-exclamation-mark",
    "flag-for-black-flag": "black-flag",
    "flag-for-chequered-flag": "chequered-flag",
    "flag-for-cocos-islands": "flag-cocos-keeling-islands",
    "flag-for-crossed-flags": "crossed-flags",
    "flag-for-macau-sar-china": "flag-macao-sar-china",
    "flag-for-macedonia": "flag-north-macedonia",
    "flag-for-myanmar": "flag-myanmar-burma",
    "flag-for-rainbow-flag": "rainbow-flag",
    "flag-for-swaziland": "flag-eswatini",
    "flag-for-triangular-flag": "triangular-flag",
    "flag-for-turkey": "flag-turkiye",
    "flag-for-us-outlying-islands": "flag-u-s-outlying-islands",
    "flag-for-us-virgin-islands": "flag-u-s-virgin-islands",
    "flag-for-white-flag": "white-flag",
    "heavy-check-mark": "check-mark",
    "heavy-division-sign": "divide",
    "heavy-heart-exclamation": "heart-exclamation",
    "heavy-large-circle": "hollow-red-circle",
    "heavy-minus-sign": "minus",
    "heavy-multiplication-x": "multiply",
    "heavy-plus-sign": "plus",
    "ballot-box-with-check": "check-box-with-check",
    "white-heavy-check-mark": "check-mark-button",
    "laptop-computer": "laptop",
    "man-and-woman-holding-hands": "woman-and-man-holding-hands",
    "man-in-suit-levitating": "person-in-suit-levitating",
    "man-with-chinese-cap": "person-with-skullcap",
    "o-button": "o-button-blood-type",
    "question-mark": "red-question-mark",
    "two-men-holding-hands": "men-holding-hands",
    "two-women-holding-hands": "women-holding-hands",
    "up-text-button": "up-button",
}
"""Names of `emojione` that are not today's CLDR names, as `slug` writes these."""

Art = dict[tuple[str, str], tuple[bytes, Drawing]]
"""(thing as a folder's name, maker) -> (source bytes, how to draw it)."""


def embedded_things(rows: Iterable[dict[str, Any]]) -> Things:
    """The things of the embedded set by bare code points, from the rows of its metadata."""
    return {bare(row["thing"]): row for row in rows}


def padded(code: str) -> str:
    """Bare code points of at least four digits each: "a9" -> "00a9", "23-20e3" -> "0023-20e3"."""
    return "-".join(point.zfill(4) for point in bare(code).split("-"))


def files_of_things(paths: Iterable[str], things: Things) -> dict[str, str]:
    """{thing: path} of drawings whose file names are code points; others are left out."""
    named = {padded(Path(path).stem): path for path in paths}
    return {thing: named[thing] for thing in things if thing in named}


def names_of(codes: dict[str, str]) -> dict[str, str]:
    """{icon name: bare code points}; a name that stands for several things says nothing."""
    often = Counter(codes.values())
    return {name: padded(code) for code, name in codes.items() if often[name] == 1}


def older_names(icons: dict[str, Any], things: Things) -> dict[str, str]:
    """{icon name: bare code points} for names that CLDR has changed since, by table and rule."""
    labels = {slug(entry["name_en"]): thing for thing, entry in things.items()}
    found = {}
    for name in [*icons["icons"], *icons.get("aliases", {})]:
        ways = (
            RENAMED.get(name, name),
            name.replace("flag-for-", "flag-"),
            name.removesuffix("-face"),  # bear-face, lion-face
            name.replace("cat-face", "cat"),
        )
        now = next((labels[way] for way in ways if way in labels), None)
        if now and name not in labels:
            found[name] = now
    return found


def collect(tarballs: dict[str, Path], things: Things) -> Art:
    """Every drawing that the three makers have of the embedded set's things."""
    art: Art = {}
    drawn = members_of(tarballs["twemoji"], lambda name: name.endswith(".svg"))
    for thing, path in files_of_things(drawn, things).items():
        document = drawn[path].decode()
        art[things[thing]["thing"], "twemoji"] = (drawn[path], partial(render, document))

    open_icons, open_codes = read_json(tarballs["openmoji"], "icons.json", "chars.json")
    (one_icons,) = read_json(tarballs["emojione"], "icons.json")
    names = names_of(open_codes) | older_names(one_icons, things)
    chosen = {
        "openmoji": (open_icons, by_code_points(open_codes, open_icons, things)),
        # this package has names only: read them as another collection of the same packager does
        "emojione": (one_icons, by_name(one_icons, names, things)),
    }
    for maker, (icons, table) in chosen.items():
        for thing, name in table.items():
            document = svg_document(icons, name)
            art[things[thing]["thing"], maker] = (document.encode(), partial(render, document))
    return art


def licences(art: Iterable[tuple[str, str]]) -> str:
    """What must be said wherever the pictures go."""
    counts = Counter(maker for _, maker in art)
    lines = [
        "# Licences of the evaluation art",
        "",
        "Fetched for evaluation. Do not train a generator on it and do not ship it with one.",
        "",
        "| pictures | maker | licence | taken from | number |",
        "|---|---|---|---|---|",
    ]
    for maker, package in PACKAGES.items():
        licence = f"{package['licence']}, {LICENCE_TEXTS[package['licence']]}"
        origin = f"npm `{package['name']}` {package['version']}"
        lines.append(f"| `{maker}` | {package['maker']} | {licence} | {origin} | {counts[maker]} |")
    lines += [
        "",
        "Changes made to every picture: rasterised, scaled to 64x64 pixels on a transparent",
        "square, colours rounded to steps of two levels, saved as lossless WebP under a file name",
        "made of its code points and its maker. Skin-tone variants were left out. The makers do",
        "not endorse this use.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder to write")
    parser.add_argument("--cache", type=Path, help="folder for the downloads (OUTPUT.cache)")
    parser.add_argument("--size", type=int, default=64, help="side in pixels (default 64)")
    options = parser.parse_args()
    output: Path = options.output.absolute()
    if output.exists() and not output.is_dir() or output.is_dir() and any(output.iterdir()):
        raise SystemExit(f"{output} is not empty. Give a new folder.")
    cache = options.cache or output.with_name(f"{output.name}.cache")

    with zipfile.ZipFile(RESOURCES / "emoji.zip") as archive:
        rows = [json.loads(line) for line in archive.read("metadata.jsonl").splitlines() if line]
    tarballs = {maker: fetch(package, cache) for maker, package in PACKAGES.items()}
    art = collect(tarballs, embedded_things(rows))

    beside = output.with_name(f".{output.name}.partial")
    shutil.rmtree(beside, ignore_errors=True)
    for (thing, maker), (source, draw) in tqdm(sorted(art.items()), desc="pictures", mininterval=2):
        picture = encode(source, draw, options.size, cache)
        path = beside / thing / f"{maker}.webp"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture)
    (beside / "LICENSES.md").write_text(licences(art), "utf-8")
    if output.is_dir():
        output.rmdir()
    beside.replace(output)
    counts = Counter(maker for _, maker in art)
    print(f"{len(art)} pictures of {len({thing for thing, _ in art})} things, {dict(counts)}")


if __name__ == "__main__":
    main()
