"""Two real processes that read one source together see every sample once an epoch."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from sfumato.data import open_source
from sfumato.data.order import indices

SAMPLES, BATCH, EPOCHS = 26, 8, 2  # a batch that does not divide the epoch reaches into the next

READER = """
import json, sys
import datasets, torch, torch.distributed as together
from sfumato.data import open_source
from sfumato.data.order import indices

meeting, out, rank, batch, epochs, *datas = sys.argv[1:]
rank, batch, epochs = int(rank), int(batch), int(epochs)
for name in ("load_dataset", "load_dataset_builder"):  # a folder stands for the Hub
    real = getattr(datasets, name)
    setattr(datasets, name, lambda n, *a, real=real, **k: real(f"stands/{n}", *a, **k))
together.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
told = []
for data in datas:
    source = open_source(data, size=8, channels=3)
    share, shown = batch // 2, []
    for seen in range(0, epochs * len(source), batch):
        first = seen + rank * share  # as the trainer divides its batches
        shown += [source[i].captions[0] for i in indices(7, first, share, len(source))]
        total = torch.tensor(float(len(shown)))
        together.all_reduce(total)  # both are at the same step
        assert total == 2 * len(shown)
    told.append(shown)
open(out, "w").write(json.dumps(told))
together.destroy_process_group()
"""


def picture(number: int) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (8, 8), (number, 0, 0)).save(out, "PNG")
    return out.getvalue()


def tars(root: Path) -> str:
    (root / "tars").mkdir(parents=True)
    for shard in range(3):
        with tarfile.open(root / f"tars/{shard:03d}.tar", "w") as archive:
            for number in range(shard * 9, min(shard * 9 + 9, SAMPLES)):
                for ending, content in ((".png", picture(number)), (".txt", b"%d" % number)):
                    member = tarfile.TarInfo(f"{number:04d}{ending}")
                    member.size = len(content)
                    archive.addfile(member, io.BytesIO(content))
    return str(root / "tars/{000..002}.tar")


def hub(root: Path) -> str:
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = root / "stands/owner/name/data"
    folder.mkdir(parents=True)
    cells = [{"bytes": picture(n), "path": None} for n in range(SAMPLES)]
    table = pa.table({"image": cells, "text": [str(n) for n in range(SAMPLES)]})
    pq.write_table(table, folder / "train.parquet")
    return "hf:owner/name?streaming"


def test_every_sample_once_an_epoch_by_arithmetic(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    source = open_source(tars(tmp_path / "root"), size=8, channels=3)
    shown: tuple[list[str], list[str]] = ([], [])
    for seen in range(0, 3 * SAMPLES, BATCH):
        for rank in range(2):
            share = indices(7, seen + rank * BATCH // 2, BATCH // 2, len(source))
            shown[rank].extend(source[i].captions[0] for i in share)
    for epoch in epochs_of(*shown, count=3):
        assert Counter(epoch) == Counter(map(str, range(SAMPLES)))


def epochs_of(mine: list[str], yours: list[str], count: int) -> list[list[str]]:
    """What both saw, epoch by epoch, in the order of the batches that they shared."""
    share = BATCH // 2
    both = [
        name
        for start in range(0, len(mine), share)
        for name in mine[start : start + share] + yours[start : start + share]
    ]
    return [both[k * SAMPLES : (k + 1) * SAMPLES] for k in range(count)]


@pytest.mark.slow
def test_every_sample_once_an_epoch(tmp_path):
    pytest.importorskip("datasets")
    root = tmp_path / "root"
    datas = [tars(root), hub(root)]
    own = {name: str(tmp_path / name) for name in ("XDG_CACHE_HOME", "SFUMATO_DATA", "HF_HOME")}
    environment = {**os.environ, **own, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    source = Path(__file__).parents[2] / "src"
    environment["PYTHONPATH"] = os.pathsep.join([str(source), os.environ.get("PYTHONPATH", "")])
    words = [sys.executable, "-c", READER, str(tmp_path / "meeting")]
    told = [tmp_path / f"{rank}.json" for rank in range(2)]
    processes = [
        subprocess.Popen(
            [*words, str(told[rank]), str(rank), str(BATCH), str(EPOCHS), *datas],
            env=environment,
            cwd=root,
        )
        for rank in range(2)
    ]
    try:
        assert [process.wait(120) for process in processes] == [0, 0]
    finally:
        for process in processes:
            process.kill()
    for shown in zip(*(json.loads(path.read_text()) for path in told), strict=True):
        assert len(shown[0]) == len(shown[1])
        first, second = epochs_of(*shown, count=EPOCHS)
        assert Counter(first) == Counter(second) == Counter(map(str, range(SAMPLES)))
        assert first != second, "epochs differ"
    # both came at once to the stream, and it was stored once
    (store,) = (tmp_path / "SFUMATO_DATA/streams").iterdir()
    assert json.loads((store / "store.json").read_text())["samples"] == SAMPLES
