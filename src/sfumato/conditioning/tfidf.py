"""TF-IDF: a small vocabulary of words, each weighted by how much it tells apart.

Learning the vocabulary needs scikit-learn; what was learned is a list of words with their weights,
which is all that generating needs.
"""

from __future__ import annotations

import importlib.util
import json
import math
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sfumato.conditioning.condition import Condition
from sfumato.errors import SfumatoError

WORD = r"(?u)\b\w+\b"
NOTHING = -1
"""Fills the rows of ids behind their last term."""
_GRAMMAR = (
    "a an and are as at be by for from in is it its of on or that the this to with "
    "а без в во для до за и из или к ко на о об от по под при с со у это"
)
GRAMMAR = frozenset(_GRAMMAR.split())
"""Words that nothing in a picture answers to; they would be the most frequent terms."""
LARGEST_IDF = 100.0


def plain(text: str) -> str:
    """The text as terms are looked for: compatibility forms joined, lower case, е for ё."""
    return unicodedata.normalize("NFKC", text).lower().replace("ё", "е")


@dataclass(frozen=True)
class Terms:
    """A vocabulary.

    Attributes:
        terms: words as `plain` leaves them, each once, in alphabetical order.
        idf: for each of them ln((1 + n) / (1 + df)) + 1, where df of n captions hold it.
    """

    terms: tuple[str, ...]
    idf: tuple[float, ...]

    def to_json(self) -> str:
        return json.dumps({"terms": self.terms, "idf": self.idf}, ensure_ascii=False, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Terms:
        """What `to_json` wrote.

        Raises:
            ValueError: if it is something else.
        """
        found = json.loads(text)
        if not isinstance(found, dict):
            raise ValueError("no object")
        terms, idf = found.get("terms"), found.get("idf")
        if not (isinstance(terms, list) and all(isinstance(term, str) for term in terms)):
            raise ValueError("terms are no texts")
        if not terms or len(set(terms)) != len(terms):
            raise ValueError("no terms, or the same term twice")
        # bool is an int to Python, and NaN fails every comparison
        if not isinstance(idf, list) or len(idf) != len(terms):
            raise ValueError("not one weight for each term")
        if not all(type(x) in (int, float) and 0 < x <= LARGEST_IDF for x in idf):
            raise ValueError("weights that are no weights")
        return cls(tuple(terms), tuple(map(float, idf)))


def can_learn() -> None:
    """See that `learn_terms` has what it needs.

    Raises:
        SfumatoError: without scikit-learn.
    """
    if importlib.util.find_spec("sklearn") is None:
        raise SfumatoError(
            'TF-IDF terms are learned by scikit-learn. Install it: pip install "sfumato[tfidf]".'
        )


def learn_terms(texts: Iterable[str], most: int = 128) -> Terms:
    """The terms that tell most about which caption is meant, with their weights.

    A term that stands in a share p of the captions answers a question of -p log p - (1 - p) log
    (1 - p) bits, so the most frequent ones are kept, except those that nearly every caption has.

    Args:
        texts: all captions.
        most: terms to keep; few captions give fewer.
    Raises:
        SfumatoError: without scikit-learn, or if no caption holds a word.
    """
    can_learn()
    from sklearn.feature_extraction.text import TfidfVectorizer

    captions = [plain(text) for text in texts]
    vectorizer = TfidfVectorizer(token_pattern=WORD, stop_words=sorted(GRAMMAR))
    try:
        vectorizer.fit(captions)
    except ValueError as error:  # its word for an empty vocabulary
        raise SfumatoError(
            "No caption holds a word to learn. Add captions, or take another text encoder."
        ) from error
    weighted = dict(zip(vectorizer.get_feature_names_out(), vectorizer.idf_, strict=True))

    def bits(idf: float) -> float:
        held = (1 + len(captions)) / math.exp(idf - 1) - 1
        share = min(max(held / len(captions), 0.0), 1.0)
        return -sum(p * math.log2(p) for p in (share, 1 - share) if p > 0)

    # rounded, so that equally frequent terms stay in alphabetical order on every processor
    best = sorted(weighted, key=lambda term: (-round(bits(weighted[term]), 9), term))[:most]
    terms = sorted(str(term) for term in best)
    return Terms(tuple(terms), tuple(float(weighted[term]) for term in terms))


class TfIdf(nn.Module):
    """Prompts -> Condition by which terms they hold; the order of words makes no difference.

    The vector is a linear image of the TF-IDF weights, which have length 1; each known term is
    one token, its learned embedding times its weight.  A prompt of unknown words is the zero
    vector with one token of zeros; only an empty one is the learned null.

    Args:
        terms: the vocabulary.
        width: D of the condition.
        length: most known words that a prompt may have, repeats counted; the rest is cut.
    """

    idf: Tensor

    def __init__(self, terms: Terms, width: int, length: int = 24) -> None:
        super().__init__()
        self.terms = terms
        self.width, self.length = width, length
        self._numbers = {term: number for number, term in enumerate(terms.terms)}
        self._words = re.compile(WORD)
        # part of the vocabulary, not of the weights
        self.register_buffer("idf", torch.tensor(terms.idf), persistent=False)
        count = len(terms.terms)
        self.vectors = nn.Embedding(count, width)
        self.tokens = nn.Embedding(count, width)
        for table in (self.vectors, self.tokens):
            nn.init.normal_(table.weight, std=0.5)
        self.null_vector = nn.Parameter(torch.randn(width) * 0.02)
        self.null_token = nn.Parameter(torch.randn(width) * 0.02)

    @property
    def unknown(self) -> int:
        """Stands in ids for a prompt whose every word is unknown."""
        return len(self.terms.terms)

    def ids(self, prompts: list[str]) -> Tensor:
        """(N, length) numbers of the known terms in order, repeats kept, then -1."""
        rows = torch.full((len(prompts), self.length), NOTHING, dtype=torch.long)
        for row, prompt in zip(rows, prompts, strict=True):
            if not prompt.strip():
                continue
            known = self.known(prompt)[: self.length] or [self.unknown]
            row[: len(known)] = torch.tensor(known)
        return rows

    def known(self, prompt: str) -> list[int]:
        """The numbers of all known terms of a prompt in order, repeats kept."""
        words = self._words.findall(plain(prompt))
        return [self._numbers[word] for word in words if word in self._numbers]

    def strange(self, prompt: str) -> list[str]:
        """The words of a prompt that are none of the terms; those of grammar are not missed."""
        words = self._words.findall(plain(prompt))
        return [word for word in words if word not in self._numbers and word not in GRAMMAR]

    def weights(self, ids: Tensor) -> Tensor:
        """TF-IDF (B, terms): counts times idf, scaled to length 1; zeros where nothing is known."""
        counts = torch.zeros(len(ids), self.unknown + 1, device=ids.device)
        # the last column collects what is no term
        columns = torch.where(ids < 0, self.unknown, ids)
        counts.scatter_add_(1, columns, torch.ones_like(columns, dtype=counts.dtype))
        weighted = counts[:, :-1] * self.idf
        return weighted / weighted.norm(dim=1, keepdim=True).clamp(min=1e-12)

    def forward(self, ids: Tensor) -> Condition:
        """Condition of B prompts from their ids (B, length)."""
        used = max(1, int((ids >= 0).sum(1).max()))
        weights = self.weights(ids)
        ids = ids[:, :used]
        known = (ids >= 0) & (ids < self.unknown)
        earlier = (ids[:, :, None] == ids[:, None, :]).tril(-1).any(2)
        terms = torch.where(known, ids, 0)
        share = torch.where(known, weights.gather(1, terms), 0.0)
        tokens = self.tokens(terms) * share[..., None]
        # one token at least can be seen: a softmax over nothing is not a number
        mask = (known & ~earlier) | (ids == self.unknown)
        told = Condition(weights @ self.vectors.weight, tokens, mask)
        empty = ids[:, 0] < 0
        return told.drop(~empty, self.null(1)) if bool(empty.any()) else told

    def null(self, batch: int) -> Condition:
        vector = self.null_vector.expand(batch, -1)
        tokens = self.null_token.expand(batch, 1, -1)
        mask = torch.ones(batch, 1, dtype=torch.bool, device=vector.device)
        return Condition(vector, tokens, mask)
