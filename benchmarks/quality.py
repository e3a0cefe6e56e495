"""Pictures by class after equal processor minutes: ours beside diffusers and others.

    python benchmarks/quality.py --peers-python PEERS/bin/python

Every contender trains on Fashion-MNIST in a process of its own; they take turns, a slice of
processor time each.  After so many minutes each draws all classes, and a judge trained on the
real pictures says how far these are from real test pictures and how many show what was asked
for.  What is finished stays in the output folder, and the same command goes on from there.
See README.md beside this file for the peers' environment and settings.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import torch
from quality_contenders import CONTENDERS
from quality_score import Scale, table
from safetensors.torch import load_file, save_file
from training_throughput import Worker, _processor

from sfumato.data import open_source
from sfumato.errors import SfumatoError
from sfumato.evaluation.judge import Judge
from sfumato.evaluation.judging import train_judge
from sfumato.training.files import replace_bytes
from sfumato.training.machine import bf16_pays

HERE = Path(__file__).parent


class Contestant(Worker):
    """A contender's process for one seed; ``facts`` is its last answer, or holds an "error"."""

    def __init__(self, name: str, seed: int, classes: list[str], options: argparse.Namespace):
        self.name = name
        is_ours = CONTENDERS[name][1]
        self.folder = options.o / "state" / str(seed) / name
        command = [sys.executable if is_ours else options.peers_python]
        command += [str(HERE / "quality_worker.py"), name, "--data", str(options.o / _DATA)]
        command += ["--folder", str(self.folder), "--classes", *classes, "--seed", str(seed)]
        command += ["--budget", str(60 * max(options.minutes)), "--threads", str(options.threads)]
        if options.peers_precision == "bf16":
            command.append("--bf16")
        self.process = None
        told = {"OMP_NUM_THREADS": str(options.threads), "OMP_WAIT_POLICY": "PASSIVE"}
        told["TQDM_DISABLE"] = "1"  # bars of several processes would fight for the line
        try:
            self.process = subprocess.Popen(  # noqa: S603 - our own script
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=os.environ | told,
                start_new_session=True,  # Ctrl-C is answered here; they end with their input
            )
        except OSError as error:
            self.facts: dict[str, Any] = {"error": f"{options.peers_python}: {error.strerror}"}
            return
        self.facts = self._answer()
        self.known = self.facts

    def tell(self, **told: Any) -> dict[str, Any]:
        """Its answer; after an error nothing is asked any more."""
        if "error" in self.facts:
            return self.facts
        try:
            answer = self.order(**told)
        except OSError:
            answer = {"error": "the process ended"}
        if "error" in answer:
            self.facts = answer
        return answer

    def train(self, until: float) -> None:
        if "error" not in self.facts and self.facts["seconds"] < until:
            self.facts = self.tell(until=until)

    def measured(self, minutes: float, count: int, scale: Scale) -> dict[str, Any]:
        """Draw and judge: what a round consists of."""
        trained = self.facts
        file = self.folder / f"pictures-{minutes:g}.safetensors"
        drawn = self.tell(draw=str(file), count=count)
        if "error" in drawn:
            return {"error": drawn["error"]}
        held = load_file(file)
        return {
            **scale.scores(held["pictures"].numpy(), held["labels"].numpy()),
            "images": trained["images"],
            "seconds": trained["seconds"],
            "train_rate": trained["images"] / trained["seconds"],
            "draw_rate": drawn["pictures"] / drawn["seconds"],
            "train_memory": trained["memory"],
            "draw_memory": drawn["memory"],
            "loss": trained.get("loss"),
            "parameters": self.known["parameters"],
            "torch": self.known["torch"],
        }


_DATA, _ROUNDS, _TABLE = "train.safetensors", "rounds.json", "table.md"


def begun(options: argparse.Namespace) -> dict[str, Any]:
    """The record in the output folder, new or as it was left.

    Raises:
        SfumatoError: if it was begun with other settings.
    """
    settings = {
        "minutes": sorted(options.minutes),
        "count": options.count,
        "threads": options.threads,
        "peers_precision": options.peers_precision,
        "noise": "one a picture",  # ours was drawn from one for all classes once
    }
    file = options.o / _ROUNDS
    if not file.exists():
        return {"settings": settings, "rounds": []}
    record: dict[str, Any] = json.loads(file.read_text("utf-8"))
    if record["settings"] != settings:
        raise SfumatoError(
            f"{options.o} was begun with {record['settings']}. Ask for the same, or choose "
            "another folder with -o."
        )
    return record


def missing(
    rounds: list[dict[str, Any]], names: list[str], minutes: list[float], seed: int
) -> list[tuple[str, float]]:
    """Which (contender, minutes) of a seed were not measured yet; errors are tried again."""
    done = {(r["name"], r["minutes"], r["seed"]) for r in rounds if "error" not in r}
    return [(n, m) for m in sorted(minutes) for n in names if (n, m, seed) not in done]


def milestones(minutes: list[float], slice_seconds: float) -> list[tuple[float, float | None]]:
    """Until how many seconds everyone trains, turn by turn, and the minutes that end there."""
    turns: list[tuple[float, float | None]] = []
    at = 0.0
    for goal in sorted(minutes):
        while at + slice_seconds < 60 * goal:
            at += slice_seconds
            turns.append((at, None))
        at = 60 * goal
        turns.append((at, goal))
    return turns


def train_data(file: Path) -> list[str]:
    """The classes' names; the training pictures go to a file that every contender can read."""
    source = open_source("fashion-mnist")
    classes = list(source.classes)
    if not file.exists():
        examples = [source[i] for i in range(len(source))]
        pictures = torch.from_numpy(np.stack([e.image for e in examples]))
        labels = torch.tensor([classes.index(e.label or "") for e in examples])
        beside = file.with_suffix(".partial")
        save_file({"pictures": pictures, "labels": labels}, beside)
        os.replace(beside, file)
    return classes


def judge_for(options: argparse.Namespace) -> Judge:
    """The judge that was given, or one trained for this benchmark and kept."""
    folder = options.judge or options.o / "judge"
    if options.judge is None and not folder.exists():
        print(f"training a judge for {options.judge_minutes:g} minutes", file=sys.stderr)
        train_judge(open_source("fashion-mnist"), options.judge_minutes).save(folder)
    return Judge.load(folder)


def play(
    seed: int,
    todo: list[tuple[str, float]],
    classes: list[str],
    scale: Scale,
    record: dict[str, Any],
    options: argparse.Namespace,
) -> None:
    """All contenders of one seed, in turns; every finished round is kept at once."""
    names = [n for n in options.only if any(name == n for name, _ in todo)]
    players = [Contestant(name, seed, classes, options) for name in names]
    for number, (until, goal) in enumerate(milestones(options.minutes, options.slice)):
        # forwards and backwards in turn, so that nobody always follows the same neighbour
        for player in players if number % 2 == 0 else players[::-1]:
            player.train(until)
            if goal is None or (player.name, goal) not in todo:
                continue
            found = player.measured(goal, options.count, scale)
            key = {"name": player.name, "minutes": goal, "seed": seed}
            kept = [r for r in record["rounds"] if {k: r[k] for k in key} != key]
            record["rounds"] = [*kept, key | found]
            save(record, options)
            told = found.get("error") or f"Frechet {found['frechet']:.4g}"
            print(f"seed {seed}, {goal:g} min, {player.name}: {told}", file=sys.stderr)
    for player in players:
        if "error" not in player.facts:
            player.tell(end=True)
        if player.process:
            player.process.communicate()


def save(record: dict[str, Any], options: argparse.Namespace) -> None:
    record["made"] = datetime.now(timezone.utc).isoformat(timespec="seconds")
    replace_bytes(options.o / _ROUNDS, (json.dumps(record, indent=1) + "\n").encode())
    shown = table(record["rounds"], record["floor"])
    replace_bytes(options.o / _TABLE, (shown + "\n").encode())


def parsed(told: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--peers-python", default=sys.executable, help="has diffusers, ...")
    parser.add_argument("--minutes", type=float, nargs="+", default=[5.0, 10.0, 20.0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--count", type=int, default=50, help="pictures a class that are judged")
    parser.add_argument("--slice", type=float, default=30.0, help="seconds of a turn")
    parser.add_argument("--threads", type=int, default=1, help="of each contender")
    parser.add_argument("--peers-precision", default="fp32", choices=["fp32", "bf16"])
    parser.add_argument("--judge", type=Path, help="made by `sfumato judge fashion-mnist`")
    parser.add_argument("--judge-minutes", type=float, default=3.0, help="if none is given")
    parser.add_argument("--only", nargs="+", choices=list(CONTENDERS), default=list(CONTENDERS))
    parser.add_argument("-o", type=Path, default=HERE / "results" / "quality")
    return parser.parse_args(told)


def main(told: list[str] | None = None) -> None:
    options = parsed(told)
    options.o = options.o.absolute()
    options.o.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(options.threads)
    record = begun(options)
    classes = train_data(options.o / _DATA)
    judge = judge_for(options)
    if record.setdefault("judge", judge.hash) != judge.hash:
        raise SfumatoError(f"{options.o} was begun with another judge. Give that one.")
    record["accuracy"] = judge.accuracy
    record["machine"] = {"processor": _processor(), "bf16": bf16_pays("cpu")[1]}
    scale = Scale(judge, classes, options.count)
    record["floor"] = scale.floor
    for seed in options.seeds:
        todo = missing(record["rounds"], options.only, options.minutes, seed)
        if todo:
            play(seed, todo, classes, scale, record, options)
    save(record, options)
    top1 = judge.accuracy["top1"]
    print(f"{record['machine']['processor']}, {options.threads} thread(s) for each.")
    print(f"The judge names {top1:.1%} of held-out real pictures.\n")
    print((options.o / _TABLE).read_text("utf-8"), end="")


if __name__ == "__main__":
    try:
        main()
    except SfumatoError as error:
        sys.exit(str(error))
