"""What a model tells others about itself: its card, without a word about the disk it came from."""

from __future__ import annotations

import os
import re
from pathlib import PureWindowsPath
from typing import Any

from sfumato.conditioning.locate import own_name
from sfumato.data import NAMES, is_named
from sfumato.training.recipe import changed
from sfumato.training.sections import Recipe


def told(recipe: Recipe) -> Recipe:
    """The recipe as others may read it: of a path on this disk only the folder's own name."""
    start = recipe.start.model_dump(include={"model", "inner"})
    encoder = recipe.conditioning.model
    return changed(
        recipe,
        data={"name": _own(recipe.data.name)},
        start={field: _own(path) if path else None for field, path in start.items()},
        conditioning={"model": own_name(encoder) if encoder else None},
    )


def told_card(recipe: Recipe, card: dict[str, Any]) -> dict[str, Any]:
    """The card without the path that the recipe's data lie at."""
    path, own = recipe.data.name, _own(recipe.data.name)
    word = re.compile(rf"(?<!\S){re.escape(path)}(?![^\s,])")
    return {
        key: word.sub(lambda _: own, value) if isinstance(value, str) else value
        for key, value in card.items()
    }


def _own(name: str) -> str:
    """A folder's own name; what no path is stays as it is."""
    if is_named(name):
        return name
    # it knows both slashes, wherever the recipe was written
    own = PureWindowsPath(os.path.abspath(os.path.expanduser(name))).name or "data"
    return f"./{own}" if own in NAMES else own


def card_text(recipe: Recipe, card: dict[str, Any]) -> str:
    """The card as Markdown, as sites for models show it."""
    side = recipe.data.resolution
    lines = [
        f"# {card.get('name', 'A Sfumato model')}",
        "",
        f"A text-to-image diffusion model of {side}x{side} pictures, "
        f"{recipe.network.name} ({recipe.network.size}), made with Sfumato.",
        "",
        "```python",
        "import sfumato",
        "",
        'model = sfumato.load("this folder")',
        'model.generate("...", seed=7)[0].save("picture.png")',
        "```",
        "",
    ]
    lines += [f"- **{key}**: {value}" for key, value in card.items() if key != "name"]
    return "\n".join(lines) + "\n"
