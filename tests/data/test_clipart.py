"""Clip art: titles and keywords from RDF, drawings that attack, pictures without words."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from PIL import Image

from sfumato.data import clipart, open_source
from sfumato.data.clipart import DEBIAN_FOLDER, captions_of
from sfumato.data.decode import UnreadablePicture
from sfumato.data.flickr import is_test
from sfumato.data.svg import LARGEST, About, Draughtsman, about
from sfumato.errors import SfumatoError

DRAWING = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.0//EN" "http://www.w3.org/TR/2001/REC/DTD/svg10.dtd">
<svg width="{width}" height="50mm" viewBox="0 0 100 100" xmlns="http://www.w3.org/2000/svg"
 xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns:cc="http://web.resource.org/cc/"
 xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:xlink="http://www.w3.org/1999/xlink">
<metadata><rdf:RDF><cc:Work rdf:about="">
 <dc:title>{title}</dc:title>
 <dc:subject><rdf:Bag><rdf:li/><rdf:li>hash</rdf:li>{words}</rdf:Bag></dc:subject>
 <dc:creator><cc:Agent><dc:title>Somebody</dc:title></cc:Agent></dc:creator>
</cc:Work></rdf:RDF></metadata>
{body}</svg>
"""
CIRCLE = '<circle cx="50" cy="50" r="{r}" fill="{fill}"/>'


def drawing(title="A cat", words=("cat", "mammal"), body=None, fill="red", r=30, width="50mm"):
    body = CIRCLE.format(r=r, fill=fill) if body is None else body
    words = "".join(f"<rdf:li>{word}</rdf:li>" for word in words)
    return DRAWING.format(title=title, words=words, body=body, width=width).encode()


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    for name in ("XDG_CACHE_HOME", "XDG_DATA_HOME", "SFUMATO_DATA"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setattr(clipart, "DEBIAN_FOLDER", tmp_path / "debian")


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def test_titles_and_keywords():
    said = about(drawing(" A \n cat &amp; dog ", ("cat", "mammal_x", "cat")))
    assert said == About("A cat & dog", ("hash", "cat", "mammal_x"))
    assert about(b"<svg xmlns='http://www.w3.org/2000/svg'/>") == About()
    wanted = ("a cat & dog", "a cat & dog, cat, mammal x", "cat, mammal x")
    assert captions_of("animals/x.svg", said) == wanted
    # titles that say nothing: a file's, a collection's, none
    assert captions_of("a/red_hat_01.svg", About("hat_03.svg")) == ("hat",)
    assert captions_of("a/red_hat.svg", About("Various Cliparts"), common=True) == ("red hat",)
    assert captions_of("a/red_hat.svg", About("Clipart by A. Man - 7", ("hat",)))[0] == "red hat"


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (b"", "empty"),
        (b"\x89PNG\r\n\x1a\n", "not well-formed"),
        (drawing()[:-20], "not well-formed"),
        (b"<html><svg/></html>", "not an SVG"),
        (b'<!DOCTYPE svg [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><svg>&b;</svg>', "entities"),
        (b'<!DOCTYPE svg [<!ENTITY a SYSTEM "file:///etc/passwd">]><svg>&a;</svg>', "entities"),
        (drawing(body='<image xlink:href="file:///etc/hostname"/>'), "another picture"),
        (drawing(body='<image xlink:href="data:image/png;base64,AAAA"/>'), "another picture"),
        (drawing(body="<g>" * 600 + "</g>" * 600), "nests more"),
        (b"<svg>" + b" " * LARGEST + b"</svg>", "too large"),
        (b'<?xml version="1.0" encoding="nonsense"?><svg/>', "not well-formed|cannot be read"),
    ],
)
def test_what_is_not_opened(document, reason):
    with pytest.raises(UnreadablePicture, match=reason):
        about(document)


def bomb(levels):
    groups = ['<g id="a0"><rect width="1" height="1"/></g>']
    for level in range(1, levels):
        uses = f'<use xlink:href="#a{level - 1}"/>' * 10
        groups.append(f'<g id="a{level}">{uses}</g>')
    return drawing(body=f'<defs>{"".join(groups)}</defs><use xlink:href="#a{levels - 1}"/>')


def test_drawings_that_never_end_or_eat_memory_end_only_their_own_process():
    pytest.importorskip("resvg_py")
    with Draughtsman(seconds=6.0) as draughtsman:
        for hostile in (bomb(9), drawing(width="1").replace(b"50mm", b"1000000000")):
            with pytest.raises(UnreadablePicture, match="seconds or too much memory|cannot be"):
                draughtsman.draw(hostile)
        with pytest.raises(UnreadablePicture, match="cannot be drawn"):
            draughtsman.draw(b"no drawing")
        assert draughtsman.draw(drawing()).startswith(b"\x89PNG")  # and the next one is drawn


def names(part, count, folder="animals"):
    """File names that the hash puts into one part."""
    candidates = (f"{folder}/cat {n}.svg" for n in range(100_000))
    return [name for name in candidates if is_test(name) == (part == "test")][:count]


def test_drawings_are_drawn_once_and_kept(tmp_path, monkeypatch):
    pytest.importorskip("resvg_py")
    root = tmp_path / "openclipart"
    train, test = names("train", 6), names("test", 2)
    colours = ["red", "lime", "blue", "yellow", "cyan", "magenta", "black", "white"]
    for name, colour in zip(train + test, colours, strict=True):
        write(root / "svg" / name, drawing(f"A {colour} disc", ("disc",), fill=colour))
    left_out = {
        "same/a.svg": drawing("A red disc", ("disc",), fill="red"),
        "blank/a.svg": drawing(body=""),
        "wide/a.svg": drawing().replace(b'"50mm"', b'"500"', 1).replace(b"50mm", b"9"),
        "flat-theme/a.svg": drawing(fill="#123"),
        "x/a.svg": drawing(words=("theme", "a"), fill="#124"),
        "bad/a.svg": b"<svg",
        "bad/b.svg": drawing(body='<image xlink:href="/etc/hostname"/>'),
    }
    for name, content in left_out.items():
        write(root / "svg" / name, content)
    (root / "svg/link.svg").symlink_to(root / "svg" / train[0])
    source = open_source(root, size=16)
    assert (source.channels, source.name, source.classes) == (4, "clipart", ())
    assert len(source) == 6
    assert source[1].captions == ("a lime disc", "a lime disc, disc", "disc")
    assert source[1].image[:, 8, 8].tolist() == [0, 255, 0, 255]
    assert source[1].image[:, 0, 0].tolist() == [0, 0, 0, 0]
    assert len(open_source(root, size=16, split="test")) == 2
    monkeypatch.setattr(Draughtsman, "draw", None)  # a second time nothing is drawn
    assert len(open_source(root, size=32)) == 6
    with pytest.raises(SfumatoError, match="no part 'all'"):
        open_source(root, split="all")


def test_pictures_without_drawings(tmp_path):
    with pytest.raises(SfumatoError, match="clipart was not found.*apt install openclipart-svg"):
        open_source("clipart")
    root = tmp_path / "SFUMATO_DATA/clipart"
    for name in ("png/animals/birds/red_crow_01.png", "png/x-theme/a.png"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGBA", (8, 8), (255, 0, 0, 128)).save(root / name)
    (root / "png/animals/broken.png").write_bytes(b"")
    (root / "png/animals/link.png").symlink_to("/etc/hostname")
    source = open_source("clipart", size=8)
    assert len(source) == 2 and source.channels == 4 and source.report().replaced == 1
    assert source[0].captions == ("red crow", "red crow, birds")
    assert np.ptp(source[0].image[0]) == 0 and source[0].image[0, 0, 0] == 128  # premultiplied


def test_without_the_renderer(tmp_path, monkeypatch):
    write(tmp_path / "set/a.svg", drawing())
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(SfumatoError, match=r'pip install "sfumato\[clipart\]"'):
        open_source(tmp_path / "set")


def test_drawings_beside_pictures_do_not_make_clip_art(tmp_path):
    write(tmp_path / "set/logo.svg", drawing())
    Image.new("RGB", (8, 8)).save(tmp_path / "set/a.png")
    assert type(open_source(tmp_path / "set", size=8)).__name__ == "FolderSource"


@pytest.mark.slow
@pytest.mark.skipif(not (DEBIAN_FOLDER / "svg").is_dir(), reason="openclipart-svg is not installed")
def test_the_real_clip_art():
    found = clipart.read_drawings(DEBIAN_FOLDER / "svg", "train")
    assert 4000 < len(found) < 4500
    assert all(captions and all(captions) for _, _, captions in found)
    assert len({hashlib.blake2b(document).digest() for _, document, _ in found}) == len(found)
