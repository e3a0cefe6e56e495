"""The peers of the quality benchmark: how each trains, keeps its state and draws.

Settings are those of the peers' own documentation, scaled to 28x28x1 and ten classes; README.md
says which.  Nothing of Sfumato is imported here: the peers run in an environment of their own.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import Any

import torch
from contenders import _classifier_free_guidance
from quality_task import Contender, Task
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

SIDE, CLASSES, STEPS, AT_ONCE = 28, 10, 50, 50


class Peer:
    """Data, state and random numbers, the same for all peers.

    The numbers of a step belong to (seed, images seen), so that a resumed training goes on as
    one that was not interrupted.
    """

    batch = 16

    def __init__(self, task: Task) -> None:
        self.task, self.images = task, 0
        held = load_file(task.data)
        self.pictures, self.labels = held["pictures"], held["labels"]
        self._epoch, self._order = -1, torch.empty(0)
        torch.manual_seed(task.seed)
        self.network, self.optimizer = self.build()
        self.parameters = sum(p.numel() for p in self.network.parameters())
        self._file = task.folder / "state.safetensors"
        if self._file.exists():
            self._restore(load_file(self._file))
        self.restored = self.images

    # ---- what a peer says of itself

    def build(self) -> tuple[nn.Module, torch.optim.Optimizer]:
        raise NotImplementedError

    def loss(self, pictures: Tensor, labels: Tensor) -> Tensor:
        """Of pictures float (B, 1, 28, 28) in [0, 1]."""
        raise NotImplementedError

    def sampled(self, labels: Tensor) -> Tensor:
        """Pictures float in [0, 1] by the averaged weights."""
        raise NotImplementedError

    def average(self) -> None:
        """After a step."""

    def averaged(self) -> dict[str, Tensor]:
        """The averaged weights, if there are any, and their counter."""
        return {}

    def take_average(self, tensors: dict[str, Tensor]) -> None:
        """Set what `averaged` gave."""

    clip: float | None = 1.0

    def rate(self, steps: int, share: float) -> float:
        """Factor of the learning rate, after so many steps and this share of the time."""
        return 1.0

    # ---- the same for all

    def step(self, share: float) -> float:
        torch.manual_seed((self.task.seed + 1) * (1 << 40) + self.images)
        shown = self._shown()
        for group in self.optimizer.param_groups:
            group.setdefault("full", group["lr"])
            group["lr"] = group["full"] * self.rate(self.images // self.batch, share)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.task.bf16):
            loss = self.loss(self.pictures[shown].float() / 255, self.labels[shown])
        loss.backward()
        if self.clip:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.clip)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.average()
        self.images += self.batch
        return float(loss.detach())

    @torch.no_grad()
    def draw(self, labels: list[int], seed: int) -> Tensor:
        torch.manual_seed(seed)
        found = []
        with torch.autocast("cpu", torch.bfloat16, enabled=self.task.bf16):
            for part in torch.tensor(labels).split(AT_ONCE):
                found.append(self.sampled(part).float())
        return (torch.cat(found).clamp(0, 1) * 255).round().to(torch.uint8)

    def save(self) -> None:
        state = {f"network.{k}": v for k, v in self.network.state_dict().items()}
        state |= {f"average.{k}": v for k, v in self.averaged().items()}
        for number, held in self.optimizer.state_dict()["state"].items():
            state |= {f"optimizer.{number}.{k}": v for k, v in held.items()}
        state["images"] = torch.tensor(self.images)
        beside = self._file.with_suffix(".partial")
        save_file({k: v.detach().clone().contiguous() for k, v in state.items()}, beside)
        os.replace(beside, self._file)

    def _restore(self, state: dict[str, Tensor]) -> None:
        def under(name: str) -> dict[str, Tensor]:
            size = len(name) + 1
            return {k[size:]: v for k, v in state.items() if k.startswith(name + ".")}

        self.images = int(state["images"])
        self.network.load_state_dict(under("network"))
        self.take_average(under("average"))
        kept: dict[int, dict[str, Tensor]] = {}
        for name, value in under("optimizer").items():
            number, _, what = name.partition(".")
            kept.setdefault(int(number), {})[what] = value
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": kept, "param_groups": groups})

    def _shown(self) -> Tensor:
        """The next batch of an order that is drawn anew for every epoch."""
        epoch, first = divmod(self.images, len(self.labels) - len(self.labels) % self.batch)
        if epoch != self._epoch:
            generator = torch.Generator().manual_seed(self.task.seed * 100_003 + epoch)
            self._epoch = epoch
            self._order = torch.randperm(len(self.labels), generator=generator)
        return self._order[first : first + self.batch]


class Diffusers(Peer):
    """UNet2DModel with a class embedding, as the library's training script trains."""

    channels: tuple[int, ...] = (32, 64, 96)  # a seventh of the default's first three
    betas = "linear"
    warmup = 500

    def build(self) -> tuple[nn.Module, torch.optim.Optimizer]:
        from diffusers import DDIMScheduler, DDPMScheduler, UNet2DModel

        # the default layout without its last level: 28 can be halved twice
        network = UNet2DModel(
            sample_size=SIDE,
            in_channels=1,
            out_channels=1,
            down_block_types=("DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"),
            up_block_types=("AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
            block_out_channels=self.channels,
            num_class_embeds=CLASSES,
        )
        self.noises = DDPMScheduler(num_train_timesteps=1000, beta_schedule=self.betas)
        self.sampler = DDIMScheduler.from_config(self.noises.config)
        return network, self.optimized(network)

    def optimized(self, network: nn.Module) -> torch.optim.Optimizer:
        from diffusers.training_utils import EMAModel

        self.ema = EMAModel(
            network.parameters(), decay=0.9999, use_ema_warmup=True, inv_gamma=1.0, power=0.75
        )
        parameters = network.parameters()
        return torch.optim.AdamW(parameters, 1e-4, (0.95, 0.999), eps=1e-8, weight_decay=1e-6)

    def rate(self, steps: int, share: float) -> float:
        """Warm-up, then a cosine to zero; the number of steps is foreseen from the pace."""
        if steps < self.warmup:
            return steps / self.warmup
        total = steps / share if share else math.inf
        done = (steps - self.warmup) / max(1.0, total - self.warmup)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))

    def loss(self, pictures: Tensor, labels: Tensor) -> Tensor:
        clean = 2 * pictures - 1
        noise = torch.randn_like(clean)
        times = torch.randint(self.noises.config.num_train_timesteps, (len(clean),))
        noisy = self.noises.add_noise(clean, noise, times)
        guess = self.network(noisy, times, class_labels=labels).sample
        return nn.functional.mse_loss(guess.float(), noise)

    def average(self) -> None:
        self.ema.step(self.network.parameters())

    def averaged(self) -> dict[str, Tensor]:
        weights = {str(i): tensor for i, tensor in enumerate(self.ema.shadow_params)}
        return {**weights, "step": torch.tensor(self.ema.optimization_step)}

    def take_average(self, tensors: dict[str, Tensor]) -> None:
        self.ema.optimization_step = int(tensors["step"])
        for i, mine in enumerate(self.ema.shadow_params):
            mine.copy_(tensors[str(i)])

    def sampled(self, labels: Tensor) -> Tensor:
        parameters = list(self.network.parameters())
        self.ema.store(parameters)
        self.ema.copy_to(parameters)
        try:
            return self.walked(labels)
        finally:
            self.ema.restore(parameters)

    def walked(self, labels: Tensor) -> Tensor:
        self.sampler.set_timesteps(STEPS)
        x = torch.randn(len(labels), 1, SIDE, SIDE)
        for time in self.sampler.timesteps:
            guess = self.network(x, time, class_labels=labels).sample
            x = self.sampler.step(guess.float(), time, x).prev_sample
        return x / 2 + 0.5


class DiffusersCourse(Diffusers):
    """The same class with the settings of the library's course for 28x28 digits by class."""

    batch = 128
    channels = (32, 64, 64)
    betas = "squaredcos_cap_v2"
    clip = None

    def optimized(self, network: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.Adam(network.parameters(), 1e-3)

    def rate(self, steps: int, share: float) -> float:
        return 1.0

    def average(self) -> None: ...

    def averaged(self) -> dict[str, Tensor]:
        return {}

    def take_average(self, tensors: dict[str, Tensor]) -> None: ...

    def sampled(self, labels: Tensor) -> Tensor:
        return self.walked(labels)


class Guidance(Peer):
    """denoising-diffusion-pytorch's U-Net for guidance, with the numbers of its trainer."""

    def build(self) -> tuple[nn.Module, torch.optim.Optimizer]:
        from ema_pytorch import EMA

        module = _classifier_free_guidance()
        network = module.Unet(32, num_classes=CLASSES, dim_mults=(1, 2, 4), channels=1)
        diffusion = module.GaussianDiffusion(network, image_size=SIDE, sampling_timesteps=STEPS)
        self.ema = EMA(diffusion, beta=0.995, update_every=10, include_online_model=False)
        return diffusion, torch.optim.Adam(diffusion.parameters(), 1e-4, (0.9, 0.99))

    def loss(self, pictures: Tensor, labels: Tensor) -> Tensor:
        return self.network(pictures, classes=labels)

    def average(self) -> None:
        self.ema.update()

    def averaged(self) -> dict[str, Tensor]:
        return dict(self.ema.state_dict())

    def take_average(self, tensors: dict[str, Tensor]) -> None:
        self.ema.load_state_dict(tensors)

    def sampled(self, labels: Tensor) -> Tensor:
        return self.ema.ema_model.sample(classes=labels)


def ours(task: Task) -> Contender:
    from quality_ours import Ours

    return Ours(task)


CONTENDERS: dict[str, tuple[str, bool, Callable[[Task], Any]]] = {
    # name: (title, ours, begin or resume)
    "sfumato": ("Sfumato, size tiny", True, ours),
    "diffusers": ("diffusers UNet2DModel, its training script", False, Diffusers),
    "diffusers-course": ("diffusers UNet2DModel, its course", False, DiffusersCourse),
    "guidance-unet": ("denoising-diffusion-pytorch, guidance U-Net", False, Guidance),
}
