"""Do the words steer the picture?  A plain measure that needs no other network.

For things that exist in at least four designs, one picture is generated from the thing's name
alone.  Generated and real pictures are laid on grey and reduced to 16x16; the nearest of a
thing's real pictures counts as its distance.  Printed, for English and for Russian names:

- nearer: how often the asked thing is nearer than a randomly swapped one (chance 50%);
- top 5: how often it is among the five nearest of all the things (chance 5 / things).

The things' real pictures were trained on: this measures obedience, not originality.

    python benchmarks/steering.py --things 300
    python benchmarks/steering.py runs/mine-of-emoji --things 300
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

import sfumato
from sfumato.data.sources.emoji import EmojiSource
from sfumato.diffusion.randomness import seed_of
from sfumato.training.machine import threads_allowed

SIDE = 16


def small(pictures: Tensor) -> Tensor:
    """Premultiplied RGBA (N, 4, 64, 64) in [0, 1], laid on grey, as (N, 3 * 16 * 16)."""
    laid = pictures[:, :3] + 0.5 * (1 - pictures[:, 3:])
    return F.adaptive_avg_pool2d(laid, SIDE).flatten(1)


def real_things(count: int) -> list[tuple[str, str, Tensor]]:
    """(English name, Russian name, its real pictures reduced) of a fixed choice of things."""
    source = EmojiSource()
    of: dict[str, list[int]] = defaultdict(list)
    for i in range(len(source)):
        row = source.metadata(i)
        if row["group"] not in ("flags", "symbols"):
            of[row["thing"]].append(i)
    known = sorted(thing for thing, places in of.items() if len(places) >= 4)
    known.sort(key=lambda thing: seed_of(0, "steering", thing))
    found = []
    for thing in known[:count]:
        images = np.stack([source[i].image for i in of[thing]])
        row = source.metadata(of[thing][0])
        reduced = small(torch.from_numpy(images).float() / 255)
        found.append((row["name_en"], row["name_ru"], reduced))
    return found


def reduced(pictures: list[Image.Image]) -> Tensor:
    arrays = np.stack([np.asarray(p.convert("RGBA")) for p in pictures])
    x = torch.from_numpy(arrays).permute(0, 3, 1, 2).float() / 255
    return small(torch.cat([x[:, :3] * x[:, 3:], x[:, 3:]], 1))


def measured(made: Tensor, things: list[Tensor]) -> dict[str, float]:
    """Both shares from distances (made, things)."""
    distance = torch.stack([torch.cdist(made, real).amin(1) for real in things], 1)
    own = distance.diagonal()
    generator = torch.Generator().manual_seed(seed_of(0, "swap"))
    shift = int(torch.randint(1, len(things), (), generator=generator))
    swapped = distance.gather(1, ((torch.arange(len(things)) + shift) % len(things))[:, None])
    return {
        "nearer": float((own < swapped[:, 0]).float().mean()),
        "top 5": float(((distance < own[:, None]).sum(1) < 5).float().mean()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("model", nargs="?", help="a model or a run; the embedded one by default")
    parser.add_argument("--things", type=int, default=300)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--guidance-scale", type=float)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path, help="JSON file")
    wanted = parser.parse_args()
    torch.set_num_threads(threads_allowed())
    things = real_things(wanted.things)
    model = sfumato.load(wanted.model, device="cpu")
    result: dict[str, object] = {"things": len(things), "seed": wanted.seed, "card": model.card}
    for place, language in enumerate(("English", "Russian")):
        names = [thing[place].lower() for thing in things]
        made = model.generate(
            names,
            seed=wanted.seed,
            numbers=range(len(names)),
            steps=wanted.steps,
            guidance_scale=wanted.guidance_scale,
        )
        shares = measured(reduced(made), [thing[2] for thing in things])
        result[language] = shares
        print(f"{language}: nearer {shares['nearer']:.1%}, top 5 {shares['top 5']:.1%}")
    print(f"{len(things)} things, chance 50% and {5 / len(things):.1%}")
    if wanted.output:
        wanted.output.parent.mkdir(parents=True, exist_ok=True)
        wanted.output.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    main()
