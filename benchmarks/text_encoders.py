"""Do the words steer the picture, whichever text encoder reads them?

Every encoder gets the embedded model's autoencoder and network, learns to speak to them for some
minutes on the emoji, and then draws things by name and style, each twice from the same noise: as
asked, and asked for the next thing in the list.  Counted is how often the picture that was asked
for is nearer to the real pictures of its thing than the swapped one is (chance 50%), in the
features of a judge trained on other designers' real art (`sfumato judge`).

    python benchmarks/text_encoders.py --judge runs/judge --minutes 6
    python benchmarks/text_encoders.py --judge runs/judge --t5 google/flan-t5-small

Without a folder or an id for them T5 and CLIP are small ones with random weights, made on the
spot by transformers with a tokenizer of the data's words: they show that the way from their
tokens to the picture works, and say nothing about what the pretrained ones know.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from equal_time import premultiplied

import sfumato
from sfumato.data.sources.emoji import STYLES, EmojiSource
from sfumato.diffusion.randomness import seed_of
from sfumato.evaluation.intervals import mean
from sfumato.evaluation.judge import Judge

CONTENDERS: dict[str, dict[str, Any]] = {
    "labels": {"kind": "labels"},
    # what it does by default: too few terms for two thousand things
    "tfidf, 128 terms": {"encoder": "tfidf"},
    "tfidf, 4096 terms": {"encoder": "tfidf", "features": 4096},
    "scratch": {"encoder": "scratch"},
    "sentence": {"encoder": "sentence"},
    "t5": {"encoder": "t5"},
    "clip": {"encoder": "clip"},
}
PRETRAINED = ("sentence", "t5", "clip")
WIDTH = 256


def stand_in(kind: str, folder: Path) -> Path:
    """A T5 or CLIP text half with random weights that knows the words of the captions."""
    import transformers
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    source = EmojiSource()
    said = {word for i in range(len(source)) for word in source[i].captions[0].split()}
    marks = ["<pad>", "<unk>", "<s>"]
    # CLIP reads its vector where the token with the largest number stands
    numbers = {word: number for number, word in enumerate([*marks, *sorted(said), "</s>"])}
    words = Tokenizer(models.WordLevel(numbers, "<unk>"))
    words.normalizer = normalizers.Lowercase()
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    words.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[(m, numbers[m]) for m in ("<s>", "</s>")]
    )
    named = {"pad_token": "<pad>", "unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=words, model_max_length=64, **named
    ).save_pretrained(folder)
    torch.manual_seed(0)
    count = len(numbers)
    if kind == "t5":
        shape = {"d_model": WIDTH, "d_kv": 64, "d_ff": 2 * WIDTH, "num_layers": 2, "num_heads": 4}
        made = transformers.T5EncoderModel(transformers.T5Config(vocab_size=count, **shape))
    else:
        text = transformers.CLIPTextConfig(
            vocab_size=count, hidden_size=WIDTH, intermediate_size=2 * WIDTH, num_hidden_layers=2,
            num_attention_heads=4, max_position_embeddings=64, pad_token_id=0, bos_token_id=2,
            eos_token_id=count - 1,
        )  # fmt: skip
        made = transformers.CLIPTextModel(text)
    made.save_pretrained(folder)
    return folder


def asked_of(count: int) -> tuple[list[str], list[str], list[np.ndarray]]:
    """Names with a style, their things, and all real pictures of each of these things."""
    source = EmojiSource()
    rows = [source.metadata(i) for i in range(len(source))]
    of: dict[str, list[int]] = {}
    for i, row in enumerate(rows):
        if row["group"] != "flags":
            of.setdefault(row["thing"], []).append(i)
    things = sorted(of, key=lambda thing: seed_of(0, "text encoders", thing))[:count]
    first = [rows[of[thing][0]] for thing in things]
    prompts = [f"{row['name_en'].lower()}, {STYLES[row['style']][0]}" for row in first]
    return prompts, things, [np.stack([source[i].image for i in of[t]]) for t in things]


def steered(model: Any, prompts: list[str], real: list[np.ndarray], judge: Judge) -> np.ndarray:
    """(N,) 1 where the asked picture is nearer to the real ones than the swapped is, else 0."""
    made = judge.features(premultiplied(model.generate(prompts, 1, 0)))
    swapped = judge.features(premultiplied(model.generate(np.roll(prompts, -1).tolist(), 1, 0)))
    own = [judge.features(images) for images in real]
    near = [np.linalg.norm(f - m, axis=1).min() for f, m in zip(own, made, strict=True)]
    far = [np.linalg.norm(f - m, axis=1).min() for f, m in zip(own, swapped, strict=True)]
    return (np.array(near) < np.array(far)).astype(float)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--judge", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=6.0)
    parser.add_argument("--pairs", type=int, default=256)
    parser.add_argument("--only", nargs="*", choices=CONTENDERS, default=CONTENDERS)
    for kind in PRETRAINED:
        parser.add_argument(f"--{kind}", help="a folder, a package or an id")
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("benchmarks/results/text_encoders")
    )
    wanted = parser.parse_args()
    judge = Judge.load(wanted.judge)
    prompts, things, real = asked_of(wanted.pairs)
    table: dict[str, Any] = {}
    for kind in wanted.only:
        folder = wanted.output / kind.replace(", ", "-").replace(" ", "-")
        named = getattr(wanted, kind, None)
        if kind in ("t5", "clip") and named is None:
            named = str(stand_in(kind, wanted.output / f"{kind}-random"))
        run = sfumato.train(
            "emoji",
            folder,
            start={"model": "embedded", "take": ["autoencoder", "network"]},
            conditioning={**CONTENDERS[kind], **({"model": named} if named else {})},
            training={"minutes": wanted.minutes, "learning_rate": 1e-3},
        )
        seen = [step.images_seen for step in run][-1]
        model = sfumato.load(folder, device="cpu")
        right = steered(model, things if kind == "labels" else prompts, real, judge)
        share = mean(right, 0, "text encoders").to_dict()
        table[kind] = {"model": named, "images": seen, "nearer": share}
        print(f"{kind}: {seen} pictures seen, own prompt nearer {share}", flush=True)
    facts = {"minutes": wanted.minutes, "pairs": len(prompts), "judge": judge.hash}
    (wanted.output / "table.json").write_text(json.dumps({**facts, "table": table}, indent=1))


if __name__ == "__main__":
    main()
