"""What of an order to `sfumato generate` will have no effect; said, because nobody would see it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from sfumato.locale import translate

if TYPE_CHECKING:
    from sfumato.model import TextToImage

SHOWN = 200  # characters of what is not read


def remarks(
    model: TextToImage, prompts: Iterable[str], negative_prompt: str | None, guidance_scale: float
) -> list[str]:
    """A sentence for each thing that was asked for and changes nothing."""
    found = []
    texts = list(dict.fromkeys(prompts))
    if negative_prompt and guidance_scale == 1:
        found.append(translate("generate.negative"))
    elif negative_prompt:
        texts.append(negative_prompt)
    for text in texts:
        words = unread(model, text)
        if words:
            shown = words if len(words) <= SHOWN else words[:SHOWN] + "…"
            found.append(translate("generate.unread", words=shown))
    return found


def unread(model: TextToImage, prompt: str) -> str:
    """The end of a prompt that the model does not read, from the first word it does not finish."""
    from sfumato.conditioning.text_transformer import TextTransformer

    conditioner = model.prompted.conditioner
    if not isinstance(conditioner, TextTransformer):
        return ""
    conditioner.ids([prompt])  # sets the tokenizer as it is for drawing
    text = " ".join(prompt.split())
    encoding = conditioner.tokenizer.encode(text)
    if not encoding.overflowing:
        return ""
    end = max(last for _, last in encoding.offsets)  # padding stands at 0
    if text[end : end + 1] != " ":
        end = text.rfind(" ", 0, end) + 1
    return text[end:].strip()
