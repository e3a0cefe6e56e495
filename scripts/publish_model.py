"""Put a run's model into the package, with a card that says where it came from.

    python scripts/publish_model.py runs/laptop --steps 10 --guidance-scale 4
    python scripts/publish_model.py runs/laptop --steps 10 --guidance-scale 4 --report report.json

The second time with the scores that `sfumato evaluate` found.  Takes the finished model, or the
newest checkpoint of an unfinished run.  Steps and guidance are chosen by the report's curves; where
they are not given, the recipe's stay.
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
from sfumato.training.recipe import changed, load_recipe
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
        "intended use": "stickers and icons of everyday things, and seeing how diffusion works",
        "limits": "has only ever seen emoji: no people by name, scenes or writing; some things "
        "are blots, flags mostly, edges are soft, about a quarter of the unusual pairs of colour "
        "and thing go wrong; best with a style named; knows some drawings of its makers nearly by "
        "heart, and their licences hold for what comes out so",
        "licence": "Apache-2.0 for the weights; the art it learned from: see EMOJI_LICENSES.md",
        "makers of that art": "Google (Noto Emoji, two generations; Apache-2.0), Mozilla "
        "(FxEmojis; CC BY 4.0), Microsoft (Fluent Emoji, three styles; MIT); none of them "
        "endorses this model",
        "data": "the embedded emoji, training part",
    }
    if model.recipe.data.recolour:
        card["data"] += "; plainly coloured pictures a second time in another colour"
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


def scores_of(
    report: dict[str, Any], card: dict[str, Any], sampling: dict[str, Any]
) -> dict[str, str]:
    """What `sfumato evaluate` found, with everything that such a number needs beside it.

    Raises:
        SfumatoError: if the report is about another model, or other settings.
    """
    if report["model"]["card"].get("images seen") != card["images seen"]:
        raise SfumatoError("The report is about another model. Evaluate this one.")
    for name in ("steps", "guidance_scale"):
        if report["model"]["sampling"][name] != sampling[name]:
            raise SfumatoError(
                f"The report was made with {name} = {report['model']['sampling'][name]}, and the "
                f"model would get {sampling[name]}. Give the same, or evaluate again."
            )
    parts, scores = report["parts"], {}
    names = {
        "held-in": "things and styles seen together",
        "held-out": "things in a style never shown with them",
        "held-in second language": "seen together, asked in Russian",
        "held-out second language": "never shown together, asked in Russian",
        "apart": "flags",
    }
    for key, name in names.items():
        found = parts["agreement"].get(key)
        if found:
            share = found["top5"]["ratio"]
            scores[f"score, {name}"] = (
                f"top-5 is {share['value']:.1%} of what real pictures score "
                f"({share['low']:.1%} to {share['high']:.1%}, {found['count']} pictures)"
            )
    if "colours" in parts:
        found = parts["colours"]
        scores["score, colour"] = f"right in {found['value']:.1%} of {found['pictures']} pictures"
        if other := found.get("other pairs"):
            scores["score, colour"] += (
                f"; of prompts that nobody worked towards {other['value']:.1%} of "
                f"{other['pictures']} ({other['low']:.0%} to {other['high']:.0%})"
            )
    if "alpha" in parts:
        scores["score, transparency"] = f"{parts['alpha']['value']:.1%} clean away from edges"
    if "copies" in parts:
        scores["score, copies"] = _copies(parts["copies"])
    scores["scores measured with"] = (
        f"{report['settings']['command'] or 'sfumato evaluate'}, "
        f"judge {report['judge']['sha256'][:8]} trained on other designers' art, "
        f"seed {report['settings']['seed']}, {sampling['steps']} steps of {sampling['sampler']}, "
        f"guidance {sampling['guidance_scale']:g}, {report['surroundings']['date'][:10]}"
    )
    return scores


def _copies(found: dict[str, Any]) -> str:
    def share(one: dict[str, Any], space: str) -> str:
        return f"{one[space]['nearer than quantiles']['5%']['value']:.1%}"

    said = (
        f"nearer to a training picture than the nearest 5% of real held-out ones: "
        f"{share(found, 'features')} in features, {share(found, 'pixels')} in pixels, of pairs "
        "never shown together (5% is normal)"
    )
    if "held-in" in found:
        said += f"; of pairs seen together {share(found['held-in'], 'pixels')} in pixels"
    return said


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
    parser.add_argument("--report", type=Path, help="of sfumato evaluate, on this very model")
    parser.add_argument("--steps", type=int, help="what people get who name no number")
    parser.add_argument("--guidance-scale", type=float)
    wanted = parser.parse_args()
    run = wanted.run
    model = sfumato.load(run, device="cpu")
    asked = {"steps": wanted.steps, "guidance_scale": wanted.guidance_scale}
    sampling = {name: value for name, value in asked.items() if value is not None}
    model.recipe = changed(model.recipe, sampling=sampling)
    model.card = card_of(model, run)
    if wanted.report:
        model.card |= scores_of(json.loads(wanted.report.read_bytes()), model.card, model.defaults)
    folder = model.save(RESOURCES / "model")
    size = sum(f.stat().st_size for f in folder.iterdir())
    print(f"{folder}: {size / 1e6:.1f} MB, {model.card['images seen']} images seen")


if __name__ == "__main__":
    main()
