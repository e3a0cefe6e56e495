"""Equal processor time for different ways to train on the emoji, side by side in one run.

Every contender trains in turn, a slice of processor time at a time, until each has had its
minutes; learning rates stay constant after the warm-up.  Latent contenders share one trained
autoencoder (its training is not counted; the time that took stands in docs/log.md).  Then the
averaged weights of each draw the same things from name and style, and a judge trained on other
designers' art (`scripts/build_evaluation_art.py`, `sfumato judge`) says what the pictures show.

    python benchmarks/equal_time.py --judge runs/judge --autoencoder runs/embedded --minutes 5
    python benchmarks/equal_time.py --judge runs/judge --only unet matry --text-encoder sentence
    python benchmarks/equal_time.py --judge runs/judge --runs runs/unet runs/matryoshka

The last one trains nothing: it puts finished runs of the command line into the same table.

Printed for each: millions of parameters, pictures seen, loss, whether a picture is judged nearer
to its own prompt than to another's (chance 50%), the judge's top 1 and top 5 of all things, and
the Frechet and the kernel distance in the judge's features to as many other real pictures (of few
pictures the first is too large, the second is not); last, what the real pictures that were asked
for score themselves.  Every prompt has noise of its own, the same for all models; with ``--draws``
all are drawn so often from other noise, the means are printed, and their standard errors by the
draws, which leave the choice of prompts out.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

import sfumato
from sfumato.data.sources.emoji import STYLES, EmojiSource
from sfumato.diffusion.randomness import seed_of
from sfumato.evaluation.agreement import ranks
from sfumato.evaluation.distances import frechet, kernel
from sfumato.evaluation.judge import Judge

LATENT = {"use": True, "images": 0}
PIXELS = {"use": False}
UNET = {"name": "patch-unet"}
CONTENDERS: dict[str, dict[str, dict[str, Any]]] = {
    "transformer, latents, patch 2": {"latent": LATENT, "network": {"patch": 2}},
    "transformer, latents, patch 1": {"latent": LATENT, "network": {"patch": 1}},
    "the same with AdamW, patch 2": {
        "latent": LATENT,
        "network": {"patch": 2},
        "training": {"optimizer": "adamw"},
    },
    "U-Net, latents, patch 1": {"latent": LATENT, "network": {**UNET, "patch": 1}},
    "transformer, pixels, patch 8": {"latent": PIXELS, "network": {"patch": 8}},
    "U-Net, pixels, patch 4": {"latent": PIXELS, "network": {**UNET, "patch": 4}},
    # 2.58 and 2.78 million parameters
    "unet, pixels": {
        "latent": PIXELS,
        "network": {"name": "unet", "size": "tiny"},
        "training": {"batch_size": 64},
    },
    "matryoshka, 2 levels": {
        "latent": PIXELS,
        "network": {"name": "matryoshka", "size": "tiny", "levels": 2},
        "training": {"batch_size": 64},
    },
}
TRAINING = {
    "images": 100_000_000,  # never reached: the learning rate stays constant
    "warmup_images": 3_000,
    "ema_half_life_images": 10_000.0,
    "precision": "bf16",
    "device": "cpu",
    "threads": 1,
    "batch_size": 128,
    "save_every_minutes": 1e6,
    "sample_every_images": 10**9,
}


def begin(name: str, folder: Path, given: str, words: dict[str, Any]) -> Iterator[Any]:
    changes = CONTENDERS[name]
    use = changes["latent"]["use"]
    start = {"model": given, "take": ["autoencoder"]} if use else {}
    asked = {
        "latent": changes["latent"],
        "network": {"name": "patch-transformer", "size": "small", **changes["network"]},
        "conditioning": words,
        "training": {**TRAINING, **changes.get("training", {})},
    }
    if start:
        asked["start"] = start
        # of the model only the autoencoder is wanted
        asked["network"] |= {"width": 256, "depth": 8, "heads": 4}
    return sfumato.train("emoji", folder, **asked)


def trained(
    names: list[str], out: Path, minutes: float, given: str, words: dict[str, Any]
) -> dict[str, dict[str, float]]:
    """Images seen and mean loss of each after so many minutes of its own processor time."""
    walks = {name: begin(name, out / str(i), given, words) for i, name in enumerate(names)}
    used = dict.fromkeys(names, 0.0)
    seen: dict[str, dict[str, float]] = {name: {} for name in names}
    for name in names:
        next(walks[name])  # what is made ready once (latents, captions) is not counted
    for turn in range(1, 11):
        for name in names:
            loss = []
            while used[name] < 60 * minutes * turn / 10:
                began = time.process_time()
                step = next(walks[name])
                used[name] += time.process_time() - began
                loss.append(float(step.loss.mean()))
            seen[name] = {"images": step.images_seen, "loss": float(np.mean(loss or [np.nan]))}
        print(f"{turn}/10", {name: int(seen[name]["images"]) for name in names}, flush=True)
    for walk in walks.values():
        walk.close()  # type: ignore[attr-defined]
    return seen


def finished(run: Path) -> dict[str, float]:
    """Images seen and last loss of a run, from its log."""
    last = json.loads((run / "log.jsonl").read_text("utf-8").splitlines()[-1])
    return {"images": last["images"], "loss": last["loss"]}


def pairs(count: int) -> tuple[list[str], list[str], np.ndarray, np.ndarray]:
    """Prompts (name and style), their things, the real pictures of just these, and as many others.

    The others are for the distances: a picture drawn for the prompt of a real one is no sample
    that is independent of it.
    """
    source = EmojiSource()
    rows = [(source.metadata(i), i) for i in range(len(source))]
    rows = [(row, i) for row, i in rows if row["group"] != "flags"]
    rows.sort(key=lambda pair: seed_of(0, "equal time", pair[0]["file_name"]))
    rows, others = rows[:count], rows[count : 2 * count]
    prompts = [f"{row['name_en'].lower()}, {STYLES[row['style']][0]}" for row, _ in rows]
    real, other = (np.stack([source[i].image for _, i in some]) for some in (rows, others))
    return prompts, [row["thing"] for row, _ in rows], real, other


def premultiplied(pictures: list[Any]) -> np.ndarray:
    from sfumato.data.decode import fit

    return np.stack([fit(picture, 64, 4) for picture in pictures])


def judged(
    judge: Judge, images: np.ndarray, things: list[str], other: np.ndarray
) -> dict[str, float]:
    scores = judge.scores(images)
    own = np.array([judge.labels.index(thing) for thing in things])
    rank = ranks(scores, own)
    rows = np.arange(len(own))
    made, features = judge.features(images), judge.features(other)
    return {
        "nearer": float((scores[rows, own] > scores[rows, np.roll(own, 1)]).mean()),
        "top 1": float((rank < 1).mean()),
        "top 5": float((rank < 5).mean()),
        "Frechet": float(frechet(made, features)),
        "kernel": kernel(made, features),
    }


def drawn(
    model: Any, judge: Judge, prompts: list[str], things: list[str], other: np.ndarray, draws: int
) -> dict[str, float]:
    """What `judged` says on average of pictures drawn ``draws`` times, each from other noise.

    Pictures of one noise have more in common than their prompts: a distance of those measures
    the chance of that noise.
    """
    count, rounds = len(prompts), []
    for turn in range(draws):
        numbers = range(turn * count, (turn + 1) * count)
        made = premultiplied(model.generate(prompts, numbers=numbers))
        rounds.append(judged(judge, made, things, other))
    found = {name: float(np.mean([one[name] for one in rounds])) for name in rounds[0]}
    if draws > 1:
        for name in rounds[0]:
            spread = np.std([one[name] for one in rounds], ddof=1)
            found[f"{name} error"] = float(spread / draws**0.5)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--judge", type=Path, required=True)
    parser.add_argument("--autoencoder", default="embedded", help="a model or run: whose latents")
    parser.add_argument("--text-encoder", default="scratch")
    parser.add_argument("--text-model", help="of a pretrained encoder: a folder, package or id")
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--things", type=int, default=300)
    parser.add_argument("--draws", type=int, default=1, help="times that every thing is drawn")
    parser.add_argument("--only", nargs="*", help="parts of the names of contenders")
    parser.add_argument("--runs", nargs="*", type=Path, help="finished runs to judge, instead")
    parser.add_argument("-o", "--output", type=Path, default=Path("benchmarks/results/equal_time"))
    wanted = parser.parse_args()
    if wanted.draws < 1:
        parser.error("--draws must be at least 1")
    torch.set_num_threads(1)
    folders = {str(run): run for run in wanted.runs or []}
    seen = {name: finished(run) for name, run in folders.items()}
    if not folders:
        names = [n for n in CONTENDERS if not wanted.only or any(part in n for part in wanted.only)]
        folders = {name: wanted.output / str(i) for i, name in enumerate(names)}
        words = {"encoder": wanted.text_encoder}
        if wanted.text_encoder == "scratch":
            words["vocabulary"] = 6144
        if wanted.text_model:
            words["model"] = wanted.text_model
        seen = trained(names, wanted.output, wanted.minutes, wanted.autoencoder, words)
    judge = Judge.load(wanted.judge)
    prompts, things, real, other = pairs(wanted.things)
    table = {"real pictures": judged(judge, real, things, other)}
    for name, folder in folders.items():
        model = sfumato.load(folder, device="cpu")
        size = sum(p.numel() for p in model.prompted.parameters()) / 1e6
        table[name] = {"millions": size, **seen[name]}
        table[name] |= drawn(model, judge, prompts, things, other, wanted.draws)
        row = ", ".join(f"{key} {value:.4g}" for key, value in table[name].items())
        print(f"{name}: {row}", flush=True)
    print("real pictures:", {k: round(v, 3) for k, v in table["real pictures"].items()})
    facts = {
        "minutes": None if wanted.runs else wanted.minutes,
        "things": wanted.things,
        "draws": wanted.draws,
        "judge": judge.hash,
    }
    wanted.output.mkdir(parents=True, exist_ok=True)
    name = "runs.json" if wanted.runs else "table.json"
    (wanted.output / name).write_text(json.dumps({**facts, "table": table}, indent=1))


if __name__ == "__main__":
    main()
