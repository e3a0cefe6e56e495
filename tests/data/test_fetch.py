"""Fetching known data sets from a mirror on this machine, in small but true to format."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import re
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from misbehaving_server import fine, ranged, status
from PIL import Image

from sfumato.data import open_source
from sfumato.data.online import catalogue
from sfumato.data.online.catalogue import CATALOGUE, Entry, Remote, entry
from sfumato.data.online.client import Client, Limits
from sfumato.data.online.download import Digest
from sfumato.data.online.fetch import RECEIPT, fetch, installed
from sfumato.errors import SfumatoError
from sfumato.locale import LANGUAGES, messages

SHORT = Limits(connect=1, read=0.5, total=2, tries=2, first_wait=0.01)


@pytest.fixture
def client(server):
    return Client(SHORT, trusted=[server.place])


def offered(server, known, contents):
    """The entry of the catalogue, but with these contents at that server."""
    files = []
    for remote in known.files:
        content = contents[remote.name]
        server.routes[f"/sets/{remote.name}"] = ranged(content)
        digest = Digest("md5", hashlib.md5(content).hexdigest())
        files.append(Remote(remote.name, len(content), digest, (f"{server.url}/sets",)))
    return replace(known, files=tuple(files))


def idx_files():
    random = np.random.default_rng(0)
    pictures, labels = random.integers(0, 256, (4, 28, 28), np.uint8), np.arange(4, dtype=np.uint8)
    found = {}
    for part in ("train", "t10k"):
        for kind, values in (("images-idx3", pictures), ("labels-idx1", labels)):
            sides = b"".join(side.to_bytes(4, "big") for side in values.shape)
            content = b"\0\0\x08" + bytes([values.ndim]) + sides + values.tobytes()
            found[f"{part}-{kind}-ubyte.gz"] = gzip.compress(content)
    return found


def cifar_archive():
    stream = io.BytesIO()
    names = [f"data_batch_{n}.bin" for n in range(1, 6)] + ["test_batch.bin"]
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for number, name in enumerate(names):
            records = np.random.default_rng(number).integers(0, 256, (3, 3073), np.uint8)
            records[:, 0] = number
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            info.size = records.size
            tar.addfile(info, io.BytesIO(records.tobytes()))
    return {"cifar-10-binary.tar.gz": stream.getvalue()}


def tiny_archive():
    stream, picture = io.BytesIO(), io.BytesIO()
    Image.effect_noise((64, 64), 80).convert("RGB").save(picture, "JPEG")
    top = "tiny-imagenet-200"
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(f"{top}/wnids.txt", "n01443537\nn01629819\n")
        archive.writestr(f"{top}/words.txt", "n01443537\tgoldfish\nn01629819\tsalamander\n")
        for wnid in ("n01443537", "n01629819"):
            archive.writestr(f"{top}/train/{wnid}/{wnid}_boxes.txt", f"{wnid}_0.JPEG\t0\t0\t9\t9\n")
            archive.writestr(f"{top}/train/{wnid}/images/{wnid}_0.JPEG", picture.getvalue())
        archive.writestr(f"{top}/val/images/val_0.JPEG", picture.getvalue())
        archive.writestr(f"{top}/val/val_annotations.txt", "val_0.JPEG\tn01443537\t0\t0\t9\t9\n")
    return {"tiny-imagenet-200.zip": stream.getvalue()}


MAKERS = {
    "mnist": idx_files,
    "fashion-mnist": idx_files,
    "cifar10": cifar_archive,
    "tiny-imagenet": tiny_archive,
}


@pytest.mark.parametrize("name", MAKERS)
def test_what_is_fetched_is_what_the_loader_wants(server, client, tmp_path, monkeypatch, name):
    monkeypatch.setenv("SFUMATO_DATA", str(tmp_path / "sets"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "own"))
    wanted = offered(server, entry(name), MAKERS[name]())
    folder = tmp_path / "sets" / name
    told = []
    done = fetch(wanted, folder, client, watch=lambda *now: told.append(now))
    assert done.folder == folder and not done.already and done.files >= len(wanted.files)
    assert {now[0] for now in told} == {remote.name for remote in wanted.files}
    assert os.listdir(tmp_path / "sets") == [name]  # nothing beside it is left
    receipt = json.loads((folder / RECEIPT).read_text("utf-8"))
    assert receipt["name"] == name and len(receipt["sha256"]) == len(wanted.files)
    source = open_source(folder)
    assert len(source) > 1 and source[0].image.dtype == np.uint8
    assert catalogue.lies_at(wanted) is not None
    asked = len(server.asked)
    again = fetch(wanted, folder, client)
    assert again.already and len(server.asked) == asked


def test_what_was_changed_afterwards_is_noticed(server, client, tmp_path):
    wanted = offered(server, entry("mnist"), idx_files())
    fetch(wanted, tmp_path / "mnist", client)
    (tmp_path / "mnist" / "train-labels-idx1-ubyte.gz").write_bytes(b"rotten")
    assert installed(wanted, tmp_path / "mnist") is None
    with pytest.raises(SfumatoError, match="-o"):
        fetch(wanted, tmp_path / "mnist", client)
    wanted = offered(server, entry("cifar10"), cifar_archive())
    folder = fetch(wanted, tmp_path / "cifar", client).folder
    (folder / "cifar-10-batches-bin" / "test_batch.bin").unlink()
    assert installed(wanted, folder) is None


def test_files_that_were_put_there_by_hand_count(server, tmp_path):
    wanted = offered(server, entry("mnist"), idx_files())
    folder = tmp_path / "mnist"
    folder.mkdir()
    for name, content in idx_files().items():
        (folder / name).write_bytes(content)
    assert fetch(wanted, folder, Client(SHORT)).already and not server.asked


def test_after_an_interruption_it_goes_on(server, client, tmp_path):
    contents = idx_files()
    wanted = offered(server, entry("mnist"), contents)

    def stop(name, done, total):
        if name.startswith("t10k-images") and done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(wanted, tmp_path / "mnist", client, watch=stop)
    assert not (tmp_path / "mnist").exists()
    fetch(wanted, tmp_path / "mnist", client)
    first = next(name for name in contents if name.startswith("train-images"))
    assert len(server.headers(f"/sets/{first}")) == 1
    for name, content in contents.items():
        assert (tmp_path / "mnist" / name).read_bytes() == content


def test_the_next_mirror_is_asked(server, client, tmp_path):
    wanted = offered(server, entry("mnist"), idx_files())
    files = tuple(replace(f, folders=(f"{server.url}/gone", *f.folders)) for f in wanted.files)
    for number, remote in enumerate(files):
        wrong = status(404) if number % 2 else fine(b"something else")
        server.routes[f"/gone/{remote.name}"] = wrong
    fetch(replace(wanted, files=files), tmp_path / "mnist", client)
    assert (tmp_path / "mnist" / files[0].name).exists()


def test_where_nothing_comes_a_file_may_be_brought_by_hand(server, client, tmp_path):
    contents = cifar_archive()
    wanted = offered(server, entry("cifar10"), contents)
    server.routes.clear()
    with pytest.raises(SfumatoError) as caught:
        fetch(wanted, tmp_path / "cifar", client)
    assert f"({wanted.files[0].urls[0]})" in str(caught.value)
    aside = re.search(r"put it into (\S+),", str(caught.value))[1]
    assert not os.path.basename(aside).startswith(".")  # a person has to find it
    (name,) = contents
    with open(os.path.join(aside, name), "wb") as file:
        file.write(contents[name])
    fetch(wanted, tmp_path / "cifar", client)
    assert not os.path.exists(aside)


def test_all_that_failed_and_all_addresses_are_named(client, tmp_path):
    known = entry("mnist")

    def resolver(*_, **__):
        raise OSError("no network")

    with pytest.raises(SfumatoError) as caught:
        fetch(known, tmp_path / "mnist", Client(SHORT, resolver=resolver))
    said = str(caught.value)
    for url in known.files[0].urls:
        assert url in said and f"address of {url.split('/')[2]} cannot be found" in said
    assert all(remote.name in said for remote in known.files) and known.page not in said


def test_two_programs_do_not_fetch_into_one_folder(server, client, tmp_path):
    wanted = offered(server, entry("cifar10"), cifar_archive())
    folder, second = tmp_path / "cifar", []

    def meanwhile(name, done, total):
        if total is None and not second:  # the first is unpacking
            try:
                second.append(fetch(wanted, folder, client))
            except SfumatoError as error:
                second.append(str(error))

    first = fetch(wanted, folder, client, watch=meanwhile)
    assert "Another program is fetching cifar10" in second[0]
    assert not first.already and installed(wanted, folder) and os.listdir(tmp_path) == ["cifar"]


@pytest.mark.skipif(os.name == "nt", reason="links need a right there")
def test_a_folder_that_somebody_prepared_is_not_used(server, client, tmp_path, monkeypatch):
    wanted = offered(server, entry("mnist"), idx_files())
    (tmp_path / "theirs").mkdir()
    (tmp_path / "mnist.download").symlink_to(tmp_path / "theirs")
    with pytest.raises(SfumatoError, match="another user"):
        fetch(wanted, tmp_path / "mnist", client)
    assert os.listdir(tmp_path / "theirs") == []
    (tmp_path / "mnist.download").unlink()
    (tmp_path / "mnist.download").mkdir()
    with monkeypatch.context() as patch:
        owner = tmp_path.stat().st_uid
        lstat = Path.lstat

        def foreign(path):
            state = list(lstat(path))
            state[4] = owner + 1
            return os.stat_result(state)

        patch.setattr(Path, "lstat", foreign)
        with pytest.raises(SfumatoError, match="another user"):
            fetch(wanted, tmp_path / "mnist", client)
    assert not server.asked
    fetch(wanted, tmp_path / "mnist", client)


def test_a_mirror_of_ones_own(server, client, tmp_path):
    contents = idx_files()
    wanted = offered(server, entry("mnist"), contents)
    for name, content in contents.items():
        server.routes[f"/mine/{name}"] = fine(content)
    server.asked.clear()
    fetch(wanted, tmp_path / "mnist", client, mirror=f"{server.url}/mine/")
    assert all(path.startswith("/mine/") for path, _ in server.asked)


def test_a_hostile_archive_leaves_nothing(server, client, tmp_path):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        info = tarfile.TarInfo("../../evil")
        info.size = 1
        tar.addfile(info, io.BytesIO(b"x"))
    wanted = offered(server, entry("cifar10"), {"cifar-10-binary.tar.gz": stream.getvalue()})
    with pytest.raises(SfumatoError, match="leads out"):
        fetch(wanted, tmp_path / "deep" / "cifar", client)
    assert not list(tmp_path.rglob("evil")) and not (tmp_path / "deep" / "cifar").exists()


def test_a_folder_with_something_else_is_left_alone(server, client, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(SfumatoError, match="something else"):
        fetch(offered(server, entry("mnist"), idx_files()), tmp_path, client)
    assert os.listdir(tmp_path) == ["mine.txt"] and not server.asked


def test_the_catalogue_makes_sense():
    for known in CATALOGUE:
        assert isinstance(known, Entry) and bool(known.files) != bool(known.how)
        for key in filter(None, (known.title, known.terms, known.how)):
            assert all(key in messages(language) for language in LANGUAGES)
        for remote in known.files:
            assert re.fullmatch("[0-9a-f]{32}", remote.digest.value)
            assert remote.digest.kind == "md5" and remote.size > 1000
            for url in remote.urls:
                assert url.endswith("/" + remote.name) and url.startswith("http")
        assert all(entry(name) is known for name in (known.name, *known.aliases))
    sums = [remote.digest.value for known in CATALOGUE for remote in known.files]
    assert len(set(sums)) == len(sums)
    with pytest.raises(SfumatoError, match="Did you mean 'fashion-mnist'"):
        entry("fashion-mnits")


def test_space_is_looked_for_first(server, client, tmp_path, monkeypatch):
    wanted = replace(offered(server, entry("cifar10"), cifar_archive()), unpacked=10**15)
    with pytest.raises(SfumatoError, match="do not fit"):
        fetch(wanted, tmp_path / "cifar", client)
    assert not server.asked
