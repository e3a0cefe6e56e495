"""What the prompts of a model are made of, and the files that hold it."""

from __future__ import annotations

from dataclasses import dataclass

from tokenizers import Tokenizer

from sfumato.conditioning.frozen import Frozen, FrozenEncoder
from sfumato.conditioning.labels import Labels
from sfumato.conditioning.text_transformer import TextTransformer
from sfumato.conditioning.tfidf import Terms, TfIdf

TOKENIZER, TERMS = "tokenizer.json", "tfidf.json"


@dataclass(frozen=True)
class Vocabulary:
    """What the prompts of a model are made of: one of these.

    A model without any is unconditional, which is one class without a name.

    Attributes:
        tokenizer: of the encoder that is learned from scratch.
        classes: names, in label order.
        terms: of TF-IDF.
        encoder: a pretrained one, which stays as it is.
    """

    tokenizer: Tokenizer | None = None
    classes: tuple[str, ...] = ()
    terms: Terms | None = None
    encoder: FrozenEncoder | None = None

    def files(self) -> dict[str, bytes]:
        """What belongs beside the weights; neither classes nor a pretrained encoder do."""
        if self.tokenizer is not None:
            return {TOKENIZER: self.tokenizer.to_str().encode()}
        if self.terms is not None:
            return {TERMS: self.terms.to_json().encode()}
        return {}


def vocabulary_behind(conditioner: object) -> Vocabulary:
    """The vocabulary of an encoder of prompts."""
    if isinstance(conditioner, TextTransformer):
        return Vocabulary(conditioner.tokenizer)
    if isinstance(conditioner, TfIdf):
        return Vocabulary(terms=conditioner.terms)
    if isinstance(conditioner, Frozen):
        return Vocabulary(encoder=conditioner.encoder)
    assert isinstance(conditioner, Labels)
    return Vocabulary(classes=tuple(conditioner.classes))
