"""A text encoder trained from scratch with the picture network: BPE and a small transformer.

One vocabulary serves English and Russian: subwords are learned from the captions of the data
set, so common words are one token each in either language.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from torch import Tensor, nn

from sfumato.conditioning.condition import Condition
from sfumato.networks.layers import RMSNorm, SelfAttention, SwiGLU, compute_dtype

PAD, UNKNOWN = 0, 1
SPECIAL = ["<pad>", "<unk>"]


def learn_tokenizer(texts: Iterable[str], vocabulary: int) -> Tokenizer:
    """Byte-pair encoding (Sennrich 2016, 1508.07909) over lower-cased words of any script.

    Args:
        texts: captions to learn from.
        vocabulary: most tokens to keep; few captions give fewer.
    """
    tokenizer = Tokenizer(models.BPE(unk_token=SPECIAL[UNKNOWN], fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.NFKC(),
            normalizers.Lowercase(),
            # Russian is written with and without the dots
            normalizers.Replace("ё", "е"),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=SPECIAL, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


class TextTransformer(nn.Module):
    """Prompts in any language of the vocabulary -> Condition.

    Args:
        tokenizer: from `learn_tokenizer`, saved with the model.
        width: D of the condition.
        layers, heads: of the transformer (bidirectional, pre-norm).
        length: most tokens a prompt may have; the rest is cut.
    """

    def __init__(
        self, tokenizer: Tokenizer, width: int, layers: int = 2, heads: int = 4, length: int = 24
    ) -> None:
        super().__init__()
        self.tokenizer = Tokenizer.from_str(tokenizer.to_str())
        self.tokenizer.enable_truncation(length)
        self.tokenizer.enable_padding(length=length, pad_id=PAD, pad_token=SPECIAL[PAD])
        self.width, self.length = width, length
        self.embedding = nn.Embedding(self.tokenizer.get_vocab_size(), width)
        self.positions = nn.Parameter(torch.randn(length, width) * 0.02)
        self.blocks = nn.ModuleList(_Block(width, heads) for _ in range(layers))
        self.norm = RMSNorm(width)
        self.pooled = nn.Linear(width, width)
        self.null_vector = nn.Parameter(torch.randn(width) * 0.02)
        self.null_token = nn.Parameter(torch.randn(width) * 0.02)
        nn.init.normal_(self.embedding.weight, std=0.5)

    def ids(self, prompts: list[str]) -> Tensor:
        """(N, length) token numbers, padded with 0; spaces and line breaks only part words."""
        # a prompt that says "<pad>" means those five characters; copies forget this, so each time
        self.tokenizer.encode_special_tokens = True
        texts = [" ".join(prompt.split()) for prompt in prompts]
        numbers = [encoding.ids for encoding in self.tokenizer.encode_batch(texts)]
        return torch.tensor(numbers, dtype=torch.long).reshape(-1, self.length)

    def forward(self, ids: Tensor) -> Condition:
        """Condition of B prompts from their ids (B, length); an empty prompt is the null."""
        mask = ids != PAD
        # whole columns of padding cost time and change nothing
        used = max(1, int(mask.sum(1).max()))
        ids, mask = ids[:, :used], mask[:, :used]
        x = self.embedding(ids) + self.positions[:used]
        x = x.to(compute_dtype(x))
        empty = ~mask.any(1)
        # a softmax over nothing is not a number on some devices; these rows are replaced below
        visible = mask | empty[:, None]
        for block in self.blocks:
            x = block(x, visible)
        tokens = self.norm(x)
        share = (mask / mask.sum(1, keepdim=True).clamp(min=1)).to(tokens.dtype)
        vector = self.pooled((tokens * share[..., None]).sum(1))
        told = Condition(vector, tokens, mask)
        return told.drop(~empty, self.null(1)) if bool(empty.any()) else told

    def null(self, batch: int) -> Condition:
        vector = self.null_vector.expand(batch, -1)
        tokens = self.null_token.expand(batch, 1, -1)
        return Condition(
            vector, tokens, torch.ones(batch, 1, dtype=torch.bool, device=vector.device)
        )


class _Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = RMSNorm(width), RMSNorm(width)
        self.attention = SelfAttention(width, heads)
        self.mlp = SwiGLU(width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x), mask)
        return x + self.mlp(self.norm2(x))
