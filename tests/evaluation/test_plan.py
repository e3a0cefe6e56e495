"""What is drawn: fixed by the seed, fair to all pairs, alike in both languages."""

import numpy as np
import pytest
from PIL import Image

from sfumato.data.sources.emoji import EmojiSource, captions_of
from sfumato.evaluation.plan import COLOURED, OTHERS, Wanted, colour_wishes, swapped, wishes
from sfumato.evaluation.reality import Reality, read_reality, style_prompt
from sfumato.pictures.colours import NAMES


def small_reality(count=10, held_out=()):
    return Reality(
        name="toy",
        kind="pairs",
        images=np.zeros((count, 4, 8, 8), dtype=np.uint8),
        prompts={
            "en": tuple(f"thing {i}, flat style" for i in range(count)),
            "ru": tuple(f"предмет {i}, плоский стиль" for i in range(count)),
        },
        labels=tuple(f"label {i // 2}" for i in range(count)),
        held_out=np.isin(np.arange(count), held_out),
        groups=("flags",) + ("food",) * (count - 1),
        styles=("flat",) * count,
    )


def test_prompts_are_captions_the_model_was_trained_with():
    source = EmojiSource(split="all")
    for i in range(0, len(source), 97):
        row = source.metadata(i)
        for language in ("en", "ru"):
            assert style_prompt(row, language) in captions_of(row)


def test_a_shorter_plan_is_the_beginning_of_a_longer_one():
    reality = small_reality()
    few = wishes(reality, reality.home, 4, 0, "held-in", "en")
    many = wishes(reality, reality.home, 30, 0, "held-in", "en")
    assert many[:4] == few
    assert [wish.number for wish in many] == list(range(30))


def test_everything_is_asked_for_once_before_anything_twice():
    reality = small_reality(held_out=(3, 4))
    found = wishes(reality, reality.home, 14, 5, "held-in", "en")
    assert sorted(w.place for w in found[:7]) == [1, 2, 5, 6, 7, 8, 9]  # no flag, nothing held out
    assert sorted(w.place for w in found[7:]) == [1, 2, 5, 6, 7, 8, 9]
    assert [w.place for w in found[:7]] != [w.place for w in found[7:]]
    assert sorted(w.place for w in wishes(reality, reality.unseen, 2, 5, "x", "en")) == [3, 4]


def test_the_seed_decides_and_languages_share_pairs_and_noise():
    reality = small_reality()
    english = wishes(reality, reality.home, 9, 1, "held-in", "en")
    russian = wishes(reality, reality.home, 9, 1, "held-in", "ru")
    assert [(w.place, w.number) for w in english] == [(w.place, w.number) for w in russian]
    assert all(w.prompt.startswith("предмет") for w in russian)
    assert english != wishes(reality, reality.home, 9, 2, "held-in", "en")


def test_a_swap_changes_the_thing_and_keeps_the_noise():
    reality = small_reality()
    first = wishes(reality, reality.home, 9, 1, "held-in", "en")
    other = swapped(first, reality.labels)
    for one, two in zip(first, other, strict=True):
        assert one.number == two.number
        assert reality.labels[one.place] != reality.labels[two.place]
        assert two.prompt == reality.prompts["en"][two.place]
    alone = [Wanted("a", 0, 1), Wanted("a", 1, 1)]
    assert swapped(alone, reality.labels) == alone  # nothing else to ask for


def test_twice_fifty_coloured_prompts():
    found, others = colour_wishes(), colour_wishes(others=True)
    prompts = {wish.prompt: colour for colour, wish in found}
    assert prompts["cat with tears of joy"] == "yellow"
    assert {"red heart", "blue heart", "green apple"} <= set(prompts)
    assert set(COLOURED) == set(OTHERS) <= set(NAMES)
    for wishes_ in (found, others):
        assert len({wish.prompt for _, wish in wishes_}) == 50
        assert [wish.number for _, wish in wishes_] == list(range(50))
        plain = [wish.prompt for c, wish in wishes_ if not wish.prompt.startswith(f"{c} ")]
        assert plain == (["cat with tears of joy"] if wishes_ is found else [])
    source = EmojiSource(4, 4, "all")
    names = {source.metadata(i)["name_en"].lower() for i in range(len(source))}
    assert names.isdisjoint(wish.prompt for _, wish in others)
    assert set(prompts).isdisjoint(wish.prompt for _, wish in others)


@pytest.fixture(scope="module")
def emoji():
    return read_reality("emoji", 4, 4)


def test_the_emoji_are_whole_un_augmented_and_held_out_pairs_are_known(emoji):
    source, reality = EmojiSource(4, 4, "all"), emoji
    assert reality.kind == "pairs"
    assert len(reality.images) == len(source)
    assert (reality.images[17] == source[17].image).all()
    held = EmojiSource(4, 4, "held-out")
    assert reality.held_out.sum() == len(held)
    assert set(reality.home).isdisjoint(np.flatnonzero(reality.apart | reality.held_out))
    assert reality.labels[17] == source[17].label


def folder(root, names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 16), (len(name) * 7 % 256, 99, 30)).save(path)
    return root


def test_classes_and_a_part_for_testing(tmp_path):
    names = [f"{part}/{thing}/{i}.png" for part in ("train", "test") for thing in ("cat", "dog")
             for i in range(3 if part == "train" else 2)]  # fmt: skip
    reality = read_reality(str(folder(tmp_path, names)), 16, 3)
    assert reality.kind == "test"
    assert reality.prompts == {"own": ("cat",) * 3 + ("dog",) * 3 + ("cat",) * 2 + ("dog",) * 2}
    assert reality.held_out.tolist() == [False] * 6 + [True] * 4
    assert reality.home.tolist() == [6, 7, 8, 9]
    assert reality.groups[0] == "cat"


def test_a_folder_without_a_part_for_testing(tmp_path):
    folder(tmp_path, ["a.png", "b.png"])
    (tmp_path / "a.txt").write_text("a red square\nsomething red")
    (tmp_path / "b.txt").write_text("a blue square")
    reality = read_reality(str(tmp_path), 16, 3)
    assert reality.kind == "whole"
    assert reality.prompts == {"own": ("a red square", "a blue square")}
    assert reality.labels == (None, None)
    assert reality.home.tolist() == [0, 1]


def test_the_digest_sees_pixels_prompts_and_split():
    one = small_reality()
    assert one.digest == small_reality().digest
    assert one.digest != small_reality(held_out=(2,)).digest
    brighter = small_reality()
    brighter.images[3, 0, 0, 0] = 1
    changed = Reality(**{**vars(brighter), "digest": ""})
    assert changed.digest != one.digest


@pytest.mark.parametrize("language", ["en", "ru"])
def test_no_prompt_has_an_empty_name(emoji, language):
    assert all(prompt.split(",")[0].strip() for prompt in emoji.prompts[language])
