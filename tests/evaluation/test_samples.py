"""Drawing, keeping, stopping; and what is measured has 8 bits (mistake 10)."""

import time

import numpy as np
import pytest
import tiny
import torch

from sfumato.architecture import latent_shape
from sfumato.diffusion import start
from sfumato.evaluation.distances import frechet
from sfumato.evaluation.plan import Wanted
from sfumato.evaluation.samples import Studio, straight

WISHES = [Wanted(prompt, i) for i, prompt in enumerate(["red heart", "a cat", "blue heart"] * 7)]


@pytest.fixture(scope="module")
def model():
    return tiny.model()


@pytest.fixture
def studio(model, tmp_path):
    return Studio(model, "weights", tmp_path, seed=3)


def test_each_picture_depends_on_its_own_wish_alone(studio, tmp_path, model):
    together = studio.draw(WISHES)
    assert together.shape == (21, 4, 16, 16)
    assert together.dtype == np.uint8
    alone = Studio(model, "weights", tmp_path / "b", seed=3)
    for i in (0, 5, 20):
        one = alone.draw([WISHES[i]])[0].astype(int)
        assert abs(one - together[i]).max() <= 1  # batches of other sizes round differently
    other = Studio(model, "weights", tmp_path / "c", seed=4)
    assert (other.draw(WISHES[:4]) != together[:4]).any()


def test_pictures_are_what_generate_saves(studio, model):
    """Wish k under a seed is picture k of that prompt and seed."""
    saved = model.generate("red heart", count=7, seed=3)[6]
    drawn = studio.draw([Wanted("red heart", 6)])[0]
    assert abs(np.asarray(straight(drawn)).astype(int) - np.asarray(saved))[..., 3].max() <= 1


def test_what_was_drawn_is_kept_and_read_back_to_the_bit(studio, monkeypatch):
    first = studio.draw(WISHES)
    monkeypatch.setattr(studio, "_drawn", None)  # drawing again would break
    assert (studio.draw(WISHES) == first).all()
    assert (studio.draw(WISHES[:16]) == first[:16]).all()


def test_a_damaged_strip_is_drawn_again(studio):
    first = studio.draw(WISHES[:5])
    (path,) = studio.folder.glob("*.png")
    path.write_bytes(path.read_bytes()[:100])
    assert (studio.draw(WISHES[:5]) == first).all()
    path.write_bytes(b"no picture")
    assert (studio.draw(WISHES[:5]) == first).all()


@pytest.mark.parametrize(
    "change",
    [{"steps": 3}, {"guidance_scale": 1.5}, {"weights": "others"}, {"seed": 9}, {"word": "dog"}],
)
def test_everything_that_matters_is_in_the_name(studio, change):
    batch = WISHES[:2]
    before = studio.key(batch, None, None)
    studio.weights = change.get("weights", studio.weights)
    studio.seed = change.get("seed", studio.seed)
    if "word" in change:
        batch = [Wanted(change["word"], 0), batch[1]]
    after = studio.key(batch, change.get("steps"), change.get("guidance_scale"))
    assert after != before


def test_the_models_own_settings_have_one_name(studio):
    own = studio.model.defaults
    assert studio.key(WISHES[:2], own["steps"], own["guidance_scale"]) == studio.key(
        WISHES[:2], None, None
    )


def test_when_time_is_up_nothing_new_begins(studio):
    assert len(studio.draw(WISHES, deadline=time.monotonic() - 1)) == 0
    done = []
    first = studio.draw(WISHES[:16], progress=done.append)
    assert done == [16]
    assert (studio.draw(WISHES, deadline=time.monotonic() - 1) == first).all()  # the kept ones


def test_the_cost_counts_guidance(studio):
    assert studio.cost(steps=10, guidance_scale=1.0) == 10
    assert studio.cost(steps=10, guidance_scale=3.0) == 20
    studio.draw(WISHES[:2])
    assert studio.rate.seconds is not None
    assert studio.rate.seconds > 0


def test_mistake_10_pictures_are_measured_as_a_file_holds_them(model, studio):
    """The same samples as floats would score another distance: they never reach a judge."""
    drawn = studio.draw(WISHES)
    noise = start(latent_shape(model.recipe), range(21), 3)
    *_, last = model.stream([w.prompt for w in WISHES], seed=3, state=noise)
    floats = ((last.x.clamp(-1, 1) + 1) / 2 * 255).numpy()
    # the same pictures but for rounding, and for colours that exceed their alpha
    inside = floats[:, :3] <= floats[:, 3:]
    apart = abs(drawn[:, :3] - floats[:, :3])[inside & (floats[:, 3:] > 64)]
    assert apart.size
    assert 0 < apart.max() < 6
    assert torch.isfinite(last.x).all()
    flat = [x.reshape(21, -1)[:, ::64].astype(np.float64) for x in (drawn, floats)]
    reference = np.random.default_rng(0).normal(128, 60, (40, flat[0].shape[1]))
    assert frechet(flat[0], reference) != pytest.approx(frechet(flat[1], reference), rel=1e-6)


def test_straight_undoes_the_premultiplication():
    picture = np.zeros((4, 2, 2), dtype=np.uint8)
    picture[:, 0, 0] = (64, 32, 0, 128)
    found = np.asarray(straight(picture))
    assert found[0, 0].tolist() == [128, 64, 0, 128]
    assert found[1, 1].tolist() == [0, 0, 0, 0]
    assert straight(np.zeros((1, 4, 4), np.uint8)).mode == "L"
    assert straight(np.zeros((3, 4, 4), np.uint8)).mode == "RGB"
