"""Judge a model: draw, measure, compare with real pictures, write a report.

>>> from sfumato.evaluation.evaluate import evaluate
>>> numbers = evaluate("runs/mine", minutes=10, out="report")  # doctest: +SKIP
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from sfumato.data import open_source, same
from sfumato.errors import SfumatoError
from sfumato.evaluation import parts, sweeps
from sfumato.evaluation.bench import Bench, Judging, LeftOut, Part, Progress
from sfumato.evaluation.budget import Budget
from sfumato.evaluation.coloured import colours_right
from sfumato.evaluation.copied import copied
from sfumato.evaluation.provenance import (
    DRAWING,
    code_hash,
    manifest_of,
    surroundings,
    weights_hash,
)
from sfumato.evaluation.reality import Reality, read_reality
from sfumato.evaluation.samples import Studio
from sfumato.evaluation.store import Store
from sfumato.locale import messages
from sfumato.model import TextToImage, load
from sfumato.pictures.files import write_whole

FORMAT = "sfumato-report/1"
MINUTES = 10.0

#: part -> shares of the budget that nobody else uses
_USES = {
    "agreement": ("second language", "apart"),
    "colours": ("colours", "other colours"),
    "speed": ("speed",),
    "swapped": ("swapped",),
    "guidance": ("guidance",),
    "steps": ("steps",),
}


def evaluate(
    model: str | Path | TextToImage | None = None,
    data: str | Path | None = None,
    judge: str | Path | Judging | None = None,
    minutes: float = MINUTES,
    samples: int | None = None,
    out: str | Path = "report",
    seed: int = 0,
    device: str = "auto",
    language: str | None = None,
    command: str = "",
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Judge a model and write ``out/report.json`` and ``out/report.html``.

    Parts are done in the order of their importance, with as many samples as the time allows;
    the report names what was left out.  Finished parts and samples are kept in ``out``: the
    same call again goes on where an interrupted one stopped.

    Args:
        model: a model's or a run's folder, a loaded model, or None for the embedded one.
        data: real pictures to compare with; by default what the model was trained on.
        judge: a judge's folder, or anything with the methods of `bench.Judging`.  By default
            the one in ``out/judge``; where there is none, one is trained on the real pictures
            that the model was trained on, in a quarter of the time.
        minutes: about how long it may take.
        samples: held-in pictures to draw; by default what the time allows.
        out: the report's folder.
        seed: of prompts, noise and resampling.
        device: see `sfumato.load`.
        language: of the page, "en" or "ru"; by default English.
        command: how the evaluation was called, for the report.
        progress: told (phase, done, total).
    Returns:
        What stands in report.json.
    Raises:
        SfumatoError: for a model, data or judge that cannot be used, or a full disk.
    """
    if not minutes > 0:
        raise SfumatoError(f"{minutes} minutes are no time. Give a number above 0.")
    if samples is not None and samples < parts.LEAST:
        raise SfumatoError(f"{samples} samples say nothing. Take at least {parts.LEAST}.")
    tell: Progress = progress or (lambda phase, done, total: None)
    from sfumato.evaluation.judge import Judge

    budget, out = Budget(minutes), Path(out)
    path = None if isinstance(model, TextToImage) else model
    loaded = model if isinstance(model, TextToImage) else load(path, device)
    name = str(data or loaded.recipe.data.name or "emoji")
    said = loaded.recipe.data
    recolour = said.recolour and bool(said.name) and same(name, str(said.name))
    read = partial(tell, "reading")
    reality = read_reality(name, loaded.size, loaded.channels, seed, read, recolour)
    looker, trained = _judge(judge, out, name, reality, loaded, minutes, tell)
    weights = weights_hash(loaded)
    facts = [weights, reality.digest, looker.hash, code_hash(), seed, samples, minutes]
    key = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
    store = Store(out, key)
    studio = Studio(loaded, f"{weights} {code_hash(*DRAWING)}", store.samples, seed)
    bench = Bench(studio, reality, looker, store, budget, seed, samples, tell)
    with tempfile.TemporaryDirectory() as aside:
        if isinstance(model, TextToImage):  # another process can only read it from the disk
            path = model.save(Path(aside) / "model", half=False)
        done, left = _parts(bench, str(path or ""))
    report = {
        "format": FORMAT,
        "model": {
            "path": str(model) if isinstance(model, (str, Path)) else None,
            "card": loaded.card,
            "size": loaded.size,
            "channels": loaded.channels,
            "sampling": loaded.defaults,
            "sha256": weights,
            "manifest": manifest_of(path),
        },
        "data": _about(reality),
        "judge": {
            "name": looker.name,
            "sha256": looker.hash,
            "kind": looker.about.kind if isinstance(looker, Judge) else "labels",
            "labels": len(looker.labels),
            "accuracy": looker.accuracy,
            # a part for testing was kept from the judge as well
            "trained on the references": trained and reality.kind != "test",
        },
        "settings": {
            "seed": seed,
            "samples": samples,
            "minutes": minutes,
            "drawn": dict(store.counts),
            "command": command,
        },
        "surroundings": surroundings(),
        "parts": {part: found["numbers"] for part, found in done.items()},
        "left out": {part: messages("en")[reason] for part, reason in left.items()},
    }
    from sfumato.evaluation.report import page

    text = json.dumps(report, ensure_ascii=False, indent=1) + "\n"
    write_whole(out / "report.json", text.encode())
    pictures = {part: found.get("pictures", {}) for part, found in done.items()}
    write_whole(out / "report.html", page(report, pictures, left, language or "en").encode())
    return report


def _parts(bench: Bench, model: str) -> tuple[dict[str, Part], dict[str, str]]:
    """All parts in the order of their importance: (finished, left out with the reason)."""
    order: dict[str, Callable[[Bench], Part]] = {
        "gallery": parts.gallery,
        "agreement": parts.prompts_followed,
        "distribution": parts.distances,
        "copies": copied,
        "alpha": parts.transparency,
        "colours": colours_right,
        "speed": partial(sweeps.speed, model=model),
        "swapped": sweeps.words_swapped,
        "guidance": sweeps.guidance_curve,
        "steps": sweeps.steps_curve,
    }
    done: dict[str, Part] = {}
    left: dict[str, str] = {}
    for name, work in order.items():
        found = bench.store.read(name)
        try:
            if found is None:
                found = work(bench)
                bench.store.write(name, found)
            done[name] = found
        except LeftOut as reason:
            left[name] = str(reason)
        for used in _USES.get(name, ()):
            bench.budget.drop(used)
    return done, left


def _judge(
    judge: str | Path | Judging | None,
    out: Path,
    data: str,
    reality: Reality,
    model: TextToImage,
    minutes: float,
    tell: Progress,
) -> tuple[Judging, bool]:
    """The judge, and whether it was trained here, on the pictures the model was trained on."""
    if judge is not None and not isinstance(judge, (str, Path)):
        return judge, False
    from sfumato.evaluation.judge import Judge

    if judge is not None:
        return Judge.load(Path(judge)), False
    folder, note = out / "judge", out / "judge-of.json"
    if folder.is_dir():
        found = Judge.load(folder)
        try:
            known = json.loads(note.read_bytes())
        except (OSError, ValueError):  # put there by somebody: it is theirs to know
            return found, False
        if known == {"data": reality.digest, "judge": found.hash}:
            return found, True
    from sfumato.evaluation.judging import train_judge

    def step(phase: str, share: float) -> None:
        tell("judge", round(100 * share), 100)

    source = open_source(data, model.size, model.channels)
    fresh = train_judge(source, minutes / 4, progress=step)
    fresh.save(folder)
    stated = {"data": reality.digest, "judge": fresh.hash}
    write_whole(note, json.dumps(stated).encode())
    return fresh, True


def _about(reality: Reality) -> dict[str, Any]:
    return {
        "name": reality.name,
        "kind": reality.kind,
        "sha256": reality.digest,
        "pictures": len(reality.images),
        "training": len(reality.training),
        "held out": int(reality.held_out.sum()),
        "references": len(reality.home),
        "not read": reality.left,
    }
