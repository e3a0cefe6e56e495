"""What the prompts of a run are made of, and the files that keep it in the run's folder.

::

    tokenizer.json       of the encoder learned from scratch
    tfidf.json           the terms of TF-IDF
    text_encoder.json    which pretrained encoder it is
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

import torch
from tokenizers import Tokenizer
from torch import Tensor

from sfumato.conditioning.condition import Conditioner
from sfumato.conditioning.locate import Identity
from sfumato.conditioning.pretrained import pretrained, pretrained_again
from sfumato.conditioning.text_transformer import learn_tokenizer
from sfumato.conditioning.tfidf import Terms, can_learn, learn_terms
from sfumato.conditioning.vocabulary import TERMS, TOKENIZER, Vocabulary, vocabulary_behind
from sfumato.errors import SfumatoError
from sfumato.locale import translate
from sfumato.training import files
from sfumato.training.objective import Captions
from sfumato.training.sections import Conditioning, Recipe

ENCODER = "text_encoder.json"
Read = TypeVar("Read")


def ensure(recipe: Recipe, tokenizer: Path) -> None:
    """See that the text encoder of a run can be had before anything else is trained.

    Args:
        tokenizer: where the run keeps its tokenizer.
    Raises:
        SfumatoError: if it cannot.
    """
    settings = recipe.conditioning
    if settings.kind != "text" or kept(settings, tokenizer):
        return
    if (recipe.start.model or recipe.start.inner) and "text" in recipe.start.take:
        return  # it comes with the model
    if settings.encoder == "tfidf":
        can_learn()
    elif settings.encoder != "scratch":
        pretrained(settings.encoder, settings.model, settings.revision)


def learned(settings: Conditioning, texts: Iterable[str]) -> Vocabulary:
    """The vocabulary of a new run.

    Args:
        texts: everything that is said about the pictures.
    Raises:
        SfumatoError: if the encoder cannot be had.
    """
    if settings.encoder == "scratch":
        return Vocabulary(learn_tokenizer(texts, settings.vocabulary))
    if settings.encoder == "tfidf":
        return Vocabulary(terms=learn_terms(texts, settings.features))
    return Vocabulary(encoder=pretrained(settings.encoder, settings.model, settings.revision))


def keep(vocabulary: Vocabulary, tokenizer: Path) -> None:
    """Write the vocabulary where the run keeps its tokenizer, or beside it."""
    for name, content in vocabulary.files().items():
        path = tokenizer if name == TOKENIZER else tokenizer.with_name(name)
        files.replace_bytes(path, content)
    if vocabulary.encoder is not None:
        said = json.dumps(vocabulary.encoder.identity.to_dict(), indent=1)
        files.replace_bytes(tokenizer.with_name(ENCODER), said.encode())


def kept(settings: Conditioning, tokenizer: Path) -> Vocabulary | None:
    """The vocabulary that a run keeps, None if it has none yet.

    Raises:
        SfumatoError: if the file is damaged, or the encoder is another one by now.
    """
    if settings.encoder == "scratch":
        found = _read(tokenizer, Tokenizer.from_str)
        return None if found is None else Vocabulary(found)
    if settings.encoder == "tfidf":
        terms = _read(tokenizer.with_name(TERMS), Terms.from_json)
        return None if terms is None else Vocabulary(terms=terms)
    identity = _read(
        tokenizer.with_name(ENCODER), lambda text: Identity.from_dict(json.loads(text))
    )
    if identity is None:
        return None
    return Vocabulary(encoder=pretrained_again(identity, settings.model))


def _read(path: Path, parse: Callable[[str], Read]) -> Read | None:
    if not path.exists():
        return None
    try:
        return parse(path.read_text("utf-8"))
    except Exception as error:  # the library of tokenizers raises nothing more special
        raise damaged(path) from error


def lost(path: Path) -> SfumatoError:
    """What a run lacks that it can make again."""
    return SfumatoError(f"{path} is missing. Resume the run, which makes it anew.")


def damaged(path: Path) -> SfumatoError:
    """What a run can make again once the spoilt one is out of the way."""
    return SfumatoError(f"{path} is damaged. Delete it and resume the run, which makes it anew.")


def unread_notes(captions: Captions, conditioner: Conditioner) -> list[str]:
    """What a person should know about captions that the text encoder does not read."""
    total, notes = len(captions.ids), []
    for name, count in (("train.cut", captions.cut), ("train.unknown", captions.unknown)):
        if count:
            length = getattr(conditioner, "length", 0)
            share = f"{count / total:.1%}"
            notes.append(translate(name, count=count, total=total, share=share, length=length))
    return notes


def remember(
    conditioner: Conditioner, ids: Tensor, device: torch.device, stop: Callable[[], bool]
) -> None:
    """Have a frozen encoder read all captions once; nothing to do for encoders that learn.

    Raises:
        KeyboardInterrupt: if somebody has asked to stop meanwhile.
        SfumatoError: if the disk refuses.
    """
    encoder = vocabulary_behind(conditioner).encoder
    if encoder is not None:
        encoder.remember(ids, device, stop)
