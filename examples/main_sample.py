"""Draw with a trained model: one picture a prompt, sample_0000.png, sample_0001.png, ...

    python examples/main_sample.py --checkpoint ./output/checkpoint_latest \\
        --prompts "a cat sitting on a chair" "a dog running in a field" --output_dir ./generated

Settings are written into every picture: `sfumato info generated/sample_0000.png` reads them.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import sfumato
from sfumato.pictures.metadata import Settings, save_png


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """What the seed's table names, with its defaults."""
    parser = argparse.ArgumentParser(description="Draw with a trained model.")
    add = parser.add_argument
    add("--checkpoint", default="output/checkpoint_latest", help="of main_train.py, or any model")
    add("--prompts", nargs="+", required=True, help="one picture each")
    add("--output_dir", type=Path, default=Path("generated"))
    add("--num_inference_steps", type=int, default=50)
    add("--device", default="auto", help="cpu, cuda or mps; auto takes the fastest")
    add("--seed", type=int, default=0, help="the same seed gives the same pictures")
    add("--image_size", type=int, help="side of the saved pictures; by default the model's own")
    return parser.parse_args(argv)


def model_behind(checkpoint: str) -> Path:
    """The folder that `sfumato.load` takes: a run's, or a model's.

    Raises:
        SfumatoError: for a file, or for one of a run's older checkpoints.
    """
    path = Path(checkpoint).expanduser()
    in_run = (path.parent / "recipe.toml").is_file()
    if in_run and path.stem == "checkpoint_latest":  # also as checkpoint_latest.pt
        return path.parent
    if in_run and path.name.startswith("images-"):
        raise sfumato.SfumatoError(
            f"{path} is a checkpoint to go on from, and a run draws with its newest. "
            f"Take {path.parent / 'checkpoint_latest'}."
        )
    if path.suffix in (".pt", ".pth", ".ckpt", ".bin"):
        raise sfumato.SfumatoError(
            f"{path} names a pickle, which can run any program and is never read here. "
            "Take the checkpoint_latest that main_train.py leaves, or a model's folder."
        )
    return path


def main(argv: Sequence[str] | None = None) -> None:
    """Load, draw, save."""
    args = arguments(argv)
    model = sfumato.load(model_behind(args.checkpoint), device=args.device)
    steps, size = args.num_inference_steps, args.image_size
    pictures = model.generate(args.prompts, seed=args.seed, steps=steps, size=size)
    for number, (prompt, picture) in enumerate(zip(args.prompts, pictures, strict=True)):
        path = args.output_dir / f"sample_{number:04d}.png"
        settings = Settings(
            prompt=prompt,
            steps=steps,
            sampler=model.defaults["sampler"],
            guidance_scale=model.defaults["guidance_scale"],
            seed=args.seed,
            width=picture.width,
            height=picture.height,
            model=model.card.get("name", ""),
            version=sfumato.__version__,
        )
        save_png(path, picture, settings)
        print(f"{path}: {prompt}")


if __name__ == "__main__":
    try:
        main()
    except sfumato.SfumatoError as error:
        sys.exit(str(error))
