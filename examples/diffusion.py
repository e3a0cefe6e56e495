"""Train a conditional U-Net on a data set of classes, and show what diffusion does.

    python examples/diffusion.py --data my-classes --minutes 60
    python examples/diffusion.py --data my-classes --classes goldfish      # draw only

T = 1000 steps of linearly growing noise, classes told by the sentence embeddings of their names
(all-MiniLM-L6-v2; without it, by an encoder learned from scratch). In output_ImageNet come out:
checkpoints and model, loss.png, forward_diffusion.png (a picture sinks into noise), and for some
classes class_<name>_generation.gif (a picture out of noise) and final_class_<name>.png. Called
again, it draws with the model that is there; a training that was stopped goes on to its end.
"""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

import sfumato
from sfumato.conditioning.pretrained import pretrained
from sfumato.data import Source
from sfumato.diffusion import linear_betas
from sfumato.interfaces.cli.progress import follow
from sfumato.pictures.files import write_whole
from sfumato.pictures.forward import forward_strip
from sfumato.pictures.sheet import as_png
from sfumato.pictures.strip import animation
from sfumato.training.run import Run
from sfumato.training.samples import prompts_for


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """All of it has a default: the seed's command is `python diffusion.py`."""
    parser = argparse.ArgumentParser(description="Train a U-Net on the classes of a data set.")
    add = parser.add_argument
    add("--data", help="a known name, or a folder of classes; by default tiny-imagenet")
    add("--output_dir", type=Path, default=Path("output_ImageNet"))
    add("--minutes", type=float, help="of training; by default 60")
    add("--image_size", type=int, help="side of the pictures in pixels; by default 64")
    add("--classes", nargs="+", help="of which pictures are made; by default the first four")
    add("--text_model", help="folder, package or id of a sentence-transformers model")
    add("--num_inference_steps", type=int, default=50, help="from noise to a picture")
    add("--device", default="auto", help="cpu, cuda or mps; auto takes the fastest")
    add("--seed", type=int, default=0)
    add("--size", help="of the network: tiny, small, base or large; by default small")
    return parser.parse_args(argv)


def reader(model: str | None) -> dict[str, Any]:
    """What reads the names: sentence embeddings where they can be had."""
    try:
        pretrained("sentence", model)
    except sfumato.SfumatoError as error:
        print(f"{error} For now an encoder learned from scratch reads the names.")
        return {"kind": "text", "encoder": "scratch"}
    return {"kind": "text", "encoder": "sentence", "model": model}


def train(args: argparse.Namespace) -> Source:
    """A new training, or the rest of one; Ctrl-C saves it. Returns its data set.

    What is told only once holds for the rest as well: the data, the size, the minutes.
    """
    begun = (args.output_dir / "recipe.toml").is_file()
    finished = (args.output_dir / "model" / "manifest.json").is_file()
    told = {"minutes": args.minutes, "device": args.device, "seed": args.seed}
    if not begun:
        args.data, args.size = args.data or "tiny-imagenet", args.size or "small"
        told["minutes"] = args.minutes or 60.0
    run = Run(
        args.data,
        args.output_dir,
        resume=True,
        data={"resolution": args.image_size},
        network={"name": "unet", **({"size": args.size} if args.size else {})},
        conditioning={} if begun else reader(args.text_model),
        latent={"use": False},
        diffusion={"schedule": "linear", "target": "eps", "times": "uniform"},
        training={"device": args.device} if finished else told,
    )
    if finished:
        print(
            f"{args.output_dir} holds a trained model, which draws. To train it on: "
            f"sfumato train -o {args.output_dir} --resume --minutes {args.minutes or 60:g}"
        )
    elif follow(run, quiet=False)["interrupted"]:
        raise KeyboardInterrupt
    return run.source


def main(argv: Sequence[str] | None = None) -> None:
    """Train, then make the pictures."""
    args = arguments(argv)
    source = train(args)
    picture = torch.from_numpy(source[0].image).float() / 127.5 - 1
    row = forward_strip(picture, linear_betas(1000), seed=args.seed, title="Forward process")
    write_whole(args.output_dir / "forward_diffusion.png", as_png(row))
    model = sfumato.load(args.output_dir, device=args.device)
    names = args.classes or list(dict.fromkeys(prompts_for(model.recipe, source)))[:4]
    for name in names:
        steps = model.stream(name, seed=args.seed, steps=args.num_inference_steps)
        frames = [model.pictures(step.x)[0] for step in steps]
        word = re.sub(r"\W+", "_", name)
        film = args.output_dir / f"class_{word}_generation.gif"
        write_whole(film, animation(frames, "gif"))
        write_whole(args.output_dir / f"final_class_{word}.png", as_png(frames[-1]))
        print(film)


if __name__ == "__main__":
    try:
        main()
    except sfumato.SfumatoError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)  # everything is saved
