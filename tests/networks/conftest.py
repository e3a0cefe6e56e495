from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from sfumato.conditioning.condition import Condition
from sfumato.networks.context_unet import ContextUNet
from sfumato.networks.patch_transformer import PatchTransformer
from sfumato.networks.patch_unet import PatchUNet
from sfumato.networks.tiny_unet import TinyUNet
from sfumato.networks.unet import UNet

CONDITION_WIDTH = 24


def _transformer(channels: int, side: int, **settings: int) -> nn.Module:
    told = {"patch": 4, "width": 32, "depth": 2, "heads": 2} | settings
    return PatchTransformer(channels, side, condition_width=CONDITION_WIDTH, **told)


def _pixel_transformer(channels: int, side: int, **settings: int) -> nn.Module:
    return _transformer(channels, side, **({"bottleneck": 8} | settings))


def _patch_unet(channels: int, side: int, **settings: int) -> nn.Module:
    told = {"patch": 4, "width": 32, "depth": 4} | settings
    return PatchUNet(channels, side, condition_width=CONDITION_WIDTH, **told)


def _unet(channels: int, side: int, patch: int = 1, width: int = 32, **settings: int) -> nn.Module:
    told = {"width": width // 4, "depth": 1, "heads": 2} | settings
    return UNet(channels, side, condition_width=CONDITION_WIDTH, **told)


def _tiny_unet(
    channels: int, side: int, patch: int = 1, width: int = 32, **settings: int
) -> nn.Module:
    return TinyUNet(channels, width // 2, condition_width=CONDITION_WIDTH, **settings)


def _context_unet(
    channels: int, side: int, patch: int = 1, width: int = 32, **settings: int
) -> nn.Module:
    return ContextUNet(channels, side, width // 2, condition_width=CONDITION_WIDTH, **settings)


NETWORKS = {
    "patch transformer": _transformer,
    "patch transformer with a bottleneck": _pixel_transformer,
    "patch U-Net": _patch_unet,
    "U-Net": _unet,
    "tiny U-Net": _tiny_unet,
    "context U-Net": _context_unet,
}


@pytest.fixture(params=NETWORKS)
def make_network(request: pytest.FixtureRequest) -> Callable[..., nn.Module]:
    """make_network(channels, side, patch=..., width=...): freshly initialised, always the same."""

    def make(channels: int, side: int, **settings: int) -> nn.Module:
        torch.manual_seed(0)
        return NETWORKS[request.param](channels, side, **settings)

    return make


@pytest.fixture
def awake() -> Callable[..., nn.Module]:
    """awake(module): what starts at zero gets small random numbers, as training would do."""

    def wake(module: nn.Module, seed: int = 0, std: float = 0.1) -> nn.Module:
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in module.parameters():
                if not parameter.any():
                    parameter.normal_(0, std, generator=generator)
        return module

    return wake


@pytest.fixture
def normals() -> Callable[..., Tensor]:
    """Repeatable normal numbers: normals(seed, *shape)."""

    def make(seed: int, *shape: int) -> Tensor:
        return torch.randn(shape, generator=torch.Generator().manual_seed(seed))

    return make


@pytest.fixture
def make_condition(normals: Callable[..., Tensor]) -> Callable[..., Condition]:
    """make_condition(seed, lengths): one row a length, padded with random numbers, not zeros."""

    def make(seed: int, lengths: list[int], padding: int = 0) -> Condition:
        batch, longest = len(lengths), max(lengths) + padding
        return Condition(
            normals(seed, batch, CONDITION_WIDTH),
            normals(seed + 1, batch, longest, CONDITION_WIDTH),
            torch.arange(longest) < torch.tensor(lengths)[:, None],
        )

    return make
