"""Do the words steer the picture, whichever text encoder reads them?

Every encoder gets the embedded model's autoencoder and network, learns to speak to them for some
minutes on the emoji of a few dozen things, and then draws these things by name and style (classes
by name), each twice from the same noise: as asked, and as another picture's prompt asks.  Counted
is how often the picture that was asked for is nearer to the real pictures of its thing, which were
trained on, than the swapped one is (chance 50%), in the features of a judge trained on other
designers' real art (`sfumato judge`).

    python benchmarks/text_encoders.py --judge runs/judge --minutes 5
    python benchmarks/text_encoders.py --judge runs/judge --t5 google/flan-t5-small

Without a folder or an id for them T5 and CLIP are small ones with random weights, made on the
spot by transformers with a tokenizer of the captions' words: they show that the way from their
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
from PIL import Image

import sfumato
from sfumato.data.sources.emoji import STYLES, EmojiSource
from sfumato.diffusion.randomness import seed_of
from sfumato.evaluation.intervals import generator, mean
from sfumato.evaluation.judge import Judge

CONTENDERS: dict[str, dict[str, Any]] = {
    "labels": {"kind": "labels"},
    "tfidf": {"encoder": "tfidf"},
    "scratch": {"encoder": "scratch"},
    "sentence": {"encoder": "sentence"},
    "t5": {"encoder": "t5"},
    "clip": {"encoder": "clip"},
}
PRETRAINED = ("sentence", "t5", "clip")
PAIRS = 128
WIDTH = 256


def stand_in(kind: str, folder: Path, prompts: list[str]) -> Path:
    """A T5 or CLIP text half with random weights that knows the words of the prompts."""
    import transformers
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    said = {word for prompt in prompts for word in prompt.split()}
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


def few_things(count: int, folder: Path) -> tuple[Path, Path, list[str], list[str], np.ndarray]:
    """The pictures of some things that exist in all designs, as two data sets.

    Returns:
        A folder with captions, a folder with one subfolder a thing, and of every picture the
        prompt, the thing's name, and the picture itself (N, 4, 64, 64).
    """
    source = EmojiSource()
    of: dict[str, list[int]] = {}
    for i in range(len(source)):
        row = source.metadata(i)
        if row["group"] not in ("flags", "symbols", "people-body"):
            of.setdefault(row["name_en"].lower(), []).append(i)
    names = sorted(name for name, places in of.items() if len(places) >= len(STYLES) - 1)
    names.sort(key=lambda name: seed_of(0, "text encoders", name))
    captioned, classes = folder / "captioned", folder / "classes"
    captioned.mkdir(parents=True, exist_ok=True)
    lines, prompts, things, images = [], [], [], []
    places = sorted(
        (source.metadata(i)["style"], name, i) for name in names[:count] for i in of[name]
    )
    for style, name, i in places:
        file = f"{len(prompts):04}.png"
        image = source[i].image.astype(np.float64)
        alpha = np.maximum(image[3:], 1)
        plain = np.concatenate([np.rint(image[:3] * 255 / alpha), image[3:]])
        picture = Image.fromarray(plain.astype(np.uint8).transpose(1, 2, 0), "RGBA")
        picture.save(captioned / file)
        # in "train", as one of the things may be called so
        (classes / "train" / name).mkdir(parents=True, exist_ok=True)
        picture.save(classes / "train" / name / file)
        prompts.append(f"{name}, {STYLES[style][0]}")
        things.append(name)
        images.append(source[i].image)
        lines.append(json.dumps({"file_name": file, "text": [name, prompts[-1]]}))
    (captioned / "metadata.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    return captioned, classes, prompts, things, np.stack(images)


def steered(
    model: Any, asked: list[str], things: list[str], real: np.ndarray, judge: Judge
) -> tuple[np.ndarray, list[str]]:
    """(N,) 1 where the asked picture is nearer to the real ones than the swapped is, else 0; and
    the thing that each was asked for."""
    places = generator(0, "text encoders").permutation(len(asked))[:PAIRS]
    own = np.array(things)
    other = [
        next(j for j in np.roll(places, -1 - k) if own[j] != own[i]) for k, i in enumerate(places)
    ]
    # the two of a pair share their noise, the pairs do not
    numbers = range(len(places))
    made, swapped = (
        judge.features(premultiplied(model.generate([asked[i] for i in of], numbers=numbers)))
        for of in (places, other)
    )
    features = judge.features(real)
    right = []
    for i, mine, theirs in zip(places, made, swapped, strict=True):
        of_thing = features[own == own[i]]
        near, far = (np.linalg.norm(of_thing - one, axis=1).min() for one in (mine, theirs))
        right.append(float(near < far))
    return np.array(right), own[places].tolist()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--judge", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=6.0)
    parser.add_argument("--things", type=int, default=64)
    parser.add_argument("--only", nargs="*", choices=CONTENDERS, default=CONTENDERS)
    for kind in PRETRAINED:
        parser.add_argument(f"--{kind}", help="a folder, a package or an id")
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("benchmarks/results/text_encoders")
    )
    wanted = parser.parse_args()
    judge = Judge.load(wanted.judge)
    captioned, classes, prompts, things, real = few_things(wanted.things, wanted.output / "data")
    facts = {
        "minutes": wanted.minutes, "things": wanted.things, "pairs": PAIRS, "judge": judge.hash,
        "noise": "one a pair",
    }  # fmt: skip
    kept = wanted.output / "table.json"
    before = json.loads(kept.read_bytes()) if kept.is_file() else {}
    same = all(before.get(name) == value for name, value in facts.items())
    table: dict[str, Any] = before["table"] if same else {}
    for kind in wanted.only:
        folder = wanted.output / kind
        named = getattr(wanted, kind, None)
        if kind in ("t5", "clip") and named is None:
            named = str(stand_in(kind, wanted.output / f"{kind}-random", prompts))
        by_name = kind == "labels"
        run = sfumato.train(
            classes if by_name else captioned,
            folder,
            start={"model": "embedded", "take": ["autoencoder", "network"]},
            conditioning={**CONTENDERS[kind], **({"model": named} if named else {})},
            training={"minutes": wanted.minutes, "learning_rate": 1e-3},
        )
        seen = [step.images_seen for step in run][-1]
        model = sfumato.load(folder, device="cpu")
        right, of = steered(model, things if by_name else prompts, things, real, judge)
        share = mean(right, 0, "text encoders", together=of).to_dict()
        table[kind] = {"model": named, "images": seen, "nearer": share}
        print(f"{kind}: {seen} pictures seen, own prompt nearer {share}", flush=True)
        kept.write_text(json.dumps({**facts, "table": table}, indent=1))


if __name__ == "__main__":
    main()
