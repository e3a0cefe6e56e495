"""How much of what is said about pictures a text encoder does not read."""

from __future__ import annotations

from torch import Tensor

from sfumato.conditioning.frozen import Frozen
from sfumato.conditioning.text_transformer import PAD, TextTransformer
from sfumato.conditioning.tfidf import TfIdf


def cut(conditioner: object, prompts: list[str], ids: Tensor) -> list[bool]:
    """Of which prompts the end is left out because they are too long.

    Args:
        ids: (N, L) what the conditioner makes of the prompts.
    """
    nothing = PAD if isinstance(conditioner, TextTransformer) else -1
    full = (ids[:, -1] != nothing).tolist()  # only these can have more to say
    asked = [prompt for prompt, is_full in zip(prompts, full, strict=True) if is_full]
    longer = iter(_longer(conditioner, asked) if asked else [])
    return [is_full and next(longer) for is_full in full]


def _longer(conditioner: object, prompts: list[str]) -> list[bool]:
    texts = [" ".join(prompt.split()) for prompt in prompts]
    if isinstance(conditioner, TextTransformer):
        return [bool(e.overflowing) for e in conditioner.tokenizer.encode_batch(texts)]
    if isinstance(conditioner, TfIdf):
        return [len(conditioner.known(text)) > conditioner.length for text in texts]
    if isinstance(conditioner, Frozen):
        more = conditioner.encoder.ids(texts, conditioner.length + 1)
        return [bool(last >= 0) for last in more[:, -1]]
    return [False] * len(texts)


def unknown(conditioner: object, ids: Tensor) -> list[bool]:
    """Which rows of ids (N, L) hold no term of TF-IDF, although something is said."""
    if not isinstance(conditioner, TfIdf):
        return [False] * len(ids)
    said: list[bool] = (ids[:, 0] == conditioner.unknown).tolist()
    return said
