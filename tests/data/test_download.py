"""The web client against a server that does everything wrong; nothing leaves this machine."""

from __future__ import annotations

import gzip
import hashlib
import ipaddress
import os
import shutil
import socket
import threading
import time
from collections import namedtuple
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st
from misbehaving_server import (
    Busy,
    Server,
    endless,
    fine,
    head,
    in_turn,
    ranged,
    reset,
    status,
    trickle,
)

from sfumato import __version__
from sfumato.data import alone as alone_module
from sfumato.data.alone import alone
from sfumato.data.online import client as client_module
from sfumato.data.online.addresses import is_public, parse
from sfumato.data.online.client import Client, DownloadError, Limits
from sfumato.data.online.download import Digest, download, hash_of
from sfumato.errors import SfumatoError

CONTENT = bytes(range(256)) * 2000  # 512 kB
SHORT = Limits(
    connect=1, read=0.4, total=1.2, tries=3, first_wait=0.01, longest_wait=2, redirects=4
)


@pytest.fixture
def client(server):
    return Client(SHORT, trusted=[server.place])


def failure(work, *arguments):
    with pytest.raises(DownloadError) as caught:
        work(*arguments)
    said = str(caught.value)
    # cause and cure, and nothing that could harm a terminal
    assert said.endswith(".") and said.count(". ") >= 1 and said.isprintable(), said
    return caught.value


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.9.9.9", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1",
        "169.254.169.254", "0.0.0.0", "100.64.0.1", "224.0.0.1", "239.1.1.1", "240.0.0.1",
        "255.255.255.255", "192.0.2.1", "192.88.99.1", "192.0.0.8", "::ffff:192.0.0.8",
        "198.18.0.1", "::1", "::", "fe80::1", "fe80::1%eth0",
        "fc00::1", "fd12::1", "ff02::1", "fec0::1", "2001:db8::1", "::ffff:127.0.0.1",
        "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "nonsense",
    ],
)  # fmt: skip
def test_addresses_that_are_nobodys_business(address):
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "93.184.216.34", "2606:4700::1111", "64:ff9b::808:808", "2002:808:808::"]
)
def test_addresses_of_the_open_internet(address):
    assert is_public(address)


@given(st.ip_addresses(v=4), st.booleans())
def test_an_address_inside_an_address_counts(ip, sixth):
    inside = int(ip)
    wrapped = (
        ipaddress.IPv6Address((0x2002 << 112) | (inside << 80))
        if sixth
        else ipaddress.IPv6Address((0x64FF9B << 96) | inside)
    )
    assert is_public(str(wrapped)) == is_public(str(ip))
    assert is_public(f"::ffff:{ip}") == is_public(str(ip))


@pytest.mark.parametrize(
    "url",
    ["file:///etc/passwd", "ftp://example.org/a", "javascript:1", "", "http://", "//example.org/a",
     "http://user:secret@example.org/", "http://exa\nmple.org/", "http://[::1", "http://a:99999/",
     "http://a..b/", "http://a.example/\ud800", "http://a.example/?\udfff", "http://\ud800.example/",
     "http://[fe80::1%\ud800]/"],
)  # fmt: skip
def test_what_is_no_address_of_the_web(url):
    error = failure(parse, url)
    assert error.kind == "address" and "secret" not in str(error)


def test_addresses_are_brought_into_form():
    assert parse("HTTPS://Example.ORG:443/a b/ж?q=й#part").url == (
        "https://example.org/a%20b/%D0%B6?q=%D0%B9"
    )
    assert parse("http://пример.рф/%20").url == "http://xn--e1afmkfd.xn--p1ai/%20"
    assert parse("http://example.org:8080").place == "example.org:8080"


def test_it_says_who_it_is(server, client):
    server.routes["/a"] = fine(b"content")
    assert client.read(f"{server.url}/a", 100) == b"content"
    (headers,) = server.headers("/a")
    assert headers["User-Agent"] == f"sfumato/{__version__}"
    assert headers["Host"] == server.place


def test_this_very_machine_is_refused_unless_it_is_trusted(server):
    server.routes["/a"] = fine(b"secret")
    for host in ("127.0.0.1", "localhost", "2130706433", "0x7f.1", "0.0.0.0", "[::ffff:127.0.0.1]"):
        url = f"http://{host}:{server.place.split(':')[1]}/a"
        assert failure(Client(SHORT).read, url, 100).kind in ("address", "offline")
    assert not server.asked


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_redirect_may_not_lead_inside(server, client, code):
    inner = Server()
    inner.routes["/keys"] = fine(b"secret")
    try:
        for onward in (
            *(f"{inner.url}/keys", f"http://localhost:{inner.place.split(':')[1]}/keys"),
            *("http://169.254.169.254/latest/", "http://[::1]/", "file:///etc/passwd"),
            *("http://10.0.0.1/", "//192.168.0.1/", "gopher://127.0.0.1/", "http://0/"),
        ):
            server.routes["/a"] = status(code, Location=onward)
            assert failure(client.read, f"{server.url}/a", 100).kind == "address", onward
        assert not inner.asked
    finally:
        inner.close()


@pytest.mark.parametrize("onward", ["http://[", "http://[::1]x/", "http://a\u2100b/"])
def test_a_redirect_that_is_no_address(server, client, onward):
    line = f"HTTP/1.1 302 F\r\nLocation: {onward}\r\nContent-Length: 0\r\n\r\n"
    server.routes["/a"] = lambda handler: handler.wfile.write(line.encode())
    assert failure(client.read, f"{server.url}/a", 100).kind == "address"


def test_a_length_of_thousands_of_digits(server, client, tmp_path):
    server.routes["/a"] = lambda handler: handler.wfile.write(
        b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\nx"
    )
    assert client.read(f"{server.url}/a", 100) == b"x"  # as where no length is stated
    download(f"{server.url}/a", tmp_path / "f", client, 100)
    assert (tmp_path / "f").read_bytes() == b"x"


def test_an_honest_redirect_is_followed(server, client):
    server.routes["/a"] = status(302, Location="b?c=1")
    server.routes["/b?c=1"] = fine(b"there")
    assert client.read(f"{server.url}/a", 100) == b"there"


def test_redirects_have_an_end(server, client):
    server.routes["/a"] = status(302, Location="/a")
    assert failure(client.read, f"{server.url}/a", 100).kind == "redirects"
    assert len(server.asked) == SHORT.redirects + 1


def test_an_encrypted_way_is_not_left(server, monkeypatch):
    monkeypatch.setattr(client_module, "encrypted", lambda connection, host, tls: connection)
    server.routes["/a"] = status(302, Location=f"{server.url}/b")
    server.routes["/b"] = fine(b"changed")
    error = failure(Client(SHORT, [server.place]).read, f"https://{server.place}/a", 100)
    assert error.kind == "redirects" and len(server.asked) == 1


def test_who_does_not_speak_tls_is_no_https_server(server, client):
    server.routes["/a"] = fine(b"plain")
    assert failure(client.read, f"https://{server.place}/a", 100).kind == "connection"


def entry(address):
    return (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 80))


def test_every_address_of_a_name_is_judged():
    def resolver(*_, **__):
        return [entry("93.184.216.34"), entry("127.0.0.1")]

    error = failure(Client(SHORT, resolver=resolver).read, "http://two.example/", 100)
    assert error.kind == "address" and "127.0.0.1" in str(error)


def test_a_name_is_looked_up_once_and_that_address_is_used(monkeypatch):
    answers = [[entry("93.184.216.34")], [entry("127.0.0.1")]]
    reached = []

    def connect(self, where):
        reached.append(where)
        raise OSError("no network here")

    monkeypatch.setattr(socket.socket, "connect", connect)
    client = Client(Limits(tries=1), resolver=lambda *_, **__: answers.pop(0))
    assert failure(client.read, "http://turns.example/", 100).kind == "connection"
    assert reached == [("93.184.216.34", 80)] and len(answers) == 1


def test_an_unknown_host_is_one_sentence():
    def resolver(*_, **__):
        raise socket.gaierror(-2, "Name or service not known")

    error = failure(Client(SHORT, resolver=resolver).read, "http://nowhere.example/", 100)
    assert error.kind == "offline" and "nowhere.example" in str(error)


def test_looking_up_has_an_end():
    begun = time.monotonic()
    client = Client(Limits(connect=0.2, tries=1), resolver=lambda *_, **__: time.sleep(5))
    assert failure(client.read, "http://slow.example/", 100).kind == "offline"
    assert time.monotonic() - begun < 2


def test_a_trickle_has_an_end(server, client):
    server.routes["/a"] = trickle()
    begun = time.monotonic()
    error = failure(Client(Limits(total=0.6, tries=1), [server.place]).read, f"{server.url}/a", 1e6)
    assert error.kind == "slow" and time.monotonic() - begun < 3


def test_headers_that_trickle_have_an_end(server):
    def answer(handler):
        for number in range(200):
            handler.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n" if number % 2 else b"")
            time.sleep(0.02)

    server.routes["/a"] = answer
    client = Client(Limits(total=0.5, tries=1), [server.place])
    begun = time.monotonic()
    assert failure(client.read, f"{server.url}/a", 100).kind == "slow"
    assert time.monotonic() - begun < 3


@pytest.mark.parametrize("limits", [Limits(read=0.2, tries=1), Limits(total=0.2, tries=1)])
def test_silence_has_an_end(server, limits):
    server.routes["/a"] = lambda handler: time.sleep(2)
    begun = time.monotonic()
    assert failure(Client(limits, [server.place]).read, f"{server.url}/a", 100).kind == "slow"
    assert time.monotonic() - begun < 1.5


def test_a_flood_of_headers(server, client):
    server.routes["/a"] = lambda handler: head(handler, **{f"X{n}": n for n in range(300)})
    assert failure(client.read, f"{server.url}/a", 100).kind == "connection"


@pytest.mark.parametrize("stated", [{}, {"Content_Length": 10**12}, {"Content_Length": "x"}])
def test_an_endless_body_is_left(server, client, tmp_path, stated):
    sent: list[int] = []
    server.routes["/a"] = endless(sent, **stated)
    assert failure(client.read, f"{server.url}/a", 200_000).kind == "large"
    target = tmp_path / "file"
    assert failure(download, f"{server.url}/a", target, client, 200_000).kind == "large"
    time.sleep(0.1)
    assert sum(sent) < 60e6  # what the system's buffers took in, not 128 MB twice
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 200_000 + 300
    assert not target.exists()


def test_no_more_is_read_than_was_announced(server, client):
    server.routes["/a"] = endless([], Content_Length=5)
    assert client.read(f"{server.url}/a", 100) == bytes(5)


def test_what_is_not_there(server, client):
    for code in (404, 410):
        server.routes["/a"] = status(code)
        assert failure(client.read, f"{server.url}/a", 100).kind == "missing"
    server.routes["/a"] = status(403)
    assert failure(client.read, f"{server.url}/a", 100).kind == "server"
    assert len(server.asked) == 3  # no second try for any of them


def test_a_busy_server_is_asked_again(server, client):
    server.routes["/a"] = in_turn(status(500), status(503), fine(b"at last"))
    assert client.read(f"{server.url}/a", 100) == b"at last"
    server.routes["/b"] = status(502)
    assert failure(client.read, f"{server.url}/b", 100).kind == "server"
    assert len(server.headers("/b")) == SHORT.tries


@pytest.mark.parametrize("stated", ["1", lambda: formatdate(time.time() + 1.9, usegmt=True)])
def test_a_wanted_pause_is_made(server, client, stated):
    wait = stated if isinstance(stated, str) else stated()
    server.routes["/a"] = in_turn(status(429, Retry_After=wait), fine(b"thanks"))
    begun = time.monotonic()
    assert client.read(f"{server.url}/a", 100) == b"thanks"
    assert time.monotonic() - begun > 0.5


def test_but_not_for_ever(server, client):
    server.routes["/a"] = status(429, Retry_After=3600)
    begun = time.monotonic()
    assert "3600 s" in str(failure(client.read, f"{server.url}/a", 100))
    assert time.monotonic() - begun < 1 and len(server.asked) == 1
    server.routes["/b"] = in_turn(status(503, Retry_After="soon"), fine(b"x"))
    assert client.read(f"{server.url}/b", 100) == b"x"


def test_packed_answers(server, client):
    whole = gzip.compress(CONTENT)
    server.routes["/a"] = fine(whole, Content_Encoding="gzip")
    assert client.read(f"{server.url}/a", len(CONTENT)) == CONTENT
    assert failure(client.read, f"{server.url}/a", len(CONTENT) - 1).kind == "large"
    server.routes["/a"] = fine(whole[:-20], Content_Encoding="gzip")
    assert "cut off" in str(failure(client.read, f"{server.url}/a", 10**6))
    server.routes["/a"] = fine(b"no gzip", Content_Encoding="gzip")
    assert failure(client.read, f"{server.url}/a", 10**6).kind == "connection"


def test_a_body_that_breaks_off(server, client):
    def half(handler):
        head(handler, Content_Length=1000)
        handler.wfile.write(bytes(500))

    def half_chunk(handler):
        head(handler, Transfer_Encoding="chunked")
        handler.wfile.write(b"100\r\nabc")

    for behaviour in (half, half_chunk):
        server.routes["/a"] = in_turn(behaviour, fine(b"whole"))
        assert client.read(f"{server.url}/a", 10**6) == b"whole"


@pytest.mark.parametrize(("at_once", "from_one"), [(4, 2), (2, 4), (1, 3)])
def test_never_more_than_so_many_at_once(server, at_once, from_one):
    busy = Busy()
    server.routes["/a"] = busy(fine(b"x"))
    client = Client(Limits(at_once=at_once, at_once_from_one=from_one), [server.place])
    threads = [
        threading.Thread(target=client.read, args=(f"{server.url}/a", 100)) for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(server.asked) == 6 and busy.most == min(at_once, from_one)


def test_cancelling_ends_what_others_wait_for(server):
    server.routes["/a"] = trickle()
    client = Client(Limits(), [server.place])
    kinds = []
    thread = threading.Thread(
        target=lambda: kinds.append(failure(client.read, f"{server.url}/a", 10**6).kind)
    )
    thread.start()
    time.sleep(0.2)
    begun = time.monotonic()
    client.cancel()
    thread.join(5)
    assert kinds and time.monotonic() - begun < 2


def sha(content):
    return Digest("sha256", hashlib.sha256(content).hexdigest())


@pytest.mark.parametrize("kind", ["sha256", "md5"])
def test_a_file_comes_whole_or_not_at_all(server, client, tmp_path, kind):
    server.routes["/a"] = fine(CONTENT)
    target, told = tmp_path / "file", []
    digest = Digest(kind, hashlib.new(kind, CONTENT).hexdigest())
    download(f"{server.url}/a", target, client, 10**6, digest, lambda *now: told.append(now))
    assert target.read_bytes() == CONTENT and os.listdir(tmp_path) == ["file"]
    assert told[0] == (0, len(CONTENT)) and told[-1] == (len(CONTENT), len(CONTENT))
    assert hash_of(target, kind) == digest.value
    download(f"{server.url}/a", target, client, 10**6, digest)
    assert len(server.asked) == 1  # it is there: nobody is asked again


def test_a_wrong_file_is_not_kept(server, client, tmp_path):
    server.routes["/a"] = fine(CONTENT)
    error = failure(download, f"{server.url}/a", tmp_path / "f", client, 10**6, sha(b"other"))
    assert error.kind == "checksum" and os.listdir(tmp_path) == []


@pytest.mark.parametrize("digest", [None, sha(CONTENT)])
def test_a_reset_is_resumed(server, tmp_path, digest):
    client = Client(Limits(tries=4, first_wait=0.01), [server.place])
    server.routes["/a"] = ranged(CONTENT, breaks_at=200_000)
    download(f"{server.url}/a", tmp_path / "f", client, 10**6, digest)
    assert (tmp_path / "f").read_bytes() == CONTENT
    first, second, third = server.headers("/a")
    assert "Range" not in first and second["If-Range"] == third["If-Range"] == '"1"'
    # a reset also throws away what had arrived and was not read yet
    begins = [int(one["Range"].removeprefix("bytes=").removesuffix("-")) for one in (second, third)]
    assert begins[0] <= 200_000 and begins[0] < begins[1] <= 400_000


def interrupted(server, client, tmp_path, **more):
    """A first call that Ctrl-C ended after a part."""

    def stop(done, total):
        if done > 150_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download(f"{server.url}/a", tmp_path / "f", client, 10**6, progress=stop, **more)
    have = (tmp_path / "f.partial").stat().st_size
    assert 0 < have < len(CONTENT) and not (tmp_path / "f").exists()
    return have


def test_after_control_c_the_same_call_goes_on(server, client, tmp_path):
    server.routes["/a"] = ranged(CONTENT)
    have = interrupted(server, client, tmp_path)
    download(f"{server.url}/a", tmp_path / "f", client, 10**6)
    assert (tmp_path / "f").read_bytes() == CONTENT and os.listdir(tmp_path) == ["f"]
    assert server.headers("/a")[1]["Range"] == f"bytes={have}-"


@pytest.mark.parametrize("heeds", [True, False])
@pytest.mark.parametrize("known", [True, False])
def test_another_file_under_the_same_address_is_begun_anew(server, client, tmp_path, heeds, known):
    server.routes["/a"] = ranged(CONTENT, '"1"')
    interrupted(server, client, tmp_path)
    other = CONTENT[::-1]
    good = ranged(other, '"2"')

    def blind(handler):  # a server that ignores If-Range
        del handler.headers["If-Range"]
        good(handler)

    server.routes["/a"] = good if heeds else blind
    digest = sha(other) if known else None
    download(f"{server.url}/a", tmp_path / "f", client, 10**6, digest)
    assert (tmp_path / "f").read_bytes() == other


def test_without_a_mark_and_a_digest_nothing_is_glued_together(server, client, tmp_path):
    server.routes["/a"] = fine(CONTENT)
    interrupted(server, client, tmp_path)
    download(f"{server.url}/a", tmp_path / "f", client, 10**6)
    assert (tmp_path / "f").read_bytes() == CONTENT
    assert "Range" not in server.headers("/a")[1]
    server.routes["/b"] = ranged(CONTENT, 'W/"weak"')
    server.routes["/a"] = server.routes["/b"]
    (tmp_path / "f").unlink()
    interrupted(server, client, tmp_path)
    download(f"{server.url}/a", tmp_path / "f", client, 10**6)
    assert "Range" not in server.headers("/a")[-1]


def test_another_mirror_goes_on_where_the_digest_tells(server, client, tmp_path):
    server.routes["/a"] = ranged(CONTENT)
    have = interrupted(server, client, tmp_path)
    server.routes["/b"] = ranged(CONTENT, '"b"')
    download(f"{server.url}/b", tmp_path / "f", client, 10**6, sha(CONTENT))
    (asked,) = server.headers("/b")
    assert asked["Range"] == f"bytes={have}-" and "If-Range" not in asked


@pytest.mark.parametrize("rest", [CONTENT, CONTENT[:50_000], b"rotten" * 1000])
def test_whatever_lies_there_the_digest_has_the_last_word(server, client, tmp_path, rest):
    server.routes["/a"] = ranged(CONTENT)
    (tmp_path / "f.partial").write_bytes(rest)
    (tmp_path / "f.partial.json").write_text("[rotten")
    download(f"{server.url}/a", tmp_path / "f", client, 10**6, sha(CONTENT))
    assert (tmp_path / "f").read_bytes() == CONTENT and os.listdir(tmp_path) == ["f"]


@pytest.mark.parametrize("stated", [{}, {"Content_Range": "bytes 7-8/9"}])
def test_parts_that_nobody_asked_for(server, client, tmp_path, stated):
    server.routes["/a"] = ranged(CONTENT)
    interrupted(server, client, tmp_path)
    whole = ranged(CONTENT)
    server.routes["/a"] = in_turn(status(206, ETag='"1"', **stated), whole)
    download(f"{server.url}/a", tmp_path / "f", client, 10**6)
    assert (tmp_path / "f").read_bytes() == CONTENT


def test_a_full_disk_is_noticed_before(server, client, tmp_path, monkeypatch):
    server.routes["/a"] = fine(CONTENT)
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9, 1000))
    error = failure(download, f"{server.url}/a", tmp_path / "f", client, 10**6)
    assert error.kind == "space" and "0.5 MB do not fit" in str(error)
    assert os.listdir(tmp_path) in ([], ["f.partial.json"])


@pytest.mark.parametrize("first", [b"", b"begun"])
def test_two_programs_do_not_write_into_one_file(server, client, tmp_path, first):
    asked, go_on, ended = threading.Event(), threading.Event(), []

    def slow(handler):
        head(handler, Content_Length=10)
        handler.wfile.write(first)
        handler.wfile.flush()
        asked.set()
        go_on.wait(5)
        handler.wfile.write(b"0123456789"[len(first) :])

    server.routes["/a"] = slow
    patient = Client(Limits(tries=1), trusted=[server.place])

    def one():
        try:
            ended.append(download(f"{server.url}/a", tmp_path / "f", patient, 100))
        except SfumatoError as error:
            ended.append(error)

    thread = threading.Thread(target=one)
    thread.start()
    assert asked.wait(5)
    for _ in range(2):
        with pytest.raises(SfumatoError, match="Another program"):
            download(f"{server.url}/a", tmp_path / "f", client, 100)
    go_on.set()
    thread.join(10)
    # the first is none the worse for it
    assert ended == [tmp_path / "f"] and os.listdir(tmp_path) == ["f"]
    assert (tmp_path / "f").read_bytes() == (first + b"0123456789"[len(first) :])


@pytest.mark.skipif(os.name == "nt", reason="links need a right there")
@pytest.mark.parametrize("name", ["f.partial", "f.partial.json", ".f.lock"])
@pytest.mark.parametrize("hard", [False, True])
def test_nothing_is_written_through_a_prepared_link(server, client, tmp_path, name, hard):
    server.routes["/a"] = fine(CONTENT)
    victim, folder = tmp_path / "victim", tmp_path / "shared"
    victim.write_text("precious")
    folder.mkdir()
    if hard:
        os.link(victim, folder / name)
    else:
        (folder / name).symlink_to(victim)
    with pytest.raises(SfumatoError, match=r"link.*Remove it"):
        download(f"{server.url}/a", folder / "f", client, 10**6)
    assert victim.read_text() == "precious"


@pytest.mark.skipif(not hasattr(os, "O_NOFOLLOW"), reason="the system knows no such opening")
def test_a_link_that_comes_at_the_last_moment_is_not_followed(tmp_path, monkeypatch):
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "f").symlink_to(tmp_path / "victim")
    monkeypatch.setattr(alone_module, "demand_plain", lambda _: None)
    for mode in ("wb", "ab", "r+b"):
        with pytest.raises(OSError):
            alone_module.open_plain(tmp_path / "f", mode)
    assert (tmp_path / "victim").read_text() == "precious"


def test_a_lock_is_for_one_and_vanishes(tmp_path):
    lock = tmp_path / ".lock"
    with alone(lock, "Taken."):
        for _ in range(2):
            with pytest.raises(SfumatoError, match="Taken"), alone(lock, "Taken."):
                pass
            assert lock.exists()
    assert not lock.exists()
    with alone(lock, "Taken."):
        pass


def test_a_folder_that_is_not_there(server, client, tmp_path):
    with pytest.raises(SfumatoError, match="Choose another folder"):
        download(f"{server.url}/a", tmp_path / "no" / "f", client, 10**6)


def test_a_reset_before_anything_came(server, client, tmp_path):
    server.routes["/a"] = reset
    assert failure(download, f"{server.url}/a", tmp_path / "f", client, 10**6).kind == "connection"
    assert os.listdir(tmp_path) == [] and len(server.asked) == SHORT.tries
