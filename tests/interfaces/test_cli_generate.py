"""`sfumato generate`, through the command line as a person or a script uses it."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny import model

import sfumato as library
from sfumato.diffusion import SAMPLERS
from sfumato.interfaces.cli.generate import SamplerName
from sfumato.interfaces.cli.options import ALIASES
from sfumato.pictures.metadata import read_settings
from sfumato.training.recipe import changed


def pixels(path):
    with Image.open(path) as picture:
        return np.asarray(picture)


def test_a_prompt_becomes_a_file_named_after_it(sfumato, model_folder, tmp_path):
    result = sfumato("generate", "Red heart!", "--model", model_folder)
    assert result.exit_code == 0, result.output
    assert result.stdout == "Saved red-heart-0.png\n"
    assert "Loading" in result.stderr
    assert "Sampling" in result.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["red-heart-0.png"]
    picture = pixels("red-heart-0.png")
    assert picture.shape == (16, 16, 4)
    assert read_settings(tmp_path / "red-heart-0.png").prompt == "Red heart!"


def test_json_is_one_object_with_everything(sfumato, model_folder, tmp_path):
    result = sfumato(
        *("generate", "red heart", "-p", "красное сердце", "-m", model_folder, "--json"),
        *("-n", 2, "--seed", 7, "--steps", 3, "--guidance-scale", 2, "--sampler", "euler"),
    )
    assert result.exit_code == 0, result.output
    done = json.loads(result.stdout)
    assert result.stderr == ""
    names = [
        "red-heart-7.png",
        "red-heart-7-2.png",
        "красное-сердце-7.png",
        "красное-сердце-7-2.png",
    ]
    assert [one["path"] for one in done["pictures"]] == names
    assert [one["index"] for one in done["pictures"]] == [0, 1, 0, 1]
    assert {one["seed"] for one in done["pictures"]} == {7}
    assert (done["steps"], done["guidance_scale"], done["sampler"]) == (3, 2.0, "euler")
    assert set(done["seconds"]) == {"load", "sample", "save"}
    assert done["model"] == str(model_folder)
    for name in names:
        assert (tmp_path / name).is_file()


def test_the_same_command_gives_the_same_file(sfumato, model_folder, tmp_path):
    for name in ("a.png", "b.png"):
        assert sfumato("generate", "red heart", "-m", model_folder, "-o", name).exit_code == 0
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_it_is_what_the_library_generates(sfumato, model_folder):
    result = sfumato("generate", "red heart", "a cat", "-m", model_folder, "-n", 2, "-o", "x.png")
    assert result.exit_code == 0, result.output
    wanted = library.load(model_folder).generate(["red heart", "a cat"], count=2)
    for number, picture in enumerate(wanted, start=1):
        assert np.array_equal(pixels(f"x-{number}.png"), np.asarray(picture))


def test_prompt_seed_and_index_change_the_picture(sfumato, model_folder):
    for name, *request in (
        ("a.png", "red heart"),
        ("b.png", "blue heart"),
        ("c.png", "red heart", "--seed", 1),
        ("d.png", "red heart", "--negative-prompt", "blue"),
    ):
        assert sfumato("generate", *request, "-m", model_folder, "-o", name).exit_code == 0
    assert (
        sfumato("generate", "red heart", "-n", 2, "-m", model_folder, "-o", "e.png").exit_code == 0
    )
    names = ("a.png", "b.png", "c.png", "d.png", "e-2.png")
    assert len({pixels(name).tobytes() for name in names}) == len(names)


@pytest.mark.parametrize("folder", ["model_folder", "latent_folder"])
def test_the_first_of_many_is_the_one_alone(sfumato, request, folder):
    model = request.getfixturevalue(folder)
    sfumato("generate", "red heart", "-m", model, "-o", "one.png")
    sfumato("generate", "red heart", "-m", model, "-n", 18, "-o", "many.png")
    alone, first = (pixels(name).astype(int) for name in ("one.png", "many-1.png"))
    assert np.abs(alone - first).max() <= 2
    # the 18th is drawn in another batch than the first, and is still its own
    seventeenth, last = pixels("many-17.png"), pixels("many-18.png")
    assert not np.array_equal(seventeenth, last)
    assert not np.array_equal(pixels("many-1.png"), seventeenth)


def test_guidance_of_one_costs_one_evaluation_a_step(sfumato, model_folder):
    def evaluations(*more):
        result = sfumato("generate", "a", "-m", model_folder, "--steps", 5, "--json", *more)
        return json.loads(result.stdout)["evaluations"]

    assert evaluations("--guidance-scale", 1, "--sampler", "euler") == 5
    assert evaluations("--guidance-scale", 1, "--sampler", "heun") == 9
    assert evaluations("--guidance-scale", 3, "--sampler", "euler") > 5


def test_guidance_of_nothing_is_not_the_models_own(sfumato, model_folder):
    result = sfumato("generate", "a", "-m", model_folder, "--guidance-scale", 0, "--json")
    assert json.loads(result.stdout)["guidance_scale"] == 0


def test_existing_files_are_not_replaced_unless_named(sfumato, model_folder, tmp_path):
    (tmp_path / "a-0.png").write_text("mine")
    first = sfumato("generate", "a", "-m", model_folder)
    second = sfumato("generate", "a", "-m", model_folder)
    assert first.stdout == "Saved a-0-2.png\n"
    assert second.stdout == "Saved a-0-3.png\n"
    assert (tmp_path / "a-0.png").read_text() == "mine"
    assert sfumato("generate", "a", "-m", model_folder, "-o", "a-0.png").exit_code == 0
    assert pixels("a-0.png").shape == (16, 16, 4)


@pytest.mark.parametrize("output", ["out", "out.d/", "deep/er"])
def test_a_folder_is_made(sfumato, model_folder, tmp_path, output):
    result = sfumato("generate", "a", "-m", model_folder, "-o", output)
    assert result.exit_code == 0, result.output
    assert (tmp_path / output / "a-0.png").is_file()


def test_an_existing_folder_with_a_dot_is_a_folder(sfumato, model_folder, tmp_path):
    (tmp_path / "v1.5").mkdir()
    assert sfumato("generate", "a", "-m", model_folder, "-o", "v1.5").exit_code == 0
    assert (tmp_path / "v1.5" / "a-0.png").is_file()


def test_a_negative_seed_is_random_and_reported(sfumato, model_folder):
    results = [sfumato("generate", "a", "-m", model_folder, "--seed", -1) for _ in range(2)]
    seeds = []
    for result in results:
        said = int(re.search(r"seed (\d+)", result.stderr)[1])
        name = re.search(r"Saved (.*)", result.stdout)[1]
        assert name == f"a-{said}.png"
        assert read_settings(Path(name)).seed == said
        seeds.append(said)
    assert seeds[0] != seeds[1]
    again = sfumato("generate", "a", "-m", model_folder, "--seed", seeds[0], "-o", "again.png")
    assert again.exit_code == 0
    assert np.array_equal(pixels("again.png"), pixels(f"a-{seeds[0]}.png"))


def test_the_settings_inside_make_the_picture_again(sfumato, model_folder, tmp_path):
    sfumato(
        *("generate", "red heart", "-m", model_folder, "-n", 3, "--seed", 5, "--steps", 3),
        *("--sampler", "ddim", "--guidance-scale", 2.5, "--negative-prompt", "синий"),
    )
    kept = read_settings(tmp_path / "red-heart-5-3.png")
    assert (kept.index, kept.width, kept.height, kept.model) == (2, 16, 16, "tiny test model")
    again = library.load(model_folder).generate(
        kept.prompt,
        count=kept.index + 1,
        seed=kept.seed,
        steps=kept.steps,
        sampler=kept.sampler,
        guidance_scale=kept.guidance_scale,
        negative_prompt=kept.negative_prompt,
    )[kept.index]
    assert np.array_equal(np.asarray(again), pixels("red-heart-5-3.png"))


def test_metadata_can_be_left_out(sfumato, model_folder, tmp_path):
    sfumato("generate", "secret", "-m", model_folder, "-o", "n.png", "--metadata", "none")
    sfumato("generate", "secret", "-m", model_folder, "-o", "s.png", "--metadata", "seed")
    assert read_settings(tmp_path / "n.png") is None
    assert b"secret" not in (tmp_path / "n.png").read_bytes()
    assert b"secret" not in (tmp_path / "s.png").read_bytes()
    assert read_settings(tmp_path / "s.png").seed == 0


def test_size_changes_the_pixels_only(sfumato, model_folder):
    sfumato("generate", "a", "-m", model_folder, "-o", "large.png", "--size", 40)
    sfumato("generate", "a", "-m", model_folder, "-o", "own.png", "--size", 16)
    sfumato("generate", "a", "-m", model_folder, "-o", "plain.png")
    assert pixels("large.png").shape == (40, 40, 4)
    assert np.array_equal(pixels("own.png"), pixels("plain.png"))
    wanted = library.load(model_folder).generate("a", size=40)[0]
    assert np.array_equal(pixels("large.png"), np.asarray(wanted))


def test_sheet_and_walk_beside_the_pictures(sfumato, model_folder):
    result = sfumato(
        *("generate", "a", "b", "-m", model_folder, "--sheet", "all.png", "--walk", "way.gif")
    )
    assert result.exit_code == 0, result.output
    assert pixels("all.png").shape[2] == 3
    with Image.open("way.gif") as film:
        assert film.n_frames >= 4
    names = ["a-0.png", "b-0.png", "all.png", "way.gif"]
    assert result.stdout.splitlines() == [f"Saved {name}" for name in names]
    more = ("--sheet", "all.png", "--walk", "way.gif", "--json")
    done = json.loads(sfumato("generate", "a", "-m", model_folder, *more).stdout)
    assert (done["sheet"], done["walk"]) == ("all.png", "way.gif")
    done = json.loads(sfumato("generate", "a", "-m", model_folder, "--json").stdout)
    assert not {"sheet", "walk"} & set(done)


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ([], "Say what to draw"),
        (["a", "--guidance-scale", "nan"], "uidance"),
        (["a", "--sampler", "magic"], "dpm++2m"),
        (["a", "--count", "0"], "'--count'"),
        (["a", "--steps", "0"], "'--steps'"),
        (["a", "--guidance-scale", "-1"], "'--guidance-scale'"),
        (["a", "--size", "100000"], "4096"),
        (["a", "--nonsense"], "No such option"),
        (["a", "--metadata", "all"], "seed"),
    ],
)
def test_a_wrong_command_line_ends_with_2(sfumato, tmp_path, request_, words):
    result = sfumato("generate", *request_)
    assert result.exit_code == 2
    assert words in re.sub(r"[│\s]+", " ", result.stderr)  # the frame may break lines anywhere
    assert result.stdout == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (["-o", "a.jpg"], "saved as PNG"),
        (["--walk", "a.mp4"], ".gif, .webp or .png"),
        (["--sheet", "a.gif"], "end in .png"),
        (["--model", "nowhere"], "no model in nowhere"),
    ],
)
def test_a_failure_is_one_sentence_and_1(sfumato, tmp_path, request_, words):
    result = sfumato("generate", "a", *request_)
    assert result.exit_code == 1
    assert words in result.stderr
    assert "Traceback" not in result.output
    assert list(tmp_path.iterdir()) == []


def test_a_failure_as_json(sfumato):
    result = sfumato("generate", "a", "--model", "nowhere", "--json")
    assert result.exit_code == 1
    assert "no model in nowhere" in json.loads(result.stdout)["error"]


@pytest.mark.parametrize("kind", ["missing", "empty", "file"])
def test_what_is_no_model_is_refused_before_anything_is_loaded(sfumato, tmp_path, kind):
    if kind == "empty":
        (tmp_path / "nope").mkdir()
    elif kind == "file":
        (tmp_path / "nope").write_text("model")
    result = sfumato("generate", "a", "--model", "nope")
    assert result.exit_code == 1
    assert result.stderr == (
        "There is no model in nope. Give a folder that Sfumato saved, or a run.\n"
    )


def test_a_damaged_model_is_named(sfumato, model_folder, tmp_path):

    shutil.copytree(model_folder, tmp_path / "m")
    weights = tmp_path / "m" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    result = sfumato("generate", "a", "--model", "m")
    assert result.exit_code == 1
    assert "model.safetensors is damaged" in result.stderr


def test_names_of_other_tools_are_understood(sfumato, model_folder):
    result = sfumato(
        *("generate", "a", "-m", model_folder, "--cfg-scale", 1, "--num-inference-steps", 2),
        "--json",
    )
    done = json.loads(result.stdout)
    assert (done["guidance_scale"], done["steps"]) == (1.0, 2)
    assert set(ALIASES.values()) == {"guidance-scale", "steps", "batch-size", "output"}


def test_help_names_every_sampler():
    assert {name.value for name in SamplerName} == set(SAMPLERS)


def test_what_changes_nothing_is_said(sfumato, model_folder):
    wish = ("generate", "red heart", "-m", model_folder, "--negative-prompt", "blue")
    plain = sfumato(*wish, "--guidance-scale", 1)
    assert plain.exit_code == 0, plain.output
    assert "negative prompt changes nothing" in plain.stderr
    guided = sfumato(*wish, "--guidance-scale", 2, "--json")
    assert json.loads(guided.stdout)["notes"] == []


def test_words_that_are_not_read_are_named(sfumato, model_folder):
    words = "red heart " * 20 + "last"
    result = sfumato("generate", words, words, "red", "-m", model_folder, "--json")
    [note] = json.loads(result.stdout)["notes"]
    assert note.startswith("The prompt is longer") and note.endswith("heart last")
    assert result.stderr == ""


def test_an_empty_prompt_and_strange_words_are_noted(sfumato, model_folder):
    result = sfumato("generate", "", "red 🙂", "-m", model_folder, "--json")
    assert json.loads(result.stdout)["notes"] == [
        "The prompt is empty: a picture of anything.",
        "The model does not know: 🙂",
    ]


@pytest.mark.parametrize(
    ("option", "word", "meant"),
    [("--sampler", "eulr", "euler"), ("--sampler", "DDIM", "ddim"), ("--metadata", "ful", "full")],
)
def test_a_mistyped_choice_gets_the_nearest(sfumato, option, word, meant):
    result = sfumato("generate", "a", option, word)
    assert result.exit_code == 2
    said = re.sub(r"[│\s]+", " ", result.stderr)
    assert option in said and f"Did you mean {meant}?" in said
    assert "Did you mean" not in sfumato("generate", "a", option, "xyz").stderr


def test_threads_are_those_allowed(sfumato, model_folder, monkeypatch):
    asked = []
    monkeypatch.setattr("torch.set_num_threads", asked.append)
    monkeypatch.setattr("sfumato.training.machine.threads_allowed", lambda: 3)
    assert sfumato("generate", "a", "-m", model_folder).exit_code == 0
    assert asked == [3]


def test_a_picture_does_not_tell_where_the_data_lie(sfumato, tmp_path, monkeypatch):
    made = model(16, 4)
    made.recipe = changed(made.recipe, data={"name": "/home/anna/photos"})
    made.card = {"name": "Sfumato /home/anna/photos tiny"}
    monkeypatch.setattr(library, "load", lambda *_, **__: made)
    assert sfumato("generate", "a", "-o", "a.png").exit_code == 0
    assert read_settings(tmp_path / "a.png").model == "Sfumato photos tiny"
