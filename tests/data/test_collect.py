"""Collecting pictures: a search made up here, a server on this machine that misbehaves."""

from __future__ import annotations

import hashlib
import io
import json
import socket
import sys
import time

import numpy as np
import pytest
from misbehaving_server import Busy, endless, fine, reset, status, trickle
from PIL import Image

from sfumato.data import open_source
from sfumato.data.checking.check import check
from sfumato.data.online import collect as module
from sfumato.data.online.client import Client, Limits
from sfumato.data.online.collect import caption, collect, slug
from sfumato.data.online.collected import opened
from sfumato.data.online.search import DuckDuckGo, Found, SearchOptions
from sfumato.errors import SfumatoError

SHORT = Limits(
    connect=1, read=0.5, total=1, tries=2, first_wait=0.01, longest_wait=0.1, redirects=3,
    at_once=4, at_once_from_one=4,
)  # fmt: skip


def picture(number, kind="PNG", side=160, **options):
    """Coarse noise: no two numbers look alike."""
    grain = np.random.default_rng(number).integers(0, 256, (6, 6, 3), np.uint8)
    image = Image.fromarray(grain).resize((side, side), Image.Resampling.BICUBIC)
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


class Search:
    """Finds what it is told to; remembers what it was asked."""

    def __init__(self, *found, trouble=None):
        self.found, self.trouble, self.asked = found, trouble, []

    def find(self, query, options):
        self.asked.append((query, options))
        yield from self.found
        if self.trouble:
            raise SfumatoError(self.trouble)


@pytest.fixture
def client(server):
    return Client(SHORT, trusted=[server.place])


def offer(server, count, **more):
    """So many good pictures, and what a search says of them."""
    for number in range(count):
        server.routes[f"/{number}.png"] = fine(picture(number))
    return [
        Found(f"{server.url}/{n}.png", f"http://page.example/{n}", f"Door number {n} in blue",
              "Example", **more)
        for n in range(count)
    ]  # fmt: skip


def rows(folder):
    lines = (folder / "metadata.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_the_result_is_a_data_set(server, client, tmp_path):
    found = offer(server, 6)
    options, folder = SearchOptions("on", "ru-ru", "large"), tmp_path / "art"
    search, seen = Search(*found), []
    summary = collect(
        "  street   art ", folder, 5, search, client, options,
        watch=lambda s: seen.append(s.total),
    )  # fmt: skip
    assert (summary.total, dict(summary.counts)) == (5, {"kept": 5})
    assert search.asked == [("street art", options)] and seen == [1, 2, 3, 4, 5]
    assert len(server.asked) == 5  # nothing is fetched in vain
    for number, row in enumerate(rows(folder)):
        content = (folder / row["file_name"]).read_bytes()
        assert content == picture(number)
        assert row["sha256"] == hashlib.sha256(content).hexdigest()
        assert row["text"] == row["title"] == f"Door number {number} in blue"
        assert (row["query"], row["licence"]) == ("street art", None)
        assert row["page"] == f"http://page.example/{number}" and row["source"] == "Example"
        assert row["url"] == f"{server.url}/{number}.png"
        assert (row["width"], row["height"]) == (160, 160)
        assert time.strptime(row["collected"], "%Y-%m-%d")
    report = check(folder)
    assert report.total == 5 and not any(
        report.counts()[kind] for kind in ("unreadable", "duplicate", "caption missing", "tiny")
    )
    source = open_source(folder)
    assert len(source) == 5 and not source.report().problems
    assert {source[i].captions for i in range(5)} == {
        (f"Door number {n} in blue",) for n in range(5)
    }


def test_the_same_call_goes_on_and_never_asks_twice(server, client, tmp_path):
    search = Search(*offer(server, 8))
    server.routes["/1.png"] = status(404)
    collect("doors", tmp_path, 3, search, client)
    collect("doors", tmp_path, 6, search, client)
    assert collect("doors", tmp_path, 6, search, client).counts == {}
    asked = [path for path, _ in server.asked]
    assert len(asked) == len(set(asked)) == 7
    assert len(rows(tmp_path)) == 6 == len(list(tmp_path.glob("*.png")))
    assert len(search.asked) == 2  # what is complete needs no search
    more = collect("gates", tmp_path, 1, search, client)  # another query, the same folder
    assert more.total == 1 and len(rows(tmp_path)) == 7


def test_whatever_ended_it_costs_one_line(server, client, tmp_path):
    search = Search(*offer(server, 6))
    collect("doors", tmp_path, 3, search, client)
    for name in ("metadata.jsonl", ".collect.jsonl"):
        with open(tmp_path / name, "ab") as file:
            file.write(b'{"url": "torn')
    summary = collect("doors", tmp_path, 5, search, client)
    assert summary.total == 5 and len(rows(tmp_path)) == 5
    assert not check(tmp_path).counts()["other"]


def test_an_unfinished_row_of_the_user_is_set_aside(server, client, tmp_path):
    mine = b'{"file_name": "mine.png", "text": "my careful caption"'
    (tmp_path / "a.png").write_bytes(picture(99))
    (tmp_path / "metadata.jsonl").write_bytes(b'{"file_name": "a.png"}\n' + mine)
    summary = collect("doors", tmp_path, 2, Search(*offer(server, 2)), client)
    assert summary.torn is not None and summary.torn.read_bytes() == mine + b"\n"
    assert [row["file_name"][0] for row in rows(tmp_path)] == ["a", "d", "d"]
    assert collect("doors", tmp_path, 2, Search(), client).torn is None
    assert not check(tmp_path).counts()["other"]


def test_a_file_that_has_a_row_gets_no_second(server, client, tmp_path):
    search = Search(*offer(server, 2))
    collect("doors", tmp_path, 2, search, client)
    plain = [{"file_name": row["file_name"], "text": "mine"} for row in rows(tmp_path)]
    for row in plain:  # rewritten by hand, and the pictures are elsewhere for a while
        (tmp_path / row["file_name"]).unlink()
    (tmp_path / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in plain))
    (tmp_path / ".collect.jsonl").unlink()
    assert dict(collect("doors", tmp_path, 2, search, client).counts) == {"duplicate": 2}
    assert rows(tmp_path) == plain


def test_two_programs_do_not_collect_into_one_folder(server, client, tmp_path):
    search, second = Search(*offer(server, 3)), []

    def meanwhile(_):
        with pytest.raises(SfumatoError, match="Another program is collecting") as caught:
            collect("doors", tmp_path, 3, search, client)
        second.append(caught.value)

    assert collect("doors", tmp_path, 3, search, client, watch=meanwhile).total == 3
    assert len(second) == 3 == len(rows(tmp_path))
    assert not list(tmp_path.glob("*.lock")) + list(tmp_path.glob(".*.lock"))


def test_no_single_result_ends_a_collection(server, client, tmp_path):
    good = offer(server, 4)
    huge = b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\nx"
    away = b"HTTP/1.1 302 F\r\nLocation: http://[\r\nContent-Length: 0\r\n\r\n"
    server.routes["/huge"] = lambda handler: handler.wfile.write(huge)
    server.routes["/away"] = lambda handler: handler.wfile.write(away)
    hostile = [
        *(Found(f"{server.url}/huge"), Found(f"{server.url}/away"), good[0]),
        *(Found("http://a.example/\ud800"), Found("http://\udfff.example/"), good[1]),
        Found(good[2].url, "http://page.example/\ud800", "Half a sign \ud83d here", "\udcff"),
        Found(good[3].url, title="A whole sign \ud83d\ude00 here"),
    ]
    fast = Client(SHORT, [server.place], resolver=resolves_here)
    summary = collect("doors \udc80", tmp_path, 4, Search(*hostile), fast)
    assert summary.total == 4 == len(rows(tmp_path)), summary
    assert [row["text"] for row in rows(tmp_path)][2:] == [
        "Half a sign \N{REPLACEMENT CHARACTER} here",
        "A whole sign \N{GRINNING FACE} here",
    ]
    for path in ("metadata.jsonl", ".collect.jsonl"):
        (tmp_path / path).read_text("utf-8")
    assert len(open_source(tmp_path)) == 4


def test_no_address_ends_the_journal(tmp_path):
    with opened(tmp_path) as store:
        store.done("http://a.example/\ud800", "address")
    with opened(tmp_path) as store:
        assert store.tried == {"http://a.example/\ud800"}


def resolves_here(host, port, **options):
    if host != "127.0.0.1":
        raise OSError("no network")
    return socket.getaddrinfo(host, port, **options)


def test_rows_of_others_are_kept(server, client, tmp_path):
    (tmp_path / "mine.png").write_bytes(picture(99))
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "mine.png", "text": "my own"}')
    server.routes["/copy"] = fine(picture(99, "JPEG"))
    found = [Found(f"{server.url}/copy"), *offer(server, 2)]
    summary = collect("doors", tmp_path, 2, Search(*found), client)
    assert dict(summary.counts) == {"duplicate": 1, "kept": 2}
    assert rows(tmp_path)[0] == {"file_name": "mine.png", "text": "my own"}
    assert len(rows(tmp_path)) == 3


def test_everything_that_is_no_picture_is_refused(server, client, tmp_path):
    good = picture(0)
    cases = {
        "/page.jpg": ("broken", fine(b"<html><img src=x></html>", Content_Type="image/jpeg")),
        "/empty.png": ("broken", fine(b"")),
        "/cut.png": ("broken", fine(good[: len(good) // 2])),
        "/vector.svg": ("broken", fine(b"<svg xmlns='http://www.w3.org/2000/svg'/>")),
        "/script.png": ("broken", fine(b"%!PS-Adobe-3.0 EPSF-3.0\n")),
        "/small.png": ("small", fine(picture(1, side=60))),
        "/black.png": ("blank", fine(black())),
        "/huge.png": ("large", endless([])),
        "/lying.png": ("large", endless([], Content_Length=10**11)),
        "/slow.png": ("slow", trickle()),
        "/gone.png": ("missing", status(404)),
        "/busy.png": ("server", status(429, Retry_After=60)),
        "/round.png": ("redirects", status(302, Location="/round.png")),
        "/inside.png": ("address", status(302, Location="http://169.254.169.254/keys")),
        "/reset.png": ("connection", reset),
        "/shy.png": ("declined", fine(good, X_Robots_Tag="otherbot: noindex, noai")),
        "/good.bin": ("kept", fine(good, Content_Type="text/html")),
    }
    server.routes.update({path: behaviour for path, (_, behaviour) in cases.items()})
    found = [Found(server.url + path) for path in cases]
    found += [Found("file:///etc/passwd"), Found("http://localhost/x.png"), Found("nonsense")]
    begun = time.monotonic()
    summary = collect("things", tmp_path, 50, Search(*found), client)
    assert time.monotonic() - begun < 8
    wanted = [kind for kind, _ in cases.values()] + ["address"] * 3
    assert dict(summary.counts) == {kind: wanted.count(kind) for kind in wanted}
    assert [row["file_name"][-4:] for row in rows(tmp_path)] == [".png"]  # by content
    asked = len(server.asked)
    collect("things", tmp_path, 50, Search(*found), client)
    assert len(server.asked) == asked


def black():
    stream = io.BytesIO()
    Image.new("RGB", (200, 200)).save(stream, "PNG")
    return stream.getvalue()


def test_decompression_bombs_are_refused_by_their_header(server, client, tmp_path):
    bomb = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(bomb, "PNG")
    server.routes["/bomb.png"] = fine(bomb.getvalue())
    search = Search(Found(f"{server.url}/bomb.png"))
    assert dict(collect("x", tmp_path, 1, search, client).counts) == {"broken": 1}


def test_copies_are_recognised(server, client, tmp_path):
    copies = {
        "/first.png": picture(0),
        "/same.png": picture(0),
        "/jpeg.jpg": picture(0, "JPEG", quality=60),
        "/larger.webp": picture(0, "WEBP", side=400),
        "/other.png": picture(1),
    }
    for path, content in copies.items():
        server.routes[path] = fine(content)
    summary = collect("x", tmp_path, 9, Search(*(Found(server.url + p) for p in copies)), client)
    assert dict(summary.counts) == {"kept": 2, "duplicate": 3}


def test_control_c_keeps_what_is_there(server, client, tmp_path):
    found = offer(server, 20)

    def stop(summary):
        if summary.total == 4:
            raise KeyboardInterrupt

    server.routes["/7.png"] = trickle()  # under way when it comes
    begun = time.monotonic()
    summary = collect("doors", tmp_path, 20, Search(*found), client, watch=stop)
    assert time.monotonic() - begun < 3
    assert summary.interrupted and summary.total == 4 == len(rows(tmp_path))
    server.routes["/7.png"] = fine(picture(7))
    fresh = Client(SHORT, trusted=[server.place])
    assert collect("doors", tmp_path, 20, Search(*found), fresh).total == 20


def test_when_the_search_fails_what_was_found_is_kept(server, client, tmp_path):
    search = Search(*offer(server, 3), trouble="The search has gone. Try later.")
    summary = collect("doors", tmp_path, 9, search, client)
    assert summary.total == 3 and summary.trouble.startswith("The search has gone")
    empty = Search(trouble="The search has gone. Try later.")
    with pytest.raises(SfumatoError, match="The search has gone"):
        collect("doors", tmp_path / "new", 9, empty, client)
    assert not (tmp_path / "new").exists()


def test_when_the_network_goes_no_address_is_lost(server, tmp_path):
    found = [Found(f"http://host{n}.example/x.png") for n in range(30)]

    def resolver(*_, **__):
        raise OSError("no network")

    client = Client(SHORT, resolver=resolver)
    with pytest.raises(SfumatoError, match="Check the network"):
        collect("doors", tmp_path, 20, Search(*found), client)
    assert not (tmp_path / ".collect.jsonl").exists()  # all may be asked for again


def test_never_more_at_once_than_allowed(server, tmp_path):
    found, busy = offer(server, 10), Busy()
    server.routes = {path: busy(behaviour) for path, behaviour in server.routes.items()}
    limits = Limits(at_once=3, at_once_from_one=3)
    collect("doors", tmp_path, 10, Search(*found), Client(limits, [server.place]))
    assert 1 < busy.most <= 3


@pytest.mark.parametrize(
    ("title", "wanted"),
    [
        ("Blue door in Porto | Example Photos", "Blue door in Porto"),
        ("Example - A very large mural by the river", "A very large mural by the river"),
        ("Tom &amp; Jerry", "Tom & Jerry"),
        ("Mural https://example.org/a.jpg", "Mural"),
        ("Граффити на стене — Пример", "Граффити на стене"),
        ("sunset-over-hills.jpg", "sunset-over-hills"),
        ("IMG_2041.JPG", "the query"),
        ("DSC00012", "the query"),
        ("12345", "the query"),
        ("", "the query"),
        ("  \x00 \n ", "the query"),
        ("line\nbreak", "line break"),
    ],
)
def test_captions_from_titles(title, wanted):
    assert caption(title, "the query") == wanted


def test_names_of_files():
    assert slug("Street art: Köln / Москва!") == "street-art-köln-москва"
    assert slug("../../?") == "picture" and len(slug("word " * 50)) <= 40


def test_no_words_no_search(client, tmp_path):
    with pytest.raises(SfumatoError, match="Give some words"):
        collect("  ", tmp_path, 1, Search(), client)


class Ddgs:
    """As ddgs 9: pages of rows, an exception for none."""

    def __init__(self, *pages):
        self.pages, self.asked = pages, []

    def images(self, query, **options):
        self.asked.append((query, options))
        page = options["page"] - 1
        found = self.pages[page] if page < len(self.pages) else RuntimeError("No results found.")
        if isinstance(found, Exception):
            raise found
        return found


def test_the_search_through_ddgs():
    row = {"title": "T", "image": "http://a/1.jpg", "thumbnail": "x", "url": "http://a/",
           "height": 300, "width": "400", "source": "Bing"}  # fmt: skip
    odd = {"title": None, "image": " http://a/2.jpg ", "url": 7, "height": "much", "width": -1}
    fake = Ddgs([row, {"image": ""}, odd, "rotten"], [row], [])
    search = DuckDuckGo(open_search=lambda: fake)
    found = list(search.find("words", SearchOptions("off", "ru-ru", "large")))
    assert found == [
        Found("http://a/1.jpg", "http://a/", "T", "Bing", 400, 300),
        Found("http://a/2.jpg"),
    ]
    assert fake.asked[0] == (
        "words",
        {"region": "ru-ru", "safesearch": "off", "size": "Large", "page": 1, "max_results": None,
         "backend": "duckduckgo"},
    )  # fmt: skip
    assert [options["page"] for _, options in fake.asked] == [1, 2]  # nothing new: the end
    plain = Ddgs([])
    assert list(DuckDuckGo(open_search=lambda: plain).find("w", SearchOptions())) == []
    assert "size" not in plain.asked[0][1]


def test_a_search_that_does_not_answer():
    fake = Ddgs(OSError("error resolving DNS\nmore"))
    with pytest.raises(SfumatoError, match="does not answer. Check the network") as caught:
        list(DuckDuckGo(open_search=lambda: fake).find("w", SearchOptions()))
    assert "DNS" not in str(caught.value) and "DNS" in str(caught.value.__cause__)
    assert len(fake.asked) == 2


def test_without_ddgs_the_cure_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "ddgs", None)
    with pytest.raises(SfumatoError, match=r"sfumato\[collect\]"):
        next(DuckDuckGo().find("words", SearchOptions()))


def test_the_real_ddgs_builds_the_request_we_mean(monkeypatch):
    """The parameters as DuckDuckGo's page sends them; no byte leaves this machine."""
    pytest.importorskip("ddgs")
    from ddgs.engines.duckduckgo_images import DuckduckgoImages

    sent = []
    answer = {"results": [{"image": "http://a/1.jpg", "url": "http://a/", "title": "T"}]}

    class Response:
        status_code = 200
        text = json.dumps(answer)
        content = text.encode()

    def request(self, *args, **kwargs):
        sent.append(kwargs.get("params") or kwargs)
        return json.dumps(answer)

    monkeypatch.setattr(DuckduckgoImages, "_get_vqd", lambda self, query: "1-2")
    monkeypatch.setattr(DuckduckgoImages, "request", request)
    found = next(DuckDuckGo().find("street art", SearchOptions("off", "ru-ru", "small")))
    assert found.url == "http://a/1.jpg"
    (asked,) = sent
    assert (asked["q"], asked["l"], asked["p"]) == ("street art", "ru-ru", "-1")
    assert "size:Small" in asked["f"]


@pytest.mark.parametrize("bad", [{"safe": "no"}, {"region": "russia"}, {"size": "xxl"}])
def test_options_that_are_none(bad):
    with pytest.raises(SfumatoError):
        SearchOptions(**bad)


def test_limits_are_for_strangers():
    assert module.PICTURE_LIMITS.total <= 60 and module.PICTURE_LIMITS.redirects <= 5
