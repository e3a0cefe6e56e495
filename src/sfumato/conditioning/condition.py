"""What a network is told besides the noisy picture: one vector, some tokens, a mask."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Condition:
    """A batch of prompts or labels, encoded.

    Attributes:
        vector: the prompt as one vector (B, D); joins the time embedding.
        tokens: its parts (B, L, D); attended by the picture.
        mask: (B, L) bool, true where a token exists.
    """

    vector: Tensor
    tokens: Tensor
    mask: Tensor

    def __len__(self) -> int:
        return len(self.vector)

    def joined(self, other: Condition) -> Condition:
        """The batch of self followed by other; shorter token lists are padded and masked."""
        length = max(self.tokens.shape[1], other.tokens.shape[1])
        first, second = self._padded(length), other._padded(length)
        return Condition(
            torch.cat([first.vector, second.vector]),
            torch.cat([first.tokens, second.tokens]),
            torch.cat([first.mask, second.mask]),
        )

    def drop(self, keep: Tensor, null: Condition) -> Condition:
        """Sample by sample, the learned null where ``keep`` (B,) is false.

        Only for training: classifier-free guidance needs a network that has also seen nothing
        (2207.12598).  ``null`` has a batch of 1 or B.
        """
        length = max(self.tokens.shape[1], null.tokens.shape[1])
        own, null = self._padded(length), null._padded(length)
        keep = keep.to(own.vector.device)
        return Condition(
            torch.where(keep[:, None], own.vector, null.vector),
            torch.where(keep[:, None, None], own.tokens, null.tokens),
            torch.where(keep[:, None], own.mask, null.mask),
        )

    def _padded(self, length: int) -> Condition:
        missing = length - self.tokens.shape[1]
        if not missing:
            return self
        return Condition(
            self.vector,
            nn.functional.pad(self.tokens, (0, 0, 0, missing)),
            nn.functional.pad(self.mask, (0, missing)),
        )


class Conditioner(Protocol):
    """Prompts -> Condition, in two steps so that the first can be done once and kept.

    `ids` turns texts into integers (N, L) on the CPU; calling the module turns integers into a
    Condition; `null` is the learned empty condition.
    """

    width: int

    def ids(self, prompts: list[str]) -> Tensor: ...

    def __call__(self, ids: Tensor) -> Condition: ...

    def null(self, batch: int) -> Condition: ...
