"""How many images a second each network trains, side by side on this machine.

    python benchmarks/training_throughput.py --peers-python PEERS/bin/python

Every contender runs in a process of its own with the same batch of 64x64x3 pictures; the
processes take turns, round by round, so that a busy moment of the machine meets all of them.
See README.md beside this file for the peers' environment.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from contenders import CONTENDERS

from sfumato.training.machine import bf16_pays, threads_allowed

HERE = Path(__file__).parent
PRECISIONS = ("bf16", "fp32")


class Worker:
    """A contender's process: `order` sends a JSON object and returns the answer."""

    def __init__(self, python: str, name: str, precision: str, options: argparse.Namespace):
        self.name, self.precision = name, precision
        self.rates: list[float] = []
        command = [python, str(HERE / "throughput_worker.py"), name, precision]
        for flag in ("batch", "threads", "device", "clock"):
            command += [f"--{flag}", str(getattr(options, flag))]
        self.process: subprocess.Popen[str] | None = None
        try:
            self.process = subprocess.Popen(  # noqa: S603 - our own script
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        except OSError as error:
            self.facts: dict[str, Any] = {"error": f"{python}: {error.strerror}"}
            return
        self.facts = self._answer()

    def order(self, **told: Any) -> dict[str, Any]:
        assert self.process and self.process.stdin
        self.process.stdin.write(json.dumps(told) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self.process and self.process.stdout
        line = self.process.stdout.readline()
        return json.loads(line) if line else {"error": "the process ended (out of memory?)"}

    def round(self, seconds: float) -> None:
        """One turn; ``rates`` gets images a second, or operations a second for the products."""
        if "error" in self.facts:
            return
        turn = self.order(seconds=seconds)
        if "error" in turn:
            self.facts = turn
            return
        amount = self.facts.get("flops_per_call") or self.facts["batch"]
        self.rates.append(turn["calls"] * amount / turn["seconds"])

    def end(self) -> None:
        if "error" not in self.facts:
            self.facts |= self.order(end=True)
        if self.process:
            self.process.communicate()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers-python", default=sys.executable, help="has diffusers, ...")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=5.0, help="of a turn, at least")
    parser.add_argument("--threads", type=int, default=threads_allowed())
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument(
        "--clock",
        default="wall",
        choices=["wall", "processor"],
        help="processor: the process's own time, for one thread on a busy machine",
    )
    parser.add_argument("--only", nargs="*", choices=list(CONTENDERS), default=list(CONTENDERS))
    parser.add_argument("-o", type=Path, default=HERE / "results" / "training_throughput.json")
    options = parser.parse_args()

    pays, why = bf16_pays(options.device)
    print(why, file=sys.stderr)
    names = [("products", sys.executable)]
    names += [
        (n, sys.executable if CONTENDERS[n][1] else options.peers_python) for n in options.only
    ]
    workers = []
    for name, python in names:
        for precision in PRECISIONS:
            print(f"starting {name} {precision}", file=sys.stderr)
            workers.append(Worker(python, name, precision, options))
    for number in range(options.rounds):
        print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
        # forwards and backwards in turn, so that nobody always follows the same neighbour
        for worker in workers if number % 2 == 0 else reversed(workers):
            worker.round(options.seconds)
    for worker in workers:
        worker.end()

    result = {
        "made": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": " ".join(["python", "benchmarks/training_throughput.py", *_told(options)]),
        "machine": {"processor": _processor(), "threads": options.threads, "bf16_probe": why},
        "settings": {
            "side": 64,
            "channels": 3,
            "batch": options.batch,
            "rounds": options.rounds,
            "clock": options.clock,
        },
        "peaks": {w.precision: max(w.rates) for w in workers if w.rates and w.name == "products"},
        "rows": [],
    }
    for worker in workers:
        if worker.name != "products":
            result["rows"].append(_row(worker, result["peaks"]))
    result["ratios"] = _ratios(result["rows"], "bf16" if pays else "fp32")
    print(_table(result))
    options.o.parent.mkdir(parents=True, exist_ok=True)
    options.o.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def _told(options: argparse.Namespace) -> list[str]:
    told = [f"--batch {options.batch}", f"--rounds {options.rounds}"]
    if options.only != list(CONTENDERS):
        told.append(f"--only {' '.join(options.only)}")
    return [
        *told,
        f"--seconds {options.seconds:g}",
        f"--threads {options.threads}",
        f"--clock {options.clock}",
    ]


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _row(worker: Worker, peaks: dict[str, float]) -> dict[str, Any]:
    title, is_ours, _ = CONTENDERS[worker.name]
    row: dict[str, Any] = {
        "name": worker.name,
        "title": title,
        "ours": is_ours,
        "precision": worker.precision,
    }
    if not worker.rates:
        return row | {"error": worker.facts.get("error", "no round was finished")}
    median = statistics.median(worker.rates)
    return row | {
        "parameters": worker.facts["parameters"],
        "torch": worker.facts["torch"],
        "images_per_second": {
            "median": median,
            "least": min(worker.rates),
            "most": max(worker.rates),
            "rounds": worker.rates,
        },
        "flops_per_image": worker.facts["flops_per_image"],
        "share_of_peak": worker.facts["flops_per_image"] * median / peaks[worker.precision],
        "peak_memory": worker.facts.get("peak_memory", 0),
    }


def _ratios(rows: list[dict[str, Any]], precision: str) -> dict[str, dict[str, float]]:
    """Ours, at the precision the probe chose, over every peer at its own faster one."""
    ready = [row for row in rows if "error" not in row]
    speed = {(r["name"], r["precision"]): r["images_per_second"]["median"] for r in ready}
    peers = {r["name"] for r in ready if not r["ours"]}
    best = {p: max(s for (name, _), s in speed.items() if name == p) for p in peers}
    return {
        name: {peer: round(rate / best[peer], 2) for peer in sorted(best)}
        for (name, used), rate in speed.items()
        if used == precision and name not in peers
    }


def _table(result: dict[str, Any]) -> str:
    peaks = ", ".join(f"{rate / 1e9:.0f} GFLOP/s in {p}" for p, rate in result["peaks"].items())
    machine = result["machine"]
    lines = [
        f"{machine['processor']}, threads: {machine['threads']}; matrix products: {peaks}; "
        f"batch {result['settings']['batch']}, {result['settings']['clock']} time.",
        "",
        "| network | million parameters | precision | images/s (least - most) "
        "| share of peak | GFLOP an image | peak memory, GB |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in result["rows"]:
        if "error" in row:
            cells = [
                row["title"],
                "",
                row["precision"],
                f"not measured: {row['error']}",
                "",
                "",
                "",
            ]
        else:
            rate = row["images_per_second"]
            cells = [
                row["title"],
                f"{row['parameters'] / 1e6:.1f}",
                row["precision"],
                f"**{rate['median']:.3g}** ({rate['least']:.3g} - {rate['most']:.3g})",
                f"{row['share_of_peak']:.0%}",
                f"{row['flops_per_image'] / 1e9:.1f}",
                f"{row['peak_memory'] / 1e9:.2f}",
            ]
        lines.append("| " + " | ".join(cells) + " |")
    lines.append("")
    for name, ratios in result["ratios"].items():
        told = ", ".join(f"{ratio:g} x {peer}" for peer, ratio in ratios.items())
        if told:
            lines.append(f"{name} trains as many images a second as {told}.")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
