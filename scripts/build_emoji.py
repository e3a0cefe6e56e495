# /// script
# requires-python = ">=3.11"
# dependencies = ["numpy", "pillow==13.0.0", "resvg-py==0.5.0", "tqdm"]
# ///
"""Build the embedded emoji data set: six designs, 64x64 RGBA, English and Russian names.

    python scripts/build_emoji.py --cache CACHE --out src/sfumato/resources/emoji.zip

Needs Python 3.11 and `npm`; the Python packages are named below in the form that script runners
read. The result is a function of the pinned packages (`emoji_sources.toml`), the code points of
the FxEmojis (`emoji_fx_codepoints.toml`), the licence text and the versions of the two rendering
libraries: two builds are byte-identical.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import io
import json
import re
import subprocess
import sys
import tarfile
import tomllib
import unicodedata
import zipfile
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image
from tqdm import tqdm

from emoji_drawings import Drawing, encode, read_picture, render, svg_document

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "src"))

from sfumato.data.decode import fit  # noqa: E402 - found beside this script
from sfumato.pictures.colours import main_colour  # noqa: E402

RESOURCES = HERE.parent / "src" / "sfumato" / "resources"
STYLES = ("noto", "blob", "fx", "3d", "color", "flat")
# Microsoft's three renderings are one design, often near-identical: split as one.
FAMILY = {"3d": "fluent", "color": "fluent", "flat": "fluent"}
HELD_OUT_SHARE = 0.05

Things = dict[str, dict[str, Any]]


# ---------------------------------------------------------------- packages


def fetch(package: dict[str, str], cache: Path) -> Path:
    """Path of the package's tarball in `cache`, downloaded if absent, its sha512 verified."""
    name = package["name"].lstrip("@").replace("/", "-") + f"-{package['version']}.tgz"
    path = cache / name
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        wanted = f"{package['name']}@{package['version']}"
        subprocess.run(["npm", "pack", "--silent", wanted], cwd=cache, check=True)
    digest = base64.b64encode(hashlib.sha512(path.read_bytes()).digest()).decode()
    if f"sha512-{digest}" != package["integrity"]:
        raise SystemExit(f"{name} is not the pinned file. Delete it from the cache and try again.")
    return path


def read_members(tarball: Path, wanted: Callable[[str], bool]) -> dict[str, bytes]:
    """The members below `package/` whose path `wanted` accepts, by path."""
    with tarfile.open(tarball) as archive:
        members = ((m.name.removeprefix("package/"), archive.extractfile(m)) for m in archive)
        return {name: file.read() for name, file in members if file and wanted(name)}


def read_json(tarball: Path, *names: str) -> list[Any]:
    members = read_members(tarball, lambda name: name in names)
    return [json.loads(members[name]) for name in names]


# ---------------------------------------------------------------- names


def bare(code: str) -> str:
    """Code points without the variation selector: vendors disagree about writing it."""
    return code.lower().replace("-fe0f", "")


def official(entry: dict[str, Any]) -> str:
    """Fully qualified code points: characters that default to text carry the selector FE0F."""
    code = entry["hexcode"].lower()
    return f"{code}-fe0f" if entry["type"] == 0 and "-" not in code else code


def slug(label: str) -> str:
    """The label as icon packages write it: "Côte d’Ivoire" -> "cote-divoire"."""
    plain = unicodedata.normalize("NFKD", label).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain.replace("&", "and").replace("'", "")).strip("-")


def read_things(tarball: Path) -> Things:
    """Everything with a name, keyed by bare code points, in Unicode's order.

    Skin tones are nested below their base entry in the source, so the top level has none. Entries
    without a group (single regional indicators) and components (a lone beard, a tone) are no
    pictures of things.
    """
    english, russian, messages = read_json(
        tarball, "en/data.json", "ru/data.json", "en/messages.json"
    )
    groups = {group["order"]: group["key"] for group in messages["groups"]}
    in_russian = {entry["hexcode"]: entry for entry in russian}
    things: Things = {}
    for entry in sorted((e for e in english if "group" in e), key=lambda e: e["order"]):
        group = groups[entry["group"]]
        if group == "component":
            continue
        other = in_russian[entry["hexcode"]]
        things[bare(entry["hexcode"])] = {
            "thing": official(entry),
            "group": group,
            "name_en": entry["label"],
            "keywords_en": entry.get("tags", []),
            "name_ru": other["label"],
            "keywords_ru": other.get("tags", []),
        }
    return things


# ---------------------------------------------------------------- collections


def by_code_points(codes: dict[str, str], icons: dict[str, Any], things: Things) -> dict[str, str]:
    """{thing: icon name} from the collection's own table {code points: icon name}."""
    known = icons["icons"].keys() | icons.get("aliases", {}).keys()
    return {bare(c): n for c, n in codes.items() if bare(c) in things and n in known}


def by_name(icons: dict[str, Any], names: dict[str, str], things: Things) -> dict[str, str]:
    """{thing: icon name} from names; an icon's own name goes before an older alias."""
    labels = {slug(entry["name_en"]): thing for thing, entry in things.items()}
    found: dict[str, str] = {}
    for name in [*icons["icons"], *icons.get("aliases", {})]:
        thing = names.get(name) or labels.get(name)
        if thing in things:
            found.setdefault(thing, name)
    return found


def collect(
    tarballs: dict[str, Path], things: Things, sources: dict[str, Any]
) -> dict[str, dict[str, tuple[bytes, Drawing]]]:
    """{style: {thing: (source bytes, how to draw it)}} for every picture there is."""
    icons = {
        style: read_json(tarballs[style], "icons.json")[0] for style in STYLES if style != "3d"
    }
    (noto_codes,) = read_json(tarballs["noto"], "chars.json")
    (fluent_codes,) = read_json(tarballs["flat"], "chars.json")
    # The blob set has names only: read them as the other collections of the same packager do.
    names = {n: bare(c) for codes in (fluent_codes, noto_codes) for c, n in codes.items()}
    fx = tomllib.loads((HERE / "emoji_fx_codepoints.toml").read_text("utf-8"))["fx"]
    chosen: dict[str, dict[str, str]] = {
        "noto": by_code_points(noto_codes, icons["noto"], things),
        "blob": by_name(icons["blob"], names | sources["blob_names"], things),
        "fx": {bare(code): name for name, code in fx.items() if bare(code) in things},
        "color": by_code_points(fluent_codes, icons["color"], things),
        "flat": by_code_points(fluent_codes, icons["flat"], things),
    }
    result: dict[str, dict[str, tuple[bytes, Drawing]]] = {style: {} for style in STYLES}
    for style, table in chosen.items():
        for thing, name in table.items():
            document = svg_document(icons[style], name)
            result[style][thing] = (document.encode(), partial(render, document))

    def add_pictures(style: str, package: str, folder: str, accept: Callable[[str], bool]) -> None:
        for path, data in read_members(tarballs[package], lambda n: n.startswith(folder)).items():
            thing = bare(Path(path).stem)
            if thing in things and accept(thing):
                result[style][thing] = (data, partial(read_picture, data))

    # Google draws the flags of countries as pixels only. The 3D package adds flags (and perhaps
    # more) that are not Microsoft's: keep what Microsoft's own vector collections name too.
    add_pictures("noto", "noto_flags", "img/google/64/", lambda t: t not in result["noto"])
    microsoft = result["flat"].keys() | result["color"].keys()
    add_pictures("3d", "3d", "assets/", lambda t: t in microsoft)
    return result


# ---------------------------------------------------------------- split and archive


def is_drawn(family: str, thing: str) -> bool:
    digest = hashlib.blake2b(f"{family}/{thing}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") < HELD_OUT_SHARE * 2**64


def exact_twins(pictures: dict[tuple[str, str], bytes]) -> set[tuple[str, str]]:
    """The (style, thing) pairs whose very picture the style also uses for another thing."""
    sharing: dict[tuple[str, bytes], list[tuple[str, str]]] = {}
    for pair, data in pictures.items():
        sharing.setdefault((pair[0], data), []).append(pair)
    return {pair for pairs in sharing.values() if len(pairs) > 1 for pair in pairs}


def held_out(pictures: dict[tuple[str, str], bytes]) -> set[tuple[str, str]]:
    """The (style, thing) pairs never trained on: a 5% draw by hash, one draw per design family.

    Only things with at least three styles, and never all families of a thing: the pair is to be
    new, the thing is not. Families with an exact twin stay, since training would show the answer.
    """
    twins = exact_twins(pictures)
    families_of: dict[str, dict[str, list[tuple[str, str]]]] = {}
    for style, thing in pictures:
        family = families_of.setdefault(thing, {}).setdefault(FAMILY.get(style, style), [])
        family.append((style, thing))
    held: set[tuple[str, str]] = set()
    for thing, families in families_of.items():
        drawn = [name for name in families if is_drawn(name, thing)]
        if sum(map(len, families.values())) >= 3 and len(drawn) < len(families):
            for name in drawn:
                if twins.isdisjoint(families[name]):
                    held.update(families[name])
    return held


def colour_of(webp: bytes) -> str | None:
    """The colour a person would name the whole picture by, if there is one."""
    with Image.open(io.BytesIO(webp)) as picture:
        return main_colour(fit(picture, picture.width, 4))


def write_archive(path: Path, members: list[tuple[str, bytes]]) -> None:
    """A zip whose bytes depend on the members only; pictures are stored, texts deflated."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    with zipfile.ZipFile(partial, "w") as archive:
        for name, data in members:
            info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            info.create_system, info.external_attr = 3, 0o644 << 16
            stored = name.endswith(".webp")
            info.compress_type = zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED
            archive.writestr(info, data, compresslevel=None if stored else 9)
    partial.replace(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cache", type=Path, required=True, help="folder for the downloads")
    parser.add_argument("--out", type=Path, default=RESOURCES / "emoji.zip")
    parser.add_argument("--size", type=int, default=64, help="side in pixels (default 64)")
    options = parser.parse_args()

    sources = tomllib.loads((HERE / "emoji_sources.toml").read_text("utf-8"))
    tarballs = {key: fetch(p, options.cache) for key, p in sources["packages"].items()}
    things = read_things(tarballs["names"])
    drawings = collect(tarballs, things, sources)
    excluded = {tuple(pair.split("/")) for pair in sources["excluded"]}
    pairs = [(s, t) for s in STYLES for t in things if t in drawings[s]]
    names = {t: things[t]["thing"] for t in things}
    if unknown := excluded - {(s, names[t]) for s, t in pairs}:
        raise SystemExit(f"Excluded pictures that do not exist: {sorted(unknown)}.")
    pairs = [(s, t) for s, t in pairs if (s, names[t]) not in excluded]

    pictures = {
        (s, names[t]): encode(*drawings[s][t], options.size, options.cache)
        for s, t in tqdm(pairs, desc="pictures", mininterval=2)
    }
    held = held_out(pictures)
    files = {pair: "/".join(pair) + ".webp" for pair in pictures}
    rows = [
        {
            "file_name": files[s, names[t]],
            "style": s,
            **things[t],
            "colour": colour_of(pictures[s, names[t]]),
            "held_out": (s, names[t]) in held,
        }
        for s, t in pairs
    ]
    metadata = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    licences = (RESOURCES / "EMOJI_LICENSES.md").read_bytes()
    texts = [("metadata.jsonl", metadata.encode()), ("LICENSES.md", licences)]
    write_archive(options.out, texts + sorted((files[p], d) for p, d in pictures.items()))

    counts = Counter(style for style, _ in pairs)
    distinct = len({thing for _, thing in pairs})
    print(f"{len(pairs)} pictures of {distinct} things, {len(held)} held out, {dict(counts)}")
    print(f"{options.out.stat().st_size:,} bytes")
    print("sha256", hashlib.sha256(options.out.read_bytes()).hexdigest())


if __name__ == "__main__":
    main()
