from __future__ import annotations

import pytest
import torch

from sfumato.conditioning.labels import Labels
from sfumato.errors import SfumatoError

CLASSES = ["T-shirt/top", "Trouser", "Ankle boot", "Ёлка"]


def test_names_in_any_case_and_numbers():
    labels = Labels(CLASSES, 8)
    prompts = ["Trouser", "TROUSER", " ankle boot ", "ёлка", "t-shirt/top", "0", "3", "", "  "]
    assert labels.ids(prompts).tolist() == [[1], [1], [2], [3], [0], [0], [3], [4], [4]]
    assert labels.ids([]).shape == (0, 1)


def test_a_class_called_by_a_digit_is_that_class():
    assert Labels(["9", "8", "7"], 8).ids(["8", "7", "0"]).tolist() == [[1], [2], [0]]


def test_classes_that_differ_in_case_only():
    labels = Labels(["A", "b", "a", "B"], 8)
    assert labels.ids(["A", "a", "B", "b"]).tolist() == [[0], [2], [3], [1]]


@pytest.mark.parametrize("classes", [["cat", "dog", "cat "], ["cat", "cat"], [" a", "a"]])
def test_classes_that_no_prompt_can_tell_apart_are_refused(classes):
    with pytest.raises(SfumatoError, match="are the same to a prompt. Rename"):
        Labels(classes, 8)


@pytest.mark.parametrize("prompt", ["trousers of silk", "4", "-1", "1.0", "²", "pullover"])
def test_what_is_no_class_raises_with_a_cure(prompt):
    with pytest.raises(SfumatoError, match=r"4 classes.*Try: "):
        Labels(CLASSES, 8).ids(["Trouser", prompt])


def test_the_nearest_names_are_offered_as_they_are_written():
    with pytest.raises(SfumatoError, match=r"Try: Ankle boot\."):
        Labels(CLASSES, 8).ids(["ankel boots"])


def test_many_classes_are_not_all_listed():
    with pytest.raises(SfumatoError) as caught:
        Labels([f"kind {i}" for i in range(1000)], 8).ids(["@"])
    assert len(str(caught.value)) < 300


def test_a_model_without_labels_says_so():
    labels = Labels([""], 8)
    assert labels.ids([""]).tolist() == [[1]]
    with pytest.raises(SfumatoError, match=r"without labels.*'red'.*empty"):
        labels.ids(["red"])


def test_a_condition_is_the_class_s_own_vector():
    labels = Labels(CLASSES, 8)
    assert labels.embedding.weight.shape == (5, 8)  # one for each, and the null
    condition = labels(torch.tensor([[2], [0], [4]]))
    assert condition.vector.shape == (3, 8)
    assert condition.tokens.shape == (3, 1, 8)
    assert condition.mask.all() and condition.mask.shape == (3, 1)
    assert torch.equal(condition.vector, labels.embedding.weight[[2, 0, 4]])
    assert torch.equal(condition.tokens[:, 0], condition.vector)
    assert torch.cdist(labels.embedding.weight, labels.embedding.weight).fill_diagonal_(9).min() > 0
