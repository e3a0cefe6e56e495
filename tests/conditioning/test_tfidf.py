"""TF-IDF: scikit-learn's numbers without scikit-learn, and what a network is told by them."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch
from bilingual import TEXTS
from hypothesis import given, settings
from hypothesis import strategies as st

from sfumato.conditioning.tfidf import GRAMMAR, WORD, Terms, TfIdf, learn_terms, plain
from sfumato.errors import SfumatoError

text_of_sklearn = pytest.importorskip("sklearn.feature_extraction.text")
CORPUS = [*TEXTS, "red heart", "Красное СЕРДЦЕ", "a blue heart with a red heart", "ёж и ежик 5"]
CLOSE = {"atol": 1e-6, "rtol": 1e-5}


@pytest.fixture(scope="module")
def terms() -> Terms:
    return learn_terms(CORPUS, 128)


@pytest.fixture
def tfidf(terms: Terms) -> TfIdf:
    torch.manual_seed(0)
    return TfIdf(terms, 16, length=400)


prompts = st.one_of(
    st.text(max_size=60),
    st.text(alphabet="аеёжЁЕredхeart 5.,-\n", max_size=60),
    st.lists(st.sampled_from(" ".join(CORPUS).split()), max_size=30).map(" ".join),
)


@settings(max_examples=80, deadline=None)
@given(st.lists(prompts, min_size=1, max_size=4))
def test_the_weights_are_those_of_scikit_learn(texts):
    vectorizer = text_of_sklearn.TfidfVectorizer(
        token_pattern=WORD, stop_words=sorted(GRAMMAR), preprocessor=plain
    ).fit(CORPUS)
    theirs = torch.tensor(vectorizer.transform(texts).toarray(), dtype=torch.float32)
    known = learn_terms(CORPUS, 10_000)
    assert known.terms == tuple(vectorizer.get_feature_names_out())
    mine = TfIdf(known, 8, length=400)
    torch.testing.assert_close(mine.weights(mine.ids(texts)), theirs, **CLOSE)


def test_case_dots_and_composition_make_no_difference(tfidf):
    for one, other in [("ЁЖ", "еж"), ("RED, heart!", "heart red"), ("е\u0308ж", "еж"), ("５", "5")]:
        assert torch.equal(tfidf.weights(tfidf.ids([one])), tfidf.weights(tfidf.ids([other])))


# ---- which terms


def test_few_terms_are_those_that_tell_most_apart():
    # 16 captions: "icon" in all, "red" in half, "cat" in a quarter, the rest once each
    texts = [f"the icon of a {'red ' * (i % 2)}{'cat ' * (i % 4 == 0)}rare{i}" for i in range(16)]
    assert learn_terms(texts, 2).terms == ("cat", "red")
    assert learn_terms(texts, 3).terms == ("cat", "rare0", "red")
    assert "icon" in learn_terms(texts, 128).terms and len(learn_terms(texts, 128).terms) == 19
    assert not GRAMMAR & set(learn_terms(texts, 128).terms)


def test_a_word_repeated_in_one_caption_is_one_caption():
    texts = ["cat cat cat cat", "red dog", "red sun", "sun", "x"]
    assert learn_terms(texts, 2).terms == ("red", "sun")


def test_digits_are_words():
    assert learn_terms([str(i) for i in range(10)]).terms == tuple("0123456789")


def test_no_words_at_all_are_refused():
    for texts in ([], ["", " "], ["the of", "и в"]):
        with pytest.raises(SfumatoError, match="No caption holds a word"):
            learn_terms(texts)


# ---- kept as JSON


def test_json_brings_the_very_numbers_back(terms):
    text = terms.to_json()
    assert Terms.from_json(text) == terms
    assert "сердце" in text


@pytest.mark.parametrize(
    "said",
    [
        [], None, {}, {"terms": ["a"]}, {"terms": "ab", "idf": [1, 1]}, {"terms": [], "idf": []},
        {"terms": ["a"], "idf": [0.0]}, {"terms": ["a"], "idf": [float("nan")]},
        {"terms": ["a"], "idf": [float("inf")]}, {"terms": ["a"], "idf": [True]},
        {"terms": ["a", "a"], "idf": [1.0, 1.0]}, {"terms": [1], "idf": [1.0]},
        {"terms": ["a"], "idf": [1.0, 2.0]}, {"terms": ["a"], "idf": None},
    ],
)  # fmt: skip
def test_forged_terms_are_refused(said):
    with pytest.raises(ValueError):
        Terms.from_json(json.dumps(said))


def test_prompts_are_read_without_scikit_learn(terms, tmp_path):
    path = tmp_path / "tfidf.json"
    path.write_text(terms.to_json(), "utf-8")
    code = (
        "import sys; sys.modules['sklearn'] = None\n"
        "from pathlib import Path\n"
        "from sfumato.conditioning.tfidf import Terms, TfIdf, learn_terms\n"
        "from sfumato.errors import SfumatoError\n"
        "model = TfIdf(Terms.from_json(Path(sys.argv[1]).read_text('utf-8')), 8)\n"
        "assert model(model.ids(['red heart', ''])).mask.sum() == 3\n"
        "try:\n    learn_terms(['a b'])\n"
        "except SfumatoError as error:\n    assert 'sfumato[tfidf]' in str(error)\n"
        "else:\n    raise SystemExit('learned without')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, path], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


# ---- what a network is told


def test_vector_and_tokens_are_embeddings_times_weights(tfidf):
    told = tfidf(tfidf.ids(["heart red heart"]))
    numbers = {term: i for i, term in enumerate(tfidf.terms.terms)}
    heart, red = numbers["heart"], numbers["red"]
    idf = tfidf.terms.idf
    length = ((2 * idf[heart]) ** 2 + idf[red] ** 2) ** 0.5
    weights = {heart: 2 * idf[heart] / length, red: idf[red] / length}
    vector = sum(weight * tfidf.vectors.weight[term] for term, weight in weights.items())
    torch.testing.assert_close(told.vector[0], vector, **CLOSE)
    seen = told.tokens[0][told.mask[0]]
    assert len(seen) == 2, "one token a term, however often it is said"
    torch.testing.assert_close(seen[0], weights[heart] * tfidf.tokens.weight[heart], **CLOSE)
    torch.testing.assert_close(seen[1], weights[red] * tfidf.tokens.weight[red], **CLOSE)


def test_unknown_words_are_zeros_and_nothing_is_the_null(tfidf):
    told = tfidf(tfidf.ids(["zzz qqq", "", "  \n", "..."]))
    null = tfidf.null(1)
    for row in (0, 3):
        assert not told.vector[row].any() and not told.tokens[row][told.mask[row]].any()
        assert told.mask[row].sum() == 1
    for row in (1, 2):
        assert torch.equal(told.vector[row], null.vector[0])
        assert torch.equal(told.tokens[row][told.mask[row]], null.tokens[0])
    assert null.vector.any()


def test_words_that_are_no_terms_are_named_but_for_grammar(terms, tfidf):
    known = terms.terms[0]
    assert tfidf.strange(f"{known.upper()} of the Zebra, the ёжik") == ["zebra", "ежik"]
    assert tfidf.strange(known) == tfidf.strange("") == []


def test_a_batch_is_one_by_one(tfidf):
    texts = ["red heart", "", "zzz", "синее сердце с красное сердце", "heart"]
    told = tfidf(tfidf.ids(texts))
    for row, text in enumerate(texts):
        alone = tfidf(tfidf.ids([text]))
        torch.testing.assert_close(alone.vector[0], told.vector[row], **CLOSE)
        torch.testing.assert_close(
            alone.tokens[0][alone.mask[0]], told.tokens[row][told.mask[row]], **CLOSE
        )


def test_too_many_words_are_cut(terms):
    short = TfIdf(terms, 8, length=2)
    assert torch.equal(short.ids(["red heart blue"]), short.ids(["red heart"]))
    assert short.ids(["zzz red zzz heart blue"]).shape == (1, 2)


def test_only_embeddings_and_the_null_are_learned_and_kept(tfidf):
    names = {"vectors.weight", "tokens.weight", "null_vector", "null_token"}
    assert {name for name, _ in tfidf.named_parameters()} == names == set(tfidf.state_dict())
