"""Recolouring: the asked colour by the colour rule, the same drawing, black and white as before."""

import colorsys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfumato.data.sources.emoji import EmojiSource
from sfumato.pictures.colours import GREYS, NAMES, main_colour
from sfumato.pictures.recolour import TYPICAL, _rgb, recoloured


def plain(*rgb):
    """A square of one colour with a black outline, a white shine and an empty border."""
    image = np.zeros((4, 32, 32), np.uint8)
    image[3, 4:28, 4:28] = 255
    image[:3, 5:27, 5:27] = np.array(rgb, np.uint8)[:, None, None]
    image[:3, 8:10, 8:12] = 255
    return image


@pytest.mark.parametrize("colour", NAMES)
def test_a_plain_blue_square_takes_every_colour(colour):
    blue = plain(40, 110, 230)
    made = recoloured(blue, colour)
    assert main_colour(made) == colour
    assert np.array_equal(made[3], blue[3])
    assert not made[:3, 4, 4:28].any(), "the outline stays black"
    assert (made[:3, 8:10, 8:12] == 255).all(), "the shine stays white"
    assert not made[:, :4].any(), "nothing appears where nothing was"


def test_other_hues_stay():
    face = plain(250, 200, 40)
    face[:3, 18:22, 18:20] = np.array([40, 120, 250])[:, None, None]  # a tear
    made = recoloured(face, "green")
    assert main_colour(made) == "green"
    assert np.array_equal(made[:, 18:22, 18:20], face[:, 18:22, 18:20])


def test_what_is_nearly_white_or_grey_stays_nearly_so():
    image = plain(150, 190, 200)
    image[:3, 8:10, 8:12] = np.array([250, 253, 255])[:, None, None]
    red = recoloured(image, "red")
    assert np.abs(red[:3, 8:10, 8:12].astype(int) - 253).max() <= 25
    moved = []
    for body in ((110, 20, 20), (20, 20, 110)):  # the same for every hue of the body
        dark = plain(*body)
        dark[:3, 18:20, 18:20] = 120
        moved.append(recoloured(dark, "pink")[:3, 18:20, 18:20])
    assert (moved[0] == 120).all() and (moved[1] == 120).all()


def test_half_transparent_pixels_stay_premultiplied():
    image = plain(40, 110, 230)
    faded = (image * 0.5).astype(np.uint8)
    image[:, :, 20:] = faded[:, :, 20:]
    made = recoloured(image, "red")
    assert (made[:3] <= made[3]).all()
    assert np.array_equal(made[3], image[3])


def test_what_has_no_hue_cannot_be_turned():
    assert recoloured(plain(120, 120, 120), "red") is None
    assert recoloured(np.zeros((4, 8, 8), np.uint8), "red") is None


def test_opaque_pictures_work_too():
    image = np.full((3, 16, 16), 250, np.uint8)
    image[:, 4:12, 4:12] = np.array([220, 40, 40])[:, None, None]
    made = recoloured(image, "blue")
    assert main_colour(made) == "blue"
    assert np.abs(made[:, 0, 0].astype(int) - 250).max() <= 1, "the paper stays white"


@given(st.floats(0, 359.9), st.floats(0, 1), st.floats(0, 1))
def test_hsv_becomes_what_the_standard_library_says(angle, saturation, brightness):
    made = _rgb(np.array([angle]), np.array([saturation]), np.array([brightness]))[0]
    assert made == pytest.approx(colorsys.hsv_to_rgb(angle / 360, saturation, brightness))


def test_typical_colours_are_those_of_the_embedded_emoji():
    source = EmojiSource()
    rows = [i for i in range(len(source)) if source.metadata(i)["colour"] not in (None, *GREYS)]
    for name in set(TYPICAL) - set(GREYS):
        own = [source[i].image for i in rows if source.metadata(i)["colour"] == name][:40]
        bright = []
        for image in own:
            seen = image[:3, image[3] == 255].astype(float)
            coloured = seen.max(0) - seen.min(0) >= 40
            bright.append(np.median(seen.max(0)[coloured]) / 255)
        assert np.median(bright) == pytest.approx(TYPICAL[name][2], abs=0.12), name


def test_most_real_emoji_take_most_colours():
    source = EmojiSource()
    plain_ones = [i for i in range(0, len(source), 37) if source.recolours(i)]
    plain_ones = [i for i in plain_ones if source.metadata(i)["colour"] not in GREYS]
    assert len(plain_ones) > 50
    done = [recoloured(source[i].image, c) is not None for i in plain_ones for c in NAMES]
    assert np.mean(done) > 0.75
