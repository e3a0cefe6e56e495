"""A data set whose plainly coloured pictures come a second time, in another colour.

Most things have one colour in all their pictures, so a colour's word is learned for hearts and
not for butterflies.  Here the butterfly comes in purple too, and every caption of that picture
says so.
"""

from __future__ import annotations

from typing import Any

from tqdm import tqdm

from sfumato.data.colour_words import COLOURS, tells_colour, told
from sfumato.data.example import Example, Report, Source
from sfumato.diffusion.randomness import seed_of
from sfumato.errors import SfumatoError
from sfumato.pictures.colours import GREYS, main_colour
from sfumato.pictures.recolour import recoloured


class Recoloured:
    """A source and, behind its own pictures, the recoloured ones; see `Source`.

    Left out are pictures without one plain hue, those whose first caption tells a colour, and
    those for which the source's method ``recolours(index) -> bool`` says no.  The colours are
    tried in an order that depends on the picture's origin, and the first that comes out is taken.

    All pictures are looked at once when it is made, and recoloured ones anew at every visit.

    Args:
        source: pictures with captions, in colours.

    Raises:
        SfumatoError: for data sets of classes and grey pictures.
    """

    def __init__(self, source: Source) -> None:
        if source.classes or source.channels == 1:
            raise SfumatoError(
                f"data.recolour is for coloured pictures with captions, and {source.name} has "
                f"{'classes' if source.classes else 'grey pictures'}. Leave it out."
            )
        self.source = source
        self.name = source.name
        self.size = source.size
        self.channels = source.channels
        self.classes = source.classes
        bar = tqdm(range(len(source)), desc="colours", unit="picture", leave=False, disable=None)
        self._others = [(i, colour) for i in bar if (colour := self._other_colour(i))]

    def __len__(self) -> int:
        return len(self.source) + len(self._others)

    def __getitem__(self, index: int) -> Example:
        if index < len(self.source):
            return self.source[index]
        place, colour = self._others[index - len(self.source)]
        example = self.source[place]
        image = recoloured(example.image, colour)
        assert image is not None
        plain = (text for text in example.captions if text.strip() and not tells_colour(text))
        captions = tuple(told(text, colour) for text in plain)
        return Example(image, captions, example.label, f"{example.origin} in {colour}")

    def visits(self, index: int) -> int:
        """How often an epoch shows one picture: as the source says, the recoloured ones once."""
        often: Any = getattr(self.source, "visits", None)
        return often(index) if often and index < len(self.source) else 1

    def report(self) -> Report:
        """What was wrong with the source's files."""
        return self.source.report()

    def _other_colour(self, index: int) -> str | None:
        allowed: Any = getattr(self.source, "recolours", None)
        if allowed and not allowed(index):
            return None
        example = self.source[index]
        if not "".join(example.captions[:1]).strip() or tells_colour(example.captions[0]):
            return None
        now = main_colour(example.image)
        if now is None or now in GREYS:
            return None
        others = [colour for colour in COLOURS if colour != now]
        others.sort(key=lambda colour: seed_of(0, f"{example.origin} in {colour}", 0))
        # a few draws: what does not come out, as a bright yellow that should turn brown, is left
        return next((c for c in others[:3] if recoloured(example.image, c) is not None), None)
