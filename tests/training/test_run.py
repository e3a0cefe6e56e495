"""A run from pictures to a model, in one process."""

from __future__ import annotations

import json
import os
import signal
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import kept, recipe, same_bits, squares

import sfumato
from sfumato.architecture import build_denoiser
from sfumato.diffusion import Betas
from sfumato.errors import SfumatoError
from sfumato.training import checkpoint, trainer
from sfumato.training import run as module
from sfumato.training.journal import Journal
from sfumato.training.recipe import changed, load_recipe
from sfumato.training.run import Run
from sfumato.training.sections import Recipe
from sfumato.training.trainer import TrainStep


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return squares(tmp_path_factory.mktemp("data") / "squares")


def trained(data: Path, out: Path, asked: Recipe | None = None, **options: Any) -> Run:
    if not options.get("resume"):
        options["recipe"] = asked or recipe()
    run = Run(data, out, **options)
    run.told = list(run.steps())  # type: ignore[attr-defined]
    return run


@pytest.fixture(scope="module")
def finished(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run in pixels, finished; not to be changed."""
    asked = recipe(training={"sample_every_images": 40})
    return trained(data, tmp_path_factory.mktemp("finished") / "run", asked)


@pytest.fixture(autouse=True)
def no_curves(finished: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Curves take seconds to draw; those of the finished run are enough."""
    monkeypatch.setattr(Journal, "draw", lambda _: None)


def steps_of(run: Run) -> list[TrainStep]:
    return run.told  # type: ignore[attr-defined, no-any-return]


# ---- what it leaves


def test_a_run_leaves_all_that_a_person_needs(finished: Run) -> None:
    out = finished.folder
    assert {path.name for path in out.iterdir()} == {
        "bank.jsonl", "best.json", "data-report.txt", "data.json", "images-000000080",
        "latest.json", "log.jsonl", "loss.png", "model", "recipe.toml", "samples", "tokenizer.json",
    }  # fmt: skip
    log = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert [line["images"] for line in log] == [16, 32, 48, 64, 80]
    steps = steps_of(finished)
    assert [step.images_seen for step in steps] == list(range(8, 81, 8))
    for line, pair in zip(log, zip(steps[::2], steps[1::2], strict=True), strict=True):
        known = torch.cat([step.loss for step in pair]).mean()
        assert line["loss"] == pytest.approx(float(known))
    assert (out / "data-report.txt").read_text() == "10 pictures, no problem found."
    names = sorted(path.name for path in (out / "samples").iterdir())
    assert names == ["000000040.png", "000000080.png"]
    for path in (out / "loss.png", out / "samples" / names[0]):
        with Image.open(path) as picture:
            assert len(picture.convert("L").getcolors(256)) > 10, "something is drawn"


def test_the_finished_model_is_the_average_and_draws(finished: Run) -> None:
    model = sfumato.load(finished.folder)
    state = kept(finished.folder)
    mine = dict(model.prompted.named_parameters())
    assert {f"ema/{name}" for name in mine} == {n for n in state if n.startswith("ema/")}
    for name, parameter in mine.items():
        assert torch.equal(parameter, state[f"ema/{name}"].half().float()), name
    # the model does not tell where on whose disk the pictures lay
    assert model.recipe == changed(finished.recipe, data={"name": "squares"})
    assert model.card["pictures"] == 10 and model.card["images seen"] == 80
    picture, other = model.generate(["a red square", "a blue square"])
    assert picture.size == (16, 16) and picture.mode == "RGB"
    assert picture.tobytes() != other.tobytes()


def test_every_epoch_shows_every_picture_once(finished: Run) -> None:
    shown = [i for step in steps_of(finished) for i in step.shown]
    assert len(shown) == 80
    for epoch in range(8):
        assert sorted(shown[10 * epoch : 10 * epoch + 10]) == list(range(10))
    assert shown[:10] != shown[10:20]


def test_what_a_step_says_it_showed_is_what_was_read(data: Path, tmp_path: Path) -> None:
    run = Run(data, tmp_path / "run", recipe=recipe(conditioning={"kind": "none"}))

    class Listening:
        def __init__(self, source: Any) -> None:
            self.source, self.read = source, []

        def __getattr__(self, name: str) -> Any:
            return getattr(self.source, name)

        def __len__(self) -> int:
            return len(self.source)

        def __getitem__(self, index: int) -> Any:
            self.read.append(index)
            return self.source[index]

    run.source = listening = Listening(run.source)  # type: ignore[assignment]
    for step in run.steps():
        if step.images_seen == 8:  # all was read once before, for the captions
            assert listening.read[:10] == list(range(10))
            del listening.read[:10]
        assert tuple(listening.read) == step.shown
        listening.read.clear()


def test_one_tiny_picture_is_enough(tmp_path: Path) -> None:
    for latents in (False, True):
        asked = recipe(data={"resolution": 8}, latent={"use": latents})
        run = trained(squares(tmp_path / f"one-{latents}", 1), tmp_path / str(latents), asked)
        assert all(step.shown == (0,) * len(step.loss) for step in steps_of(run))
        assert not any("not finite" in note for step in steps_of(run) for note in step.notes)
        assert sfumato.load(run.folder).generate("a red square")[0].size == (8, 8)


def test_the_loss_falls(data: Path, tmp_path: Path) -> None:
    asked = recipe(training={"images": 320, "learning_rate": 5e-3})
    steps = steps_of(trained(data, tmp_path / "run", asked))
    first, last = (torch.stack([s.loss for s in part]).mean() for part in (steps[:8], steps[-8:]))
    assert last < 0.75 * first


def test_its_recipe_is_whole_and_gives_the_same_run(finished: Run, tmp_path: Path) -> None:
    file = finished.folder / "recipe.toml"
    whole = load_recipe(file)
    assert whole == finished.recipe
    open_ = {
        f"{name}.{field}"
        for name, section in whole
        for field, value in section
        if value in (None, "auto")
    }
    unused = {f"conditioning.{field}" for field in ("model", "revision", "template")}
    unused |= {"network.levels", "start.inner"}
    unused |= {"training.save_every_images", "training.target_loss"}
    assert open_ == {"start.model", "training.minutes", *unused}
    again = trained(None, tmp_path / "again", file)  # type: ignore[arg-type]
    assert again.recipe == whole
    assert same_bits(kept(again.folder), kept(finished.folder))
    one, other = (p / "model" / "model.safetensors" for p in (finished.folder, again.folder))
    assert one.read_bytes() == other.read_bytes()


def test_the_length_of_its_chain_goes_with_the_model(data: Path, tmp_path: Path) -> None:
    chain = {"schedule": "linear", "target": "eps", "chain": 50}
    run = trained(data, tmp_path / "run", recipe(diffusion=chain))
    model = sfumato.load(run.folder / "model")
    step = next(iter(model.stream("a red square", steps=4, sampler="ddpm")))
    assert step.x0.isfinite().all()
    schedule = build_denoiser(model.recipe, model.prompted).schedule
    assert isinstance(schedule, Betas) and len(schedule.betas) == 50


def test_another_seed_is_another_run(finished: Run, data: Path, tmp_path: Path) -> None:
    other = trained(data, tmp_path / "run", recipe(training={"seed": 1}))
    assert steps_of(other)[0].shown != steps_of(finished)[0].shown
    weights = kept(other.folder)
    assert not torch.equal(
        weights["weights/network.embed.0.weight"],
        kept(finished.folder)["weights/network.embed.0.weight"],
    )


# ---- the other kinds of data and networks


def test_latents_an_autoencoder_first(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    asked = recipe(latent={"use": True}, training={"sample_every_images": 32})
    run = trained(data, out, asked)
    phases = [step.phase for step in steps_of(run)]
    assert phases == ["autoencoder"] * 3 + ["diffusion"] * 10
    first = out / "autoencoder"
    assert {p.name for p in first.iterdir()} >= {"images-000000048", "log.jsonl", "best.json"}
    assert (first / "samples" / "000000032.png").exists()
    model = sfumato.load(out)
    autoencoder = model.autoencoder
    assert autoencoder is not None
    averaged = kept(first)
    for name, parameter in autoencoder.named_parameters():
        assert torch.equal(parameter, averaged[f"ema/{name}"].half().float()), name
    # the model decodes with the statistics of the latents it was trained on
    found = autoencoder.encode(
        torch.stack([torch.from_numpy(run.source[i].image) for i in range(10)]) / 127.5 - 1
    )
    assert found.mean((0, 2, 3)).abs().max() < 0.05
    torch.testing.assert_close(found.std((0, 2, 3)), torch.ones(4), atol=0.05, rtol=0)
    assert model.generate("a red square")[0].size == (16, 16)


def idx(folder: Path, count: int = 12) -> Path:
    folder.mkdir()
    pictures = np.random.default_rng(0).integers(0, 256, (count, 12, 12), dtype=np.uint8)
    head = struct.pack(">IIII", 0x803, count, 12, 12)
    (folder / "train-images-idx3-ubyte").write_bytes(head + pictures.tobytes())
    labels = bytes(i % 3 for i in range(count))
    (folder / "train-labels-idx1-ubyte").write_bytes(struct.pack(">II", 0x801, count) + labels)
    return folder


def test_idx_files_make_a_model_of_classes(tmp_path: Path) -> None:
    training = {"images": 96, "learning_rate": 5e-3}  # so that classes begin to matter
    asked = changed(recipe(), data={"resolution": None}, training=training)
    run = trained(idx(tmp_path / "idx"), tmp_path / "run", asked)
    assert (run.recipe.data.channels, run.recipe.data.resolution) == (1, 12)
    assert run.recipe.conditioning.kind == "labels"
    model = sfumato.load(run.folder)
    one, two, three = model.generate(["0", "2", ""], seed=3)
    assert one.mode == "L" and one.size == (12, 12)
    assert len({one.tobytes(), two.tobytes(), three.tobytes()}) == 3
    with pytest.raises(SfumatoError, match="knows 3 classes"):
        model.generate("seven")


def test_pictures_without_words_make_an_unconditional_model(data: Path, tmp_path: Path) -> None:
    asked = recipe(conditioning={"kind": "none"}, training={"images": 16})
    model = sfumato.load(trained(data, tmp_path / "run", asked).folder)
    assert model.generate("")[0].size == (16, 16)
    with pytest.raises(SfumatoError, match="without labels"):
        model.generate("a red square")


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_u_net_trains_too(data: Path, tmp_path: Path, precision: str) -> None:
    asked = recipe(network={"name": "patch-unet"}, training={"precision": precision})
    run = trained(data, tmp_path / "run", asked)
    assert all(bool(step.loss.isfinite().all()) for step in steps_of(run))
    assert not any("not finite" in note for step in steps_of(run) for note in step.notes)
    assert sfumato.load(run.folder).generate("a red square")[0].size == (16, 16)


def test_more_in_a_batch_than_pictures(data: Path, tmp_path: Path) -> None:
    asked = recipe(training={"batch_size": 24, "images": 48})
    shown = [i for step in steps_of(trained(data, tmp_path / "run", asked)) for i in step.shown]
    assert all(sorted(shown[i : i + 10]) == list(range(10)) for i in range(0, 40, 10))


# ---- stopping and going on


@pytest.mark.skipif(os.name == "nt", reason="raises POSIX signals")
@pytest.mark.parametrize("latents", [False, True])
def test_ctrl_c_at_any_step_loses_nothing(data: Path, tmp_path: Path, latents: bool) -> None:
    asked = recipe(latent={"use": latents})
    whole = trained(data, tmp_path / "whole", asked)
    out = tmp_path / "cut"
    before = signal.getsignal(signal.SIGINT)
    shown: list[tuple[str, tuple[int, ...]]] = []
    stops = 0
    for _ in range(20):
        run = Run(data, out, recipe=asked, resume=True)
        for number, step in enumerate(run.steps(), 1):
            shown.append((step.phase, step.shown))
            if number == 4:
                signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) == before
        if not run.interrupted:
            break
        stops += 1
        assert not (out / "model").exists()
    assert stops == (3 if latents else 2)
    assert shown == [(step.phase, step.shown) for step in steps_of(whole)]
    assert same_bits(kept(out), kept(whole.folder))
    log = (out / "log.jsonl").read_text().splitlines()
    assert json.loads(log[-1])["images"] == 80


def test_leaving_the_loop_gives_the_signals_back(data: Path, tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT)
    steps = sfumato.train(data, tmp_path / "run", recipe=recipe())
    next(steps)
    assert signal.getsignal(signal.SIGINT) != before
    steps.close()  # type: ignore[attr-defined]
    assert signal.getsignal(signal.SIGINT) == before


def test_a_run_is_resumed_only_when_asked(finished: Run, data: Path) -> None:
    with pytest.raises(SfumatoError, match=r"run in .* already\. Add --resume"):
        Run(data, finished.folder, recipe=recipe())
    with pytest.raises(SfumatoError, match=r"training\.seed = 0, not 5"):
        Run(data, finished.folder, resume=True, training={"seed": 5})


def test_a_finished_run_can_be_finished_again_and_prolonged(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    asked = recipe(latent={"use": True})
    trained(data, out, asked)
    bits, sequence = kept(out), (out / "images-000000080" / "manifest.json").read_bytes()
    idle = trained(data, out, resume=True)
    assert steps_of(idle) == [] and not idle.interrupted
    assert (out / "images-000000080" / "manifest.json").read_bytes() == sequence
    longer = trained(data, out, resume=True, training={"images": 112})
    assert [step.phase for step in steps_of(longer)] == ["diffusion"] * 4
    assert [n for n in steps_of(longer)[0].notes if "Resumed" in n] == ["Resumed at image 80."]
    assert load_recipe(out / "recipe.toml").training.images == 112
    assert not same_bits(kept(out), bits)
    assert sfumato.load(out).card["images seen"] == 112


def test_other_pictures_or_captions_are_noticed(data: Path, tmp_path: Path) -> None:
    mine = squares(tmp_path / "mine")
    out = tmp_path / "run"
    for _ in zip(range(3), sfumato.train(mine, out, recipe=recipe()), strict=False):
        pass
    (mine / "004.txt").write_text("another word")
    with pytest.raises(SfumatoError, match="data have changed since the run"):
        next(iter(sfumato.train(mine, out, resume=True)))
    (mine / "004.txt").write_text("a white square\nsquare 4, white\n")
    next(iter(sfumato.train(mine, out, resume=True)))
    squares(tmp_path / "more", 11)
    (tmp_path / "more" / "010.png").rename(mine / "000a.png")
    with pytest.raises(SfumatoError, match=r"pictures: 10, now 11"):
        Run(mine, out, resume=True)


@pytest.mark.skipif(os.name == "nt", reason="raises POSIX signals")
def test_an_unfinished_run_can_be_looked_at(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run = Run(data, out, recipe=recipe(latent={"use": True}))
    for step in run.steps():
        if step.phase == "diffusion" and step.images_seen == 40:
            signal.raise_signal(signal.SIGINT)
    assert run.interrupted
    model = sfumato.load(out)
    assert model.card["images seen"] == 40
    state = kept(out)
    for name, parameter in model.prompted.named_parameters():
        assert torch.equal(parameter, state[f"ema/{name}"])
    assert model.generate("a red square")[0].size == (16, 16)


# ---- forecast and time


@pytest.fixture
def quick_probe(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(module, "PROBE_SECONDS", 0.05)
    yield


def test_the_forecast_is_made_and_graded(data: Path, tmp_path: Path, quick_probe: None) -> None:
    asked = recipe(training={"images": 400})
    run = trained(data, tmp_path / "run", asked)
    assert run.forecast is not None and run.grade is not None
    said = [note for step in steps_of(run) for note in step.notes]
    assert [note for note in said if note.startswith("Forecast, Diffusion: ")]
    truth = run.grade.truth
    disk = sum(p.stat().st_size for p in run.folder.rglob("*") if p.is_file())
    assert truth.disk_bytes == disk
    assert truth.memory_bytes >= run.forecast.memory_bytes > 50e6
    ratios = run.grade.ratios
    # the processor may be busy with something else meanwhile
    assert 0.2 < ratios["seconds"] < 5 and 0.2 < ratios["images_per_second"] < 5
    assert ratios["disk_bytes"] <= 1.2


def test_a_resumed_run_is_graded_by_its_own_images(
    data: Path, tmp_path: Path, quick_probe: None
) -> None:
    out = tmp_path / "run"
    trained(data, out, recipe(training={"images": 400}))
    begin = time.monotonic()
    again = trained(data, out, resume=True, training={"images": 720})
    seconds = time.monotonic() - begin
    assert again.grade is not None
    assert 320 / seconds < again.grade.truth.images_per_second < 320 / (0.1 * seconds)


@pytest.mark.parametrize(("images", "latents"), [(40, False), (24, True)])
def test_no_forecast_is_graded_that_was_not_shown(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, images: int, latents: bool
) -> None:
    """Made after the last step, or for the autoencoder before a network that needs no time."""
    asked = recipe(training={"images": images}, latent={"use": latents, "images": 320})
    monkeypatch.setattr(module, "PROBE_SECONDS", 0.0)  # known with the fifth step
    run = trained(data, tmp_path / "run", asked)
    said = [note for step in steps_of(run) for note in step.notes]
    assert any(note.startswith("Forecast, Autoencoder") for note in said) == latents
    assert not any(note.startswith("Forecast, Diffusion") for note in said)
    assert run.forecast is None and run.grade is None


def test_the_forecast_of_the_disk_counts_the_checkpoints_that_will_be(
    data: Path, tmp_path: Path, quick_probe: None
) -> None:
    """One at the end of a short run; never more than are kept, one best and one in the making."""
    ratios = []
    for number, often in enumerate(({}, {"save_every_images": 100})):
        asked = recipe(training={"images": 400, **often}, network={"width": 128})
        run = trained(data, tmp_path / str(number), asked)
        assert run.grade is not None
        ratios.append(run.grade.ratios["disk_bytes"])
    assert 0.85 < ratios[0] < 1.15
    assert 0.4 < ratios[1] <= 1.0  # at the end none is in the making, and the best may be the last


def test_slow_steps_end_with_the_time(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = module.Trainer._step

    def slow(self: Any) -> TrainStep:
        time.sleep(1.1)
        return step(self)

    monkeypatch.setattr(module.Trainer, "_step", slow)
    asked = recipe(training={"images": None, "minutes": 0.01})
    run = trained(data, tmp_path / "run", asked)
    assert len(steps_of(run)) == 1
    assert run.forecast is None and run.grade is None
    assert load_recipe(run.folder / "recipe.toml").training.images == 8
    assert steps_of(trained(data, run.folder, resume=True)) == []


@pytest.mark.parametrize("rate", [1e-3, 100.0])
def test_a_training_that_came_apart_is_known(data: Path, tmp_path: Path, rate: float) -> None:
    run = trained(data, tmp_path / "run", recipe(training={"learning_rate": rate}))
    assert (run.diverged is not None) == (rate > 1)
    if run.diverged:
        assert run.diverged.phase == "diffusion" and run.diverged.last > 10 * run.diverged.first
    assert (run.folder / "model" / "manifest.json").is_file(), "saved all the same"


@pytest.mark.parametrize("latents", [False, True])
def test_minutes_lead_to_about_that_time(data: Path, tmp_path: Path, latents: bool) -> None:
    asked = recipe(latent={"use": latents, "images": 10**6}, training={"images": None})
    begin = time.monotonic()
    run = trained(data, tmp_path / "run", asked, training={"minutes": 0.08})
    took = time.monotonic() - begin
    assert 2 < took < 20  # five seconds are meant, on a processor that may be busy
    planned = load_recipe(tmp_path / "run" / "recipe.toml")
    last = steps_of(run)[-1]
    # 0 says that the end is not known yet
    diffusion = [step.total for step in steps_of(run) if step.phase == "diffusion"]
    assert diffusion[0] == 0 and 0 < diffusion[-1] < 10**9
    assert last.images_seen == last.total == planned.training.images
    if latents:
        first = [step for step in steps_of(run) if step.phase == "autoencoder"]
        assert first[-1].images_seen == planned.latent.images < 10**6
        # both trainings are as long as planned: nothing is left for a resumed run
        assert steps_of(trained(data, tmp_path / "run", resume=True)) == []


@pytest.mark.skipif(os.name == "nt", reason="raises POSIX signals")
def test_once_settled_a_run_of_minutes_resumes_as_one_of_images(
    data: Path, tmp_path: Path, quick_probe: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However slow the machine is then: the schedule must not change behind the learning rate."""
    out = tmp_path / "run"
    run = Run(data, out, recipe=recipe(training={"images": None, "minutes": 0.03}))
    for _ in run.steps():
        if run.recipe.training.images is not None and not run.interrupted:
            signal.raise_signal(signal.SIGINT)
    assert run.interrupted
    planned = load_recipe(out / "recipe.toml").training.images
    monkeypatch.setattr(module, "Clock", lambda *_: pytest.fail("no clock counts any more"))
    rest = steps_of(trained(data, out, resume=True))
    assert rest[-1].images_seen == rest[0].total == planned
    assert len(rest) > 1


def test_the_minutes_of_a_run_are_not_given_twice(
    data: Path, tmp_path: Path, quick_probe: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped before its number of images is settled: what it has had counts."""
    ends = []

    class Noted(module.Clock):
        def __init__(self, end: float, *rest: Any) -> None:
            ends.append(end - time.monotonic())
            super().__init__(end, *rest)

    monkeypatch.setattr(module, "Clock", Noted)
    out = tmp_path / "run"
    walk = Run(data, out, recipe=recipe(training={"images": None, "minutes": 10.0})).steps()
    begin = time.monotonic()
    next(walk)
    time.sleep(1.5)
    next(walk)
    walk.close()  # type: ignore[attr-defined]
    took = time.monotonic() - begin
    for number in range(2):  # resumed twice: nothing is lost on the way
        resumed = Run(data, out, resume=True).steps()
        next(resumed)
        resumed.close()  # type: ignore[attr-defined]
        assert 600 - took - 60 < ends[-1] < 600 - 1.5, number
        assert ends[-1] < ends[-2]
    anew = Run(data, out, resume=True, training={"minutes": 10.0}).steps()
    next(anew)
    anew.close()  # type: ignore[attr-defined]
    assert ends[-1] > 600 - 60 and ends[-1] > ends[-2], "named anew, planned anew"


def test_images_and_minutes_both_limit(data: Path, tmp_path: Path, quick_probe: None) -> None:
    few = trained(data, tmp_path / "few", recipe(), training={"images": 200, "minutes": 60.0})
    assert steps_of(few)[-1].images_seen == 200
    short = trained(data, tmp_path / "short", recipe(), training={"images": 10**8, "minutes": 0.02})
    assert steps_of(short)[-1].images_seen < 10**5


def test_minutes_named_anew_are_planned_anew(data: Path, tmp_path: Path, quick_probe: None) -> None:
    out = tmp_path / "run"
    first = trained(data, out, recipe(training={"images": None}), training={"minutes": 0.02})
    planned = steps_of(first)[-1].images_seen
    assert steps_of(trained(data, out, resume=True)) == [], "as planned, so finished"
    more = trained(data, out, resume=True, training={"minutes": 0.02})
    assert steps_of(more)[0].images_seen == planned + 8
    assert load_recipe(out / "recipe.toml").training.images == steps_of(more)[-1].images_seen


def test_the_best_checkpoint_is_marked_and_two_are_kept(data: Path, tmp_path: Path) -> None:
    asked = recipe(training={"save_every_minutes": 1e-9, "keep": 2})
    out = trained(data, tmp_path / "run", asked).folder
    names = sorted(p.name for p in out.glob("images-*"))
    best = checkpoint.best(out)
    assert best is not None
    assert names == sorted({"images-000000072", "images-000000080", best.name})
    scores = json.loads((out / "best.json").read_text())["score"]
    found = checkpoint.load_latest(out)
    assert found is not None and found.state["best_score"] == scores


def test_the_bank_is_written_beside_the_log(finished: Run) -> None:
    lines = [json.loads(line) for line in (finished.folder / "bank.jsonl").read_text().splitlines()]
    best = json.loads((finished.folder / "best.json").read_text())
    assert min(line["loss"] for line in lines) == best["score"]
    assert all(0 <= line["initial"] < 1 for line in lines)


def test_the_forecast_of_the_disk_counts_latents_and_model(data: Path, tmp_path: Path) -> None:
    from sfumato.training.finish import kept_besides

    asked = trained(data, tmp_path / "run").recipe
    plain = kept_besides(asked, tmp_path / "run", pictures=10, numbers=1000)
    assert plain == 2000
    latent = changed(asked, data={"resolution": 64}, latent={"use": True, "channels": 16})
    # 8 x 8 x 16 float32 numbers a picture
    assert kept_besides(latent, tmp_path, pictures=10, numbers=1000) == 2000 + 10 * 4 * 1024


def test_whoever_asks_to_stop_is_answered_before_the_saving(data: Path, tmp_path: Path) -> None:
    run = Run(data, tmp_path / "run", recipe=recipe())
    heard: list[list[Path]] = []
    run.on_stop = lambda: heard.append(list(run.folder.glob("images-*")))
    steps = run.steps()
    next(steps)
    os.kill(os.getpid(), signal.SIGINT)
    assert list(steps) == []
    assert heard == [[]] and list(run.folder.glob("images-*"))


def test_two_programs_cannot_train_in_one_folder(data: Path, tmp_path: Path) -> None:
    first = Run(data, tmp_path / "run", recipe=recipe())
    steps = first.steps()
    next(steps)
    second = Run(data, tmp_path / "run", resume=True)
    with pytest.raises(SfumatoError, match="Another program is training in"):
        next(iter(second.steps()))
    list(steps)
    assert list(Run(data, tmp_path / "run", resume=True).steps()) == []


def test_whoever_stops_listening_loses_nothing(data: Path, tmp_path: Path) -> None:
    for step in sfumato.train(data, tmp_path / "run", recipe=recipe()):
        if step.images_seen == 24:
            break
    found = checkpoint.load_latest(tmp_path / "run")
    assert found is not None and found.state["images_seen"] == 24


def test_train_refuses_at_once_and_a_stopped_one_does_not_pass_for_finished(
    data: Path, tmp_path: Path
) -> None:
    with pytest.raises(SfumatoError, match="no data set and no folder"):
        sfumato.train(tmp_path / "nowhere", tmp_path / "run")
    steps = sfumato.train(data, tmp_path / "run", recipe=recipe())
    next(steps)
    os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        list(steps)
    assert list((tmp_path / "run").glob("images-*"))


def test_threads_and_the_global_seed_stay_as_they_were(data: Path, tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        torch.manual_seed(5)
        wanted = torch.rand(3)
        torch.manual_seed(5)
        trained(data, tmp_path / "run")
        assert torch.equal(torch.rand(3), wanted)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)


def test_the_bank_has_noise_of_its_own() -> None:
    from sfumato.diffusion.randomness import normal

    assert not torch.equal(normal((8,), [trainer.FAR], 0, "noise"), normal((8,), [0], 0, "noise"))


def test_an_autoencoder_that_is_ready_learns_no_more_on_resuming(
    data: Path, tmp_path: Path, quick_probe: None
) -> None:
    """Its latents are kept: with other weights they would be decoded wrongly."""
    asked = recipe(latent={"use": True}, training={"images": None, "minutes": 0.05})
    walk = Run(data, tmp_path / "run", recipe=asked).steps()
    while next(walk).phase == "autoencoder":
        pass
    walk.close()  # type: ignore[attr-defined]
    again = Run(data, tmp_path / "run", resume=True).steps()
    assert next(again).phase == "diffusion"
    again.close()  # type: ignore[attr-defined]
