"""Contact sheets: every picture in its place, labels where they belong."""

import io

import numpy as np
import pytest
from PIL import Image

from sfumato.pictures import font
from sfumato.pictures.font import label_font
from sfumato.pictures.sheet import _wrap, as_png, checkerboard, fit, on_background, sheet

COLOURS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (0, 255, 255)]
GAP = 8


def plain(colour, side=16):
    return Image.new("RGB", (side, side), colour)


def ink(picture):
    """Pixels that are neither white nor one of the pictures' pure colours."""
    levels = np.asarray(picture.convert("RGB")).astype(int)
    return (levels.max(-1) - levels.min(-1) < 12) & (levels.max(-1) < 200)


def test_pictures_stand_row_by_row():
    whole = sheet([plain(c) for c in COLOURS], columns=3, cell=32)
    assert whole.mode == "RGB"
    assert whole.size == (3 * 32 + 4 * GAP, 2 * 32 + 3 * GAP)
    for number, colour in enumerate(COLOURS):
        row, column = divmod(number, 3)
        x, y = GAP + column * (32 + GAP), GAP + row * (32 + GAP)
        block = np.asarray(whole.crop((x, y, x + 32, y + 32)))
        assert (block == colour).all(), number


def test_without_columns_it_is_about_square():
    assert sheet([plain("red")] * 9, cell=16).size == (3 * 16 + 4 * GAP,) * 2
    assert sheet([plain("red")], columns=5, cell=16).size == (16 + 2 * GAP,) * 2


def test_labels_stand_below_their_picture():
    whole = sheet([plain("red"), plain("red")], ["left", ""], columns=2, cell=96)
    marks = ink(whole)
    below = marks[GAP + 96 :]
    assert below[:, : GAP + 96].any()
    assert not below[:, GAP + 96 :].any()
    assert not marks[: GAP + 96].any()


def test_long_labels_take_two_lines_and_never_leave_their_cell():
    words = "a rather long label that no cell of this width could ever hold in two lines"
    whole = sheet([plain("red")], [words], cell=96)
    one = sheet([plain("red")], ["short"], cell=96)
    assert whole.height > one.height
    assert not ink(whole)[:, : GAP - 1].any() and not ink(whole)[:, GAP + 97 :].any()
    two = sheet([plain("red")], ["secondly thirdly"], cell=64)
    assert sheet([plain("red")], [words], cell=64).height == two.height
    unbroken = sheet([plain("red")], ["x" * 80], cell=96)
    assert not ink(unbroken)[:, GAP + 97 :].any()


@pytest.mark.parametrize("unit", ["a red circle and ", "x", "сердце\n"])
def test_a_label_without_end_is_not_measured_to_its_end(unit, monkeypatch):
    """A caption of a whole file once kept a training busy for hours."""

    class Font:
        asked = 0

        def getlength(self, text):
            Font.asked += len(text)
            return 2 * len(text)

    monkeypatch.setattr("sfumato.pictures.sheet.label_font", lambda _: Font())
    lines = _wrap(unit * 100_000, 128, 14)
    assert [2 * len(line) <= 128 for line in lines] == [True] * len(lines)
    assert lines[-1].endswith("…") and Font.asked < 100_000


def test_a_title_stands_above():
    whole = sheet([plain("red")], cell=96, title="Title")
    assert whole.height > 96 + 2 * GAP
    assert ink(whole)[: whole.height - 96 - GAP].any()


def test_the_font_writes_russian():
    # a font without Cyrillic draws the same box for every letter
    font = label_font(20)
    drawn = {bytes(font.getmask(letter)) for letter in "жщюы"}
    assert len(drawn) == 4


def test_without_matplotlib_there_is_still_a_font(monkeypatch):
    monkeypatch.setattr(font.importlib.util, "find_spec", lambda name: None)
    label_font.cache_clear()
    try:
        assert label_font(20).getlength("red heart") > 20
    finally:
        label_font.cache_clear()


def test_transparency_shows_the_background():
    clear = Image.new("RGBA", (16, 16), (255, 0, 0, 0))
    middle = (GAP + 1, GAP + 1, GAP + 31, GAP + 31)
    white = np.asarray(sheet([clear], cell=32, background="white").crop(middle))
    assert (white == 255).all()
    black = np.asarray(sheet([clear], cell=32, background="black").crop(middle))
    assert (black == 0).all()
    checker = np.asarray(sheet([clear], cell=32).crop(middle))
    assert len(np.unique(checker.reshape(-1, 3), axis=0)) == 2
    none = sheet([clear], cell=32, background="none")
    assert none.mode == "RGBA" and none.getextrema()[3] == (0, 0)


def test_half_transparency_is_mixed():
    half = Image.new("RGBA", (1, 1), (255, 0, 0, 51))
    assert on_background(half, "white").getpixel((0, 0)) == (255, 204, 204)
    assert on_background(half, "black").getpixel((0, 0)) == (51, 0, 0)
    assert on_background(plain("red"), "checker").mode == "RGB"


def test_the_checkerboard_alternates():
    board = np.asarray(checkerboard((32, 24), square=8).convert("L")).astype(int)
    corners = board[::8, ::8]
    assert (corners[:, 1:] != corners[:, :-1]).all() and (corners[1:] != corners[:-1]).all()
    assert all((board[y : y + 8, x : x + 8] == board[y, x]).all() for y in (0, 8) for x in (0, 8))


def test_fitting_keeps_the_aspect_and_centres():
    wide = fit(Image.new("RGB", (40, 20), "red"), 20)
    assert wide.mode == "RGBA" and wide.size == (20, 20)
    assert wide.getchannel("A").getbbox() == (0, 5, 20, 15)


def test_what_fits_is_left_alone():
    picture = Image.new("RGBA", (16, 16))
    assert fit(picture, 16) is picture


def test_scaling_leaves_no_dark_halo():
    # a white disc on transparent black: filtering straight colour would darken its edge
    levels = np.zeros((64, 64, 4), np.uint8)
    y, x = np.mgrid[:64, :64]
    levels[(x - 32) ** 2 + (y - 32) ** 2 < 400] = 255
    small = np.asarray(fit(Image.fromarray(levels), 40))
    assert small.shape == (40, 40, 4)
    assert small[small[..., 3] > 30][:, :3].min() >= 250


@pytest.mark.parametrize("mode", ["1", "P", "CMYK", "LA", "I;16"])
def test_other_modes_are_shown(mode):
    assert sheet([Image.new(mode, (8, 8))], cell=16).size == (32, 32)


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="at least one"):
        sheet([])
    with pytest.raises(ValueError, match="2 pictures but 1 labels"):
        sheet([plain("red")] * 2, ["a"])


def test_as_png_is_lossless():
    picture = sheet([plain("red")], ["ж"], cell=64)
    with Image.open(io.BytesIO(as_png(picture))) as again:
        assert again.format == "PNG"
        assert np.array_equal(np.asarray(again), np.asarray(picture))
