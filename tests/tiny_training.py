"""A training small enough for a test: twelve pictures of 8 x 8, three classes, a tiny network.

Run as a script it is one rank of a distributed training and writes what it ended with:
``python tiny_training.py FOLDER STEPS MICRO_BATCH [context]``.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from sfumato.conditioning.labels import Labels
from sfumato.conditioning.prompted import Prompted
from sfumato.conditioning.text_transformer import TextTransformer, learn_tokenizer
from sfumato.diffusion import TARGETS, Denoiser, DiffusionLoss, Flow
from sfumato.networks.context_unet import ContextUNet
from sfumato.networks.patch_transformer import PatchTransformer
from sfumato.training.objective import Captions, Diffusion
from sfumato.training.sections import Training
from sfumato.training.trainer import Trainer

PICTURES = 12
CLASSES = ["disc", "square", "star"]


class Pictures:
    """Positions -> pictures; notes which positions were asked for."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(1)
        self.all = torch.rand(PICTURES, 1, 8, 8, generator=generator) * 2 - 1
        self.asked: list[int] = []

    def __call__(self, positions: list[int]) -> Tensor:
        self.asked += positions
        return self.all[positions]


def prompted(awake: bool = True) -> Prompted:
    """The network with its conditioner; awake: what starts at zero is random, as if trained."""
    torch.manual_seed(0)
    network = PatchTransformer(1, 8, patch=4, width=32, depth=2, heads=1, condition_width=16)
    module = Prompted(network, Labels(CLASSES, 16))
    if awake:
        wake(module)
    return module


def read_by_context() -> Prompted:
    """Free text for a network that reads nothing but its vector."""
    torch.manual_seed(0)
    words = TextTransformer(learn_tokenizer(CLASSES, 100), 16, layers=1, heads=1, length=1)
    module = Prompted(ContextUNet(1, 8, width=8, condition_width=16), words)
    wake(module)
    return module


def wake(module: nn.Module) -> None:
    """Small random numbers in every parameter that is all zero."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in module.parameters():
            if not parameter.any():
                parameter.normal_(0, 0.1, generator=generator)


def objective(module: nn.Module, drop: float = 0.1, seed: int = 3) -> Diffusion:
    ids = torch.tensor([[i % len(CLASSES)] for i in range(PICTURES)])
    criterion = DiffusionLoss(Denoiser(module, Flow(), TARGETS["flow"]), seed=seed)
    captions = Captions(ids, torch.arange(PICTURES + 1))
    return Diffusion(module, Pictures(), captions, PICTURES, criterion, drop, seed)


def trainer(
    folder: Path,
    total: int = 10**6,
    *,
    resume: bool = False,
    module: Prompted | None = None,
    **settings: Any,
) -> Trainer:
    chosen: dict[str, Any] = {
        "batch_size": 8,
        "micro_batch": 8,
        "learning_rate": 3e-3,
        "optimizer": "adamw",
        "warmup_images": 0,
        "decay_fraction": 0.0,
        "ema_half_life_images": 50.0,
        "precision": "fp32",
        "device": "cpu",
        "seed": 3,
        **settings,
    }
    return Trainer(objective(module or prompted()), Training(**chosen), folder, total, resume)


def weights(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


if __name__ == "__main__":
    out, steps, micro = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    torch.set_num_threads(1)
    other = read_by_context() if sys.argv[4:] == ["context"] else None
    rank_trainer = trainer(out, micro_batch=micro, module=other)
    rank = rank_trainer.accelerator.process_index
    walk = rank_trainer.steps()
    taken = [next(walk) for _ in range(steps)]
    pictures = rank_trainer.objective.pictures
    ends = {
        **weights(rank_trainer.objective.module),
        "t": torch.stack([step.t for step in taken]),
        "loss": torch.stack([step.loss for step in taken]),
        "asked": torch.tensor(pictures.asked),
        "processes": torch.tensor(rank_trainer.accelerator.num_processes),
    }
    save_file(ends, out / f"rank-{rank}.safetensors")
