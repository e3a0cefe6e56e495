"""What of an order to `sfumato generate` has no effect; said, because nobody would see it."""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import TYPE_CHECKING

from sfumato.locale import translate

if TYPE_CHECKING:
    from sfumato.conditioning.frozen import FrozenEncoder
    from sfumato.model import TextToImage

SHOWN = 200  # characters of what is not read, or not known

#: A word of so many letters that falls into more pieces than such a share of its letters is none
#: that the tokenizer has learned.  Of the emoji's own words 1% do so above 0.75 and 21% above 0.5,
#: so the smaller share is for where the words themselves can be looked up.
_LETTERS, _PIECES, _PIECES_LOOKED_UP = 4, 0.75, 0.5


def remarks(
    model: TextToImage, prompts: Iterable[str], negative_prompt: str | None, guidance_scale: float
) -> list[str]:
    """A sentence for each thing that was asked for and changes nothing."""
    found = []
    texts = list(dict.fromkeys(prompts))
    if not all(text.split() for text in texts):
        found.append(translate("generate.empty"))
    if negative_prompt and guidance_scale == 1:
        found.append(translate("generate.negative"))
    elif negative_prompt:
        texts.append(negative_prompt)
    strange: dict[str, None] = {}
    for text in texts:
        words = unread(model, text)
        if words:
            found.append(translate("generate.unread", words=_short(words)))
        strange.update(dict.fromkeys(unknown(model, text)))
    if strange:
        found.append(translate("generate.unknown", words=_short(", ".join(strange))))
    return found


def unread(model: TextToImage, prompt: str) -> str:
    """The end of a prompt that the model does not read, from the first word it does not finish."""
    from sfumato.conditioning.frozen import Frozen
    from sfumato.conditioning.template import wrapped
    from sfumato.conditioning.text_transformer import TextTransformer
    from sfumato.conditioning.tfidf import TfIdf
    from sfumato.conditioning.unread import cut

    conditioner = model.prompted.conditioner
    if not isinstance(conditioner, Frozen | TextTransformer | TfIdf):
        return ""  # a class is read whole or refused
    words = prompt.split()

    def too_long(last: int) -> bool:
        text = wrapped(model.recipe.conditioning.template, " ".join(words[: last + 1]))
        return cut(conditioner, [text], conditioner.ids([text]))[0]

    if not words or not too_long(len(words) - 1):
        return ""
    return " ".join(words[bisect_left(range(len(words)), True, key=too_long) :])


def unknown(model: TextToImage, prompt: str) -> Iterator[str]:
    """The words of a prompt that the model surely has not learned, as far as it reads them."""
    from sfumato.conditioning.frozen import Frozen
    from sfumato.conditioning.text_transformer import TextTransformer
    from sfumato.conditioning.tfidf import TfIdf

    conditioner = model.prompted.conditioner
    if isinstance(conditioner, TfIdf):
        yield from conditioner.strange(prompt)
    if isinstance(conditioner, Frozen):
        yield from _spelt_out(conditioner.encoder, _read(model, prompt))
    if not isinstance(conditioner, TextTransformer):
        return
    conditioner.ids([prompt])  # sets the tokenizer as it is for drawing
    can_look_up = model.recipe.data.name == "emoji"
    for word in _read(model, prompt):
        whole = conditioner.tokenizer.encode(word)
        pieces = [
            (piece, word[first:last])
            for part in (whole, *whole.overflowing)
            for piece, (first, last) in zip(part.tokens, part.offsets, strict=True)
            if last > first and piece != "▁"  # the space before a word is no piece of it
        ]
        if any(piece == "<unk>" and _says_something(signs) for piece, signs in pieces):
            yield word
            continue
        bare = re.sub(r"^\W+|\W+$", "", word)
        if len(bare) < _LETTERS or not bare.isalpha():
            continue
        share = sum(signs.isalpha() for _, signs in pieces) / len(bare)
        if share <= (_PIECES_LOOKED_UP if can_look_up else _PIECES):
            continue
        if not can_look_up or _plain(bare) not in _emoji_words():
            yield bare


def _read(model: TextToImage, prompt: str) -> list[str]:
    """The words of a prompt that the model reads."""
    words = prompt.split()
    return words[: len(words) - len(unread(model, prompt).split())]


def _spelt_out(encoder: FrozenEncoder, words: list[str]) -> Iterator[str]:
    """Words in signs that a pretrained encoder does not know, or that it can only spell."""
    for word in words:
        bare = re.sub(r"^\W+|\W+$", "", word) or word
        pieces, lost = encoder.pieces(bare)
        if lost and _says_something(bare):
            yield bare
        # of Chinese and its neighbours a sign may be a word
        wide = any(unicodedata.east_asian_width(sign) == "W" for sign in bare)
        judged = len(bare) >= _LETTERS and bare.isalpha() and not wide
        if not lost and judged and pieces > _PIECES * len(bare):
            yield bare


def _says_something(signs: str) -> bool:
    """Whether they are more than punctuation, spaces and signs that only modify."""
    return any(unicodedata.category(sign)[0] not in "PZMC" for sign in signs)


@lru_cache(maxsize=1)
def _emoji_words() -> frozenset[str]:
    """All words of the captions of the emoji; none where they are missing."""
    from sfumato.data.sources.emoji import EmojiSource
    from sfumato.errors import SfumatoError

    try:
        source = EmojiSource(split="all")
    except SfumatoError:
        return frozenset()
    texts = []
    for index in range(len(source)):
        row = source.metadata(index)
        texts += [row["name_en"], row["name_ru"], *row["keywords_en"], *row["keywords_ru"]]
    return frozenset(re.findall(r"\w+", _plain(" ".join(texts))))


def _plain(text: str) -> str:
    """As the tokenizer sees it: Russian is written with and without the dots."""
    return unicodedata.normalize("NFKC", text).lower().replace("ё", "е")


def _short(words: str) -> str:
    return words if len(words) <= SHOWN else words[:SHOWN] + "…"
