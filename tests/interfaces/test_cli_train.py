"""`sfumato train`: from a folder of pictures to a model, stopped and gone on with."""

import json
import math
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

import sfumato as library
from sfumato.interfaces.cli.progress import Bar, Lines, Smooth, _closing, phase_name
from sfumato.interfaces.cli.train import NetworkName, Size, Taken
from sfumato.locale import messages
from sfumato.training.divergence import Divergence
from sfumato.training.sections import Network, Recipe, Start, Training

TINY = ("--size", "tiny", "--batch-size", 8, "--resolution", 16, "--device", "cpu")


def test_json_says_what_came_of_it(trained):
    run, said = trained
    assert said["run"] == str(run)
    assert said["model"] == str(run / "model")
    assert (said["interrupted"], said["phase"]) == (False, "diffusion")
    assert (said["images_seen"], said["total"]) == (32, 32)
    assert math.isfinite(said["loss"])
    assert said["seconds"] > 0
    assert said["device"] == "cpu"


def test_the_model_draws(trained, sfumato, tmp_path):
    run, _ = trained
    result = sfumato("generate", "red square", "--model", run, "--steps", 2, "-o", "a.png")
    assert result.exit_code == 0, result.output
    with Image.open(tmp_path / "a.png") as picture:
        assert (picture.size, picture.mode) == ((16, 16), "RGB")
    assert library.load(run / "model").size == 16


def test_what_was_asked_for_stands_in_the_recipe(trained):
    run, _ = trained
    from sfumato.training.recipe import load_recipe

    recipe = load_recipe(run / "recipe.toml")
    assert recipe.network.size == "tiny"
    assert recipe.data.resolution == 16
    assert (recipe.training.batch_size, recipe.training.images) == (8, 32)


def test_a_run_is_not_begun_twice(trained, pictures, sfumato):
    run, _ = trained
    result = sfumato("train", pictures, "-o", run)
    assert result.exit_code == 1
    assert "--resume" in result.stderr


@pytest.mark.parametrize(
    "request_", [("emoji",), ("--resolution", 32), ("--channels", 1), ("--size", "base")]
)
def test_a_run_goes_on_as_it_was_begun(trained, sfumato, request_):
    run, _ = trained
    result = sfumato("train", *request_, "-o", run, "--resume")
    assert result.exit_code == 1
    assert str(request_[-1]) in result.stderr


def test_a_finished_run_stays_finished(trained, pictures, sfumato):
    run, _ = trained
    before = (run / "model" / "model.safetensors").read_bytes()
    result = sfumato("train", "-o", run, "--resume-from-checkpoint", "latest", "--json")
    assert result.exit_code == 0, result.output
    assert (run / "model" / "model.safetensors").read_bytes() == before


def test_a_loss_that_is_low_enough_ends_a_run(pictures, sfumato, tmp_path):
    asked = ("train", pictures, *TINY, "--images", 100_000, "--target-loss")
    recipe = tmp_path / "often.toml"
    recipe.write_text("[training]\nlog_every_images = 16\n", "utf-8")
    result = sfumato(*asked, 1000, "--recipe", recipe, "-o", "run")
    assert result.exit_code == 0, result.output
    assert "has come down to 1000" in result.stderr
    assert library.load(tmp_path / "run").card["images seen"] == 16
    again = sfumato("train", "-o", "run", "--resume")
    assert again.exit_code == 0 and "--target-loss" in again.stderr
    refused = sfumato(*asked, -1, "-o", "other")
    assert refused.exit_code == 2 and "target-loss" in refused.stderr


def test_a_recipe_is_taken_and_options_change_it(trained, sfumato, tmp_path):
    run, _ = trained
    result = sfumato(
        *("train", "--recipe", run / "recipe.toml", "-o", "again", "--images", 8, "--json"),
    )
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert said["images_seen"] == 8
    assert (tmp_path / "again" / "model" / "config.json").is_file()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C is sent differently there")
def test_ctrl_c_saves_and_the_run_goes_on(run, environment, pictures, tmp_path):
    begun = subprocess.Popen(
        [sys.executable, "-m", "sfumato", "train", pictures, "-o", tmp_path / "run"]
        + [*map(str, TINY), "--images", "1000000"],
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    for line in begun.stderr:  # the first step is done when its line is printed
        if line.startswith("Diffusion"):
            begun.send_signal(signal.SIGINT)
            break
    rest = begun.stderr.read()
    assert begun.wait(timeout=120) == 130
    assert "--resume" in rest
    assert "Traceback" not in rest
    state = next((tmp_path / "run").glob("images-*/state.json"))
    seen = json.loads(state.read_text())["images_seen"]
    assert seen > 0
    more = ("--images", seen + 8, "--json")
    resumed = run("-m", "sfumato", "train", "-o", tmp_path / "run", "--resume", *more)
    assert resumed.returncode == 0, resumed.stderr
    assert json.loads(resumed.stdout)["images_seen"] == seen + 8


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (["emoji"], "-o runs/first"),
        (["-o", "run"], "Say what to train on"),
        (["emoji", "-o", "run", "--channels", "2"], "with transparency"),
        (["emoji", "-o", "run", "--minutes", "0"], "above 0"),
        (["emoji", "-o", "run", "--learning-rate", "inf"], "above 0"),
        (["emoji", "-o", "run", "--resume-from-checkpoint", "3"], "newest"),
        (["emoji", "-o", "run", "--size", "huge"], "tiny"),
    ],
)
def test_a_wrong_command_line_ends_with_2(sfumato, tmp_path, request_, words):
    result = sfumato("train", *request_)
    assert result.exit_code == 2
    assert words in " ".join(result.stderr.replace("│", " ").split())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (["nowhere", "-o", "run"], "no data set and no folder 'nowhere'"),
        (["-o", "run", "--resume"], "no run in run"),
        (["--recipe", "no.toml", "-o", "run"], "no.toml cannot be read"),
    ],
)
def test_a_failure_is_one_sentence_and_1(sfumato, request_, words):
    result = sfumato("train", *request_)
    assert result.exit_code == 1
    assert words in result.stderr
    assert "Traceback" not in result.output


def test_choices_are_those_of_the_recipe():
    fields = Network.model_fields
    assert {name.value for name in NetworkName} == set(fields["name"].annotation.__args__)
    assert {size.value for size in Size} == set(fields["size"].annotation.__args__)
    assert tuple(part.value for part in Taken) == Start().take


def test_the_shown_loss_is_a_mean():
    smooth = Smooth(over=4)
    assert [smooth.add(value) for value in (1.0, 2.0, 3.0, 4.0)] == [1.0, 1.5, 2.0, 2.5]
    # from here on exponential: each new value counts a quarter
    assert smooth.add(6.5) == pytest.approx(2.5 + (6.5 - 2.5) / 4)


class Step:
    """A training step as a listener sees it."""

    def __init__(self, seen, total, phase="diffusion", notes=()):
        self.images_seen, self.total, self.phase, self.notes = seen, total, phase, notes
        self.loss, self.images_per_second = [0.0] * 8, 50.0


def test_the_bar_counts_images_and_every_phase_has_its_own(capsys):
    bar = Bar()
    bar.step(Step(8, 16, "autoencoder"), 0.5)
    bar.step(Step(16, 16, "autoencoder"), 0.25)
    bar.step(Step(8, 32, notes=("Forecast: soon.",)), 1.0)
    bar.step(Step(32, 64), 0.125)  # minutes have become more images
    bar.close()
    printed = capsys.readouterr().err
    first, _, second = printed.partition("Forecast: soon.")
    assert "Autoencoder: 100%" in first
    assert "16.0/16.0" in first
    assert "loss 0.2500" in first
    assert "Diffusion:  50%" in second
    assert "32.0/64.0" in second
    assert "loss 0.1250" in second


def test_lines_come_first_last_and_seldom(capsys):
    lines = Lines()
    for seen in range(8, 65, 8):
        lines.step(Step(seen, 64), 0.5)
    lines.close()
    assert capsys.readouterr().err.splitlines() == [
        "Diffusion: 8 of 64 images, 50 images/s, loss 0.5000",
        "Diffusion: 64 of 64 images, 50 images/s, loss 0.5000",
    ]


def test_the_last_line_shows_the_end(capsys):
    lines = Lines()
    lines.step(Step(8, 0), 0.5)  # how many there will be is not known yet
    lines.step(Step(16, 0), 0.25)
    lines.end(Step(16, 0), 0.25)
    lines = Lines()
    lines.step(Step(8, 1), 0.5)  # a batch is more than was asked for
    lines.end(Step(8, 1), 0.5)
    assert capsys.readouterr().err.splitlines() == [
        "Diffusion: 8 images, 50 images/s, loss 0.5000",
        "Diffusion: 16 of 16 images, 50 images/s, loss 0.2500",
        "Diffusion: 8 of 8 images, 50 images/s, loss 0.5000",
    ]
    bar = Bar()
    bar.step(Step(8, 0), 0.5)
    bar.end(Step(8, 0), 0.5)
    bar.close()
    assert "100%" in capsys.readouterr().err.splitlines()[-1]


def ended(**known):
    """A run as it is when all is over."""
    training = Training(batch_size=8, learning_rate=100.0)
    recipe = Recipe(training=training, start=Start(**known.pop("start", {})))
    plain = {"grade": None, "diverged": None, "interrupted": False, "images_seen": 400}
    plain["reached"] = False
    return SimpleNamespace(folder=Path("run"), recipe=recipe, **{**plain, **known})


@pytest.mark.parametrize("language", ["en", "ru"])
def test_the_end_is_said_as_it_was(monkeypatch, language):
    monkeypatch.setenv("SFUMATO_LANG", language)

    def said(idle=False, **known):
        return list(_closing(ended(**known), idle))

    (done,) = said()
    assert f"--model {Path('run') / 'model'}" in done
    brief, again = said(images_seen=392)
    assert "49" in brief and "--minutes" in brief and "--images" in brief and again == done
    for start in ({"model": "m"}, {"inner": "m"}):  # its network has learned before
        assert said(images_seen=8, start=start) == [done]
    assert len(said(images_seen=8, start={"model": "m", "take": ("autoencoder",)})) == 2
    (idle,) = said(idle=True, images_seen=8)
    assert idle != done and "--images" in idle and "--minutes" in idle and "8" in idle
    apart = Divergence("diffusion", 1.0, 4e20)
    (diverged,) = said(diverged=apart)
    assert "4e+20" in diverged and "--learning-rate" in diverged and "100" in diverged
    (first,) = said(diverged=Divergence("autoencoder", 1.0, math.nan))
    assert "latent.learning_rate" in first and "0.002" in first
    diverged_too, stopped = said(diverged=apart, interrupted=True, images_seen=8)
    assert diverged_too == diverged and "--resume" in stopped


@pytest.mark.parametrize("out", ["shapes", "shapes/run"])
def test_a_run_does_not_lie_among_the_pictures(sfumato, tmp_path, out):
    (tmp_path / "shapes").mkdir()
    for number in range(3):
        Image.new("RGB", (16, 16)).save(tmp_path / "shapes" / f"{number}.png")
    result = sfumato("train", "shapes", "-o", out, *TINY)
    assert result.exit_code == 1
    assert "the folder of the pictures" in result.stderr and "Choose a folder" in result.stderr
    assert len(list((tmp_path / "shapes").iterdir())) == 3


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (("--network", "unet", "--num-levels", 2), "--num-levels (network.levels)"),
        (("--text-encoder", "labels"), "Leave --text-encoder (conditioning.kind) out"),
        (("--init-inner", "a", "--from", "b"), "--from (start.model)"),
    ],
)
def test_a_complaint_names_the_option(sfumato, pictures, request_, words):
    result = sfumato("train", pictures, "-o", "run", *request_, *TINY)
    assert result.exit_code == 1
    assert words in result.stderr
    assert not Path("run").exists()


@pytest.mark.parametrize("language", ["en", "ru"])
def test_help_names_all_kinds_of_data(language):
    words = messages(language)
    for kind in ("sfumato data list", "shards/*.tar", "parquet", "hf:owner/name"):
        assert kind in words["help.train.data"]
    assert "--from" in words["help.train"]


def test_phases_have_names():
    assert phase_name("autoencoder") != phase_name("diffusion")


@pytest.mark.parametrize("language", ["en", "ru"])
def test_a_text_model_needs_an_encoder_that_has_one(sfumato, pictures, language, monkeypatch):
    monkeypatch.setenv("SFUMATO_LANG", language)
    for named in ((), ("--text-encoder", "tfidf"), ("--text-encoder", "labels")):
        result = sfumato("train", pictures, "-o", "run", "--text-model", "x/y", *named)
        assert result.exit_code == 2
        assert "--text-model" in result.stderr and "--text-encoder" in result.stderr
    result = sfumato("train", pictures, "-o", "run", "--text-encoder", "t5", "--text-model", "a b")
    assert result.exit_code == 1 and "a b" in result.stderr
    assert not Path("run").exists(), "said before anything is begun"


def test_the_text_encoder_stands_in_the_recipe(sfumato, pictures, tmp_path):
    pytest.importorskip("sklearn")
    from sfumato.training.recipe import load_recipe

    more = ("-o", "run", "--text-encoder", "tfidf", "--images", 8, *TINY)
    result = sfumato("train", pictures, *more)
    assert result.exit_code == 0, result.output
    wanted = load_recipe(tmp_path / "run" / "recipe.toml").conditioning
    assert (wanted.kind, wanted.encoder, wanted.model) == ("text", "tfidf", None)
    assert (tmp_path / "run" / "model" / "tfidf.json").is_file()
    result = sfumato("info", "run/model")
    assert "tfidf" in result.stdout
    result = sfumato("train", "-o", "run", "--resume", "--text-encoder", "scratch")
    assert result.exit_code == 1 and "scratch" in result.stderr


def test_what_the_two_options_mean(tmp_path):
    from sfumato.interfaces.cli.train import TextEncoder, _conditioning

    assert _conditioning(TextEncoder.labels, None) == {"kind": "labels", "encoder": "scratch"}
    hub = _conditioning(TextEncoder.t5, "google/flan-t5-small@main")
    assert (hub["model"], hub["revision"]) == ("google/flan-t5-small", "main")
    (tmp_path / "a@b").mkdir()
    folder = _conditioning(TextEncoder.clip, str(tmp_path / "a@b"))
    assert folder == {"model": str(tmp_path / "a@b"), "kind": "text", "encoder": "clip"}
    named = {one.value for one in TextEncoder} - {"labels"}
    from sfumato.training.sections import Conditioning

    assert named == set(Conditioning.model_fields["encoder"].annotation.__args__)


@pytest.mark.parametrize("flag", ["--recolour", "--recolor"])
def test_recolour_is_kept_in_the_recipe(flag, pictures, sfumato, tmp_path):
    from sfumato.training.recipe import load_recipe

    plain, out = tmp_path / "plain", tmp_path / "run"
    plain.mkdir()
    for colour in pictures.glob("*.txt"):
        (plain / colour.name).write_text("a square", "utf-8")
        (plain / f"{colour.stem}.png").write_bytes((pictures / f"{colour.stem}.png").read_bytes())
    result = sfumato("train", plain, "-o", out, flag, "--images", 8, *TINY)
    assert result.exit_code == 0, result.output
    assert load_recipe(out / "recipe.toml").data.recolour


def test_recolour_is_refused_for_classes(sfumato, tmp_path):
    for name in ("red", "blue"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(3):
            Image.new("RGB", (16, 16), name).save(tmp_path / "data" / name / f"{number}.png")
    result = sfumato("train", tmp_path / "data", "-o", tmp_path / "run", "--recolour", *TINY)
    assert result.exit_code == 1
    assert "recolour is for coloured pictures with captions" in result.stderr


def test_parts_of_a_model_are_taken(trained, sfumato, pictures, tmp_path):
    from sfumato.training.recipe import load_recipe

    run, _ = trained
    some = ("--take", "network", "--take", "autoencoder")
    result = sfumato("train", pictures, "-o", "run", "--from", run, *some, "--images", 8)
    assert result.exit_code == 0, result.output
    assert load_recipe(tmp_path / "run" / "recipe.toml").start.take == ("autoencoder", "network")
    result = sfumato("train", pictures, "-o", "other", *some)
    assert result.exit_code == 2 and "--from" in result.stderr


def test_a_refused_command_leaves_no_run(trained, sfumato, pictures, tmp_path):
    run, _ = trained
    begin = ("train", pictures, "-o", "x", "--from", run, "--images", 8)
    for wrong in (("--freeze", "inner"), ("--text-encoder", "tfidf"), ("--resolution", 32)):
        result = sfumato(*begin, *wrong)
        assert result.exit_code == 1, result.output
        assert not (tmp_path / "x").exists()
    assert "--take autoencoder" not in result.stderr and "--take text" in result.stderr
    assert sfumato(*begin).exit_code == 0


def test_names_of_classes_in_a_sentence(sfumato, pictures, tmp_path):
    from sfumato.training.recipe import load_recipe

    for name in ("red", "blue"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(3):
            Image.new("RGB", (16, 16), name).save(tmp_path / "data" / name / f"{number}.png")
    more = ("--template", "a photo of a {} thing", "--images", 8, *TINY)
    result = sfumato("train", "data", "-o", "run", *more)
    assert result.exit_code == 0, result.output
    wanted = load_recipe(tmp_path / "run" / "recipe.toml").conditioning
    assert (wanted.kind, wanted.template) == ("text", "a photo of a {} thing")
    assert "▁pho" in (tmp_path / "run" / "tokenizer.json").read_text("utf-8")
    result = sfumato("train", "data", "-o", "other", "--text-encoder", "labels", *more)
    assert result.exit_code == 1 and "--template (conditioning.template)" in result.stderr
    result = sfumato("train", pictures, "-o", "captions", *more)  # nothing to put into it
    assert result.exit_code == 0 and "is not used" in result.stderr
    assert load_recipe(tmp_path / "captions" / "recipe.toml").conditioning.template is None
