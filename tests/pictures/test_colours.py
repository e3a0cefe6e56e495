"""The colour rule: real coloured things get their colour, and no other far from it."""

import colorsys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfumato.data.sources.emoji import EmojiSource
from sfumato.pictures.colours import GREYS, NAMES, hue, share, shows

THINGS = {"heart", "circle", "square", "book", "apple"}
#: Colours that designers do not keep apart.
NEAR = {
    "red": {"pink", "orange", "brown"},
    "orange": {"red", "yellow", "brown"},
    "yellow": {"orange", "green"},
    "green": {"yellow", "blue"},
    "blue": {"green", "purple"},
    "purple": {"blue", "pink"},
    "pink": {"red", "purple"},
    "brown": {"red", "orange"},
    "black": {"grey"},
    "grey": {"black", "white"},
    "white": {"grey"},
}


@pytest.fixture(scope="module")
def real():
    """(colour, picture) of real emoji whose name is a colour and a plain thing."""
    source = EmojiSource(split="all")
    found = []
    for i in range(len(source)):
        words = source.metadata(i)["name_en"].lower().split()
        if len(words) == 2 and words[0] in NAMES and words[1] in THINGS:
            found.append((words[0], source[i].image))
    return found


def test_real_coloured_things_have_their_colour(real):
    assert len(real) > 120
    right = [shows(image, colour) for colour, image in real]
    assert np.mean(right) >= 0.95
    for name in NAMES:
        own = [hit for hit, (colour, _) in zip(right, real, strict=True) if colour == name]
        assert np.mean(own) >= 0.8, name


def test_no_real_thing_has_a_colour_far_from_its_own(real):
    wrong = [
        (colour, other)
        for colour, image in real
        for other in NAMES
        if other != colour and other not in NEAR[colour] and shows(image, other)
    ]
    assert len(wrong) <= 0.05 * len(real), wrong


@given(rgb=st.tuples(*[st.integers(0, 255)] * 3))
def test_hue_is_that_of_the_standard_library(rgb):
    colour = np.array([rgb]) / 255
    truth = 360 * colorsys.rgb_to_hsv(*colour[0])[0]
    apart = abs(float(hue(colour)[0]) - truth) % 360
    assert min(apart, 360 - apart) < 1e-6


def flat(rgb, alpha=255):
    straight = np.array([*rgb, 255]) * alpha // 255
    return np.tile(straight.astype(np.uint8)[:, None, None], (1, 16, 16))


@pytest.mark.parametrize(
    ("rgb", "name"),
    [((220, 30, 30), "red"), ((30, 60, 220), "blue"), ((40, 180, 60), "green"),
     ((250, 220, 50), "yellow"), ((20, 20, 20), "black"), ((250, 250, 250), "white"),
     ((128, 128, 128), "grey"), ((110, 70, 40), "brown"), ((150, 60, 190), "purple")],
)  # fmt: skip
def test_plain_colours(rgb, name):
    assert shows(flat(rgb), name)
    for other in NAMES:
        if other != name and other not in NEAR[name]:
            assert not shows(flat(rgb), other), other


def test_the_alpha_is_undone_and_what_is_clear_has_no_vote():
    # premultiplied by a half, a pure red is (128, 0, 0, 128): still red, not brown or black
    half = flat((255, 0, 0), alpha=160)
    assert share(half, "red") == 1
    # a half-clear white is white; its premultiplied numbers are those of grey
    assert share(flat((255, 255, 255), alpha=140), "white") == 1
    picture = np.zeros((4, 16, 16), dtype=np.uint8)
    assert all(share(picture, name) == 0 for name in NAMES)
    picture[:, 4:8, 4:8] = flat((30, 60, 220))[:, :4, :4]
    assert share(picture, "blue") == 1


def test_outlines_and_shine_do_not_outvote_the_body():
    picture = flat((30, 60, 220))
    picture[:3, :4, :4] = 0
    picture[:3, -4:, -4:] = 255
    assert shows(picture, "blue")
    assert not any(shows(picture, name) for name in GREYS)


def test_half_and_half_is_decided_by_chroma():
    picture = flat((230, 20, 20))
    picture[:, :8] = flat((150, 165, 190))[:, :8]  # a pale blue half
    assert shows(picture, "red")
    assert not shows(picture, "blue")
