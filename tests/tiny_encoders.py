"""Pretrained text encoders with random weights, made by the real library, as folders."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

_WORDS = "red green blue heart square cat face a of with number яркий красный круг"
WORDS = _WORDS.split()
PAD, END, UNKNOWN, BEGIN = "<pad>", "</s>", "<unk>", "<s>"


def tokenizer(folder: Path, begin: bool, longest: int) -> int:
    """Whole words, an end mark, a mark of beginning if wanted; returns how many tokens it knows."""
    from transformers import PreTrainedTokenizerFast

    # the end mark has the largest number, as in CLIP's vocabulary
    names = [PAD, UNKNOWN, BEGIN, *WORDS, *"<>/s", END]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    words = Tokenizer(models.WordLevel(numbers, unk_token=UNKNOWN))
    words.normalizer = normalizers.Lowercase()
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing(
        single=f"{BEGIN} $A {END}" if begin else f"$A {END}",
        special_tokens=[(BEGIN, numbers[BEGIN]), (END, numbers[END])],
    )
    PreTrainedTokenizerFast(
        tokenizer_object=words,
        pad_token=PAD,
        unk_token=UNKNOWN,
        eos_token=END,
        bos_token=BEGIN,
        cls_token=BEGIN,
        sep_token=END,
        model_max_length=longest,
    ).save_pretrained(folder)
    return len(numbers)


def t5(folder: Path, seed: int = 0) -> Path:
    """An encoder and decoder of width 24, as such models are shared."""
    from transformers import T5Config, T5ForConditionalGeneration

    count = tokenizer(folder, begin=False, longest=64)
    torch.manual_seed(seed)
    config = T5Config(
        vocab_size=count, d_model=24, d_kv=8, d_ff=32, num_layers=2, num_heads=3, pad_token_id=0
    )
    T5ForConditionalGeneration(config).save_pretrained(folder)
    return folder


def clip_text_config(count: int) -> dict[str, int]:
    return {
        "vocab_size": count, "hidden_size": 24, "intermediate_size": 32, "num_hidden_layers": 2,
        "num_attention_heads": 3, "max_position_embeddings": 16, "pad_token_id": 0,
        "bos_token_id": 2, "eos_token_id": count - 1,
    }  # fmt: skip


def clip(folder: Path, whole: bool = False) -> Path:
    """The text half of a CLIP, or the whole of it."""
    from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPTextModel

    count = tokenizer(folder, begin=True, longest=16)
    torch.manual_seed(0)
    text = clip_text_config(count)
    if whole:
        vision = {
            "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
            "num_attention_heads": 2, "image_size": 8, "patch_size": 4,
        }  # fmt: skip
        CLIPModel(CLIPConfig(text_config=text, vision_config=vision)).save_pretrained(folder)
    else:
        CLIPTextModel(CLIPTextConfig(**text)).save_pretrained(folder)
    return folder


def sentence(folder: Path, pooling: str = "mean", seed: int = 0) -> Path:
    """A small BERT in the layout of sentence-transformers."""
    import json

    from transformers import BertConfig, BertModel

    count = tokenizer(folder, begin=True, longest=32)
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=count, hidden_size=24, intermediate_size=32, num_hidden_layers=2,
        num_attention_heads=3, max_position_embeddings=32, pad_token_id=0,
    )  # fmt: skip
    BertModel(config).save_pretrained(folder)
    (folder / "1_Pooling").mkdir()
    modes = ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens")
    said = {f"pooling_mode_{mode}": mode.split("_")[0] == pooling for mode in modes[:3]}
    said["pooling_mode_mean_sqrt_len_tokens"] = False
    (folder / "1_Pooling" / "config.json").write_text(
        json.dumps({"word_embedding_dimension": 24, **said})
    )
    kinds = ("Transformer", "Pooling", "Normalize")
    (folder / "modules.json").write_text(
        json.dumps(
            [
                {"idx": i, "name": str(i), "path": ("", "1_Pooling", "2_Normalize")[i],
                 "type": f"sentence_transformers.models.{kind}"}
                for i, kind in enumerate(kinds)
            ]
        )
    )  # fmt: skip
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 32}))
    return folder
