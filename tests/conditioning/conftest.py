from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from bilingual import TEXTS, WIDTH
from tokenizers import Tokenizer
from torch import Tensor, nn

from sfumato.conditioning.condition import Condition
from sfumato.conditioning.labels import Labels
from sfumato.conditioning.text_transformer import TextTransformer, learn_tokenizer


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return learn_tokenizer(TEXTS * 3, 400)


@pytest.fixture
def text_transformer(tokenizer: Tokenizer) -> TextTransformer:
    torch.manual_seed(0)
    return TextTransformer(tokenizer, WIDTH, layers=2, heads=2)


@pytest.fixture(params=["text", "labels"])
def conditioner(request: pytest.FixtureRequest, tokenizer: Tokenizer) -> nn.Module:
    """Either kind, both with the prompts of TEXTS."""
    torch.manual_seed(0)
    if request.param == "text":
        return TextTransformer(tokenizer, WIDTH, layers=2, heads=2)
    return Labels(TEXTS, WIDTH)


@pytest.fixture
def normals() -> Callable[..., Tensor]:
    """Repeatable normal numbers: normals(seed, *shape)."""

    def make(seed: int, *shape: int) -> Tensor:
        return torch.randn(shape, generator=torch.Generator().manual_seed(seed))

    return make


@pytest.fixture
def make_condition(normals: Callable[..., Tensor]) -> Callable[..., Condition]:
    """make_condition(seed, lengths): one row a length."""

    def make(seed: int, lengths: list[int]) -> Condition:
        batch, longest = len(lengths), max(lengths)
        return Condition(
            normals(seed, batch, WIDTH),
            normals(seed + 1, batch, longest, WIDTH),
            torch.arange(longest) < torch.tensor(lengths)[:, None],
        )

    return make


@pytest.fixture
def words() -> Callable[[Condition], list[tuple[Tensor, Tensor]]]:
    """words(condition): row by row what a network can see, (vector, its tokens alone)."""

    def read(condition: Condition) -> list[tuple[Tensor, Tensor]]:
        rows = zip(condition.vector, condition.tokens, condition.mask, strict=True)
        return [(vector, tokens[mask]) for vector, tokens, mask in rows]

    return read
