"""Train a matryoshka: nested U-Nets that denoise a picture at several resolutions together.

    python examples/main_train.py --dataset my-pictures --batch_size 32 --epochs 5 --lr 5e-5 \\
        --num_levels 2 --output_dir ./output

The folder then holds checkpoints, `checkpoint_latest` (a line of text: the name of the newest),
log.jsonl, loss.png, tensorboard/ and the finished model/. The same command goes on where it was
stopped, with more epochs also after the end. A step is one change of the weights; the library
counts pictures, so steps are multiplied here by the pictures that each of them sees.
"""

import argparse
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import sfumato
from sfumato.data import open_source
from sfumato.training.checkpoint import latest
from sfumato.training.trainer import TrainStep


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """What the seed's table names."""
    parser = argparse.ArgumentParser(description="Train a matryoshka diffusion model.")
    add = parser.add_argument
    add("--dataset", default="flickr30k", help="a known name, or a folder of captioned pictures")
    add("--batch_size", type=int, default=32, help="pictures put through at once")
    add("--epochs", type=int, default=5, help="how often every picture is seen")
    add("--lr", type=float, default=5e-5, help="learning rate; with batch 32 try 3e-3 as well")
    add("--log_freq", type=int, default=100, help="steps between two lines of the log")
    add("--save_freq", type=int, default=0, help="steps between checkpoints; 0: every 5 minutes")
    add("--warmup_steps", type=int, default=100, help="steps over which the rate rises to --lr")
    add("--num_levels", type=int, default=2, help="nested U-Nets, 1 to 4")
    add("--output_dir", type=Path, default=Path("output"))
    add("--gradient_clip_norm", type=float, default=1.0, help="longer gradients are shortened")
    add("--image_size", type=int, default=64, help="side of the pictures in pixels")
    add("--num_gradient_accumulations", type=int, default=1, help="batches that make one step")
    add("--device", default="auto", help="cpu, cuda or mps; auto takes the fastest")
    add("--seed", type=int, default=0)
    add("--size", default="small", help="of the network: tiny, small, base or large")
    return parser.parse_args(argv)


def tell(step: TrainStep, number: int, every: int) -> None:
    """What the library notes, and now and then how it goes."""
    for note in step.notes:
        print(note)
    if number % every == 0:
        loss, rate = float(step.loss.mean()), step.learning_rate
        print(f"step {number}: loss {loss:.4f}, lr {rate:.2e}, norm {step.grad_norm:.3g}")


def main(argv: Sequence[str] | None = None) -> None:
    """Train and tell how it goes."""
    args = arguments(argv)
    batch = args.batch_size * args.num_gradient_accumulations  # pictures of one step
    board = find_spec("tensorboard") is not None
    if not board:
        print('Without logs for TensorBoard, which need: pip install "sfumato[tensorboard]"')
    training = {
        "images": args.epochs * len(open_source(args.dataset, args.image_size)),
        "batch_size": batch,
        "micro_batch": args.batch_size,
        "learning_rate": args.lr,
        "warmup_images": args.warmup_steps * batch,
        "log_every_images": args.log_freq * batch,
        "save_every_images": args.save_freq * batch or None,
        "clip": args.gradient_clip_norm,
        "device": args.device,
        "seed": args.seed,
        "keep": 3,
        "tensorboard": board,
    }
    network = {"name": "matryoshka", "levels": args.num_levels, "size": args.size}
    data = {"resolution": args.image_size}
    run: Any = sfumato.train(
        args.dataset, args.output_dir, resume=True, data=data, network=network, training=training
    )
    try:
        for step in run:
            tell(step, step.images_seen // batch, args.log_freq)
    finally:  # also after Ctrl-C, which saves as well
        run.close()
        if newest := latest(args.output_dir):
            (args.output_dir / "checkpoint_latest").write_text(newest.name + "\n", "utf-8")
    print(f"Trained: {args.output_dir / 'checkpoint_latest'}. Draw with examples/main_sample.py.")


if __name__ == "__main__":
    try:
        main()
    except sfumato.SfumatoError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)  # everything is saved
