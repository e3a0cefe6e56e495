"""`sfumato data`: the list and the check."""

import json
import re

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


def test_the_check_names_every_problem(sfumato, tmp_path):
    for number in range(4):
        Image.effect_noise((64, 64), 80 + number).save(tmp_path / f"{number}.png")
        (tmp_path / f"{number}.txt").write_text("noise", "utf-8")
    (tmp_path / "broken.png").write_text("no picture")
    result = sfumato("data", "check", tmp_path)
    assert result.exit_code == 0, result.output
    assert "broken.png" in result.stdout
    said = json.loads(sfumato("data", "check", tmp_path, "--json").stdout)
    assert said["counts"]["unreadable"] == 1
    assert said["pictures"] == 5
    assert (tmp_path / "broken.png").read_text() == "no picture"


ENGLISH = r"\b[a-z]{2,} [a-z]{2,} [a-z]{2,}\b"


def test_the_list_speaks_russian(sfumato, monkeypatch):
    monkeypatch.setenv("SFUMATO_LANG", "ru")
    result = sfumato("data", "list")
    assert result.exit_code == 0, result.output
    said = result.stdout.replace("apt install dataset-fashion-mnist", "")  # a command to type
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
