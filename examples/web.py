"""A page in the browser: a prompt, a number of pictures, and the way from noise to them.

    pip install "sfumato[web]"
    python examples/web.py --model output_ImageNet

Without --model the embedded one draws. The page can be reached from this computer only. Sfumato's
own web studio comes with a later release; without Gradio use `sfumato generate` and its --walk.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import sfumato
from sfumato.pictures.strip import evenly

SHOWN = 10
"""Moments of the way that are shown."""
ABOUT = """
Sfumato draws from words by taking the noise off a picture, step by step, each time towards what
the words ask for. The same seed and words give the same pictures.
"""

Moments = list[tuple[Any, str]]
Draw = Callable[..., tuple[list[Any], Moments]]


def drawer(model: sfumato.TextToImage) -> Draw:
    """What the button does, without the page: (pictures, moments of the first one's way)."""

    def draw(
        prompt: str, count: float = 1, process: bool = False, seed: float = 0, progress: Any = None
    ) -> tuple[list[Any], Moments]:
        if not prompt.strip():
            raise sfumato.SfumatoError("There is no prompt. Say what the picture should show.")
        way: Moments = []
        for step in model.stream(prompt, count=int(count), seed=int(seed)):
            if progress is not None:
                progress((step.index, model.defaults["steps"]))
            if process:
                way.append((model.pictures(step.x0[:1])[0], f"t = {step.t:.2f}"))
        return model.pictures(step.x), [way[i] for i in evenly(len(way), SHOWN)]

    return draw


def page(gradio: Any, draw: Draw) -> Any:
    """The page; ``gradio`` is the library."""
    bar = gradio.Progress()

    def clicked(
        prompt: str, count: float, process: bool, seed: float, progress: Any = bar
    ) -> tuple[list[Any], Moments]:
        try:
            return draw(prompt, count, process, seed, progress)
        except sfumato.SfumatoError as error:
            raise gradio.Error(str(error)) from error

    with gradio.Blocks(title="Sfumato", analytics_enabled=False) as blocks:
        prompt = gradio.Textbox(label="Prompt", value="red heart")
        count = gradio.Slider(1, 8, value=1, step=1, label="Number of pictures")
        seed = gradio.Number(0, precision=0, label="Seed")
        process = gradio.Checkbox(label="Show the process")
        button = gradio.Button("Generate", variant="primary")
        pictures = gradio.Gallery(label="Pictures")
        way = gradio.Gallery(label="From noise to the first picture", columns=SHOWN)
        with gradio.Accordion("About", open=False):
            gradio.Markdown(ABOUT)
        button.click(clicked, [prompt, count, process, seed], [pictures, way])
    return blocks


def main(argv: Sequence[str] | None = None) -> None:
    """Open the page until Ctrl-C."""
    parser = argparse.ArgumentParser(description="A page that draws, on this computer only.")
    parser.add_argument("--model", help="a model's or a run's folder; by default the embedded one")
    parser.add_argument("--port", type=int, default=7860)
    parser.add_argument("--device", default="auto", help="cpu, cuda or mps")
    args = parser.parse_args(argv)
    try:
        gradio = import_module("gradio")
    except ImportError:
        raise sfumato.SfumatoError(
            'The page needs Gradio. Install it (pip install "sfumato[web]"), or draw without a '
            'page: sfumato generate "red heart" --walk way.gif.'
        ) from None
    draw = drawer(sfumato.load(args.model, device=args.device))
    page(gradio, draw).launch(server_name="127.0.0.1", server_port=args.port, share=False)


if __name__ == "__main__":
    try:
        main()
    except sfumato.SfumatoError as error:
        sys.exit(str(error))
