from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor

from sfumato.errors import SfumatoError
from sfumato.training import checkpoint as checkpoints
from sfumato.training import files
from sfumato.training.checkpoint import best, latest, load, load_latest, mark_best, save

POSIX = pytest.mark.skipif(os.name == "nt", reason="needs POSIX processes and limits")


def groups(value: float = 1.0) -> dict[str, dict[str, Tensor]]:
    return {
        "weights": {"a.weight": torch.full((3, 5), value), "b": torch.tensor(value)},
        "ema": {"a.weight": torch.full((3, 5), -value)},
    }


def put(run: Path, step: int, keep: int = 2) -> Path:
    return save(run, f"images-{step:04d}", groups(step), {"images": step}, keep)


def names(run: Path) -> list[str]:
    return sorted(p.name for p in run.iterdir() if p.is_dir())


def raw(tensor: Tensor) -> list[int]:
    return tensor.contiguous().view(-1).view(torch.uint8).tolist()


DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]
DTYPES += [torch.int64, torch.int32, torch.uint8, torch.bool]


@settings(max_examples=25, deadline=None)
@given(
    kinds=st.lists(
        st.tuples(st.sampled_from(DTYPES), st.lists(st.integers(0, 4), max_size=3)), max_size=6
    ),
    state=st.dictionaries(
        st.text(st.characters(exclude_categories=("Cs",))),
        st.recursive(
            st.none() | st.booleans() | st.integers()
            | st.floats(allow_nan=False, allow_infinity=False)
            | st.text(st.characters(exclude_categories=("Cs",))),
            lambda below: st.lists(below, max_size=3),
            max_leaves=6,
        ),
        max_size=4,
    ),
    seed=st.integers(0, 2**31),
)  # fmt: skip
def test_every_bit_comes_back(
    kinds: list[tuple[torch.dtype, list[int]]],
    state: dict[str, Any],
    seed: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    run = tmp_path_factory.getbasetemp() / "bits"
    torch.manual_seed(seed)
    tensors = {}
    for number, (dtype, shape) in enumerate(kinds):
        size = torch.empty(shape, dtype=dtype).nbytes
        patterns = torch.randint(0, 2 if dtype == torch.bool else 256, (size,), dtype=torch.uint8)
        tensors[str(number)] = patterns.view(dtype).reshape(shape)  # any bits, NaNs too
    found = load(save(run, "one", {"weights": tensors, "empty": {}}, state, keep=1))
    assert repr(found.state) == repr(state)
    assert found.tensors["empty"] == {}
    assert found.tensors["weights"].keys() == tensors.keys()
    for name, tensor in tensors.items():
        back = found.tensors["weights"][name]
        assert (back.dtype, back.shape, raw(back)) == (tensor.dtype, tensor.shape, raw(tensor))


def test_views_shared_storage_and_parameters_are_kept_by_value(tmp_path: Path) -> None:
    base = torch.arange(24.0).reshape(4, 6)
    parameter = torch.nn.Parameter(base.clone())
    tensors = {"t": base.t(), "row": base[1], "base": base, "again": base, "p": parameter}
    back = load(save(tmp_path, "one", {"weights": tensors}, {}, 1)).tensors["weights"]
    for name, tensor in tensors.items():
        assert torch.equal(back[name], tensor.detach())
    size = (tmp_path / "one" / "weights.safetensors").stat().st_size
    assert size < 5 * base.nbytes + 1000  # a row brings no more than itself


def test_a_folder_that_anyone_can_read(tmp_path: Path) -> None:
    path = put(tmp_path, 7)
    assert path == tmp_path / "images-0007"
    assert sorted(p.name for p in path.iterdir()) == [
        "ema.safetensors", "manifest.json", "state.json", "weights.safetensors",
    ]  # fmt: skip
    assert torch.equal(
        load_file(path / "ema.safetensors")["a.weight"], groups(7)["ema"]["a.weight"]
    )
    assert json.loads((path / "state.json").read_bytes()) == {"images": 7}
    assert json.loads((tmp_path / "latest.json").read_bytes()) == {"checkpoint": "images-0007"}
    entry = json.loads((path / "manifest.json").read_bytes())["files"]["state.json"]
    assert entry["bytes"] == (path / "state.json").stat().st_size


def test_the_last_two_and_the_best_stay(tmp_path: Path) -> None:
    put(tmp_path, 1)
    mark_best(tmp_path, "images-0001", score=0.5)
    for step in (2, 3, 4, 5):
        put(tmp_path, step)
    assert names(tmp_path) == ["images-0001", "images-0004", "images-0005"]
    assert best(tmp_path) == tmp_path / "images-0001"
    mark_best(tmp_path, "images-0004")
    put(tmp_path, 6)
    assert names(tmp_path) == ["images-0004", "images-0005", "images-0006"]
    assert best(tmp_path) == tmp_path / "images-0004"
    put(tmp_path, 7, keep=1)
    assert names(tmp_path) == ["images-0004", "images-0007"]


def test_damaged_ones_do_not_count_among_the_kept(tmp_path: Path) -> None:
    put(tmp_path, 1)
    second = put(tmp_path, 2)
    flip(second / "weights.safetensors")
    put(tmp_path, 3)
    assert names(tmp_path) == ["images-0001", "images-0003"]


def test_other_folders_of_the_user_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "samples").mkdir()
    (tmp_path / "samples" / "x.png").write_bytes(b"x")
    for step in range(4):
        put(tmp_path, step, keep=1)
    assert names(tmp_path) == ["images-0003", "samples"]


def test_order_is_the_order_of_saving_not_of_names_or_clocks(tmp_path: Path) -> None:
    put(tmp_path, 9)
    newer = put(tmp_path, 1)
    os.utime(newer, (0, 0))
    assert latest(tmp_path) == newer
    found = load_latest(tmp_path)
    assert found is not None and found.state == {"images": 1} and found.notes == ()


def test_nothing_yet(tmp_path: Path) -> None:
    for run in (tmp_path, tmp_path / "absent"):
        assert latest(run) is None
        assert best(run) is None
        assert load_latest(run) is None
    (tmp_path / "best.json").write_text('{"checkpoint": "../elsewhere"}')
    assert best(tmp_path) is None
    (tmp_path / "best.json").write_text("[]")
    assert best(tmp_path) is None
    with pytest.raises(SfumatoError, match="no checkpoint x"):
        mark_best(tmp_path, "x")


def flip(path: Path) -> None:
    """Change one bit in the middle of the file, where the tensors' data lie."""
    content = bytearray(path.read_bytes())
    content[len(content) * 3 // 4] ^= 1
    path.write_bytes(bytes(content))


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    manifest = json.loads(path.read_bytes())
    change(manifest)
    path.write_text(json.dumps(manifest))


DAMAGES: list[tuple[str, Callable[[Path], object]]] = [
    ("no manifest", lambda p: (p / "manifest.json").unlink()),
    ("manifest of .* damaged", lambda p: truncate(p / "manifest.json")),
    ("manifest of .* damaged", lambda p: (p / "manifest.json").write_bytes(b"[]")),
    ("format 2", lambda p: edit(p / "manifest.json", lambda m: m.update(format=2))),
    ("incomplete", lambda p: edit(p / "manifest.json", lambda m: m["files"].pop("state.json"))),
    ("SHA-256", lambda p: edit(p / "manifest.json", lambda m: m["files"]["state.json"].popitem())),
    ("bytes instead of", lambda p: truncate(p / "weights.safetensors")),
    ("SHA-256", lambda p: flip(p / "weights.safetensors")),
    ("SHA-256", lambda p: flip(p / "state.json")),
    ("cannot be read: No such file", lambda p: (p / "ema.safetensors").unlink()),
]  # fmt: skip


@pytest.mark.parametrize(("message", "damage"), DAMAGES)
def test_a_damaged_checkpoint_is_passed_over_and_named(
    message: str, damage: Callable[[Path], object], tmp_path: Path
) -> None:
    put(tmp_path, 1)
    newest = put(tmp_path, 2)
    damage(newest)
    with pytest.raises(SfumatoError, match=message):
        load(newest)
    found = load_latest(tmp_path)
    assert found is not None and found.state == {"images": 1}
    assert len(found.notes) == 1 and "images-0002" in found.notes[0]
    assert torch.equal(found.tensors["ema"]["a.weight"], groups(1)["ema"]["a.weight"])
    put(tmp_path, 3)  # and the run goes on
    again = load_latest(tmp_path)
    assert again is not None and again.state == {"images": 3}


def test_none_intact_is_an_error_not_a_fresh_start(tmp_path: Path) -> None:
    put(tmp_path, 1)
    (put(tmp_path, 2) / "manifest.json").unlink()
    flip(tmp_path / "images-0001" / "weights.safetensors")
    with pytest.raises(
        SfumatoError, match=r"None of the 2 checkpoints .* is intact: .* no manifest"
    ):
        load_latest(tmp_path)


def test_a_manifest_cannot_lead_out_of_its_folder(tmp_path: Path) -> None:
    path = put(tmp_path, 1)
    (tmp_path / "secret.json").write_bytes(b"{}")
    entry = {"bytes": 2, "sha256": files.sha256(b"{}")}
    for name in ("../secret.json", str(tmp_path / "secret.json"), "weights.pt"):
        edit(path / "manifest.json", lambda m, n=name: m["files"].update({n: entry}))
        with pytest.raises(SfumatoError, match=r"manifest of .* damaged: entry"):
            load(path)


def test_contents_are_judged_even_when_the_hash_is_right(tmp_path: Path) -> None:
    path = put(tmp_path, 1)
    evil = b"\x80\x04cos\nsystem\n(S'true'\ntR."  # a pickle
    (path / "weights.safetensors").write_bytes(evil)
    entry = {"bytes": len(evil), "sha256": files.sha256(evil)}
    edit(path / "manifest.json", lambda m: m["files"].update({"weights.safetensors": entry}))
    with pytest.raises(SfumatoError, match=r"is damaged: .*header"):
        load(path)


@pytest.mark.parametrize(
    ("name", "tensors", "state", "keep", "error"),
    [
        ("../x", {}, {}, 1, ValueError),
        (".x", {}, {}, 1, ValueError),
        ("x.replaced", {}, {}, 1, ValueError),
        ("x", {"a/b": {}}, {}, 1, ValueError),
        ("x", {}, {}, 0, ValueError),
        ("x", {}, {"a": (1,)}, 1, TypeError),
        ("x", {}, {"a": {1: 2}}, 1, TypeError),
        ("x", {}, {"a": float("nan")}, 1, ValueError),
        ("x", {"w": {"c": torch.zeros(1).to_sparse()}}, {}, 1, Exception),
    ],
)
def test_what_cannot_be_kept_is_refused_before_anything_changes(
    name: str, tensors: Any, state: Any, keep: int, error: type[Exception], tmp_path: Path
) -> None:
    put(tmp_path, 1)
    with pytest.raises(error):
        save(tmp_path, name, tensors, state, keep)
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []
    assert names(tmp_path) == ["images-0001"]


def test_too_little_free_space_is_told_before_writing(tmp_path: Path, monkeypatch: Any) -> None:
    put(tmp_path, 1)
    usage = shutil.disk_usage(tmp_path)._replace(free=1_100_000)
    monkeypatch.setattr(files.shutil, "disk_usage", lambda _: usage)
    put(tmp_path, 2)  # fits
    large = {"weights": {"w": torch.zeros(100_000)}}
    with pytest.raises(SfumatoError, match=r"disk is full: .* needs 1\.4 MB .* has 1\.1 MB free"):
        save(tmp_path, "images-0003", large, {}, 2)
    assert names(tmp_path) == ["images-0001", "images-0002"]


@pytest.mark.parametrize(
    ("number", "words"),
    [(errno.ENOSPC, "the disk is full"), (errno.EACCES, "Permission denied"), (errno.EIO, "error")],
)
@pytest.mark.parametrize("where", ["save_file", "write_bytes", "replace"])
def test_the_real_cause_is_told_and_earlier_ones_survive(
    number: int, words: str, where: str, tmp_path: Path, monkeypatch: Any
) -> None:
    put(tmp_path, 1)
    before = (tmp_path / "latest.json").read_bytes()

    def fail(*_: Any, **__: Any) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(files, where, fail)
        with pytest.raises(SfumatoError, match=words) as caught:
            put(tmp_path, 2)
    assert ("disk is full" in str(caught.value)) == (number == errno.ENOSPC)
    assert names(tmp_path) == ["images-0001"]
    assert list(tmp_path.glob(".*.partial")) == []
    assert (tmp_path / "latest.json").read_bytes() == before
    put(tmp_path, 2)
    assert names(tmp_path) == ["images-0001", "images-0002"]


@POSIX
def test_a_write_that_the_system_really_cuts_short(tmp_path: Path) -> None:
    """A file size limit of the kernel stops the write inside safetensors, in a child process."""
    put(tmp_path, 1)

    script = """
import resource, signal, sys, torch
from pathlib import Path
from sfumato.errors import SfumatoError
from sfumato.training.checkpoint import save

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    save(Path(sys.argv[1]), "images-0002", {"weights": {"w": torch.zeros(50_000)}}, {}, 2)
except SfumatoError as error:
    print(error)
"""
    child = started(script, tmp_path)
    assert "could not be written: File too large" in child.communicate(timeout=120)[0]
    assert names(tmp_path) == ["images-0001"]


class Killed(BaseException):
    pass


def test_a_crash_at_any_system_call_leaves_a_whole_checkpoint(
    tmp_path: Path, monkeypatch: Any
) -> None:
    """Stop at the n-th call for every n; nothing is tidied up, as after a power cut."""
    reached = 0
    monkeypatch.setattr(os, "fsync", lambda _: None)  # only the calls count here, not the disk
    put(tmp_path / "start", 1)
    put(tmp_path / "start", 2)
    for n in range(1, 200):
        run = tmp_path / str(n)
        shutil.copytree(tmp_path / "start", run)
        count = 0

        def dying(original: Callable[..., Any], n: int = n) -> Callable[..., Any]:
            def call(*args: Any, **kwargs: Any) -> Any:
                nonlocal count
                count += 1
                if count >= n:
                    raise Killed
                return original(*args, **kwargs)

            return call

        crashed = False
        with monkeypatch.context() as patch:
            for name in ("replace", "fsync", "mkdir", "rmdir", "unlink"):
                patch.setattr(os, name, dying(getattr(os, name)))
            patch.setattr(files, "save_file", dying(files.save_file))
            patch.setattr(files.shutil, "rmtree", dying(shutil.rmtree))
            try:
                # One new name and, as after a resume, one that exists already.
                save(run, "images-0003", groups(3), {"images": 3}, 2)
                save(run, "images-0003", groups(4), {"images": 4}, 1)
            except Killed:
                crashed = True
        found = load_latest(run)
        assert found is not None
        step = found.state["images"]
        assert step >= reached  # a later crash never shows an earlier state
        reached = step
        assert torch.equal(
            found.tensors["weights"]["a.weight"], groups(step)["weights"]["a.weight"]
        )
        put(run, 5, keep=1)
        assert list(run.glob(".*.partial")) == []
        assert latest(run) == run / "images-0005"
        if not crashed:
            break
    assert n > 20 and not crashed and reached == 4


def started(script: str, *arguments: object) -> subprocess.Popen[str]:
    """A process of its own: a fork of this one would inherit torch's locks, and hang on them."""
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_kill_9_at_random_moments(tmp_path: Path) -> None:
    script = """
import sys, torch
from pathlib import Path
from sfumato.training.checkpoint import save

step = int(sys.argv[2])
while True:
    step += 1
    tensors = {"weights": {"w": torch.full((5,), float(step))}}
    save(Path(sys.argv[1]), f"images-{step % 7}", tensors, {"images": step}, 2)
    print(step, flush=True)
"""
    generator = torch.Generator().manual_seed(0)
    last = -1
    for _ in range(5):
        with started(script, tmp_path, last) as child:
            assert child.stdout is not None
            assert child.stdout.readline()  # it got going, however busy the machine is
            time.sleep(0.1 * torch.rand((), generator=generator).item())
            child.kill()
        found = load_latest(tmp_path)
        assert found is not None
        step = found.state["images"]
        assert step > last
        assert torch.equal(found.tensors["weights"]["w"], torch.full((5,), float(step)))
        last = step


def test_the_module_exports_what_the_trainer_uses() -> None:
    state = {"state": {}, "param_groups": [{"lr": 1e-3, "betas": (0.9, 0.95)}]}
    tensors, tree = checkpoints.flatten_state(state)
    assert checkpoints.unflatten_state(tensors, json.loads(json.dumps(tree))) == state
    assert sys.modules["sfumato.training.flatten"].flatten_state is checkpoints.flatten_state
