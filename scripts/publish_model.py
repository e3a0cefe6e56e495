"""Put a run's model into the package, with a card that says where it came from.

    python scripts/publish_model.py runs/laptop

Takes the finished model, or the newest checkpoint of an unfinished run.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import sfumato

ROOT = Path(__file__).resolve().parent.parent
RESOURCES = ROOT / "src" / "sfumato" / "resources"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("run", type=Path)
    run = parser.parse_args().run
    model = sfumato.load(run, device="cpu")
    model.card = {
        "name": "Sfumato emoji",
        "what": "64x64 stickers with transparent background, from English or Russian words",
        "licence": "Apache-2.0 for the weights; the art it learned from: see EMOJI_LICENSES.md",
        "data": "the embedded emoji, training part",
        "data sha256": hashlib.sha256((RESOURCES / "emoji.zip").read_bytes()).hexdigest(),
        "images seen": model.card["images seen"],
        "parameters": sum(
            p.numel()
            for module in (model.prompted, model.autoencoder)
            if module is not None
            for p in module.parameters()
        ),
        "made by": "runs/laptop.sh",
    }
    folder = model.save(RESOURCES / "model")
    size = sum(f.stat().st_size for f in folder.iterdir())
    print(f"{folder}: {size / 1e6:.1f} MB, {model.card['images seen']} images seen")


if __name__ == "__main__":
    main()
