"""MicroDiffusion: from nothing to the first pictures of a model of one's own.

    python examples/main.py                              # the emoji inside the package
    python examples/main.py my-pictures --minutes 30     # a folder of captioned pictures
    python examples/main.py --query "street art"         # pictures found by an image search

A small U-Net (3 -> 16 -> 32 -> 64 channels) learns to take noise off, told the time and the words
as TF-IDF. Called again, the program finds the model and draws at once; a training that was
stopped goes on. The pictures are in microdiffusion/pictures.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import sfumato
from sfumato.data import demand, open_source, same
from sfumato.interfaces.cli.progress import follow
from sfumato.pictures.files import write_whole
from sfumato.pictures.sheet import as_png, sheet
from sfumato.training.recipe import load_recipe
from sfumato.training.run import Run
from sfumato.training.samples import prompts_for

PICTURES = 8


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """All of it has a default: the seed's command is `python main.py`."""
    parser = argparse.ArgumentParser(description="Train a small model, or draw with it.")
    add = parser.add_argument
    add("data", nargs="?", help="a folder of pictures, or a known name; by default emoji")
    add("--query", help="search for pictures of this instead")
    add("--count", type=int, default=200, help="how many to find")
    add("--output_dir", type=Path, default=Path("microdiffusion"))
    add("--prompts", nargs="+", default=[], help="what to draw; by default what was learned")
    add("--minutes", type=float, help="of training; by default 30")
    add("--image_size", type=int, help="side of the pictures in pixels; by default 64")
    add("--device", default="auto", help="cpu, cuda or mps; auto takes the fastest")
    add("--seed", type=int, default=0)
    return parser.parse_args(argv)


def found(query: str, count: int, folder: Path) -> Path:
    """A folder of pictures from the web; what is there already is not fetched again."""
    from sfumato.data.online.client import Client
    from sfumato.data.online.collect import PICTURE_LIMITS, collect
    from sfumato.data.online.search import DuckDuckGo

    print("What is found belongs to its makers; source pages are kept in metadata.jsonl.")
    summary = collect(query, folder, count, DuckDuckGo(), Client(PICTURE_LIMITS))
    print(f"{summary.total} pictures are in {folder}.")
    return folder


def refuse_another(args: argparse.Namespace) -> None:
    """A model of other pictures than those that were asked for must not pass for theirs."""
    if args.data:
        demand(args.data)
    wish = args.output_dir / "data" if args.query else args.data
    if wish is None or not (args.output_dir / "recipe.toml").is_file():
        return
    kept = load_recipe(args.output_dir / "recipe.toml").data.name
    if not same(wish, kept):
        raise sfumato.SfumatoError(
            f"{args.output_dir} holds a training on {kept}, not on {args.query or wish}. "
            "Choose another --output_dir."
        )


def train(args: argparse.Namespace) -> None:
    """A new training, or the rest of one that was stopped; Ctrl-C saves it."""
    data, minutes = None, args.minutes  # the rest of a training has its minutes already
    if not (args.output_dir / "recipe.toml").is_file():
        folder = args.output_dir / "data"
        data = found(args.query, args.count, folder) if args.query else args.data or "emoji"
        minutes = minutes or 30.0
    run = Run(
        data,
        args.output_dir,
        resume=True,
        data={"resolution": args.image_size},
        network={"name": "tiny-unet"},
        conditioning={"kind": "text", "encoder": "tfidf"},
        training={"minutes": minutes, "device": args.device, "seed": args.seed},
    )
    if follow(run, quiet=False)["interrupted"]:
        raise KeyboardInterrupt


def learned(run: Path) -> list[str]:
    """Some of what the model has seen the pictures of."""
    recipe = load_recipe(run / "recipe.toml")
    data = recipe.data
    source = open_source(data.name, data.resolution, data.channels)
    return list(dict.fromkeys(prompts_for(recipe, source)))[:PICTURES]


def main(argv: Sequence[str] | None = None) -> None:
    """Train unless there is a model, then draw."""
    args = arguments(argv)
    refuse_another(args)
    if not (args.output_dir / "model" / "manifest.json").is_file():
        train(args)
    model = sfumato.load(args.output_dir, device=args.device)
    prompts = args.prompts or learned(args.output_dir)
    pictures = model.generate(prompts, seed=args.seed)
    folder = args.output_dir / "pictures"
    for number, picture in enumerate(pictures):
        write_whole(folder / f"{number:04d}.png", as_png(picture))
    write_whole(folder / "first.png", as_png(sheet(pictures, prompts)))
    print(f"Here they are: {folder / 'first.png'}. Draw more:")
    print(f'sfumato generate "{prompts[0]}" --model {args.output_dir}')


if __name__ == "__main__":
    try:
        main()
    except sfumato.SfumatoError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)  # everything is saved
