"""Clip art: titles and keywords from RDF, drawings that attack, pictures without words."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from PIL import Image

from sfumato.data import open_source
from sfumato.data.decode import UnreadablePicture
from sfumato.data.sources import clipart
from sfumato.data.sources.clipart import DEBIAN_FOLDER, captions_of
from sfumato.data.sources.svg import LARGEST, About, Draughtsman, about
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


def test_the_current_folder_is_no_place_for_modules(tmp_path, monkeypatch):
    pytest.importorskip("resvg_py")
    for name in ("resvg_py", "json", "contextlib"):
        ran = f"open({str(tmp_path / 'ran')!r}, 'w').close()\nraise SystemExit\n"
        (tmp_path / f"{name}.py").write_text(ran)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))  # as python -m does
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with Draughtsman() as draughtsman:
        assert draughtsman.draw(drawing()).startswith(b"\x89PNG")
    assert not (tmp_path / "ran").exists()


def parts(monkeypatch, share):
    """Another share of pictures for testing, so that few are enough."""
    monkeypatch.setattr("sfumato.data.sources.flickr.TEST_SHARE", share)


def images(source):
    return {source[i].image.tobytes() for i in range(len(source))}


def test_the_same_drawing_is_never_in_both_parts(tmp_path, monkeypatch):
    pytest.importorskip("resvg_py")
    parts(monkeypatch, 0.5)
    for number in range(40):  # every fill under two names and with another comment
        body = CIRCLE.format(r=30, fill=f"#{5 * (number // 2):02x}0000") + f"<!-- {number} -->"
        write(tmp_path / f"openclipart/svg/{number}.svg", drawing(body=body))
    train, test = (open_source(tmp_path / "openclipart", 16, split=p) for p in ("train", "test"))
    assert len(train) + len(test) == 20 and len(train) > 3 and len(test) > 3
    assert not images(train) & images(test)
    told = train.report().text() + test.report().text()
    assert told.count("is drawn like another one; left out") == 20


def test_pictures_are_sorted_out_like_drawings(tmp_path, monkeypatch):
    parts(monkeypatch, 0.5)
    folder = tmp_path / "openclipart/png"
    folder.mkdir(parents=True)
    for number in range(40):
        pixels = np.zeros((8, 8, 3), np.uint8)
        pixels[2:] = 10 * (number // 2) + 20
        Image.fromarray(pixels).save(folder / f"{number}.png", compress_level=number % 2)
    Image.new("RGB", (8, 8), "white").save(folder / "blank.png")
    Image.effect_noise((80, 8), 90).save(folder / "wide.png")
    train, test = (open_source(folder.parent, 8, 3, split=p) for p in ("train", "test"))
    assert len(train) + len(test) == 20 and len(train) > 3 and len(test) > 3
    assert not images(train) & images(test)
    told = train.report().text(99) + test.report().text(99)
    for name, reason in (("wide.png", "is very wide or high"), ("blank.png", "is blank")):
        assert f"{name}: {reason}; left out" in told
    assert told.count("looks like another one; left out") == 20


def test_a_renderer_that_fails_is_an_error_and_not_for_ever(tmp_path, monkeypatch):
    pytest.importorskip("resvg_py")
    parts(monkeypatch, 0)
    write(tmp_path / "set/a.svg", drawing())
    write(tmp_path / "set/bad.svg", b"<svg")
    with monkeypatch.context() as away:
        away.setattr("sfumato.data.sources.svg._paths", list)  # nothing can be imported
        with pytest.raises(SfumatoError, match=r"cannot start .*Install it anew"):
            open_source(tmp_path / "set", size=8)
    with monkeypatch.context() as away:
        away.setattr(
            "sfumato.data.sources.svg._asked", lambda p, frame, s: (not frame, b"a bad day")
        )
        with pytest.raises(SfumatoError, match="no samples .*problem: bad.svg: not well-formed"):
            open_source(tmp_path / "set", size=8)
    source = open_source(tmp_path / "set", size=8)
    assert len(source) == 1
    assert "bad.svg: not well-formed XML" in source.report().text()


def test_drawings_are_drawn_once_and_kept(tmp_path, monkeypatch):
    pytest.importorskip("resvg_py")
    root = tmp_path / "openclipart"
    parts(monkeypatch, 0)
    train = [f"animals/cat {number}.svg" for number in range(8)]
    colours = ["red", "lime", "blue", "yellow", "cyan", "magenta", "black", "white"]
    for name, colour in zip(train, colours, strict=True):
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
    assert len(source) == 8
    assert source[1].captions == ("a lime disc", "a lime disc, disc", "disc")
    assert source[1].image[:, 8, 8].tolist() == [0, 255, 0, 255]
    assert source[1].image[:, 0, 0].tolist() == [0, 0, 0, 0]
    told = source.report().text()
    assert "bad/a.svg: not well-formed" in told and "blank/a.svg: is blank; left out" in told
    monkeypatch.setattr(Draughtsman, "draw", None)  # a second time nothing is drawn
    assert len(open_source(root, size=32)) == 8
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
@pytest.mark.skipif(not (DEBIAN_FOLDER / "svg").is_dir(), reason="openclipart-svg, 180 MB")
def test_the_real_clip_art():
    found = clipart.read_drawings(DEBIAN_FOLDER / "svg", {})
    assert 4100 < len(found) < 4700
    assert all(captions and all(captions) for _, _, captions in found)
    assert len({hashlib.blake2b(document).digest() for _, document, _ in found}) == len(found)
