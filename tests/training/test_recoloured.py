"""Pictures that come a second time in another colour: which, how often, what is said of them."""

import numpy as np
import pytest
from tiny import recipe, squares

from sfumato import SfumatoError
from sfumato.data import open_source
from sfumato.data.colour_words import COLOURS, tells_colour, told
from sfumato.data.example import Example, Report
from sfumato.data.order import visits_of
from sfumato.pictures.colours import main_colour
from sfumato.training.recoloured import Recoloured
from sfumato.training.run import Run


class Few:
    """Captions and plain colours as the test says."""

    name, size, channels, classes = "few", 16, 4, ()

    def __init__(self, *pictures):
        self.pictures = pictures

    def __len__(self):
        return len(self.pictures)

    def __getitem__(self, index):
        rgb, captions = self.pictures[index]
        image = np.zeros((4, 16, 16), np.uint8)
        image[:, 2:14, 2:14] = np.array([*rgb, 255], np.uint8)[:, None, None]
        return Example(image, captions, None, f"{index}.png")

    def report(self):
        return Report((), len(self))


BLUE, GREY = (40, 110, 230), (120, 120, 120)


def test_a_blue_duck_comes_again_and_every_caption_tells_its_colour():
    few = Few((BLUE, ("duck", "a duck on water", "утка", "blue duck")))
    both = Recoloured(few)
    assert len(both) == 2
    assert np.array_equal(both[0].image, few[0].image)
    assert both[0].captions == few[0].captions
    other = both[1]
    colour = main_colour(other.image)
    assert colour in set(COLOURS) - {"blue"}
    assert other.captions == (
        f"{colour} duck",
        f"a{'n' * (colour == 'orange')} {colour} duck on water",
        f"утка, {COLOURS[colour]} цвета",
    )
    assert np.array_equal(both[1].image, other.image), "the same at every visit"


def test_what_is_said_to_be_blue_or_is_grey_or_untold_does_not_come_again():
    few = Few((BLUE, ("blue heart", "heart")), (GREY, ("stone",)), (BLUE, ()), (BLUE, (" ",)))
    assert len(Recoloured(few)) == 4


def test_a_source_may_say_no_and_keeps_its_visits():
    few = Few((BLUE, ("duck",)), (BLUE, ("hand",)))
    few.recolours = lambda index: index == 0
    few.visits = lambda index: index + 2
    both = Recoloured(few)
    assert [both[i].origin.split(" in ")[0] for i in range(len(both))] == [
        "0.png",
        "1.png",
        "0.png",
    ]
    assert visits_of(both) == (0, 0, 1, 1, 1, 2)


def test_classes_and_grey_pictures_are_refused():
    few = Few((BLUE, ("duck",)))
    few.classes = ("duck",)
    with pytest.raises(SfumatoError, match="classes"):
        Recoloured(few)
    few.classes, few.channels = (), 1
    with pytest.raises(SfumatoError, match="grey pictures"):
        Recoloured(few)


@pytest.mark.slow
def test_the_embedded_emoji_keep_people_and_held_out_pairs_as_they_are():
    source = open_source("emoji")
    both = Recoloured(source)
    again = [both[i] for i in range(len(source), len(both))]
    assert 1500 < len(again) < 4000
    every = open_source("emoji", split="all")
    origins = {every[i].origin: every.metadata(i) for i in range(len(every))}
    assert any(row["held_out"] for row in origins.values())
    for example in again:
        row = origins[example.origin.rsplit(" in ", 1)[0]]
        assert row["group"] not in ("people-body", "flags") and not row["held_out"]
        assert all(tells_colour(caption) for caption in example.captions)
    colours = [example.origin.rsplit(" in ", 1)[1] for example in again]
    assert min(colours.count(colour) for colour in COLOURS) > 0.03 * len(colours)


@pytest.mark.parametrize(
    ("caption", "tells"),
    [
        ("red heart", True), ("Gray sky", True), ("bread", False), ("зелёное яблоко", True),
        ("Серый волк", True), ("голубь", False), ("белка", False), ("голубой шар", True),
        ("синица", False), ("чёрная кошка", True), ("", False), ("вижу белую кошку", True),
        ("кот в синем шарфе", True), ("шар с зелёным бантом", True), ("сосед", False),
    ],
)  # fmt: skip
def test_colour_words(caption, tells):
    assert tells_colour(caption) == tells


def test_told():
    assert told("duck", "red") == "red duck"
    assert told("An old duck", "red") == "A red old duck"
    assert told("a duck", "orange") == "an orange duck"
    assert told("the duck", "orange") == "the orange duck"
    assert told("anna's duck", "red") == "red anna's duck"
    assert told("утка", "red") == "утка, красного цвета"
    assert told(" Утка на воде. ", "red") == "Утка на воде, красного цвета."
    assert all(tells_colour(told(word, c)) for word in ("duck", "утка") for c in COLOURS)


def test_a_training_with_recolour_sees_the_other_colours(tmp_path):
    data = squares(tmp_path / "squares", 10)
    for text in data.glob("*.txt"):
        text.write_text("a square\n")
    run = Run(data, tmp_path / "run", recipe=recipe(data={"recolour": True}))
    plain = Run(data, tmp_path / "plain", recipe=recipe())
    assert len(run.source) > len(plain.source) == 10
    for _ in run.steps():
        pass
    for _ in plain.steps():
        pass
    words, none = (
        (tmp_path / name / "tokenizer.json").read_text("utf-8") for name in ("run", "plain")
    )
    seen = {run.source[i].captions[0].split()[1] for i in range(10, len(run.source))}
    assert len(seen) > 2
    assert all(colour in words and colour not in none for colour in seen)
