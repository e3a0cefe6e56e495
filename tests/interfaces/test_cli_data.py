"""`sfumato data`: the list and the check."""

import json
import os
import re
import shutil

from PIL import Image


def test_the_list_names_what_the_library_knows(sfumato):
    from sfumato.data import NAMES

    result = sfumato("data", "list")
    assert result.exit_code == 0, result.output
    for name in NAMES:
        assert f"{name}\n" in result.stdout
    assert "Apache-2.0" in result.stdout
    said = json.loads(sfumato("data", "list", "--json").stdout)["data"]
    assert [one["name"] for one in said][: len(NAMES)] == list(NAMES)
    for one in said:  # a command is no place
        line = f"where: {one['found']}" if one["found"] else f"how: {one['get']}"
        assert f"  {line}\n" in result.stdout


def test_the_check_names_every_problem(sfumato, tmp_path):
    for number in range(4):
        Image.effect_noise((64, 64), 80 + number).save(tmp_path / f"{number}.png")
        (tmp_path / f"{number}.txt").write_text("noise", "utf-8")
    (tmp_path / "broken.png").write_text("no picture")
    result = sfumato("data", "check", tmp_path)
    assert result.exit_code == 0, result.output
    assert "broken.png" in result.stdout
    assert "-o FOLDER" in result.stderr and "--write-clean FOLDER" in result.stderr
    said = json.loads(sfumato("data", "check", tmp_path, "--json").stdout)
    assert said["counts"]["unreadable"] == 1
    assert said["pictures"] == 5
    assert (tmp_path / "broken.png").read_text() == "no picture"


def test_a_file_that_is_no_data_set(sfumato, tmp_path):
    Image.new("L", (16, 16)).save(tmp_path / "a.png")
    result = sfumato("data", "check", "a.png")
    assert result.exit_code == 1 and "folder that it lies in" in result.stderr
    assert ".tar" in result.stderr and ".parquet" in result.stderr
    said = " ".join(sfumato("data", "check", "--help").stdout.split())
    for kind in ("sfumato data list", "shards/*.tar", "parquet", "hf:owner/name"):
        assert kind in said


ENGLISH = r"\b[a-z]{2,} [a-z]{2,} [a-z]{2,}\b"


def test_the_list_speaks_russian(sfumato, monkeypatch):
    monkeypatch.setenv("SFUMATO_LANG", "ru")
    result = sfumato("data", "list")
    assert result.exit_code == 0, result.output
    commands = r"apt install [\w-]+|sfumato data fetch [\w-]+|pip install \S+"  # to type
    said = re.sub(commands, "", result.stdout)
    assert not re.search(ENGLISH, said), said
    one, *_ = json.loads(sfumato("data", "list", "--json").stdout)["data"]
    assert (one["name"], one["found"]) == ("emoji", "в пакете")


def test_the_check_speaks_russian(sfumato, tmp_path, monkeypatch):
    folder = tmp_path / "bad"
    for number in range(5):
        (folder / "more").mkdir(parents=True, exist_ok=True)
        Image.effect_noise((20 + 9 * number,) * 2, 90).save(folder / f"00{number}.png")
    Image.effect_noise((40, 40), 90).save(folder / "more" / "red-heart.png")
    Image.new("RGB", (40, 40)).save(folder / "black.png")
    (folder / "copy.png").write_bytes((folder / "004.png").read_bytes())
    (folder / "broken.png").write_bytes(b"")
    (folder / "cut.png").write_bytes((folder / "004.png").read_bytes()[:300])
    (folder / "text.png").write_text("no picture")
    (folder / "outside.png").symlink_to("/etc/passwd")
    (folder / "copy.txt").write_bytes("café noir".encode("cp1252"))
    (folder / "000.txt").write_text("")
    (folder / "metadata.jsonl").write_text(
        '{"file_name": "nope.png", "text": "a"}\n[]\n{"text": 1}'
    )
    monkeypatch.setenv("SFUMATO_LANG", "ru")
    result = sfumato("data", "check", folder)
    assert result.exit_code == 0, result.output
    said = re.sub(r"\(.*?\)|'.*?'", "", result.stdout)  # what systems, decoders and captions say
    assert not re.search(r"[a-z]{2,} [a-z]{2,}", said), said
    assert "001.png: нет подписи; 'bad' взято из имени папки" in result.stdout
    assert "black.png: нет подписи; 'black' взято из имени файла" in result.stdout


def test_what_is_not_there_is_said(sfumato):
    result = sfumato("data", "check", "fashion-mnits")
    assert result.exit_code == 1
    assert "fashion-mnist" in result.stderr


def messy(folder):
    folder.mkdir(parents=True)
    for number in range(3):
        Image.effect_noise((64, 64), 80 + number).save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text(f"noise {number}", "utf-8")
    (folder / "broken.png").write_text("no picture")
    (folder / "copy.png").write_bytes((folder / "0.png").read_bytes())
    (folder / "copy.txt").write_text("again")
    return folder


def test_the_check_writes_a_page_and_a_clean_copy(sfumato, tmp_path):
    folder = messy(tmp_path / "set")
    result = sfumato("data", "check", folder, "-o", "report", "--write-clean", "clean")
    assert result.exit_code == 0, result.output
    assert "check.html" in result.stderr and "left out 2" in result.stderr
    assert "broken.png" in (tmp_path / "report" / "check.html").read_text("utf-8")
    assert json.loads((tmp_path / "report" / "check.json").read_text())["pictures"] == 5
    assert len(list((tmp_path / "clean").glob("*.png"))) == 3
    said = json.loads(sfumato("data", "check", "clean", "--json").stdout)
    assert said["serious"] == 0


def test_the_place_of_the_page_is_looked_at_first(sfumato, tmp_path):
    folder = messy(tmp_path / "set")
    (tmp_path / "afile").write_text("mine")
    for name in ("check.html", "check.json"):
        (tmp_path / name[-4:]).mkdir()
        (tmp_path / name[-4:] / name).write_text('{"mine": 1}')
    for output, said in (
        ("afile", "afile is a file"),
        ("afile/deep", "afile is a file"),
        ("html", "check.html is there already"),
        ("json", "check.json is there already"),
    ):
        result = sfumato("data", "check", folder, "-o", output)
        assert result.exit_code == 1 and said in result.stderr, result.output
        assert "Looking" not in result.stderr and "Traceback" not in result.output
    assert (tmp_path / "html" / "check.html").read_text() == '{"mine": 1}'
    assert not (tmp_path / "html" / "check.json").exists()
    for _ in range(2):  # one's own page is replaced
        assert sfumato("data", "check", folder, "-o", "report").exit_code == 0


def test_a_page_that_the_disk_refuses_is_one_sentence(sfumato, tmp_path, monkeypatch):
    def refuse(path, mode):
        return False

    monkeypatch.setattr(os, "access", refuse)
    result = sfumato("data", "check", messy(tmp_path / "set"), "-o", "report")
    assert result.exit_code == 1 and "cannot be written to report (Permission" in result.stderr
    assert not (tmp_path / "report").exists()


def test_parts_and_what_is_without_a_caption_are_said(sfumato, tmp_path):
    for part in ("train", "test"):
        messy(tmp_path / "set" / part)
    (tmp_path / "set" / "train" / "1.txt").unlink()
    shutil.copy(tmp_path / "set" / "train" / "0.png", tmp_path / "set" / "test" / "0.png")
    result = sfumato("data", "check", "set", "--write-clean", "clean")
    assert "Parts looked at together: train, test" in result.stdout, result.output
    assert "in another: 1" in result.stdout and "Still without a caption: 1" in result.stderr
    assert (tmp_path / "clean" / "test" / "0.png").exists()
    assert not (tmp_path / "clean" / "train" / "0.png").exists()


def test_the_check_says_it_all_to_programs(sfumato, tmp_path):
    folder = messy(tmp_path / "set")
    result = sfumato("data", "check", folder, "-o", "r", "--write-clean", "c", "--json")
    said = json.loads(result.stdout)
    assert said["page"] == "r/check.html".replace("/", os.sep)
    assert (said["clean"]["copied"], len(said["clean"]["left out"])) == (3, 2)
    assert said["findings"]["duplicate"][0]["key"] == "same"


def test_the_check_judges_at_the_size_of_the_training(sfumato, tmp_path):
    folder = messy(tmp_path / "set")
    for size, tiny in ((64, 0), (65, 4)):
        said = json.loads(sfumato("data", "check", folder, "--size", size, "--json").stdout)
        assert (said["size"], said["counts"]["tiny"]) == (size, tiny)
    assert sfumato("data", "check", folder, "--size", 2).exit_code == 1


def test_a_clean_copy_is_refused_before_anything_is_looked_at(sfumato, tmp_path):
    folder = messy(tmp_path / "set")
    for data, target, said in (
        ("emoji", "clean", "not a folder of picture files"),
        (folder, folder / "clean", "Choose another place"),
        (folder, folder, "Choose another place"),
        (folder, tmp_path, "Choose another place"),
    ):
        result = sfumato("data", "check", data, "--write-clean", target)
        assert result.exit_code == 1 and said in result.stderr
        assert "Looking" not in result.stderr
    assert len(list(folder.iterdir())) == 9


def test_the_clean_copy_speaks_russian(sfumato, tmp_path, monkeypatch):
    folder = messy(tmp_path / "set")
    monkeypatch.setenv("SFUMATO_LANG", "ru")
    result = sfumato("data", "check", folder, "-o", "r", "--write-clean", "c")
    assert "Чистая копия: c. Картинок 3" in result.stderr
    assert "те же пиксели, что в 0.png" in (tmp_path / "c" / "left-out.csv").read_text("utf-8")


def test_interrupted_it_ends_cleanly(sfumato, tmp_path, monkeypatch):
    from sfumato.data.checking import clean

    def stop(*paths):
        raise KeyboardInterrupt

    folder = messy(tmp_path / "set")
    monkeypatch.setattr(clean, "_transfer", stop)
    result = sfumato("data", "check", folder, "--write-clean", "c")
    assert result.exit_code == 130 and "Traceback" not in result.output
    assert [path.name for path in tmp_path.iterdir()] == ["set"]
