"""Watching: every step passes, the last is shown, and looking costs little."""

import time
from dataclasses import dataclass

import pytest
from PIL import Image

from sfumato.interfaces.cli import watch
from sfumato.interfaces.cli.watch import counted, watched
from sfumato.pictures.terminal import Colours


@dataclass
class Step:
    index: int
    s: float


def walk(total, seconds=0.0):
    for index in range(1, total + 1):
        time.sleep(seconds)
        yield Step(index, 1 - index / total)


class Drawer:
    def __init__(self, seconds=0.0):
        self.drawn, self.seconds = [], seconds

    def __call__(self, step):
        time.sleep(self.seconds)
        self.drawn.append(step.index)
        return [Image.new("L", (4, 4), 255)]


def test_every_step_passes_and_the_last_is_drawn(capsys):
    draw = Drawer()
    seen = [step.index for step in watched(walk(50), 50, draw, Colours.TRUE)]
    assert seen == list(range(1, 51))
    assert draw.drawn[-1] == 50
    assert len(draw.drawn) < 10  # fifty instant steps are not fifty frames
    printed = capsys.readouterr().err
    assert "50/50" in printed
    assert "▀" in printed


def test_a_slow_preview_takes_its_share_only(capsys):
    draw = Drawer(seconds=0.05)
    begin = time.perf_counter()
    for _ in watched(walk(60, 0.02), 60, draw, Colours.TRUE):
        pass
    taken = time.perf_counter() - begin
    drawing = 0.05 * (len(draw.drawn) - 2)  # the first and the last are drawn in any case
    assert len(draw.drawn) >= 3
    assert drawing <= watch._SHARE * taken * 1.5


def test_the_bar_fills(monkeypatch, capsys):
    monkeypatch.setattr(watch, "room", lambda: (44, 10))
    for _ in watched(walk(4, 0.06), 4, Drawer(), Colours.SHADES):
        pass
    bars = [line for line in capsys.readouterr().err.splitlines() if "/4" in line]
    assert bars[-1].startswith("━" * 20 + " 4/4")


def test_an_error_passes_and_the_cursor_comes_back(capsys):
    def failing():
        yield Step(1, 0.5)
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        list(watched(failing(), 2, Drawer(), Colours.TRUE))
    assert capsys.readouterr().err.endswith("\x1b[?25h")


def test_counted_passes_every_step(capsys):
    assert [step.index for step in counted(walk(5), 5)] == [1, 2, 3, 4, 5]
