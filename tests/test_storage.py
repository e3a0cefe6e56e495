"""A model as a folder: whole or not at all, judged by content, nothing unpickled."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from tiny import model
from torch import nn

import sfumato
from sfumato import storage
from sfumato.conditioning.prompted import Prompted
from sfumato.errors import SfumatoError
from sfumato.model import TextToImage


@pytest.fixture(scope="module")
def text() -> TextToImage:
    return model(32, 4, latents=True)


@pytest.fixture(scope="module")
def saved(text: TextToImage, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return text.save(tmp_path_factory.mktemp("saved") / "model")


@pytest.fixture
def copy(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "copy"))


def modules(made: TextToImage) -> dict[str, torch.Tensor]:
    parts: dict[str, nn.Module | None] = {"p": made.prompted, "a": made.autoencoder}
    return {
        f"{part}.{name}": tensor
        for part, module in parts.items()
        if module is not None
        for name, tensor in module.state_dict().items()
    }


def restate(folder: Path) -> None:
    """Make the manifest true again after a change, as a forger would."""
    listed = {
        path.name: {
            "bytes": path.stat().st_size,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        }
        for path in folder.iterdir()
        if path.name != "manifest.json"
    }
    (folder / "manifest.json").write_text(json.dumps({"files": listed}))


# ---- there and back


@pytest.mark.parametrize("half", [True, False])
@pytest.mark.parametrize(
    "options",
    [
        {"resolution": 32, "channels": 4, "latents": True},
        {"resolution": 16, "channels": 1, "classes": ("cat", "собака")},
        {"resolution": 16, "channels": 3, "network": {"name": "patch-unet"}},
        {"resolution": 16, "channels": 3, "classes": ()},
    ],
    ids=["latents", "classes", "u-net", "unconditional"],
)
def test_a_model_comes_back(tmp_path: Path, half: bool, options: dict[str, Any]) -> None:
    made = model(**options)
    folder = made.save(tmp_path / "deep" / "model", half=half)
    assert folder == tmp_path / "deep" / "model"
    back = sfumato.load(folder, "cpu")
    mine, theirs = modules(made), modules(back)
    assert mine.keys() == theirs.keys()
    for name, tensor in mine.items():
        kept = tensor.half().float() if half else tensor
        assert torch.equal(theirs[name], kept), name
    assert back.recipe == made.recipe and back.card == made.card
    prompts = list(options.get("classes", ("red heart", "красное сердце"))) or [""]
    one, other = made.generate(prompts, seed=1), back.generate(prompts, seed=1)
    if half:
        assert [p.size for p in one] == [p.size for p in other]
    else:
        assert [p.tobytes() for p in one] == [p.tobytes() for p in other]
    # and again: what is kept in half precision loses nothing more
    again = sfumato.load(back.save(tmp_path / "again", half=half))
    assert [p.tobytes() for p in again.generate(prompts, seed=1)] == [p.tobytes() for p in other]


def test_a_folder_can_be_read_by_people_and_needs_no_pickle(saved: Path) -> None:
    assert sorted(path.name for path in saved.iterdir()) == [
        "README.md", "autoencoder.safetensors", "card.json", "config.json", "manifest.json",
        "model.safetensors", "tokenizer.json",
    ]  # fmt: skip
    config = json.loads((saved / "config.json").read_text("utf-8"))
    assert config["format"] == "sfumato-model/1"
    assert config["recipe"]["data"]["resolution"] == 32
    assert {t.dtype for t in load_file(saved / "model.safetensors").values()} == {torch.float16}
    card = (saved / "README.md").read_text("utf-8")
    assert card.startswith("# tiny\n") and "CC0-1.0" in card and "32x32" in card
    listed = json.loads((saved / "manifest.json").read_text())["files"]
    assert sorted(listed) == sorted({p.name for p in saved.iterdir()} - {"manifest.json"})
    for name, entry in listed.items():
        assert entry["bytes"] == (saved / name).stat().st_size


def test_saving_twice_gives_the_same_bytes(text: TextToImage, saved: Path, tmp_path: Path) -> None:
    other = text.save(tmp_path / "other")
    for path in saved.iterdir():
        assert path.read_bytes() == (other / path.name).read_bytes(), path.name


def test_a_path_of_a_run_or_of_a_string_will_do(saved: Path, tmp_path: Path) -> None:
    shutil.copytree(saved, tmp_path / "run" / "model")
    assert sfumato.load(str(tmp_path / "run")).size == 32
    assert sfumato.load(tmp_path / "run" / "model").size == 32


def test_loading_never_unpickles(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("something was unpickled")

    for place in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, place, refuse)
    monkeypatch.setattr(torch, "load", refuse)
    sfumato.load(copy).generate("red heart")
    # a pickle under the right name is judged by its content
    monkeypatch.undo()
    (copy / "model.safetensors").write_bytes(pickle.dumps(_Trap(copy / "sprung")))
    restate(copy)
    with pytest.raises(SfumatoError, match="do not fit its recipe"):
        sfumato.load(copy)
    assert not (copy / "sprung").exists()


class _Trap:
    """Unpickling this makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


# ---- damage


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_damaged_byte_is_noticed(saved: Path, copy: Path, data: st.DataObject) -> None:
    listed = sorted(json.loads((saved / "manifest.json").read_text())["files"])
    name = data.draw(st.sampled_from(listed))
    content = bytearray((saved / name).read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= 1 << data.draw(st.integers(0, 7))
    (copy / name).write_bytes(content)
    try:
        with pytest.raises(SfumatoError, match=f"{name} is damaged. Copy"):
            sfumato.load(copy)
    finally:
        (copy / name).write_bytes((saved / name).read_bytes())


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_missing_or_cut_file_is_named(copy: Path, name: str) -> None:
    content = (copy / name).read_bytes()
    (copy / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(SfumatoError, match=f"{name} is damaged"):
        sfumato.load(copy)
    (copy / name).unlink()
    with pytest.raises(SfumatoError, match=f"{name} is missing. Copy the whole folder"):
        sfumato.load(copy)


@pytest.mark.parametrize("lacking", ["config.json", "model.safetensors", "autoencoder.safetensors"])
def test_a_manifest_that_leaves_a_file_out_is_refused(copy: Path, lacking: str) -> None:
    (copy / lacking).unlink()
    restate(copy)
    with pytest.raises(SfumatoError, match=f"lacks {lacking}. Copy the whole folder"):
        sfumato.load(copy)


@pytest.mark.parametrize(
    "name",
    ["../secret", "/etc/hostname", "a/b", "..", "", ".", "..\\secret", "C:secret", "a\0b"],
)
def test_a_manifest_leads_nowhere_outside(
    copy: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (copy.parent / "secret").write_bytes(b"mine")
    manifest = json.loads((copy / "manifest.json").read_text())
    sha256 = hashlib.sha256(b"mine").hexdigest()
    manifest["files"] = {name: {"bytes": 4, "sha256": sha256}, **manifest["files"]}
    (copy / "manifest.json").write_text(json.dumps(manifest))
    read: list[Path] = []
    original = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda p: (read.append(p), original(p))[1])
    with pytest.raises(SfumatoError, match="lies outside it|is missing"):
        sfumato.load(copy)
    inside = copy.resolve()
    assert all(Path(os.path.abspath(p)).is_relative_to(inside) for p in read)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(found=JSON | st.fixed_dictionaries({"files": JSON}))
def test_any_manifest_is_read_or_refused_in_a_sentence(copy: Path, found: Any) -> None:
    (copy / "manifest.json").write_text(json.dumps(found))
    with pytest.raises(SfumatoError, match="There is no model in|outside it|is missing|lacks"):
        sfumato.load(copy)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_config_is_read_or_refused_in_a_sentence(
    saved: Path, copy: Path, data: st.DataObject
) -> None:
    """Somewhere in the settings stands something else; hashes are right, as a forger's are."""
    config = json.loads((saved / "config.json").read_text("utf-8"))
    config["classes"] = []
    place, key = config, data.draw(st.sampled_from(sorted(config)))
    while isinstance(place[key], dict) and data.draw(st.integers(0, 3)):
        place = place[key]
        key = data.draw(st.sampled_from(sorted(place)))
    if data.draw(st.booleans()):
        del place[key]
    else:
        numbers = st.integers(-2, 70) | st.sampled_from(["auto", "text", "labels", 1e9])
        place[key] = data.draw(JSON | numbers)
    (copy / "config.json").write_text(json.dumps(config))
    restate(copy)
    try:
        found = sfumato.load(copy, "cpu")
    except SfumatoError as error:
        assert str(error).endswith((".", "\n"))
    else:
        assert found.generate("red heart", steps=1)[0].width == found.size


@pytest.mark.parametrize("content", [b"", b"[1]", b"null", b"{", b"\xff"])
def test_settings_that_are_none_are_refused(copy: Path, content: bytes) -> None:
    (copy / "config.json").write_bytes(content)
    restate(copy)
    with pytest.raises(SfumatoError, match="settings in .* are damaged"):
        sfumato.load(copy)


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"\xff\xfe", b'{"model": 3}'])
def test_a_forged_tokenizer_is_refused(copy: Path, content: bytes) -> None:
    (copy / "tokenizer.json").write_bytes(content)
    restate(copy)
    with pytest.raises(SfumatoError, match="tokenizer in .* is damaged|do not fit its recipe"):
        sfumato.load(copy)


def test_weights_of_another_network_are_refused(copy: Path) -> None:
    weights = load_file(copy / "model.safetensors")
    name = next(iter(weights))
    save_file({**weights, name: torch.zeros(2, 2)}, copy / "model.safetensors")
    restate(copy)
    with pytest.raises(SfumatoError, match="weights in .* do not fit its recipe"):
        sfumato.load(copy)


def test_a_later_format_is_not_misread(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text("utf-8"))
    config["format"] = "sfumato-model/2"
    (copy / "config.json").write_text(json.dumps(config))
    restate(copy)
    with pytest.raises(SfumatoError, match="no model of this version of Sfumato. Update"):
        sfumato.load(copy)


@pytest.mark.parametrize("where", ["nowhere", "empty", "file", "foreign"])
def test_a_path_without_a_model_is_said_so(tmp_path: Path, where: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "manifest.json").write_text('{"name": "a web page"}')
    with pytest.raises(SfumatoError, match=f"There is no model in .*{where}. Give a folder"):
        sfumato.load(tmp_path / where)


# ---- saving over what is there


def test_an_older_model_of_ours_is_replaced(text: TextToImage, copy: Path) -> None:
    other = model(16, 1, classes=("cat", "dog"))
    assert other.save(copy) == copy
    assert sfumato.load(copy).size == 16
    assert not (copy / "tokenizer.json").exists(), "nothing of the older one is left"
    assert sorted(p.name for p in copy.parent.iterdir()) == ["copy"]


def test_what_a_person_put_beside_the_model_is_kept(text: TextToImage, copy: Path) -> None:
    (copy / ".DS_Store").write_bytes(b"finder")
    (copy / "pictures").mkdir()
    (copy / "pictures" / "a.png").write_bytes(b"mine")
    text.save(copy)
    assert (copy / "pictures" / "a.png").read_bytes() == b"mine"
    assert (copy / ".DS_Store").read_bytes() == b"finder"
    sfumato.load(copy)


@pytest.mark.parametrize("name", ["holiday.png", "manifest.json", "config.json"])
def test_a_foreign_folder_is_never_touched(text: TextToImage, tmp_path: Path, name: str) -> None:
    """A manifest alone makes no model: web pages and our own checkpoints have one too."""
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / name).write_text('{"files": {"state.json": {"sha256": "0"}}}')
    with pytest.raises(SfumatoError, match="holds something else. Choose a new folder"):
        text.save(folder)
    assert [p.name for p in folder.iterdir()] == [name]
    assert [p.name for p in tmp_path.iterdir()] == ["mine"]


def test_a_file_in_the_way_and_an_empty_folder(text: TextToImage, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(SfumatoError, match="holds something else"):
        text.save(tmp_path / "file")
    (tmp_path / "empty").mkdir()
    sfumato.load(text.save(tmp_path / "empty"))


def test_the_working_folder_itself(
    text: TextToImage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert text.save("here") == tmp_path / "here"
    sfumato.load("here")


@pytest.mark.parametrize("step", ["write_bytes", "replace", "flush_folder"])
def test_a_full_disk_leaves_the_older_model_and_says_so(
    copy: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    before = {path.name: path.read_bytes() for path in copy.iterdir()}
    original, calls = getattr(storage, step), []

    def full(*told: Any) -> None:
        calls.append(told)
        if len(calls) == (2 if step != "flush_folder" else 1):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        original(*told)

    monkeypatch.setattr(storage, step, full)
    with pytest.raises(SfumatoError, match="could not be saved to .*: the disk is full. Choose"):
        model(16, 1).save(copy)
    assert {path.name: path.read_bytes() for path in copy.iterdir()} == before
    assert [path.name for path in copy.parent.iterdir()] == ["copy"]


def test_the_package_brings_a_model_or_says_that_it_lacks_one() -> None:
    try:
        found = sfumato.load()
    except SfumatoError as error:
        assert "There is no model in" in str(error)
    else:
        assert found.size == 64 and found.channels == 4


def test_a_recipe_that_asks_for_more_memory_than_there_is(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text("utf-8"))
    config["recipe"]["network"].update(width=4 * 10**9, heads=10**9)
    (copy / "config.json").write_text(json.dumps(config))
    restate(copy)
    with pytest.raises(SfumatoError, match="recipe in .* cannot be followed"):
        sfumato.load(copy)


# ---- folders of strangers


def recipe_asks(folder: Path, **network: int) -> None:
    config = json.loads((folder / "config.json").read_text("utf-8"))
    config["recipe"]["network"].update(network)
    (folder / "config.json").write_text(json.dumps(config))
    restate(folder)


@pytest.mark.parametrize(
    "network",
    [{"width": 512, "heads": 8}, {"depth": 3}, {"depth": 10**9}, {"width": 64, "depth": 20}],
)
def test_nothing_is_allocated_before_the_weights_are_known_to_fit(
    copy: Path, monkeypatch: pytest.MonkeyPatch, network: dict[str, int]
) -> None:
    devices: list[str] = []
    original = storage.build_prompted

    def watched(*given: Any) -> Prompted:
        built = original(*given)
        devices.append(next(built.parameters()).device.type)
        return built

    monkeypatch.setattr(storage, "build_prompted", watched)
    recipe_asks(copy, **network)
    with pytest.raises(SfumatoError, match="weights in .* do not fit its recipe"):
        sfumato.load(copy)
    assert set(devices) <= {"meta"}


def test_a_side_without_end_takes_no_time(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text("utf-8"))
    config["recipe"]["data"]["resolution"] = 10**15
    del config["recipe"]["network"]["patch"]  # would be looked for among the divisors
    (copy / "config.json").write_text(json.dumps(config))
    restate(copy)
    with pytest.raises(SfumatoError, match="recipe in .* is damaged"):
        sfumato.load(copy)


def test_a_target_left_open_is_refused(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text("utf-8"))
    config["recipe"]["diffusion"]["target"] = "auto"
    (copy / "config.json").write_text(json.dumps(config))
    restate(copy)
    with pytest.raises(SfumatoError, match="leaves something open"):
        sfumato.load(copy)


@pytest.mark.parametrize("name", ["manifest.json", "config.json", "card.json"])
def test_brackets_without_end_are_refused(copy: Path, name: str) -> None:
    (copy / name).write_text("[" * 200_000)
    if name != "manifest.json":
        restate(copy)
    with pytest.raises(SfumatoError, match="settings in .* are damaged|There is no model in"):
        sfumato.load(copy)
    if name == "manifest.json":
        with pytest.raises(SfumatoError, match="holds something else"):
            model(16, 1).save(copy)


def test_a_size_is_compared_before_anything_is_read(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open(copy / "card.json", "r+b") as file:
        file.truncate(1 << 26)
    read: list[str] = []
    original = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda p: (read.append(p.name), original(p))[1])
    with pytest.raises(SfumatoError, match="card.json is damaged"):
        sfumato.load(copy)
    assert "card.json" not in read


@pytest.mark.parametrize("name", ["manifest.json", "card.json"])
@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="Unix only")
def test_what_is_no_regular_file_is_not_read(
    copy: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    original = Path.read_bytes

    def read(path: Path) -> bytes:
        assert path.name != name, "a link to an endless device was read"
        return original(path)

    (copy / name).unlink()
    (copy / name).symlink_to("/dev/zero")
    monkeypatch.setattr(Path, "read_bytes", read)
    with pytest.raises(SfumatoError, match="There is no model in|card.json is no regular file"):
        sfumato.load(copy)


@pytest.mark.parametrize("size", [None, "5", float("inf"), [5]])
def test_a_manifest_without_sizes_is_none(copy: Path, size: Any) -> None:
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["files"]["card.json"]["bytes"] = size
    (copy / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(SfumatoError, match="There is no model in"):
        sfumato.load(copy)


# ---- a kill, large weights, and what is told about the disk


def test_a_kill_between_the_two_renames_loses_nothing(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the older model, renamed, is left; a save that then fails must not delete it."""
    before = {path.name: path.read_bytes() for path in copy.iterdir()}
    copy.rename(copy.with_name(".copy.replaced"))

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(storage, "write_bytes", full)
    with pytest.raises(SfumatoError, match="the disk is full"):
        model(16, 1).save(copy)
    assert {path.name: path.read_bytes() for path in copy.iterdir()} == before
    monkeypatch.undo()
    copy.rename(copy.with_name(".copy.replaced"))
    model(16, 1).save(copy)
    assert sfumato.load(copy).size == 16
    assert [path.name for path in copy.parent.iterdir()] == ["copy"]


def test_the_renames_reach_the_disk(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, Path]] = []
    for name in ("replace", "flush_folder"):
        original = getattr(storage, name)

        def noted(*given: Path, name: str = name, original: Any = original) -> None:
            calls.append((name, given[-1]))
            original(*given)

        monkeypatch.setattr(storage, name, noted)
    model(16, 1).save(copy)
    assert calls[-2:] == [("replace", copy), ("flush_folder", copy.parent)]


def test_weights_too_large_for_half_precision_keep_all_their_bits(tmp_path: Path) -> None:
    made = model(32, 4, latents=True)
    with torch.no_grad():
        next(made.prompted.parameters()).view(-1)[0] = 1e6
    folder = made.save(tmp_path / "model")
    kinds = {
        name: {t.dtype for t in load_file(folder / f"{name}.safetensors").values()}
        for name in ("model", "autoencoder")
    }
    assert kinds == {"model": {torch.float32}, "autoencoder": {torch.float16}}
    back = sfumato.load(folder, "cpu")
    for name, tensor in made.prompted.state_dict().items():
        assert torch.equal(back.prompted.state_dict()[name], tensor), name


@pytest.mark.parametrize(
    ("path", "own"),
    [
        ("/home/anna/family photos", "family photos"),
        ("C:\\Users\\anna\\photos", "photos"),
        ("/home/anna/emoji", "./emoji"),  # a folder, not the embedded set
        ("../anna/photos/", "photos"),
        ("emoji", "emoji"),
        ("fashion-mnist", "fashion-mnist"),
        ("hf:zalando/fashion@main", "hf:zalando/fashion@main"),  # public, and needed to train again
    ],
)
def test_a_model_does_not_tell_where_the_data_lie(tmp_path: Path, path: str, own: str) -> None:
    made = model(16, 1, data={"name": path}, start={"model": "/home/anna/runs/first"})
    made.card = {"name": f"Sfumato {path} small", "data": path, "licence": "my own. See /home."}
    folder = made.save(tmp_path / "model")
    for file in folder.iterdir():
        assert b"anna" not in file.read_bytes(), file.name
    back = sfumato.load(folder, "cpu")
    assert (back.recipe.data.name, back.recipe.start.model) == (own, "first")
    assert back.card == {
        "name": f"Sfumato {own} small", "data": own, "licence": "my own. See /home.",
    }  # fmt: skip
    assert made.recipe.data.name == path, "the run's own recipe keeps what it has"
    again = sfumato.load(back.save(tmp_path / "again"), "cpu")
    assert again.recipe == back.recipe and again.card == back.card


@pytest.mark.parametrize(
    ("section", "field", "value"),
    [("conditioning", "tokens", 4097), ("data", "resolution", 8192), ("data", "resolution", 10**6)],
)
def test_numbers_beyond_all_models_are_refused(
    copy: Path, section: str, field: str, value: int
) -> None:
    config = json.loads((copy / "config.json").read_text("utf-8"))
    config["recipe"][section][field] = value
    (copy / "config.json").write_text(json.dumps(config))
    restate(copy)
    with pytest.raises(SfumatoError, match="recipe in .* is damaged .*4096"):
        sfumato.load(copy)


@pytest.mark.parametrize("name", ["unet", "matryoshka"])
def test_a_small_file_does_not_ask_for_a_deep_u_net(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Building takes time also where it takes no memory, so it is not tried."""
    made = model(16, 3, network={"name": name, "width": 8, "heads": 1})
    folder = made.save(tmp_path / "deep")
    assert sfumato.load(folder), "the bound leaves room for what is true"
    many = {f"x{i}": torch.zeros(1) for i in range(1000)}
    save_file(many, folder / "model.safetensors")
    recipe_asks(folder, depth=126)
    monkeypatch.setattr(storage, "build_prompted", lambda *_: pytest.fail("built"))
    with pytest.raises(SfumatoError, match="weights in .* do not fit its recipe"):
        sfumato.load(folder)
