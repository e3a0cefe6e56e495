"""What the parts of a report say of painters whose faults are known."""

from types import SimpleNamespace

import numpy as np
import pytest

from sfumato.evaluation import parts, sweeps
from sfumato.evaluation.bench import Bench
from sfumato.evaluation.budget import Budget
from sfumato.evaluation.coloured import colours_right
from sfumato.evaluation.copied import copied
from sfumato.evaluation.plan import colour_wishes
from sfumato.evaluation.reality import Reality
from sfumato.evaluation.samples import Rate
from sfumato.evaluation.store import Store

LABELS = tuple("abcdefghijklmnopqrst")
STYLES = ("flat", "round", "thin")
RGB = {
    "red": (230, 30, 30), "orange": (250, 140, 20), "yellow": (250, 220, 40),
    "green": (40, 170, 60), "blue": (40, 90, 230), "purple": (140, 60, 200),
    "pink": (250, 130, 190), "brown": (130, 80, 40), "black": (20, 20, 20),
    "white": (250, 250, 250),
}  # fmt: skip


def tone(label, style=0):
    """A picture of one tone, which tells the label, with a spot that tells the style."""
    image = np.full((4, 8, 8), 10 * LABELS.index(label) + 5, np.uint8)
    image[3] = 255
    image[:3, 0, style] += 3
    return image


class ToneJudge:
    name, hash, labels = "tone", "0" * 64, LABELS
    accuracy = {"top1": 1.0, "top5": 1.0, "count": 60.0}

    def features(self, images):
        return images[:, :3].reshape(len(images), -1).astype(np.float32)

    def scores(self, images):
        middle = images[:, 0, 4, 4].astype(float)
        far = np.abs(middle[:, None] - 10 * np.arange(len(LABELS)) - 5)
        return (-far).astype(np.float32)


def reality():
    """Sixty pictures, every label in three styles; one style of sixteen of them is held out."""
    pairs = [(label, style) for label in LABELS for style in range(3)]
    return Reality(
        name="tones",
        kind="pairs",
        images=np.stack([tone(*pair) for pair in pairs]),
        prompts={
            "en": tuple(f"{label} {STYLES[style]}" for label, style in pairs),
            "ru": tuple(f"{label} {STYLES[style]} ru" for label, style in pairs),
        },
        labels=tuple(label for label, _ in pairs),
        held_out=np.array([label >= "e" and style == 0 for label, style in pairs]),
        groups=("",) * len(pairs),
        styles=tuple(STYLES[style] for _, style in pairs),
    )


class Painter:
    """Paints by a rule (prompt, noise number, steps, guidance) -> picture."""

    model = SimpleNamespace(
        channels=4, autoencoder=None, defaults={"steps": 10, "guidance_scale": 3.0}
    )

    def __init__(self, rule):
        self.rule, self.rate = rule, Rate(1e-6)

    def cost(self, **settings):
        return 1

    def probe(self, prompt):
        pass

    def draw(self, wanted, steps=10, guidance_scale=3.0, deadline=0, progress=None):
        return np.stack([self.rule(w.prompt, w.number, steps, guidance_scale) for w in wanted])


def obedient(prompt, *_):
    label, style = prompt.split()[:2]
    return tone(label, STYLES.index(style))


@pytest.fixture
def bench(tmp_path):
    def make(rule):
        store = Store(tmp_path, "key")
        return Bench(Painter(rule), reality(), ToneJudge(), store, Budget(5), samples=64)

    return make


def test_a_russian_that_is_not_understood_costs_points(bench):
    """Every other Russian prompt is painted as something else."""

    def half(prompt, number, *_):
        return (
            tone("t" if prompt < "j" else "a")
            if "ru" in prompt and number % 2
            else obedient(prompt)
        )

    found = parts.prompts_followed(bench(half))["numbers"]
    assert found["held-in"]["top5"]["value"] == 1 and found["held-in"]["top5"]["real"] == 1
    loss = found["held-in second language"]["loss"]
    assert loss["value"] == pytest.approx(0.5, abs=0.02) and 0.2 < loss["low"] < loss["high"] < 0.8
    assert found["held-in second language"]["top5"]["value"] == pytest.approx(0.5, abs=0.02)


def test_styles_of_unseen_pairs_stand_apart(tmp_path):
    held = reality()
    apart = Reality(**{**vars(held), "held_out": np.arange(60) % 3 < 2, "digest": ""})
    painter = Painter(lambda prompt, *_: tone("a" if "flat" in prompt else prompt[0]))
    bench = Bench(painter, apart, ToneJudge(), Store(tmp_path, "key"), Budget(5), samples=64)
    found = parts.prompts_followed(bench)["numbers"]["held-out styles"]
    assert set(found) == {"flat", "round"} and found["round"]["top5"]["value"] == 1
    assert found["flat"]["top5"]["value"] == pytest.approx(5 / 20)  # a to e, by the tone's nearness


def test_words_that_decide_and_words_that_do_not(bench):
    assert sweeps.words_swapped(bench(obedient))["numbers"]["own prompt"]["value"] == 1


def test_a_painter_of_noise_alone_is_found_out(bench):
    def deaf(prompt, number, *_):
        return tone(LABELS[number % len(LABELS)])

    found = sweeps.words_swapped(bench(deaf))["numbers"]
    assert found["own prompt"]["value"] == 0.5  # the same picture twice: a tie
    assert found["pixel difference"]["value"] == 0


@pytest.mark.parametrize("what", ["guidance", "steps"])
def test_every_point_of_a_curve_is_drawn_with_its_setting(bench, what, monkeypatch):
    """Right from guidance 3 and from ten steps on; below, everything is shown as the first."""
    monkeypatch.setattr(sweeps, "SCALES", (1.0, 2.0, 3.0, 5.0))
    monkeypatch.setattr(sweeps, "STEPS", (4, 8, 10, 20))

    def late(prompt, number, steps, scale):
        return obedient(prompt) if steps >= 10 and scale >= 3 else tone("a")

    part = sweeps.guidance_curve if what == "guidance" else sweeps.steps_curve
    points = part(bench(late))["numbers"]["points"]
    shares = [point["top5"]["value"] for point in points]
    assert shares[2:] == [1, 1] and max(shares[:2]) < 0.5
    assert points[0]["frechet"] > points[3]["frechet"]


def test_colours_are_looked_at(bench):
    colours = {wish.prompt: c for others in (False, True) for c, wish in colour_wishes(others)}

    def painted(prompt, number, *_):
        image = np.zeros((4, 8, 8), np.uint8)
        # of the other pairs every fourth turn is red
        asked = "red" if number >= 150 and prompt in OTHER else colours[prompt]
        image[:, 1:7, 1:7] = np.array([*RGB[asked], 255], np.uint8)[:, None, None]
        return image

    OTHER = {wish.prompt for _, wish in colour_wishes(others=True)}
    found = colours_right(bench(painted))["numbers"]
    assert found["value"] == 1 and found["pictures"] == 200 and found["chance"] < 0.4
    assert set(found["colours"].values()) == {1}
    others = found["other pairs"]
    assert others["value"] == pytest.approx(0.75 + 0.25 * 0.1, abs=0.03)
    assert others["low"] < others["value"] < others["high"] and others["colours"]["red"] == 1


def test_one_colour_for_everything_is_wrong(bench):
    def red(*_):
        image = np.zeros((4, 8, 8), np.uint8)
        image[:, 1:7, 1:7] = np.array([*RGB["red"], 255], np.uint8)[:, None, None]
        return image

    found = colours_right(bench(red))["numbers"]
    assert found["colours"]["red"] == 1 and found["colours"]["blue"] == 0
    assert found["value"] < 0.2


def test_a_copier_scores_as_copies_do_and_a_stranger_does_not(bench):
    """The control: what training pictures themselves score stands in the report."""
    strange = np.random.default_rng(0)

    def new(*_):
        image = strange.integers(0, 256, (4, 8, 8)).astype(np.uint8)
        image[3] = 255
        return image

    found = copied(bench(new))["numbers"]
    assert found["copier pictures"] == found["training pictures"] == 44
    for space in ("features", "pixels"):
        assert found[space]["nearer than quantiles"]["5%"]["value"] == 0
        assert found[space]["copier"]["nearer than quantiles"]["5%"]["value"] == 1
        assert found["held-in"][space]["asked one"]["value"] < 0.2


def test_known_pairs_that_are_copied_are_found_among_the_asked(bench):
    found = copied(bench(obedient))["numbers"]
    for space in ("features", "pixels"):
        known = found["held-in"][space]
        assert known["asked one"]["value"] == 1
        assert known["nearer than quantiles"]["5%"]["value"] == 1
