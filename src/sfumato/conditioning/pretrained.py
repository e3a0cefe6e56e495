"""The frozen text encoders by name: which one a name means, and which one a model was made with."""

from __future__ import annotations

from sfumato.conditioning.frozen import FrozenEncoder
from sfumato.conditioning.huggingface import T5, Clip, Pretrained
from sfumato.conditioning.locate import DEFAULTS as DEFAULTS
from sfumato.conditioning.locate import PACKAGES, Identity, in_package, keep_place, locate
from sfumato.conditioning.locate import locate_again as place_of
from sfumato.conditioning.sentence import Sentence
from sfumato.errors import SfumatoError

KINDS: dict[str, type[Pretrained]] = {"sentence": Sentence, "t5": T5, "clip": Clip}


def pretrained(kind: str, model: str | None = None, revision: str | None = None) -> FrozenEncoder:
    """The encoder that a person asks for.

    Args:
        kind: "sentence", "t5" or "clip".
        model: a folder, an installed package or an id on the hub; by default the one that an
            installed package carries, else the hub's.
        revision: of the hub's repository.
    Raises:
        SfumatoError: if it is not there, or something is missing to run it.
    """
    if model is None:
        model, stated = DEFAULTS[kind]
        revision = revision or stated
        carried = (name for name in PACKAGES.get(model, ()) if in_package(name))
        model = next(carried, model)
    encoder = KINDS[kind](locate(model, revision))
    if encoder.place == str(encoder.folder):
        keep_place(encoder.identity.sha256, encoder.folder)
    return encoder


def pretrained_again(identity: Identity, hint: str | None = None) -> FrozenEncoder:
    """The very encoder that a model was trained with, its weights compared by their SHA-256.

    What its tokenizer makes of some texts is compared too, where the model says it.

    Args:
        hint: where the run said that it is.
    Raises:
        SfumatoError: if it is not there, or another one is in its place.
    """
    if identity.encoder not in KINDS:
        raise SfumatoError(
            f"There is no kind of text encoder {identity.encoder!r} here. Update Sfumato."
        )
    located = place_of(identity, hint)
    encoder = KINDS[identity.encoder](located)
    if identity.tokenizer not in (None, encoder.identity.tokenizer):
        raise SfumatoError(
            f"The tokenizer of the text encoder in {located.folder} is another one than the model "
            f"was trained with. {located.cure}"
        )
    return encoder
