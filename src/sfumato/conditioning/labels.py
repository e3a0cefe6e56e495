"""Class labels as conditions: one learned vector a class."""

from __future__ import annotations

import difflib

import torch
from torch import Tensor, nn

from sfumato.conditioning.condition import Condition
from sfumato.errors import SfumatoError


class Labels(nn.Module):
    """A learned embedding for each class; prompts are class names (any letter case) or numbers.

    Of classes that differ in letter case only, "A" and "a", each answers to its exact name.

    Args:
        classes: names, in label order.
        width: D of the condition.

    Raises:
        SfumatoError: for two names that no prompt can tell apart.
    """

    def __init__(self, classes: list[str], width: int) -> None:
        super().__init__()
        self.classes = list(classes)
        self.width = width
        seen: dict[str, str] = {}
        for name in self.classes:
            other = seen.get(name.strip())
            if other is not None:
                raise SfumatoError(
                    f"The classes {other!r} and {name!r} are the same to a prompt. "
                    "Rename one of them, or put them together."
                )
            seen[name.strip()] = name
        # the last row is the learned null
        self.embedding = nn.Embedding(len(classes) + 1, width)
        nn.init.normal_(self.embedding.weight, std=0.5)
        # the exact names come last and win
        self._numbers = {name.strip().casefold(): i for i, name in enumerate(self.classes)}
        self._numbers |= {name.strip(): i for i, name in enumerate(self.classes)}

    def ids(self, prompts: list[str]) -> Tensor:
        """(N, 1) class numbers; the empty prompt is the null.

        Raises:
            SfumatoError: for a name that is no class, with the nearest ones.
        """
        numbers = [self._number(prompt) for prompt in prompts]
        return torch.tensor(numbers, dtype=torch.long).reshape(-1, 1)

    @torch.no_grad()
    def adopt(self, given: Labels) -> list[str]:
        """Take another's null, and its vectors of the classes that both know by name.

        Args:
            given: of the same width, and of any classes.
        Returns:
            The classes that begin fresh.
        Raises:
            RuntimeError: for another width.
        """
        theirs = {name.strip(): row for row, name in enumerate(given.classes)}
        rows = [theirs.get(name.strip()) for name in self.classes]
        pairs = [(mine, row) for mine, row in enumerate(rows) if row is not None]
        pairs.append((len(self.classes), len(given.classes)))
        mine, taken = (torch.tensor(numbers) for numbers in zip(*pairs, strict=True))
        self.embedding.weight[mine] = given.embedding.weight[taken]
        return [name for name, row in zip(self.classes, rows, strict=True) if row is None]

    def _number(self, prompt: str) -> int:
        name = prompt.strip()
        if not name:
            return len(self.classes)
        if not any(self.classes):
            raise SfumatoError(
                f"This model was trained without labels and cannot follow {prompt!r}. "
                "Leave the prompt empty."
            )
        for known in (name, name.casefold()):
            if known in self._numbers:
                return self._numbers[known]
        if name.isdecimal() and int(name) < len(self.classes):
            return int(name)
        folded = {known.casefold(): known for known in self.classes}
        near = difflib.get_close_matches(name.casefold(), folded, 3, 0.3)
        near = [folded[one] for one in near] or self.classes[:10]
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
