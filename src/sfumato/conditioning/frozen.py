"""Pretrained text encoders that do not learn: what they share, and what is learned around them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sfumato.conditioning.condition import Condition
from sfumato.conditioning.feature_cache import BATCH, Table, remembered, rounded
from sfumato.conditioning.locate import Identity
from sfumato.errors import SfumatoError
from sfumato.networks.layers import normalized

NOTHING = -1
"""Fills the rows of ids behind their last token; padding tokens are the encoder's own affair."""
FEWEST_TOKENS = 4
"""Room for a word or two between the marks of beginning and end."""


class FrozenEncoder(ABC):
    """A pretrained encoder.  No torch module: nobody trains, saves or averages it by mistake.

    Its numbers are rounded to 16 bits wherever they come from, so that a model generates from
    the very features it was trained with.

    Attributes:
        identity: which encoder it is.
        place: where it was found, as it can be given again (folder, package, or id).
        width: D of its states.
        longest: most tokens that it can read.
    """

    identity: Identity
    place: str
    width: int
    longest: int

    def __init__(self) -> None:
        self._table: Table | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> FrozenEncoder:
        return self  # copies of a model share what never changes

    @abstractmethod
    def ids(self, prompts: list[str], length: int) -> Tensor:
        """(N, length) token numbers, then -1; an empty prompt is -1 throughout."""

    def pieces(self, word: str) -> tuple[int, bool]:
        """Into how many tokens a word falls, and whether one of them stands for unknown signs.

        (0, False) where the encoder cannot tell.
        """
        return 0, False

    @abstractmethod
    def encode(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """States (B, L, D) and pooled states (B, D), float32, of rows that are not empty."""

    @abstractmethod
    def unload(self) -> None:
        """Free the memory of the weights; `encode` loads them again."""

    @abstractmethod
    def depends_on(self) -> dict[str, str]:
        """What the features depend on besides the ids."""

    def remember(
        self,
        ids: Tensor,
        device: torch.device | str = "cpu",
        stop: Callable[[], bool] = lambda: False,
        folder: Path | None = None,
    ) -> None:
        """Have the features of all rows of ids at hand, computed once and kept on disk.

        Args:
            ids: (N, L), of all captions of a data set.
            device: to compute on.
            stop: whether somebody has asked to stop.
            folder: by default the user's cache, which all runs share.
        Raises:
            KeyboardInterrupt: when stopped.
            SfumatoError: if the disk refuses.
        """
        self._table = remembered(
            ids,
            self.depends_on(),
            self.width,
            lambda part: self._quietly(part.to(device)),
            stop,
            folder,
        )
        self.unload()

    def features(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """States (B, L, D), zeros where ids are -1, and pooled (B, D), from memory if they are
        known; rows of -1 give zeros."""
        found = self._table.look_up(ids.cpu()) if self._table else None
        if found is None:
            found = self._computed(ids)
        states, pooled = found
        return states.to(ids.device), pooled.to(ids.device)

    @property
    def remembered_bytes(self) -> int:
        """Of the remembered features; they are read from the disk as they are asked for."""
        table = self._table
        return table.states.nbytes + table.pooled.nbytes + table.ids.nbytes if table else 0

    def _computed(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        rows, back = torch.unique(ids, dim=0, return_inverse=True)
        states = torch.zeros(*rows.shape, self.width, device=ids.device)
        pooled = torch.zeros(len(rows), self.width, device=ids.device)
        full = (rows >= 0).any(1).nonzero()[:, 0]
        for part in full.split(BATCH) if len(full) else ():
            used = int((rows[part] >= 0).sum(1).max())
            given = rows[part, :used]
            found, whole = self._quietly(given)
            seen = rounded(found).float() * (given >= 0)[..., None]
            states[part, :used], pooled[part] = seen, rounded(whole).float()
        return states[back], pooled[back]

    def _quietly(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        with torch.no_grad(), torch.autocast(ids.device.type, enabled=False):
            return self.encode(ids)


class Frozen(nn.Module):
    """Prompts -> Condition through a frozen encoder; only projections and the null are learned.

    Args:
        encoder: of the prompts.
        width: D of the condition.
        length: most tokens a prompt may have, marks of beginning and end counted.
    Raises:
        SfumatoError: for a length without room for words.
    """

    def __init__(self, encoder: FrozenEncoder, width: int, length: int = 24) -> None:
        super().__init__()
        if length < FEWEST_TOKENS:
            raise SfumatoError(
                f"conditioning.tokens = {length} leaves no room for words. "
                f"Take at least {FEWEST_TOKENS}."
            )
        self.encoder = encoder
        self.width, self.length = width, min(length, encoder.longest)
        self.tokens = nn.Linear(encoder.width, width)
        self.vector = nn.Linear(encoder.width, width)
        self.null_vector = nn.Parameter(torch.randn(width) * 0.02)
        self.null_token = nn.Parameter(torch.randn(width) * 0.02)

    def ids(self, prompts: list[str]) -> Tensor:
        """(N, length) token numbers, then -1; spaces and line breaks only part words."""
        return self.encoder.ids([" ".join(prompt.split()) for prompt in prompts], self.length)

    def forward(self, ids: Tensor) -> Condition:
        """Condition of B prompts from their ids (B, length); an empty prompt is the null."""
        mask = ids >= 0
        used = max(1, int(mask.sum(1).max()))
        ids, mask = ids[:, :used], mask[:, :used]
        states, pooled = self.encoder.features(ids)
        # encoders differ in the size of their numbers
        told = Condition(self.vector(normalized(pooled)), self.tokens(normalized(states)), mask)
        empty = ~mask.any(1)
        return told.drop(~empty, self.null(1)) if bool(empty.any()) else told

    def null(self, batch: int) -> Condition:
        vector = self.null_vector.expand(batch, -1)
        tokens = self.null_token.expand(batch, 1, -1)
        mask = torch.ones(batch, 1, dtype=torch.bool, device=vector.device)
        return Condition(vector, tokens, mask)
