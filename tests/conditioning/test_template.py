"""The sentence around the names of classes."""

from __future__ import annotations

import pytest
import tiny
import torch

from sfumato.conditioning.template import filled, wrapped
from sfumato.data.example import Example
from sfumato.training.prepare import texts_of


@pytest.mark.parametrize(
    ("template", "prompt", "heard"),
    [
        ("a photo of a {}", "cat", "a photo of a cat"),
        ("a photo of a {}", " cat ", "a photo of a cat"),
        ("a photo of a {}", "A photo of a cat", "A photo of a cat"),
        ("a photo of a {}", "a photo of animals", "a photo of a a photo of animals"),
        ("a {} on white", "cat", "a cat on white"),
        ("a {} on white", "a red cat on white", "a red cat on white"),
        ("a {} is a {}", "cat", "a cat is a cat"),
        ("{}", "cat", "cat"),
        ("a photo of a {}", "", ""),
        ("a photo of a {}", "  ", "  "),
        (None, "cat", "cat"),
    ],
)
def test_a_prompt_is_heard_as_in_training(template: str | None, prompt: str, heard: str) -> None:
    assert wrapped(template, prompt) == heard
    assert wrapped(template, heard) == heard, "never twice"


def test_a_model_is_told_what_it_was_trained_on() -> None:
    plain = tiny.model()
    framed = tiny.model(conditioning={"template": "blue {} joy"})
    framed.prompted.load_state_dict(plain.prompted.state_dict())
    image = torch.zeros(1, 1, 1, dtype=torch.uint8).numpy()
    (learned,) = texts_of(Example(image, (), "heart", ""), "blue {} joy")
    assert learned == filled("blue {} joy", "heart") == "blue heart joy"
    told = framed.condition(["heart", learned, ""])
    truth = plain.condition([learned, learned, ""])
    assert torch.equal(told.tokens, truth.tokens) and torch.equal(told.vector, truth.vector)
    assert not torch.equal(told.vector[0], plain.condition(["heart"]).vector[0])
