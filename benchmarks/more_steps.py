"""Do more steps ever make it worse?  Every sampler at 10 to 250 steps on one trained model.

    python benchmarks/more_steps.py runs/unet runs/matryoshka --judge runs/judge

For each sampler and number of steps the same prompts are drawn, each from noise of its own, the
same in every row.  Printed are

- the correlation of neighbouring pixels (the real pictures' own stands above);
- the noise left over: how far that correlation lies below the solution's.  The solution are the
  pictures of heun, of second order, at the most steps: all samplers without noise of their own
  walk towards them, and it counts as one only where dpm++2m has come to the same pictures and
  heun had them at fewer steps already.  A fall from too smooth a picture down to the solution
  leaves no noise;
- the mean difference to the solution's pictures, root mean square, white being 1; ddpm's own
  noise leads elsewhere, and for it this is only printed;
- the kernel distance to the real pictures in the judge's features (smaller is better).

More steps have lost something where one of the last three is worse than with fewer steps of the
same sampler: the pictures resampled for both numbers together, beyond 3.5 standard errors of
the change, and of the second and third by more than can be seen; or where there is no solution.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

import sfumato
from sfumato.data import open_source
from sfumato.data.decode import fit
from sfumato.diffusion import SAMPLERS
from sfumato.evaluation.distances import kernel, kernel_resampled
from sfumato.evaluation.intervals import generator
from sfumato.evaluation.judge import Judge
from sfumato.evaluation.smoothness import neighbour_correlation
from sfumato.training.files import replace_bytes

STEPS = (10, 25, 50, 100, 250)
SOLUTION = "heun"
WITNESS = "dpm++2m"
AGREED = 0.01  # of white, root mean square
ERRORS = 3.5
"""Standard errors: of 140 independent comparisons a model, 3% would find one by chance."""
SEEN = {"noise": 0.002, "difference": 0.002, "kernel": 0.0}
TIMES = 200  # resamples


@dataclass(frozen=True)
class Row:
    """What one sampler made in so many steps.

    Attributes:
        values: name -> number.
        resampled: name -> (TIMES,) the same of resampled pictures, the same ones in every row.
    """

    sampler: str
    steps: int
    values: dict[str, float]
    resampled: dict[str, np.ndarray]

    def __str__(self) -> str:
        told = " ".join(f"{name} {value:.4g}" for name, value in self.values.items())
        return f"{self.sampler:8} {self.steps:4} {told}"


def drawn(model: Any, prompts: list[str], **settings: Any) -> tuple[np.ndarray, float]:
    """Pictures (N, C, H, W) in uint8, and the processor seconds they took.

    Noise that all prompts shared would be one walk of ddpm's, and one chance, for all of them:
    resampling the prompts would not see how far the numbers hang on it.
    """
    begin = time.process_time()
    pictures = model.generate(prompts, numbers=range(len(prompts)), **settings)
    seconds = time.process_time() - begin
    return np.stack([fit(picture, model.size, model.channels) for picture in pictures]), seconds


def differences(made: np.ndarray, solution: np.ndarray) -> np.ndarray:
    """Root mean square of each pair of pictures (N,), white being 1."""
    return np.sqrt(((made / 255 - solution / 255) ** 2).mean((1, 2, 3)))


def measured(
    model: Any,
    prompts: list[str],
    judge: Judge,
    real: np.ndarray,
    samplers: list[str],
    **settings: Any,
) -> list[Row]:
    """One row for each sampler and number of steps, printed as it comes.

    Raises:
        SystemExit: if the samplers do not agree on a solution.
    """

    @cache  # the solution and its witnesses, the longest walks, are rows as well
    def made_by(sampler: str, steps: int) -> tuple[np.ndarray, float]:
        return drawn(model, prompts, steps=steps, sampler=sampler, **settings)

    solution, _ = made_by(SOLUTION, STEPS[-1])
    for sampler, steps in ((SOLUTION, STEPS[-2]), (WITNESS, STEPS[-1])):
        other, _ = made_by(sampler, steps)
        apart = float(differences(other, solution).mean())
        print(f"{sampler} at {steps} steps: {apart:.2g} from the solution", flush=True)
        if apart > AGREED:
            raise SystemExit(
                f"{SOLUTION} at {STEPS[-1]} steps is no solution: {sampler} at {steps} steps makes "
                f"pictures {apart:.2g} away, and {AGREED:g} is the most. Something the samplers "
                "share, as the times of their steps, may be wrong."
            )
    smooth, reference = neighbour_correlation(solution), judge.features(real)
    picks = generator(0, "more steps").integers(len(prompts), size=(TIMES, len(prompts)))
    rows = []
    for sampler, steps in itertools.product(samplers, STEPS):
        made, seconds = made_by(sampler, steps)
        features, correlation = judge.features(made), neighbour_correlation(made)
        apart = differences(made, solution)
        below = smooth - correlation
        values = {
            "correlation": float(correlation.mean()),
            "noise": max(0.0, float(below.mean())),
            "difference": float(apart.mean()),
            "kernel": kernel(features, reference),
            "seconds": round(seconds, 1),
        }
        resampled = {
            "noise": np.maximum(0.0, below[picks].mean(1)),
            "difference": apart[picks].mean(1),
            "kernel": kernel_resampled(features, reference, TIMES, 0),
        }
        rows.append(Row(sampler, steps, values, resampled))
        print(rows[-1], flush=True)
    return rows


def worse(rows: list[Row]) -> list[str]:
    """Where more steps lost something, in words."""
    found = []
    for fewer, more in itertools.combinations(rows, 2):
        if fewer.sampler != more.sampler:
            continue
        for name, seen in SEEN.items():
            if name == "difference" and more.sampler == "ddpm":
                continue
            change = more.values[name] - fewer.values[name]
            error = float((more.resampled[name] - fewer.resampled[name]).std())
            if change > max(seen, ERRORS * error):
                found.append(
                    f"{more.sampler}, {fewer.steps} to {more.steps} steps: {name} grows by "
                    f"{change:.4g}, {ERRORS:g} standard errors are {ERRORS * error:.4g}"
                )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("models", nargs="+")
    parser.add_argument("--judge", type=Path, required=True)
    parser.add_argument("--count", type=int, default=64, help="pictures a row")
    parser.add_argument("--samplers", nargs="+", choices=list(SAMPLERS), default=list(SAMPLERS))
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
        settings = {"seed": told.seed, "guidance_scale": told.guidance_scale}
        rows = measured(model, prompts, judge, real, told.samplers, **settings)
        lost = worse(rows)
        print("\n".join(lost) if lost else "more steps never lost anything")
        table = [{"sampler": row.sampler, "steps": row.steps, **row.values} for row in rows]
        found[name] = {"real": own, "rows": table, "worse": lost}
        if told.output:
            text = json.dumps({"pictures": told.count, **settings, "models": found}, indent=1)
            told.output.parent.mkdir(parents=True, exist_ok=True)
            replace_bytes(told.output, (text + "\n").encode())


if __name__ == "__main__":
    main()
