"""Archives that mean harm; whether anything was written elsewhere is looked up on the disk."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import random
import stat
import struct
import tarfile
import tempfile
import zipfile
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sfumato.data.member_names import safe_parts
from sfumato.data.online.unpack import Room, unpack
from sfumato.errors import SfumatoError

pytestmark = pytest.mark.filterwarnings("ignore:Duplicate name")  # of zipfile, on purpose

MEMBERS = {"a.txt": b"first", "deep/er/b.bin": bytes(range(256)) * 40, "deep/empty": b""}
PACKERS = {
    ".tar": lambda content: content,
    ".tar.gz": gzip.compress,
    ".tar.bz2": bz2.compress,
    ".tar.xz": lzma.compress,
}


# kinds of members, as text where contents are bytes
LINK, HARD, CHAR, BLOCK, FIFO, FOLDER = (
    kind.decode()
    for kind in (
        *(tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE),
        *(tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE),
    )
)


def tar_bytes(members, form=tarfile.PAX_FORMAT):
    """Of (name, content or type) pairs; a name may be anything."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form) as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if isinstance(content, bytes):
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
            else:
                info.type = content.encode()
                info.linkname = "../outside.txt"
                tar.addfile(info)
    return stream.getvalue()


def zip_bytes(members, packing=zipfile.ZIP_DEFLATED):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", packing) as archive:
        for name, content in members:
            info = zipfile.ZipInfo("x")
            info.filename = name  # past what the library makes of it
            info.compress_type = packing
            if not isinstance(content, bytes):
                info.create_system = 3
                kinds = {LINK: stat.S_IFLNK, FIFO: stat.S_IFIFO, FOLDER: stat.S_IFDIR}
                info.external_attr = (kinds.get(content, stat.S_IFCHR) | 0o777) << 16
                content = b"../outside.txt"
            archive.writestr(info, content)
    return stream.getvalue()


def everything_below(folder):
    """Every path with its kind and content; links are not followed."""
    found = {}
    for where, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(where, name)
            kind = stat.S_IFMT(path.lstat().st_mode)
            content = path.read_bytes() if stat.S_ISREG(kind) else None
            found[str(path.relative_to(folder))] = (kind, content)
    return found


def attempt(base, name, content, room=None):
    """Unpack in a little world; returns what is in the target, or the sentence of refusal."""
    world = base / "world"
    (world / "inner").mkdir(parents=True)
    (world / "outside.txt").write_bytes(b"untouched")
    archive = world / "inner" / name
    archive.write_bytes(content)
    target = world / "inner" / "target"
    before = everything_below(base)
    try:
        unpack(archive, target, room)
    except SfumatoError as error:
        assert everything_below(base) == before, "something was left behind"
        said = str(error)
        assert said.isprintable() and said.endswith("."), said
        return said
    after = everything_below(base)
    top = str(target.relative_to(base))
    outside = {k: v for k, v in after.items() if k != top and not k.startswith(top + os.sep)}
    assert outside == before, "something was written outside the target"
    inside = {k[len(top) + 1 :]: v for k, v in after.items() if k.startswith(top + os.sep)}
    assert all(stat.S_ISREG(kind) or stat.S_ISDIR(kind) for kind, _ in inside.values())
    return {k.replace(os.sep, "/"): v for k, (kind, v) in inside.items() if stat.S_ISREG(kind)}


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
@pytest.mark.parametrize("ending", PACKERS)
def test_tar_comes_out_as_it_went_in(tmp_path, ending, form):
    members = [("deep", FOLDER), ("./", FOLDER), *MEMBERS.items()]
    packed = PACKERS[ending](tar_bytes(members, form))
    assert attempt(tmp_path, "x.bin", packed) == MEMBERS  # judged by content, not by name


@pytest.mark.parametrize("packing", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_zip_comes_out_as_it_went_in(tmp_path, packing):
    assert attempt(tmp_path, "x", zip_bytes([("deep/", b""), *MEMBERS.items()], packing)) == MEMBERS


def test_a_single_packed_file(tmp_path):
    assert attempt(tmp_path, "file.idx.gz", gzip.compress(b"one") + gzip.compress(b"two")) == {
        "file.idx": b"onetwo"
    }


def test_a_broken_header_in_the_middle_is_not_the_end(tmp_path):
    rotten = bytearray(tar_bytes([("a", b"1"), ("b", b"2")]))
    rotten[1024] ^= 1  # the second header's first byte
    assert "damaged" in attempt(tmp_path, "x", bytes(rotten))


def test_large_members_and_long_names(tmp_path):
    content = random.Random(0).randbytes(3 << 20)
    members = [(f"{'n' * 150}/{'m' * 150}", content), ("after", b"x" * 1537), ("last", b"")]
    for name, packed in (("t", gzip.compress(tar_bytes(members), 1)), ("z", zip_bytes(members))):
        assert attempt(tmp_path / name, "x", packed) == dict(members)


names = st.lists(
    st.sampled_from(
        ["..", ".", "", "a", "A", "b.txt", "C:", "c:\\x", "..\\..", "con", "NUL.txt", "dots..",
         "sp ", "q?", "é", "e\u0301", "\u202e", "x" * 300, "~", "-rf", "${HOME}", "a\nb", "\0"]
    ),
    min_size=1,
    max_size=5,
).map("/".join)  # fmt: skip
kinds = st.one_of(
    st.binary(max_size=40),
    st.sampled_from([LINK, HARD, CHAR, BLOCK, FIFO]),
    st.just(FOLDER),
)
absolute = st.sampled_from(["", "", "", "/", "/tmp/", "//", "\\\\server\\share\\"])
members = st.lists(
    st.tuples(st.builds(str.__add__, absolute, names), kinds), min_size=1, max_size=6
)


@settings(max_examples=150)
@given(members, st.booleans())
def test_whatever_is_in_it_nothing_lands_outside(members, tar):
    packed = tar_bytes(members) if tar else zip_bytes(members)
    with tempfile.TemporaryDirectory() as folder:
        result = attempt(Path(folder), "x", packed)
    special = {LINK, HARD, CHAR, BLOCK, FIFO}
    bad = any(content in special for _, content in members)
    # tar cuts names at a zero, and "/" alone is the target itself: neither writes anything
    plain = [name for name, _ in members if "\0" not in name and name.strip("/")]
    if bad or any(".." in name.split("/") or name.startswith("/") for name in plain):
        assert isinstance(result, str), result


@settings(max_examples=100)
@given(st.data(), st.sampled_from([*PACKERS, ".zip"]))
def test_damage_is_one_sentence_or_harmless(data, ending):
    whole = zip_bytes(MEMBERS.items()) if ending == ".zip" else None
    whole = whole or PACKERS[ending](tar_bytes(MEMBERS.items()))
    harm = data.draw(st.sampled_from(["cut", "flip", "insert"]))
    place = data.draw(st.integers(0, len(whole) - 1))
    rotten = bytearray(whole)
    if harm == "cut":
        del rotten[place:]
    elif harm == "flip":
        rotten[place] ^= data.draw(st.integers(1, 255))
    else:
        rotten[place:place] = data.draw(st.binary(min_size=1, max_size=64))
    with tempfile.TemporaryDirectory() as folder:
        result = attempt(Path(folder), "x", bytes(rotten))
    if harm == "cut" and ending != ".tar":  # tar itself carries no sum, and ends in padding
        assert isinstance(result, str)


@pytest.mark.parametrize("pack", [tar_bytes, zip_bytes])
@pytest.mark.parametrize(
    ("name", "why"),
    [("../evil", "leads out"), ("a/../../evil", "leads out"), ("/etc/evil", "absolute"),
     ("C:evil", "absolute"), ("c:/evil", "absolute"), ("a\\..\\evil", "backslash"),
     ("a\x1b[2Jb", "control"), ("x" * 300, "long"), ("/".join("a" * 30), "deep")],
)  # fmt: skip
def test_names_that_lead_elsewhere_are_named(tmp_path, pack, name, why):
    said = attempt(tmp_path, "x", pack([("good", b"1"), (name, b"2")]))
    assert why in said and repr(name)[1:8] in said, said


@pytest.mark.parametrize("kind", [LINK, HARD, FIFO])
def test_links_and_devices_are_named(tmp_path, kind):
    for number, pack in enumerate((tar_bytes, zip_bytes)):
        said = attempt(tmp_path / str(number), "x", pack([("good", b"1"), ("odd", kind)]))
        linked = kind == LINK or (kind == HARD and pack is tar_bytes)  # zip has no hard ones
        assert ("'odd' is a link" if linked else "'odd' is neither") in said


def test_writing_through_a_link_of_the_archive(tmp_path):
    members = [("way", LINK), ("way/evil", b"x")]
    assert "is a link" in attempt(tmp_path, "x", tar_bytes(members))


@pytest.mark.parametrize("pack", [tar_bytes, zip_bytes])
@pytest.mark.parametrize(
    "members",
    [
        [("a", b"1"), ("a", b"2")],
        [("a", b"1"), ("A", b"2")],
        [("é", b"1"), ("e\u0301", b"2")],
        [("a", b"1"), ("a/b", b"2")],
        [("a/b", b"1"), ("a", b"2")],
        [("a/b", b"1"), ("A/c", b"2")],
        [("a?", b"1"), ("a*", b"2")],
        [("x.", b"1"), ("x_", b"2")],
    ],
)
def test_two_members_that_are_one_file_somewhere(tmp_path, pack, members):
    assert "nothing was unpacked" in attempt(tmp_path, "x", pack(members))


@pytest.mark.parametrize(
    ("name", "becomes"),
    [("con", "_con"), ("sub/NUL.txt", "sub/_NUL.txt"), ("com1.tar.gz", "_com1.tar.gz"),
     ("lpt9", "_lpt9"), ("console", "console"), ("dots..", "dots__"), ("space ", "space_"),
     ('a<b>:"|?*', "a_b______"), (".hidden", ".hidden"), ("...", "___")],
)  # fmt: skip
def test_names_that_windows_cannot_store(tmp_path, name, becomes):
    assert attempt(tmp_path, "x", zip_bytes([(name, b"1")])) == {becomes: b"1"}
    assert "/".join(safe_parts(name)) == becomes


def zip_of_lies(claimed):
    """A zip whose headers say another size than its content has."""
    packed = bytearray(zip_bytes([("a", b"0" * 5000)]))
    real = struct.pack("<I", 5000)
    while (place := packed.find(real)) >= 0:
        packed[place : place + 4] = struct.pack("<I", claimed)
    return bytes(packed)


@pytest.mark.parametrize("claimed", [10, 4999, 5001, 2_000_000_000])
def test_a_header_that_lies_about_the_size(tmp_path, claimed):
    said = attempt(tmp_path, "x", zip_of_lies(claimed), Room(total=10_000))
    assert isinstance(said, str)


@pytest.mark.parametrize("ending", [".tar.gz", ".tar.bz2", ".tar.xz", ".zip", ".gz"])
def test_bombs(tmp_path, ending):
    zeros = bytes(20 << 20)
    if ending == ".zip":
        packed = zip_bytes([("bomb", zeros)])
    else:
        packed = PACKERS.get(ending, gzip.compress)(tar_bytes([("bomb", zeros)]))
    if ending == ".gz":
        packed = gzip.compress(zeros)
    assert len(packed) < len(zeros) / 200
    said = attempt(tmp_path / "ratio", "bomb.gz", packed)
    assert "bomb" in said and "nothing was unpacked" in said
    said = attempt(tmp_path / "total", "bomb.gz", packed, Room(total=1 << 20, ratio=1e9))
    assert "bomb" in said and "1 MB allowed" in said or "swells" in said


def test_too_many_members(tmp_path):
    many = [(f"{n}", b"") for n in range(30)]
    for number, pack in enumerate((tar_bytes, zip_bytes)):
        said = attempt(tmp_path / str(number), "x", pack(many), Room(members=20))
        assert "'20'" in said and "20 that are allowed" in said
        assert len(attempt(tmp_path / f"ok{number}", "x", pack(many), Room(members=30))) == 30


def test_a_name_that_would_fill_the_memory(tmp_path):
    """A PAX header of 30 MB of one letter, which packs into nothing."""
    info = tarfile.TarInfo("x")
    info.pax_headers = {"path": "a" * (30 << 20)}
    packed = gzip.compress(info.tobuf(tarfile.PAX_FORMAT) + bytes(1024))
    assert len(packed) < 100_000
    said = attempt(tmp_path, "x", packed, Room(ratio=1e9))
    assert "unreasonably large" in said


def test_endless_headers(tmp_path):
    one = tarfile.TarInfo("x")
    one.type, one.size = tarfile.GNUTYPE_LONGNAME, 2
    chain = (one.tobuf(tarfile.GNU_FORMAT) + b"a\0".ljust(512, b"\0")) * 5000
    assert isinstance(attempt(tmp_path, "x", chain), str)


def test_sparse_members_are_refused(tmp_path):
    info = tarfile.TarInfo("holes")
    about = {"major": "1", "minor": "0", "name": "holes", "realsize": "1000000000000"}
    info.pax_headers = {f"GNU.sparse.{key}": value for key, value in about.items()}
    info.size = 512
    packed = info.tobuf(tarfile.PAX_FORMAT) + b"0\n".ljust(512, b"\0") + bytes(1024)
    assert isinstance(attempt(tmp_path, "x", packed), str)


def test_encrypted_and_unusually_packed(tmp_path):
    packed = bytearray(zip_bytes([("secret", b"x")]))
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        packed[packed.find(mark) + offset] |= 1
    assert "encrypted" in attempt(tmp_path / "e", "x", bytes(packed))
    for packing in (zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2):
        said = attempt(tmp_path / str(packing), "x", zip_bytes([("odd", b"x" * 99)], packing))
        assert "unusual" in said


@pytest.mark.parametrize("content", [b"", b"PK", b"<html>", bytes(1000), b"\x1f\x8b", b"BZh9"])
def test_what_is_no_archive(tmp_path, content):
    assert isinstance(attempt(tmp_path, "x", content), str)


def test_xz_may_not_want_all_the_memory(tmp_path):
    # a header that wants a dictionary of 4 GB, made by hand
    whole = lzma.compress(tar_bytes(MEMBERS.items()))
    assert whole[12] == 2 and whole[14:16] == b"\x21\x01"
    header = bytearray(whole[12:20])
    header[4] = 40  # 4 GB
    packed = whole[:12] + bytes(header) + struct.pack("<I", zlib.crc32(header)) + whole[24:]
    said = attempt(tmp_path, "x", packed)
    assert "emory" in said


def test_what_is_there_is_not_touched(tmp_path):
    archive = tmp_path / "x.zip"
    archive.write_bytes(zip_bytes(MEMBERS.items()))
    target = tmp_path / "target"
    target.mkdir()
    (target / "mine").write_text("keep")
    with pytest.raises(SfumatoError, match="there already"):
        unpack(archive, target)
    assert (target / "mine").read_text() == "keep"
    (tmp_path / "way").symlink_to(target)
    with pytest.raises(SfumatoError, match="there already"):
        unpack(archive, tmp_path / "way")
    (target / "mine").unlink()
    unpack(archive, target)  # an empty folder may be filled
    assert (target / "a.txt").read_bytes() == b"first"
    with pytest.raises(SfumatoError, match="cannot be unpacked"):
        unpack(tmp_path / "no.zip", tmp_path / "other")


def test_leftovers_of_a_crash_are_cleared(tmp_path):
    archive = tmp_path / "x.zip"
    archive.write_bytes(zip_bytes(MEMBERS.items()))
    (tmp_path / ".target.unpacking").mkdir()
    (tmp_path / ".target.unpacking" / "old").write_text("x")
    unpack(archive, tmp_path / "target")
    assert not (tmp_path / "target" / "old").exists()


def test_no_member_can_be_run(tmp_path):
    info = tarfile.TarInfo("run")
    info.size, info.mode, info.uid = 1, 0o6777, 0
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        tar.addfile(info, io.BytesIO(b"x"))
    (tmp_path / "x").write_bytes(stream.getvalue())
    unpack(tmp_path / "x", tmp_path / "target")
    assert not (tmp_path / "target" / "run").stat().st_mode & 0o7111
