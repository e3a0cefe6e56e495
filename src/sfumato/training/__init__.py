"""Training: recipes, the trainer, checkpoints, forecasts.  Heavy parts load when used."""

from __future__ import annotations

from typing import Any

__all__ = ["train"]


def __getattr__(name: str) -> Any:
    if name == "train":
        from sfumato.training.run import train

        return train
    raise AttributeError(f"module 'sfumato.training' has no attribute {name!r}")
