"""examples/main_train.py: checkpoint_latest, resuming, TensorBoard, and what is missing."""

from __future__ import annotations

import pytest
import tiny
from PIL import Image

from sfumato.errors import SfumatoError
from sfumato.training import checkpoint

COMMAND = [
    "--batch_size", "4", "--epochs", "2", "--lr", "1e-3", "--log_freq", "1", "--warmup_steps", "0",
    "--image_size", "16", "--device", "cpu", "--size", "tiny",
]  # fmt: skip

pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture(scope="module")
def module(example):
    return example("main_train")


@pytest.fixture(scope="module")
def whole(module, squares, tmp_path_factory, quick):
    """A training that was not disturbed; not to be changed."""
    folder = tmp_path_factory.mktemp("whole") / "output"
    module.main(["--dataset", str(squares), "--output_dir", str(folder), *COMMAND])
    return folder


def newest(folder):
    return (folder / "checkpoint_latest").read_text("utf-8").strip()


def test_checkpoint_latest_names_the_newest(whole):
    assert newest(whole) == "images-000000016"
    assert checkpoint.load(whole / newest(whole)).state["images_seen"] == 16


def test_a_stopped_training_goes_on_and_a_finished_one_with_more_epochs(
    module, squares, whole, tmp_path, monkeypatch, capsys
):
    folder = tmp_path / "output"
    given = ["--dataset", str(squares), "--output_dir", str(folder), *COMMAND]
    tell = module.tell

    def stopped(step, *more):
        tell(step, *more)
        if step.images_seen == 8:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(module, "tell", stopped)
        module.main(given)
    assert newest(folder) == "images-000000008"
    module.main(given)
    assert newest(folder) == "images-000000016"
    assert tiny.same_bits(tiny.kept(folder), tiny.kept(whole))
    capsys.readouterr()
    module.main([*given, "--epochs", "3"])
    assert newest(folder) == "images-000000024"
    said = capsys.readouterr().out
    assert "Resumed at image 16" in said and "step 5:" in said and "step 4:" not in said


def test_another_recipe_is_not_mixed_in(module, squares, whole):
    given = ["--dataset", str(squares), "--output_dir", str(whole), *COMMAND]
    with pytest.raises(SfumatoError, match=r"learning_rate = 0\.001, not 0\.5"):
        module.main([*given, "--lr", "0.5"])


def test_a_process_of_its_own_leaves_all_it_has_logged(script, squares, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    given = ["--dataset", squares, "--output_dir", tmp_path / "output", *COMMAND]
    done = script("main_train", *given, "--save_freq", 3)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\nstep ") == 4 and "checkpoint_latest" in done.stdout
    board = EventAccumulator(str(tmp_path / "output" / "tensorboard"))
    board.Reload()
    for name in ("loss", "learning_rate"):
        assert [event.step for event in board.Scalars(name)] == [4, 8, 12, 16], "in pictures"
    assert board.Scalars("learning_rate")[0].value == pytest.approx(1e-3)
    assert (tmp_path / "output" / "loss.png").is_file()


def test_without_tensorboard_it_trains_and_says_so(module, squares, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(module, "find_spec", lambda _: None)
    given = ["--dataset", str(squares), "--output_dir", str(tmp_path / "output"), *COMMAND]
    module.main([*given, "--epochs", "1", "--batch_size", "8"])
    assert "sfumato[tensorboard]" in capsys.readouterr().out
    assert not (tmp_path / "output" / "tensorboard").exists()
    assert newest(tmp_path / "output") == "images-000000008"


def test_flickr30k_by_default(module, tmp_path, monkeypatch):
    monkeypatch.setenv("SFUMATO_DATA", str(tmp_path / "sets"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "own"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SfumatoError, match="on request only.*sfumato data fetch flickr30k"):
        module.main([])
    assert not (tmp_path / "output").exists()
    images = tmp_path / "sets" / "flickr30k" / "Images"
    images.mkdir(parents=True)
    rows = ["image,caption"]
    for number in range(8):
        Image.new("RGB", (40, 30), (30 * number, 100, 50)).save(images / f"{number}.jpg")
        rows += [f'{number}.jpg,"Two men , seen {n} times ."' for n in range(5)]
    (images.parent / "captions.txt").write_text("\n".join(rows) + "\n")
    module.main([*COMMAND, "--epochs", "1"])
    assert checkpoint.load_latest(tmp_path / "output").state["images_seen"] == 8


def test_what_goes_wrong_is_one_sentence(script, tmp_path):
    done = script("main_train", "--dataset", tmp_path / "nowhere", "--output_dir", tmp_path / "out")
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith("There is no data set") and done.stderr.count("\n") == 1
