"""The networks of the training benchmark, each as (module, call(x, time, inputs) -> output).

Nothing of Sfumato is imported at the top, so that the peers run in an environment of their own.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from torch import Tensor, nn

SIDE, CHANNELS, TOKENS, TEXT_WIDTH, CLASSES = 64, 3, 24, 256, 1000
WIDTH, DEPTH = 256, 8  # of the recipe's size "small"


@dataclass(frozen=True)
class Inputs:
    """What a batch is told, the same for everyone; each takes what it knows to use."""

    vector: Tensor  # (B, TEXT_WIDTH)
    tokens: Tensor  # (B, TOKENS, TEXT_WIDTH)
    mask: Tensor  # (B, TOKENS) bool, all true
    label: Tensor  # (B,)


Call = Callable[[Tensor, Tensor, Inputs], Tensor]


def ours(kind: str) -> tuple[nn.Module, Call]:
    from sfumato.conditioning.condition import Condition
    from sfumato.networks.patch_transformer import PatchTransformer
    from sfumato.networks.patch_unet import PatchUNet

    network: nn.Module
    if kind == "unet":
        network = PatchUNet(CHANNELS, SIDE, 4, WIDTH, DEPTH, TEXT_WIDTH)
    else:
        network = PatchTransformer(
            CHANNELS, SIDE, 8, WIDTH, DEPTH, WIDTH // 64, TEXT_WIDTH, bottleneck=128
        )

    def call(x: Tensor, time: Tensor, inputs: Inputs) -> Tensor:
        return network(x, time, Condition(inputs.vector, inputs.tokens, inputs.mask))

    return network, call


def diffusers(kind: str) -> tuple[nn.Module, Call]:
    from diffusers import UNet2DConditionModel

    common = {
        "sample_size": SIDE,
        "in_channels": CHANNELS,
        "out_channels": CHANNELS,
        "cross_attention_dim": TEXT_WIDTH,
    }
    if kind == "defaults":
        # the default layout with a tenth of the default channels (320, 640, 1280, 1280)
        network = UNet2DConditionModel(
            block_out_channels=(32, 64, 128, 128), norm_num_groups=8, **common
        )
    else:
        # the kindest layout for this task: attention where our U-Net has it, few wide heads
        network = UNet2DConditionModel(
            block_out_channels=(48, 64, 96, 128),
            norm_num_groups=16,
            attention_head_dim=2,  # in this class, the number of heads
            down_block_types=("DownBlock2D",) * 2 + ("CrossAttnDownBlock2D",) * 2,
            up_block_types=("CrossAttnUpBlock2D",) * 2 + ("UpBlock2D",) * 2,
            **common,
        )

    def call(x: Tensor, time: Tensor, inputs: Inputs) -> Tensor:
        return network(x, time, inputs.tokens).sample

    return network, call


def guidance_unet() -> tuple[nn.Module, Call]:
    """denoising-diffusion-pytorch's class-conditional U-Net; it knows labels, not texts."""
    network = _classifier_free_guidance().Unet(32, num_classes=CLASSES)

    def call(x: Tensor, time: Tensor, inputs: Inputs) -> Tensor:
        return network(x, time, inputs.label, cond_drop_prob=0.1)

    return network, call


def _classifier_free_guidance() -> ModuleType:
    """The one file that holds the network: importing the package would need torchvision."""
    package = importlib.util.find_spec("denoising_diffusion_pytorch")
    if package is None or not package.submodule_search_locations:
        raise ImportError("denoising-diffusion-pytorch is not installed")
    path = Path(package.submodule_search_locations[0]) / "classifier_free_guidance.py"
    spec = importlib.util.spec_from_file_location("classifier_free_guidance", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


CONTENDERS: dict[str, tuple[str, bool, Callable[[], tuple[nn.Module, Call]]]] = {
    # name: (title, ours, build)
    "patch-transformer": ("Sfumato patch transformer", True, lambda: ours("transformer")),
    "patch-unet": ("Sfumato patch U-Net", True, lambda: ours("unet")),
    "diffusers": (
        "diffusers UNet2DConditionModel, default layout",
        False,
        lambda: diffusers("defaults"),
    ),
    "diffusers-kind": (
        "diffusers UNet2DConditionModel, attention at 16 and 8 only",
        False,
        lambda: diffusers("kind"),
    ),
    "guidance-unet": (
        "denoising-diffusion-pytorch Unet (classifier-free guidance)",
        False,
        guidance_unet,
    ),
}
