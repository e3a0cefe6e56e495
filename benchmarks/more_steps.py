"""Do more steps ever make it worse?  Every sampler at 10 to 250 steps on one trained model.

    python benchmarks/more_steps.py runs/unet runs/matryoshka --judge runs/judge

For each sampler and number of steps the same prompts and seeds are drawn, and two numbers are
printed: the correlation of neighbouring pixels (left-over noise lowers it; the real pictures'
own is printed above), and the kernel distance to the real pictures in the judge's features
(smaller is better; its standard error comes from resampling and is kept in the JSON file).
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

import sfumato
from sfumato.data import open_source
from sfumato.data.decode import fit
from sfumato.diffusion import SAMPLERS
from sfumato.evaluation.distances import kernel, kernel_resampled
from sfumato.evaluation.judge import Judge
from sfumato.evaluation.smoothness import neighbour_correlation
from sfumato.training.files import replace_bytes

STEPS = (10, 25, 50, 100, 250)


def measured(
    model: Any, prompts: list[str], judge: Judge, real: np.ndarray, scale: float, seed: int
) -> list[dict[str, Any]]:
    """One row for each sampler and number of steps."""
    rows = []
    reference = judge.features(real)
    for sampler in SAMPLERS:
        for steps in STEPS:
            begin = time.process_time()
            drawn = model.generate(
                prompts, 1, seed, steps=steps, guidance_scale=scale, sampler=sampler
            )
            made = np.stack([fit(picture, model.size, model.channels) for picture in drawn])
            features = judge.features(made)
            spread = kernel_resampled(features, reference, 100, seed).std()
            rows.append(
                {
                    "sampler": sampler,
                    "steps": steps,
                    "correlation": float(neighbour_correlation(made).mean()),
                    "kernel": kernel(features, reference),
                    "standard error": float(spread),
                    "seconds": round(time.process_time() - begin, 1),
                }
            )
            print("{sampler:8} {steps:4} {correlation:.3f} {kernel:.4g}".format(**rows[-1]))
    return rows


def worse(rows: list[dict[str, Any]]) -> list[str]:
    """Where more steps lost something beyond its standard error."""
    found = []
    for sampler in {row["sampler"] for row in rows}:
        own = [row for row in rows if row["sampler"] == sampler]
        for fewer, more in zip(own, own[1:], strict=False):
            at = f"{sampler}, {fewer['steps']} to {more['steps']} steps"
            if more["correlation"] < fewer["correlation"] - 0.005:
                found.append(f"{at}: correlation")
            error = np.hypot(fewer["standard error"], more["standard error"])
            if more["kernel"] > fewer["kernel"] + 2 * error:
                found.append(f"{at}: kernel distance")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("models", nargs="+")
    parser.add_argument("--judge", type=Path, required=True)
    parser.add_argument("--count", type=int, default=64)
    parser.add_argument("--guidance-scale", type=float, default=2.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("-o", "--output", type=Path, help="JSON file")
    told = parser.parse_args()
    torch.set_num_threads(told.threads)
    judge = Judge.load(told.judge)
    found: dict[str, Any] = {}
    for name in told.models:
        model = sfumato.load(name, device="cpu")
        data = model.recipe.data
        source = open_source(data.name, data.resolution, data.channels)
        step = max(1, len(source) // max(told.count, 512))
        real = np.stack([source[i].image for i in range(0, len(source), step)][:2048])
        places = [i * len(source) // told.count for i in range(told.count)]
        prompts = [source[i].captions[0] for i in places]
        own = float(neighbour_correlation(real).mean())
        print(f"{name}: {told.count} pictures a row, real pictures' correlation {own:.3f}")
        rows = measured(model, prompts, judge, real, told.guidance_scale, told.seed)
        lost = worse(rows)
        print("\n".join(lost) if lost else "more steps never lost anything")
        found[name] = {"real": own, "rows": rows, "worse": lost}
    if told.output:
        settings = {"count": told.count, "guidance": told.guidance_scale, "seed": told.seed}
        text = json.dumps({"settings": settings, "models": found}, indent=1)
        told.output.parent.mkdir(parents=True, exist_ok=True)
        replace_bytes(told.output, (text + "\n").encode())


if __name__ == "__main__":
    main()
