"""Which words of a prompt are not read, compared with what the ids of shorter prompts are."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import model

from sfumato.conditioning.frozen import Frozen
from sfumato.conditioning.pretrained import pretrained
from sfumato.conditioning.tfidf import Terms, TfIdf
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


def stand_in(conditioner):
    """Of a model, what remarks look at."""
    said = SimpleNamespace(conditioning=SimpleNamespace(template=None))
    return SimpleNamespace(prompted=SimpleNamespace(conditioner=conditioner), recipe=said)


@pytest.fixture(scope="module")
def reading(tmp_path_factory):
    """``reading(kind)``: a model that reads prompts with an encoder of that kind."""
    pytest.importorskip("transformers")
    from tiny_encoders import clip, sentence, t5

    makers = {"sentence": sentence, "t5": t5, "clip": clip}

    def made(kind):
        if kind == "tfidf":
            prompted = TfIdf(Terms(("cat", "heart", "red"), (1.0, 1.0, 1.0)), 8, 6)
        else:
            folder = makers[kind](tmp_path_factory.mktemp("encoders") / f"tiny-{kind}")
            prompted = Frozen(pretrained(kind, str(folder)), 8, 6)
        return stand_in(prompted)

    return made


@pytest.mark.parametrize(
    ("kind", "fits"),
    # of six places these take marks of beginning and end
    [("tfidf", 6), ("sentence", 4), ("clip", 4), ("t5", 5)],
)
def test_every_encoder_says_what_it_does_not_read(reading, kind, fits):
    made = reading(kind)
    words = ["red", "heart", "cat"] * 3
    assert unread(made, " ".join(words[:fits])) == ""
    assert unread(made, " ".join(words)) == " ".join(words[fits:])
    conditioner = made.prompted.conditioner
    longer, read = conditioner.ids([" ".join(words), " ".join(words[:fits])])
    assert longer.equal(read), "what is not read changes nothing"
    [note] = remarks(made, [" ".join(words)], None, 3)
    assert note.endswith(" ".join(words[fits:]))


@pytest.mark.parametrize("kind", ["sentence", "clip", "t5"])
def test_words_that_a_pretrained_encoder_does_not_know(reading, kind):
    made = reading(kind)
    assert list(unknown(made, "a RED heart…")) == []
    assert list(unknown(made, "red «сердце»")) == ["сердце"]
    assert list(unknown(made, "a cat 🙂")) == ["🙂"]
    assert list(unknown(made, "red " * 9 + "сердце")) == [], "it is not read at all"


def test_words_that_an_english_encoder_can_only_spell(tmp_path):
    transformers = pytest.importorskip("transformers")
    from tiny_encoders import sentence
    from tokenizers import Tokenizer, models, pre_tokenizers

    # as the BERT of all-MiniLM-L6-v2 has it: English words and parts of them, other letters alone
    letters = [*"абвгдежзиклмнопрстуыь", *"猫日本語"]
    names = ["[UNK]", "red", "heart", "syn", "wave", "##th", "##wave", *letters]
    names += [f"##{letter}" for letter in letters]
    pieces = models.WordPiece({name: i for i, name in enumerate(names)}, unk_token="[UNK]")
    tokenizer = Tokenizer(pieces)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    folder = sentence(tmp_path / "english")
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="[UNK]", model_max_length=32
    ).save_pretrained(folder)
    encoder = pretrained("sentence", str(folder))
    made = stand_in(Frozen(encoder, 8, 24))
    assert list(unknown(made, "красное сердце, red heart")) == ["красное", "сердце"]
    assert list(unknown(made, "red synthwave")) == [], "parts are no letters"
    assert list(unknown(made, "кот")) == [], "too short to judge"
    assert list(unknown(made, "猫日本語")) == [], "there a sign is a word"
    assert list(unknown(made, "red dragon")) == ["dragon"]


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
