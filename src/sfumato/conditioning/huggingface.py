"""T5 and CLIP text encoders through the transformers library, frozen.

Weights are read from safetensors only, and code that comes with a model is never run.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from sfumato.conditioning.encoder_files import has_tokenizer, sha256_of
from sfumato.conditioning.frozen import NOTHING, FrozenEncoder
from sfumato.conditioning.locate import Identity, Located
from sfumato.errors import SfumatoError

MISSING_MATTERS_NOT = ("pooler", "position_ids", "embed_tokens")
"""Weights that a file may lack: not used here, constant, or tied to others."""
LONGEST = 512
PROBES = [
    "Red heart, blue heart; a cat's FACE with 2 eyes!",
    "Красное сердце и синий ёж, №17",
    "the quick brown fox jumps over 13,450 lazy dogs",
    "съешь ещё этих мягких французских булок",
    "naïve ﬁancé ß 日本 😀 \u00a0tab\t<s></s>[CLS]",
]
"""What a tokenizer is recognised by: letter case, accents, scripts, numbers, marks."""
PROBE_LENGTH = 64


class Pretrained(FrozenEncoder):
    """What T5, CLIP and sentence encoders have in common.

    Args:
        located: the folder.
    Raises:
        SfumatoError: without transformers, or if the folder holds no such encoder.
    """

    kind: str
    classes: dict[str, str]
    """model_type of the configuration -> transformers' class."""

    def __init__(self, located: Located) -> None:
        super().__init__()
        if importlib.util.find_spec("transformers") is None:
            raise SfumatoError(
                f"The text encoder {self.kind} needs transformers. "
                'Install it: pip install "sfumato[text]".'
            )
        self.folder, self.place, self._cure = located.folder, located.place, located.cure
        sha = sha256_of(self.folder)
        if not has_tokenizer(self.folder):
            raise SfumatoError(
                f"{self.folder} has no tokenizer, so no word would be known (tokenizer.json, "
                f"vocab.txt, spiece.model or the like). Copy the encoder whole. {self._cure}"
            )
        self._module: nn.Module | None = None
        with self._understood():
            from transformers import AutoConfig, AutoTokenizer

            config = AutoConfig.from_pretrained(
                self.folder, local_files_only=True, trust_remote_code=False
            )
            self._class = self._class_for(config.model_type)
            self._tokenizer = AutoTokenizer.from_pretrained(
                self.folder, local_files_only=True, trust_remote_code=False
            )
        text = getattr(config, "text_config", config)
        self.width = int(text.hidden_size)
        limits = (getattr(text, "max_position_embeddings", None), self._tokenizer.model_max_length)
        self.longest = min([LONGEST, *(int(n) for n in limits if n and 0 < n < 10**6)])
        made = self.ids(PROBES, min(PROBE_LENGTH, self.longest)).tolist()
        tokenizer = hashlib.sha256(repr(made).encode()).hexdigest()
        self.identity = Identity(self.kind, located.own_name, located.revision, sha, tokenizer)

    def _class_for(self, model_type: str) -> str:
        if model_type not in self.classes:
            raise ValueError(f"its model_type is {model_type}")
        return self.classes[model_type]

    def ids(self, prompts: list[str], length: int) -> Tensor:
        rows = torch.full((len(prompts), length), NOTHING, dtype=torch.long)
        said = [i for i, prompt in enumerate(prompts) if prompt.strip()]
        if not said:
            return rows
        numbers = self._tokenizer(
            [prompts[i] for i in said],
            truncation=True,
            max_length=length,
            # a prompt that says "</s>" means those four characters
            split_special_tokens=True,
        )["input_ids"]
        for i, row in zip(said, numbers, strict=True):
            rows[i, : len(row)] = torch.tensor(row)
        return rows

    def pieces(self, word: str) -> tuple[int, bool]:
        given = self._tokenizer(word, add_special_tokens=False, split_special_tokens=True)
        tokens = self._tokenizer.convert_ids_to_tokens(given["input_ids"])
        # T5 begins a word with a space, which is no piece of it
        return len(tokens) - tokens.count("▁"), self._tokenizer.unk_token in tokens

    def encode(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        mask = ids >= 0
        module = self._loaded().to(ids.device)
        given = torch.where(mask, ids, self._padding())
        states = module(input_ids=given, attention_mask=mask.long()).last_hidden_state.float()
        return states, self.pooled(states, mask)

    def pooled(self, states: Tensor, mask: Tensor) -> Tensor:
        """(B, D): the mean of the states (B, L, D) of existing tokens."""
        share = mask / mask.sum(1, keepdim=True).clamp(min=1)
        return (states * share[..., None]).sum(1)

    def unload(self) -> None:
        self._module = None

    def depends_on(self) -> dict[str, str]:
        config = (self.folder / "config.json").read_bytes()
        return {
            "encoder": self.kind,
            "weights": self.identity.sha256,
            "config": hashlib.sha256(config).hexdigest(),
        }

    def _padding(self) -> int:
        return int(self._tokenizer.pad_token_id or 0)

    def _loaded(self) -> nn.Module:
        if self._module is None:
            with self._understood(), _silently():
                import transformers

                module, about = getattr(transformers, self._class).from_pretrained(
                    self.folder,
                    local_files_only=True,
                    use_safetensors=True,
                    trust_remote_code=False,
                    dtype=torch.float32,
                    output_loading_info=True,
                )
                lacking = [
                    name
                    for name in about["missing_keys"]
                    if not any(word in name for word in MISSING_MATTERS_NOT)
                ]
                if lacking:  # they would be random, and other ones the next time
                    raise ValueError(f"its weights lack {sorted(lacking)[0]}")
            self._module = module.eval().requires_grad_(False)
        return self._module

    @contextmanager
    def _understood(self) -> Iterator[None]:
        """The library's many exceptions as one sentence."""
        try:
            yield
        except (SfumatoError, KeyboardInterrupt, MemoryError):
            raise
        except Exception as error:
            cause = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
            raise SfumatoError(
                f"{self.folder} holds no text encoder of the kind {self.kind} ({cause}). "
                f"{self._cure}"
            ) from error


@contextmanager
def _silently() -> Iterator[None]:
    """Without the library's own progress bar and its list of unused weights."""
    from transformers.utils import logging

    bar, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()


class T5(Pretrained):
    """The encoder of a T5 (Raffel 2019, 1910.10683); pooled: the mean over its tokens."""

    kind = "t5"
    classes = {"t5": "T5EncoderModel", "mt5": "MT5EncoderModel", "umt5": "UMT5EncoderModel"}


class Clip(Pretrained):
    """The text half of CLIP (Radford 2021, 2103.00020); pooled: its state at the end mark."""

    kind = "clip"
    classes = {"clip": "CLIPTextModel", "clip_text_model": "CLIPTextModel"}

    def pooled(self, states: Tensor, mask: Tensor) -> Tensor:
        # the attention is causal, so only the last token has seen all others
        last: Any = mask.sum(1) - 1
        return states[torch.arange(len(states), device=states.device), last]
