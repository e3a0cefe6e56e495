"""Clean transparency: real stickers are clean, blurred ones are not."""

import numpy as np
import pytest
from PIL import Image, ImageFilter

from sfumato.data.sources.emoji import EmojiSource
from sfumato.evaluation.alpha import EDGE, clean_share, edges


def disc(radius=20.0, softness=0.5, side=64):
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    alpha = np.clip((radius - np.hypot(x, y)) / (2 * softness) + 0.5, 0, 1)
    return np.repeat(np.rint(alpha * 255).astype(np.uint8)[None, None], 4, axis=1)


def test_real_stickers_are_clean():
    source = EmojiSource(split="all")
    images = np.stack([source[i].image for i in range(0, len(source), 40)])
    found = clean_share(images)
    assert np.nanmean(found) > 0.97
    assert np.nanmedian(found) > 0.99


def test_a_blurred_sticker_is_not():
    sharp = disc()
    assert clean_share(sharp)[0] == 1
    alpha = Image.fromarray(sharp[0, 3]).filter(ImageFilter.GaussianBlur(5))
    blurred = np.repeat(np.asarray(alpha)[None, None], 4, axis=1)
    assert clean_share(blurred)[0] < 0.85
    haze = np.maximum(sharp, 20)  # 8% opaque where nothing should be
    assert clean_share(haze)[0] < 0.6


def test_the_edge_itself_does_not_count():
    # soft over two pixels on either side of the contour: all of that is edge
    assert clean_share(disc(softness=1.5))[0] == 1
    assert clean_share(disc(softness=6.0))[0] < 0.95


def test_edges_are_what_brute_force_finds():
    inside = np.random.default_rng(0).random((2, 13, 11)) < 0.1
    found = edges(inside)
    for n in range(2):
        for y in range(13):
            for x in range(11):
                around = inside[n, max(0, y - EDGE) : y + EDGE + 1, max(0, x - EDGE) : x + EDGE + 1]
                assert found[n, y, x] == (around.any() and not around.all())


def test_a_picture_that_is_all_edge_has_no_share():
    board = np.zeros((1, 4, 8, 8), dtype=np.uint8)
    board[..., ::2, :] = 255
    assert np.isnan(clean_share(board)[0])


@pytest.mark.parametrize("images", [np.zeros((1, 3, 8, 8), np.uint8), np.zeros((1, 4, 8, 8))])
def test_other_pictures_are_refused(images):
    with pytest.raises(ValueError, match="uint8"):
        clean_share(images)
