"""Does a class-conditional model draw what it is asked for?

A small classifier is trained on the real Fashion-MNIST training pictures, its accuracy on the
real test pictures is printed, and then it judges pictures generated for every class.  The share
it recognises, with its 95% interval (Wilson), and the confusions are printed and written as JSON.

    python benchmarks/fashion_agreement.py runs/fashion --count 100
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import sfumato
from sfumato.data import open_source
from sfumato.training.machine import threads_allowed


def classifier() -> nn.Module:
    """Three convolutions and two linear layers; about 92% on the real test pictures."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(64, 128, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Dropout(0.3),
        nn.Linear(128 * 49, 128), nn.ReLU(), nn.Linear(128, 10),
    )  # fmt: skip


def real(split: str) -> tuple[Tensor, Tensor, list[str]]:
    """(pictures (N, 1, 28, 28) in [0, 1], labels (N,), class names) of the real set."""
    source = open_source("fashion-mnist", split=split)
    examples = [source[i] for i in range(len(source))]
    pictures = torch.from_numpy(np.stack([e.image for e in examples])).float() / 255
    numbers = {name: i for i, name in enumerate(source.classes)}
    return pictures, torch.tensor([numbers[e.label] for e in examples]), list(source.classes)


def trained(pictures: Tensor, labels: Tensor, epochs: int, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    model = classifier()
    steps = epochs * (len(pictures) // 128)
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps + 1)
    for _ in range(epochs):
        for part in torch.randperm(len(pictures)).split(128)[: len(pictures) // 128]:
            batch = pictures[part]
            if torch.rand(()) < 0.5:
                batch = batch.flip(-1)
            loss = F.cross_entropy(model(batch), labels[part])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return model.eval()


@torch.no_grad()
def judged(model: nn.Module, pictures: Tensor) -> Tensor:
    return torch.cat([model(part).argmax(1) for part in pictures.split(500)])


def wilson(hits: int, total: int) -> tuple[float, float]:
    """95% interval of a share."""
    z, p = 1.96, hits / total
    middle = (p + z * z / (2 * total)) / (1 + z * z / total)
    half = z / (1 + z * z / total) * math.sqrt(p * (1 - p) / total + z * z / (4 * total**2))
    return middle - half, middle + half


def used(wanted: argparse.Namespace, defaults: dict[str, Any]) -> dict[str, Any]:
    """Steps and guidance scale: as they were asked for, 0 too, else the model's own."""
    asked = {name: getattr(wanted, name) for name in ("steps", "guidance_scale")}
    return {name: defaults[name] if value is None else value for name, value in asked.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("model", help="a model folder or a finished run")
    parser.add_argument("--count", type=int, default=100, help="pictures a class")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--guidance-scale", type=float)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=4, help="of the classifier")
    parser.add_argument("-o", "--output", type=Path, help="JSON file")
    wanted = parser.parse_args()
    torch.set_num_threads(threads_allowed())

    pictures, labels, names = real("train")
    judge = trained(pictures, labels, wanted.epochs, seed=0)
    test, test_labels, _ = real("test")
    accuracy = float((judged(judge, test) == test_labels).float().mean())
    print(f"classifier on the 10,000 real test pictures: {accuracy:.1%}")

    model = sfumato.load(wanted.model, device="cpu")
    begin = time.perf_counter()
    asked = torch.arange(len(names)).repeat_interleave(wanted.count)
    made = model.generate(
        [names[number] for number in asked.tolist()],
        seed=wanted.seed,
        steps=wanted.steps,
        guidance_scale=wanted.guidance_scale,
        numbers=range(len(asked)),
    )
    seconds = time.perf_counter() - begin
    # the pictures as they would be saved: eight bits a pixel
    arrays = np.stack([np.asarray(picture.convert("L")) for picture in made])
    said = judged(judge, torch.from_numpy(arrays).float()[:, None] / 255)
    hits = int((said == asked).sum())
    low, high = wilson(hits, len(made))
    print(f"{'class':<14} {'right':>6}   most often taken for")
    for number, name in enumerate(names):
        own = said[asked == number]
        counts = torch.bincount(own, minlength=10)
        counts_wrong = counts.clone()
        counts_wrong[number] = 0
        other = int(counts_wrong.argmax())
        wrong = f"{names[other]} ({int(counts_wrong[other])})" if counts_wrong.any() else "-"
        print(f"{name:<14} {float(counts[number] / len(own)):>6.0%}   {wrong}")
    print(f"all: {hits / len(made):.1%} of {len(made)} (95% interval {low:.1%} to {high:.1%})")
    result = {
        "model": wanted.model,
        "agreement": hits / len(made),
        "interval": [low, high],
        "pictures": len(made),
        "classifier_accuracy_on_real_test": accuracy,
        **used(wanted, model.defaults),
        "sampler": model.defaults["sampler"],
        "seed": wanted.seed,
        "seconds_sampling": round(seconds, 1),
        "machine": f"{platform.machine()}, {threads_allowed()} cores",
        "card": model.card,
    }
    if wanted.output:
        wanted.output.parent.mkdir(parents=True, exist_ok=True)
        wanted.output.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    main()
