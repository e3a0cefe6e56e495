"""Which words of a prompt are not read, compared with what the ids of shorter prompts are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import model

from sfumato.interfaces.cli.remarks import SHOWN, remarks, unknown, unread

TEXT = model(16, 1, data={"name": "mine"})
EMOJI = model(16, 1, data={"name": "emoji"})
WORDS = ["red", "heart", "красное", "сердце", "ёж", "ﬁre", "a", "unknown", "<pad>", "½"]


@given(words=st.lists(st.sampled_from(WORDS), max_size=12), gap=st.sampled_from([" ", " \n  "]))
def test_what_is_not_read_changes_nothing_and_what_is_read_does(words, gap):
    ids = TEXT.prompted.conditioner.ids
    rest = unread(TEXT, gap.join(words)).split()
    assert words[len(words) - len(rest) :] == rest
    read = words[: len(words) - len(rest)]
    if not rest:
        return
    # with the first word that is not finished all places are taken: more words change nothing
    whole = ids([" ".join(words)])
    assert whole.equal(ids([" ".join([*read, rest[0]])]))
    # all that counts as read is there: as many places as it takes are its own
    alone = ids([" ".join(read)])
    used = int((alone != 0).sum())
    assert alone[0, :used].equal(whole[0, :used])
    # and the next word does not fit in what is left
    longer = TEXT.prompted.conditioner.tokenizer
    longer.no_truncation(), longer.no_padding()
    try:
        assert len(longer.encode(" ".join([*read, rest[0]])).ids) > TEXT.prompted.conditioner.length
    finally:
        longer.enable_truncation(8), longer.enable_padding(length=8, pad_id=0, pad_token="<pad>")


def test_a_model_of_classes_reads_every_word():
    assert unread(model(16, 1, classes=("cat", "dog")), "cat " * 100) == ""


@pytest.mark.parametrize(
    ("negative", "scale", "count"),
    [(None, 1, 0), ("", 1, 0), ("blue", 1, 1), ("blue", 0, 0), ("blue", 3, 0), ("a " * 20, 3, 1),
     ("a " * 20, 1, 1)],
)  # fmt: skip
def test_negative_prompts(negative, scale, count):
    assert len(remarks(TEXT, ["red", "red"], negative, scale)) == count


def test_a_very_long_rest_is_cut():
    [note] = remarks(TEXT, ["red " * 1000] * 2, None, 1)
    assert len(note) < SHOWN + 100 and note.endswith("…")


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("red heart", []),
        ("Red HEART, (blue) cat!", []),
        ("a 'red' heart…", []),  # signs alone mean nothing
        ("hjaio red", ["hjaio"]),  # all its letters are known, the word is not
        ("«hjaio»", ["hjaio"]),
        ("hja red", []),  # too short to judge
        ("yoed", []),  # three pieces of four letters; the space before it is none
        ("red 🙂 heart", ["🙂"]),
        ("red ❤️", ["❤️"]),
        ("漢字 漢字 cat", ["漢字", "漢字"]),
        ("красное fjord", ["fjord"]),
        ("h1a1i1o", ["h1a1i1o"]),  # it has never seen a digit
        ("", []),
    ],
)
def test_words_that_the_model_does_not_know(prompt, words):
    assert list(unknown(TEXT, prompt)) == words


def test_what_is_not_read_is_not_called_unknown():
    assert list(unknown(TEXT, "red " * 20 + "hjaio")) == []


def test_words_of_the_emoji_are_known_however_many_pieces_they_take():
    assert list(unknown(TEXT, "yeti")) == ["yeti"]
    assert list(unknown(EMOJI, "yeti")) == []
    assert list(unknown(EMOJI, "hjaio")) == ["hjaio"]


def test_a_model_of_classes_has_no_unknown_words():
    assert list(unknown(model(16, 1, classes=("cat", "dog")), "hjaio 🙂")) == []


def test_unknown_words_and_an_empty_prompt_are_said_once():
    notes = remarks(TEXT, ["hjaio", " ", "", "hjaio 🙂"], "fjord", 3)
    assert notes == ["The prompt is empty: a picture of anything.",
                     "The model does not know: hjaio, 🙂, fjord"]  # fmt: skip
    assert remarks(TEXT, [" "], None, 3) == notes[:1]
    assert remarks(TEXT, ["red heart"], " ", 3) == []
