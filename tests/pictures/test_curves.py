"""Training curves: the log read with its scars, the mean a mean, the picture a picture."""

import io
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sfumato.errors import SfumatoError
from sfumato.pictures.curves import Log, draw, draw_run, read_log, smoothed


def line(images, loss=0.5, bands=(1.0, 0.8, 0.6, 0.4), **others):
    row = {
        "images": images,
        "loss": loss,
        "bands": list(bands),
        "learning_rate": 1e-3,
        "grad_norm": 0.6,
        "images_per_second": 99.0,
    }
    return json.dumps({**row, **others})


def written(tmp_path, *lines):
    path = tmp_path / "log.jsonl"
    path.write_text("\n".join(lines), "utf-8")
    return path


def test_every_column_is_read(tmp_path):
    log = read_log(written(tmp_path, line(100), line(200, loss=0.4, bands=(1, None, 0.6, 0.4))))
    assert log.images == [100, 200] and log.loss == [0.5, 0.4]
    assert log.learning_rate == [1e-3] * 2 and log.grad_norm == [0.6] * 2
    assert log.images_per_second == [99.0] * 2
    assert log.bands[0] == [1.0, 0.8, 0.6, 0.4] and math.isnan(log.bands[1][1])


def test_a_torn_line_and_foreign_lines_are_passed_over(tmp_path):
    log = read_log(written(tmp_path, "[1]", '{"note": 1}', line(100), line(200)[:-9]))
    assert log.images == [100]


def test_after_a_resume_the_later_lines_count(tmp_path):
    path = written(tmp_path, line(100, 5), line(200, 4), line(300, 3), line(200, 9), line(300, 8))
    log = read_log(path)
    assert log.images == [100, 200, 300] and log.loss == [5, 9, 8]


def test_missing_values_are_nan(tmp_path):
    log = read_log(written(tmp_path, '{"images": 5, "loss": null, "bands": null}'))
    assert math.isnan(log.loss[0]) and np.isnan(log.bands[0]).all() and len(log.bands[0]) == 4


def test_no_log_is_said(tmp_path):
    with pytest.raises(SfumatoError, match="log.jsonl"):
        read_log(tmp_path / "log.jsonl")


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=40), st.floats(1, 20))
def test_the_mean_stays_among_the_values(values, width):
    curve = smoothed(values, width)
    for i in range(len(values)):
        assert min(values[: i + 1]) - 1e-9 <= curve[i] <= max(values[: i + 1]) + 1e-9


def test_the_mean_settles_with_the_width_given():
    # a jump from 0 to 1: after `width` points an exponential mean has come 1 - 1/e of the way
    values = [0.0] * 1000 + [1.0] * 400
    curve = smoothed(values, 20)
    assert curve[999] == 0
    assert curve[999 + 20] == pytest.approx(1 - 1 / math.e, rel=1e-6)


def test_the_mean_takes_noise_away_but_no_level():
    rng = np.random.default_rng(0)
    values = (3 + rng.normal(size=4000)).tolist()
    curve = smoothed(values, 50)[1000:]
    assert abs(curve.mean() - 3) < 0.1
    # an exponential mean over w points has 1 / (2 w) of the variance
    assert curve.std() == pytest.approx((1 / 100) ** 0.5, rel=0.35)


def test_gaps_are_bridged():
    curve = smoothed([math.nan, 2.0, math.nan, 2.0], 5)
    assert math.isnan(curve[0]) and curve[1:].tolist() == [2.0, 2.0, 2.0]


def sample_log(points, scale=1.0):
    log = Log()
    for i in range(points):
        log.images.append(1000.0 * (i + 1))
        log.loss.append(scale * (0.3 + math.exp(-i / 10)))
        log.bands.append([scale * (0.3 + math.exp(-i / 10)) * k for k in (2, 1, 0.5, 0.1)])
        log.learning_rate.append(1e-3)
        log.grad_norm.append(0.5)
        log.images_per_second.append(100)
    return log


@pytest.mark.parametrize("points", [1, 2, 300])
def test_the_picture_shows_the_four_curves(points):
    content = draw(sample_log(points), "a run")
    assert content == draw(sample_log(points), "a run")  # the same bytes every time
    with Image.open(io.BytesIO(content)) as picture:
        levels = np.asarray(picture.convert("RGB")).astype(int)
    assert levels.shape[0] > 600 and levels.shape[1] > 1000
    half_y, half_x = int(levels.shape[0] * 0.62), levels.shape[1] // 2
    quarters = (
        levels[:half_y, :half_x],
        levels[:half_y, half_x:],
        levels[half_y:, :half_x],
        levels[half_y:, half_x:],
    )
    for quarter in quarters:  # a single point is seen too, as a dot
        coloured = quarter.max(-1) - quarter.min(-1) > 15
        assert coloured.sum() > (200 if points > 1 else 50)


def test_no_point_of_the_averaged_weights_lies_below_the_frame():
    def dark_dots(level):
        log = sample_log(300)
        log.bank = sample_log(3)
        log.bank.images = [100_000.0, 200_000.0, 300_000.0]
        log.bank.loss = [0.29, 0.29, level]  # two of the three are always seen
        with Image.open(io.BytesIO(draw(log))) as picture:
            levels = np.asarray(picture.convert("RGB")).astype(int)
        corner = levels[60:460, : levels.shape[1] // 2]
        return int((np.abs(corner - [0x33, 0x36, 0x3D]).max(-1) < 12).sum())

    # a third dot far below costs no ink if the frame goes down with it
    assert dark_dots(0.2) >= 0.8 * dark_dots(0.29)


def test_a_log_of_gaps_can_be_drawn():
    log = sample_log(3)
    log.loss = [math.nan] * 3
    log.bands = [[math.nan] * 4] * 3
    assert draw(log).startswith(b"\x89PNG")


def test_an_empty_log_has_no_curve(tmp_path):
    with pytest.raises(ValueError, match="empty"):
        draw(Log())
    written(tmp_path, "")
    assert draw_run(tmp_path) is None
    assert not (tmp_path / "loss.png").exists()


def test_drawn_beside_the_log(tmp_path):
    written(tmp_path, line(100), line(200))
    assert draw_run(tmp_path) == tmp_path / "loss.png"
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")
