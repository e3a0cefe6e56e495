"""Class labels as conditions: one learned vector a class."""

from __future__ import annotations

import difflib

import torch
from torch import Tensor, nn

from sfumato.conditioning.condition import Condition
from sfumato.errors import SfumatoError


class Labels(nn.Module):
    """A learned embedding for each class; prompts are class names (any letter case) or numbers.

    Args:
        classes: names, in label order.
        width: D of the condition.
    """

    def __init__(self, classes: list[str], width: int) -> None:
        super().__init__()
        self.classes = list(classes)
        self.width = width
        # the last row is the learned null
        self.embedding = nn.Embedding(len(classes) + 1, width)
        nn.init.normal_(self.embedding.weight, std=0.5)
        self._numbers = {name.casefold(): i for i, name in enumerate(self.classes)}

    def ids(self, prompts: list[str]) -> Tensor:
        """(N, 1) class numbers; the empty prompt is the null.

        Raises:
            SfumatoError: for a name that is no class, with the nearest ones.
        """
        return torch.tensor([[self._number(prompt)] for prompt in prompts])

    def _number(self, prompt: str) -> int:
        name = prompt.strip().casefold()
        if not name:
            return len(self.classes)
        if name in self._numbers:
            return self._numbers[name]
        if name.isdecimal() and int(name) < len(self.classes):
            return int(name)
        near = difflib.get_close_matches(name, self._numbers, 3, 0.3) or list(self._numbers)[:10]
        raise SfumatoError(
            f"This model knows {len(self.classes)} classes and {prompt!r} is none of them. "
            f"Try: {', '.join(near)}."
        )

    def forward(self, ids: Tensor) -> Condition:
        tokens = self.embedding(ids)
        return Condition(tokens[:, 0], tokens, torch.ones_like(ids, dtype=torch.bool))

    def null(self, batch: int) -> Condition:
        device = self.embedding.weight.device
        return self(torch.full((batch, 1), len(self.classes), device=device))
