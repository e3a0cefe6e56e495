"""The preview in the terminal, read back by a small terminal of our own."""

import io
import re
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sfumato.pictures import terminal
from sfumato.pictures.terminal import Colours, Live, colours, dark, preview, room

BACK = (24, 24, 28)


class Screen(io.StringIO):
    """A stream that says it is a terminal."""

    def __init__(self, encoding="utf-8", tty=True):
        super().__init__()
        self._encoding, self._tty = encoding, tty

    encoding = property(lambda self: self._encoding)

    def isatty(self):
        return self._tty


def palette(number):
    """xterm's 256 colours, from its definition."""
    if number >= 232:
        return (8 + 10 * (number - 232),) * 3
    number -= 16
    levels = (0, 95, 135, 175, 215, 255)
    return levels[number // 36], levels[number // 6 % 6], levels[number % 6]


def pixels(lines):
    """What a terminal shows: (2 * lines, columns) of colours, None for its own background."""
    rows = []
    for line in lines:
        upper, lower = [], []
        front = back = None
        for code, sign in re.findall(r"\x1b\[([\d;]*)m|(.)", line):
            if sign:
                upper.append({"▀": front, "▄": back, " ": back}[sign])
                lower.append({"▀": back, "▄": front, " ": back}[sign])
                continue
            numbers = [int(n) for n in code.split(";")]
            if numbers == [0]:
                front = back = None
            while len(numbers) > 1:
                layer, depth = numbers[:2]
                size = 5 if depth == 2 else 3
                colour = tuple(numbers[2:5]) if depth == 2 else palette(numbers[2])
                front, back = (colour, back) if layer == 38 else (front, colour)
                numbers = numbers[size:]
        rows += [upper, lower]
    return rows


def noise(side=8, alpha=255):
    rng = np.random.default_rng(0)
    levels = rng.integers(0, 256, (side, side, 4), dtype=np.uint8)
    levels[..., 3] = alpha
    return Image.fromarray(levels)


def test_true_colours_are_the_pixels():
    picture = noise()
    shown = np.array(pixels(preview([picture], Colours.TRUE)))
    assert np.array_equal(shown, np.asarray(picture)[..., :3])


def test_256_colours_are_the_nearest_of_the_palette():
    picture = noise(16)
    shown = np.array(pixels(preview([picture], Colours.INDEXED))).astype(int)
    wanted = np.asarray(picture)[..., :3].astype(int)
    everything = np.array([palette(i) for i in range(16, 256)])
    best = ((wanted[:, :, None] - everything) ** 2).sum(-1).min(-1)
    assert (((shown - wanted) ** 2).sum(-1) == best).mean() > 0.97


def test_transparent_pixels_leave_the_background():
    levels = np.zeros((4, 2, 4), np.uint8)
    levels[1, 0] = levels[2, 1] = (255, 0, 0, 255)
    shown = pixels(preview([Image.fromarray(levels)], Colours.TRUE))
    assert shown == [[None, None], [(255, 0, 0), None], [None, (255, 0, 0)], [None, None]]


def test_half_transparency_is_mixed_with_the_background():
    half = Image.new("RGBA", (2, 2), (255, 255, 255, 128))
    assert pixels(preview([half], Colours.TRUE))[0][0] == tuple((255 + c) // 2 + 1 for c in BACK)
    light = pixels(preview([half], Colours.TRUE, on_dark=False))[0][0]
    assert min(light) >= 250


def test_shades_use_no_colour():
    lines = preview([Image.new("L", (4, 4), 255), Image.new("L", (4, 4), 0)], Colours.SHADES)
    assert lines == ["████     "] * 2


def test_shades_grow_with_brightness():
    ramp = Image.fromarray(np.tile(np.arange(0, 256, 16, dtype=np.uint8), (2, 1)))
    line = preview([ramp], Colours.SHADES)[0]
    assert [" ░▒▓█".index(sign) for sign in line] == sorted(" ░▒▓█".index(sign) for sign in line)
    assert set(line) == set(" ░▒▓█")


@given(
    count=st.integers(1, 12),
    columns=st.integers(8, 200),
    rows=st.integers(2, 60),
    side=st.sampled_from([8, 28, 64, 128]),
)
def test_never_larger_than_the_room(count, columns, rows, side):
    pictures = [Image.new("L", (side, side))] * count
    lines = preview(pictures, Colours.SHADES, columns, rows)
    assert 1 <= len(lines) <= rows
    assert all(len(line) <= columns for line in lines)
    assert all(len(line) <= count * (side + 1) for line in lines)


def test_pictures_are_as_large_as_the_room_allows():
    four = [Image.new("L", (64, 64))] * 4
    wide = preview(four, Colours.SHADES, 160, 20)
    assert (len(wide[0]), len(wide)) == (4 * 39 + 3, 19)
    square = preview(four, Colours.SHADES, 90, 44)  # two rows of two are larger than one of four
    assert len(square[0]) >= 2 * 42
    assert len(preview(four[:1], Colours.SHADES, 200, 60)[0]) == 64


def test_too_many_pictures_are_not_made_unreadable():
    many = [Image.new("L", (64, 64))] * 100
    lines = preview(many, Colours.SHADES, 80, 20)
    assert len(lines[0]) >= 16 * 4


def test_nothing_to_show():
    assert preview([], Colours.TRUE) == []
    assert preview([noise()], Colours.NOTHING) == []


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({"TERM": "xterm-256color", "COLORTERM": "truecolor"}, Colours.TRUE),
        ({"TERM": "xterm-256color", "COLORTERM": "24bit"}, Colours.TRUE),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "vscode"}, Colours.TRUE),
        ({"TERM": "xterm-kitty"}, Colours.TRUE),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "Apple_Terminal"}, Colours.INDEXED),
        ({"TERM": "screen"}, Colours.INDEXED),
        ({"TERM": "xterm-256color", "COLORTERM": "truecolor", "NO_COLOR": "1"}, Colours.SHADES),
        ({"TERM": "xterm-256color", "COLORTERM": "truecolor", "NO_COLOR": ""}, Colours.TRUE),
        ({"TERM": "dumb", "COLORTERM": "truecolor"}, Colours.NOTHING),
    ],
)
def test_what_the_environment_says_is_believed(environment, wanted):
    assert colours(Screen(), environment) is wanted


def test_no_terminal_no_picture():
    deep = {"TERM": "xterm", "COLORTERM": "truecolor"}
    assert colours(Screen(tty=False), deep) is Colours.NOTHING
    assert colours(Screen(encoding="ascii"), deep) is Colours.NOTHING
    assert colours(Screen(encoding="unheard-of"), deep) is Colours.NOTHING


def test_windows_old_console_is_left_alone(monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    assert colours(Screen(), {}) is Colours.NOTHING
    assert colours(Screen(), {"WT_SESSION": "1"}) is Colours.TRUE


@pytest.mark.parametrize(
    ("said", "wanted"), [("15;0", True), ("0;15", False), ("0;default;7", False), ("", True)]
)
def test_the_background_is_known_where_it_is_said(said, wanted):
    assert dark({"COLORFGBG": said}) is wanted


def test_room_follows_the_terminal(monkeypatch):
    monkeypatch.setattr(terminal.shutil, "get_terminal_size", lambda fallback: (100, 30))
    assert room(4) == (99, 26)
    monkeypatch.setattr(terminal.shutil, "get_terminal_size", lambda fallback: (3, 2))
    assert room(4) == (8, 4)


def test_frames_replace_one_another_and_the_cursor_comes_back():
    screen = Screen()
    with Live(screen) as live:
        live.show(["one", "two"])
        live.show(["three"])
        live.show(["four"])
    hidden, first, second, third, end = re.split(
        r"(?=\x1b\[\d+F)|(?<=l)|(?=\x1b\[0m)", screen.getvalue()
    )
    assert hidden == "\x1b[?25l" and first == "one\x1b[K\ntwo\x1b[K\n\x1b[J"
    assert second.startswith("\x1b[2Fthree") and third.startswith("\x1b[1Ffour")
    assert end == "\x1b[0m\x1b[?25h"


def test_the_cursor_comes_back_after_ctrl_c():
    screen = Screen()
    with pytest.raises(KeyboardInterrupt), Live(screen) as live:
        live.show(["one"])
        raise KeyboardInterrupt
    assert screen.getvalue().endswith("\x1b[?25h")
