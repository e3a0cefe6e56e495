from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from truths import ANSWERS, FAMILIES, PerfectNetwork

from sfumato.diffusion import Schedule


@pytest.fixture(params=FAMILIES)
def schedule(request: pytest.FixtureRequest) -> Schedule:
    return FAMILIES[request.param]


@pytest.fixture(params=ANSWERS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def answer(kind: str) -> Callable[..., Tensor]:
    return ANSWERS[kind]


@pytest.fixture
def perfect_network() -> type[PerfectNetwork]:
    return PerfectNetwork


@pytest.fixture
def pictures() -> Callable[..., Tensor]:
    """Repeatable normal pictures: pictures(seed, B, C, H, W)."""

    def make(seed: int, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)

    return make
