"""Put a run's model into the package, with a card that says where it came from.

    python scripts/publish_model.py runs/laptop

Takes the finished model, or the newest checkpoint of an unfinished run.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

import sfumato
from sfumato.errors import SfumatoError
from sfumato.model import TextToImage
from sfumato.training.inherit import EMBEDDED
from sfumato.training.recipe import load_recipe
from sfumato.training.unfinished import parts_at

ROOT = Path(__file__).resolve().parent.parent
RESOURCES = ROOT / "src" / "sfumato" / "resources"


def card_of(model: TextToImage, run: Path) -> dict[str, Any]:
    """The card: what the run itself kept of its data and its recipe, and nothing guessed.

    Raises:
        SfumatoError: if the model was trained on something else than the embedded emoji.
    """
    if model.recipe.data.name != "emoji":
        raise SfumatoError(
            f"{run} was trained on {model.recipe.data.name}. The package holds a model of emoji."
        )
    card: dict[str, Any] = {
        "name": "Sfumato emoji",
        "what": f"{model.size}x{model.size} stickers with transparent background, "
        "from English or Russian words",
        "licence": "Apache-2.0 for the weights; the art it learned from: see EMOJI_LICENSES.md",
        "data": "the embedded emoji, training part",
    }
    kept = run / "data.json"
    if kept.is_file():  # what the run saw, which today's archive need not be
        facts = json.loads(kept.read_bytes())
        names = {"pictures": "pictures", "captions": "captions digest"}
        card |= {name: facts[key] for key, name in names.items() if key in facts}
    card["images seen"] = model.card["images seen"]
    if (before := _before(run)) is not None:
        card["begun with"] = f"the weights of a model that had seen {before:,} images"
    card["parameters"] = sum(
        p.numel()
        for module in (model.prompted, model.autoencoder)
        if module is not None
        for p in module.parameters()
    )
    card["made by"] = "sfumato train, by the recipe in config.json"
    recipe = run / "recipe.toml"
    if recipe.is_file():
        card["recipe.toml sha256"] = hashlib.sha256(recipe.read_bytes()).hexdigest()
    return card


def _before(run: Path) -> int | None:
    """How many images the model that the run began with had seen; None for random weights."""
    kept = run / "recipe.toml"
    start = load_recipe(kept).start.model if kept.is_file() else None
    if start is None:
        return None
    return int(parts_at(None if start == EMBEDDED else start).card["images seen"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("run", type=Path)
    run = parser.parse_args().run
    model = sfumato.load(run, device="cpu")
    model.card = card_of(model, run)
    folder = model.save(RESOURCES / "model")
    size = sum(f.stat().st_size for f in folder.iterdir())
    print(f"{folder}: {size / 1e6:.1f} MB, {model.card['images seen']} images seen")


if __name__ == "__main__":
    main()
