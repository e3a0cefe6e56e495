"""The walk as a row and as an animation."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageSequence

from sfumato.errors import SfumatoError
from sfumato.pictures.strip import animation, check_walk, evenly, save_walk, strip

SHADES = list(range(0, 250, 25))
WALK = [Image.new("RGBA", (8, 8), (shade, 0, 0, 255)) for shade in SHADES]
TIMES = [1 - i / 9 for i in range(10)]


@given(length=st.integers(1, 300), wanted=st.integers(2, 20))
def test_chosen_evenly(length, wanted):
    chosen = evenly(length, wanted)
    assert chosen[0] == 0 and chosen[-1] == length - 1
    assert len(chosen) == min(length, wanted) and chosen == sorted(set(chosen))
    gaps = np.diff(chosen)
    assert gaps.size == 0 or gaps.max() - gaps.min() <= 1


def test_one_alone_is_the_last():
    assert evenly(5, 1) == [4]


def test_a_strip_shows_first_and_last():
    row = strip(WALK, TIMES, shown=4, cell=64)
    reds = [row.getpixel((8 + 32 + i * 72, 8 + 32))[0] for i in range(4)]
    assert reds == [SHADES[i] for i in (0, 3, 6, 9)]
    assert row.size[0] == 4 * 72 + 8


def test_a_strip_shows_the_steps_nearest_to_given_times():
    row = strip(WALK, TIMES, at=(1, 0.5, 0.25, 0.001, 0), cell=64)
    assert row.size[0] == 5 * 72 + 8
    reds = [row.getpixel((8 + 32 + i * 72, 8 + 32))[0] for i in range(5)]
    # times fall by ninths: 5/9 and 4/9 are as near to 1/2, 2/9 is nearest to 1/4
    assert reds == [SHADES[i] for i in (0, 4, 7, 9, 9)]


def test_a_strip_shows_further_rows_below():
    green = [Image.new("RGBA", (4, 4), (0, shade, 0, 255)) for shade in SHADES]
    whole = strip(WALK, TIMES, shown=4, cell=64, below=[green])
    alone, other = strip(WALK, TIMES, shown=4, cell=64), strip(green, TIMES, shown=4, cell=64)
    first, second = np.vsplit(np.asarray(whole), [alone.height])
    assert np.array_equal(first, np.asarray(alone))
    assert np.array_equal(second, np.asarray(other)[8:])  # without the gap at the top
    with pytest.raises(ValueError, match="9 pictures but 10 times"):
        strip(WALK, TIMES, below=[green[1:]])


def test_a_strip_needs_a_time_a_picture():
    with pytest.raises(ValueError, match="10 pictures but 9 times"):
        strip(WALK, TIMES[1:])


@pytest.mark.parametrize("kind", ["gif", "webp"])
def test_an_animation_holds_every_frame_and_rests_on_the_last(kind):
    content = animation(WALK, kind, side=32, milliseconds=50, rest=900)
    with Image.open(io.BytesIO(content)) as film:
        assert film.format == kind.upper() and film.info["loop"] == 0
        frames, durations = [], []
        for frame in ImageSequence.Iterator(film):
            frame.load()
            frames.append(np.asarray(frame.convert("RGB"))[16, 16])
            durations.append(frame.info["duration"])
    assert len(frames) == 10
    assert np.abs(np.stack(frames)[:, 0].astype(int) - SHADES).max() <= 2
    assert durations[-1] == 900 and sum(durations[:-1]) == 9 * 50


def test_transparency_is_kept_in_webp_and_white_in_gif():
    clear = [Image.new("RGBA", (8, 8), (200, 0, 0, 0)), WALK[0]]
    with Image.open(io.BytesIO(animation(clear, "webp", side=8))) as film:
        assert film.convert("RGBA").getpixel((4, 4))[3] == 0
    with Image.open(io.BytesIO(animation(clear, "gif", side=8))) as film:
        assert film.convert("RGB").getpixel((4, 4)) == (255, 255, 255)


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="'gif' or 'webp'"):
        animation(WALK, "mp4")
    with pytest.raises(ValueError, match="needs pictures"):
        animation([], "gif")


@pytest.mark.parametrize("ending", [".gif", ".WEBP", ".png"])
def test_saved_in_the_form_of_the_ending(tmp_path, ending):
    path = tmp_path / f"walk{ending}"
    save_walk(path, WALK, TIMES)
    with Image.open(path) as picture:
        assert picture.format == ending[1:].upper()
        assert getattr(picture, "n_frames", 1) == (1 if ending == ".png" else 10)


def test_other_endings_are_refused_in_words(tmp_path):
    with pytest.raises(SfumatoError, match=r"\.gif, \.webp or \.png"):
        check_walk(tmp_path / "walk.mp4")
    with pytest.raises(SfumatoError, match=r"\.gif, \.webp or \.png"):
        save_walk(tmp_path / "walk", WALK, TIMES)
    assert list(tmp_path.iterdir()) == []
