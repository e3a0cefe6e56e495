from __future__ import annotations

import copy

import pytest
import torch
from bilingual import TEXTS, WIDTH
from hypothesis import given, settings
from hypothesis import strategies as st

from sfumato.conditioning.text_transformer import PAD, UNKNOWN, TextTransformer, learn_tokenizer

CLOSE = {"atol": 1e-5, "rtol": 1e-5}


def plain(text):
    """What the tokenizer keeps of a caption, said by hand."""
    return " ".join(text.lower().replace("ё", "е").split())


# --- the vocabulary ---


@pytest.mark.parametrize("text", TEXTS)
def test_both_languages_come_back_from_their_tokens(text_transformer, text):
    ids = text_transformer.ids([text])[0].tolist()
    assert UNKNOWN not in ids
    assert text_transformer.tokenizer.decode(ids) == plain(text)


@settings(max_examples=40, deadline=None)
@given(words=st.lists(st.sampled_from(" ".join(TEXTS).split()), min_size=1, max_size=6))
def test_any_words_of_the_vocabulary_come_back_together(words):
    tokenizer = learn_tokenizer(TEXTS, 400)
    encoding = tokenizer.encode(" ".join(words))
    assert tokenizer.decode(encoding.ids) == plain(" ".join(words))


def test_common_words_are_one_token_in_either_language(text_transformer):
    counts = (text_transformer.ids(["heart", "сердце", "red heart"]) != PAD).sum(1)
    assert counts.tolist() == [1, 1, 2]


def test_case_dots_composition_and_spaces_make_no_difference(text_transformer):
    def ids(prompt):
        return text_transformer.ids([prompt])[0].tolist()

    assert ids("RED Heart") == ids("red heart")
    assert ids("КРАСНОЕ Сердце") == ids("красное сердце")
    assert ids("Ёжик") == ids("ёжик") == ids("ежик") == ids("е\u0308жик")
    assert ids("  red\u00a0 heart\n") == ids("red\theart") == ids("red heart")
    assert ids("ｒｅｄ") == ids("red")
    assert ids("red heart") != ids("heart red") != ids("redheart")


def test_ids_are_padded_and_cut_to_the_length(text_transformer):
    long = "red heart " * 50
    ids = text_transformer.ids(["red heart", long])
    assert ids.shape == (2, 24) and ids.dtype == torch.int64
    red, heart = ids[0, :2].tolist()
    assert ids[0].tolist() == [red, heart] + [PAD] * 22
    assert ids[1].tolist() == [red, heart] * 12
    assert text_transformer.ids([]).shape == (0, 24)


def test_foreign_letters_are_unknown_and_not_fatal(text_transformer):
    ids = text_transformer.ids(["日本", "red 日本 heart", "\U0001f600", "\x00"])
    assert (ids == UNKNOWN).any(1).all()
    assert text_transformer(ids).vector.isfinite().all()


def test_the_names_of_special_tokens_are_ordinary_text(text_transformer):
    # a hole in the middle of a prompt would shift its mask
    for module in (text_transformer, copy.deepcopy(text_transformer)):
        ids = module.ids(["red <pad> heart"])[0]
        assert (ids != PAD).tolist() == sorted((ids != PAD).tolist(), reverse=True)
        assert ids[-1] == PAD and (ids != PAD).sum() > 2


def test_the_vocabulary_is_bounded_and_repeatable():
    one, other = learn_tokenizer(TEXTS, 60), learn_tokenizer(iter(TEXTS), 60)
    assert one.to_str() == other.to_str()
    assert one.get_vocab_size() <= 60
    assert one.token_to_id("<pad>") == PAD and one.token_to_id("<unk>") == UNKNOWN


def test_the_given_tokenizer_is_left_alone(tokenizer):
    before = tokenizer.to_str()
    TextTransformer(tokenizer, 8, heads=1, length=5)
    assert tokenizer.to_str() == before


# --- the encoder ---


def test_a_batch_is_its_prompts_one_by_one(text_transformer, words):
    prompts = ["red heart", "grinning face with big eyes", "ёжик", "", "日本"]
    together = words(text_transformer(text_transformer.ids(prompts)))
    for prompt, (vector, tokens) in zip(prompts, together, strict=True):
        alone = words(text_transformer(text_transformer.ids([prompt])))[0]
        torch.testing.assert_close(vector, alone[0], **CLOSE)
        torch.testing.assert_close(tokens, alone[1], **CLOSE)


def test_columns_that_are_padding_everywhere_are_left_out(text_transformer):
    condition = text_transformer(text_transformer.ids(["red heart", "heart"]))
    assert condition.tokens.shape == (2, 2, WIDTH)
    assert condition.mask.tolist() == [[True, True], [True, False]]
    assert condition.vector.shape == (2, WIDTH)


def test_the_empty_prompt_is_the_learned_null(text_transformer, words):
    condition = text_transformer(text_transformer.ids(["red heart", "", " \n"]))
    null = words(text_transformer.null(1))[0]
    for vector, tokens in words(condition)[1:]:
        assert torch.equal(vector, null[0]) and torch.equal(tokens, null[1])
    assert not torch.equal(words(condition)[0][0], null[0])


def test_an_empty_prompt_spoils_no_gradient(text_transformer):
    ids = text_transformer.ids(["red heart", ""])
    with_empty = text_transformer(ids)
    (with_empty.vector.square().sum() + with_empty.tokens.square().sum()).backward()
    gradients = {n: p.grad.clone() for n, p in text_transformer.named_parameters()}
    assert all(bool(g.isfinite().all()) for g in gradients.values())
    # beyond the null's own parameters, the empty prompt teaches nothing
    text_transformer.zero_grad()
    alone = text_transformer(ids[:1])
    (alone.vector.square().sum() + alone.tokens.square().sum()).backward()
    for name, parameter in text_transformer.named_parameters():
        if not name.startswith("null"):
            torch.testing.assert_close(gradients[name], parameter.grad, **CLOSE)


def test_words_and_their_order_matter(text_transformer):
    prompts = ["red heart", "heart red", "blue heart", "красное сердце", "heart"]
    vectors = text_transformer(text_transformer.ids(prompts)).vector
    distances = torch.cdist(vectors, vectors).fill_diagonal_(9)
    assert distances.min() > 1e-3


def test_every_parameter_learns(text_transformer):
    condition = text_transformer(text_transformer.ids(["red heart", "зелёное яблоко", ""]))
    (condition.vector.square().sum() + condition.tokens.square().sum()).backward()
    idle = [n for n, p in text_transformer.named_parameters() if p.grad is None or not p.grad.any()]
    assert idle == []


def test_bf16_is_close_to_fp32(text_transformer):
    ids = text_transformer.ids(["red heart", "grinning face with big eyes", ""])
    exact = text_transformer(ids)
    with torch.autocast("cpu", torch.bfloat16):
        rough = text_transformer(ids)
    for one, other in ((exact.vector, rough.vector), (exact.tokens, rough.tokens)):
        difference = (one - other.float()).norm() / one.norm()
        assert 1e-5 < difference < 0.02


def test_the_null_has_one_visible_token(text_transformer):
    null = text_transformer.null(3)
    assert null.vector.shape == (3, WIDTH) and null.tokens.shape == (3, 1, WIDTH)
    assert null.mask.tolist() == [[True]] * 3
