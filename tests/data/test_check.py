"""The health check on folders that are known to be ill, and the list of data sets."""

from __future__ import annotations

import inspect
import json
import os
import re
import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sfumato.conditioning.text_transformer import TextTransformer
from sfumato.data import NAMES, decode, open_source
from sfumato.data.checking.check import FEW, KINDS, check, spoken
from sfumato.data.checking.oddities import LONGEST, mended, oddity
from sfumato.data.example import Problem
from sfumato.data.findings import SENTENCES
from sfumato.data.listing import listing
from sfumato.errors import SfumatoError
from sfumato.locale import messages
from sfumato.training import start


@pytest.fixture(autouse=True)
def english(monkeypatch):
    monkeypatch.setenv("SFUMATO_LANG", "en")


def noise(path, seed: int, side: int = 64) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def ill(tmp_path):
    for number, name in enumerate("abcd"):
        noise(tmp_path / f"{name}.png", number)
        (tmp_path / f"{name}.txt").write_text(f"picture {name}")
    (tmp_path / "a copy.png").write_bytes((tmp_path / "a.png").read_bytes())
    (tmp_path / "b.txt").write_bytes("сердце".encode("cp1251"))
    (tmp_path / "c.txt").write_text("")
    noise(tmp_path / "small.png", 9, 31)
    Image.new("RGB", (64, 64), (200, 0, 0)).save(tmp_path / "blank.jpg")
    (tmp_path / "broken.png").write_bytes(b"nothing")
    for name in ("small", "blank", "broken", "a copy"):
        (tmp_path / f"{name}.txt").write_text(name)
    return tmp_path


def test_every_illness_is_found_and_named(ill):
    before = {path: path.read_bytes() for path in ill.iterdir()}
    report = check(ill)
    found = {kind: [p.origin for p in problems] for kind, problems in report.findings.items()}
    assert found == {
        "unreadable": ["broken.png"],
        "tiny": ["small.png"],
        "blank": ["blank.jpg"],
        "duplicate": ["a.png"],
        "caption missing": ["c.png"],
        "caption encoding": ["b.txt"],
    }
    assert "a copy.png" in report.findings["duplicate"][0].reason
    assert report.findings["tiny"][0].reason == "31 x 31 pixels"
    assert (report.total, report.captions) == (8, 7)
    assert not report.healthy
    assert {path: path.read_bytes() for path in ill.iterdir()} == before


def test_report_for_people_and_machines(ill):
    report = check(ill)
    text = report.text()
    for problems in report.findings.values():
        assert all(problem.origin in text for problem in problems)
    read_back = json.loads(json.dumps(report.to_dict()))
    assert read_back["counts"] == report.counts() and set(read_back["counts"]) == set(KINDS)
    assert read_back["findings"]["unreadable"][0]["origin"] == "broken.png"
    assert read_back["pictures"] == 8 and read_back["healthy"] is False


def test_long_lists_are_cut_in_the_text_only(tmp_path):
    for number in range(13):
        noise(tmp_path / f"{number:02}.png", 0)
    report = check(tmp_path)
    assert report.counts()["duplicate"] == 12
    assert "and 2 more" in report.text() and "11.png" not in report.text()
    assert len(json.loads(json.dumps(report.to_dict()))["findings"]["duplicate"]) == 12


def test_rare_classes_are_named(tmp_path):
    for label, count in (("cat", 11), ("dog", 12), ("yak", 2)):
        for number in range(count):
            noise(tmp_path / label / f"{number}.png", 100 * count + number)
    report = check(tmp_path)
    assert report.classes == {"cat": 11, "dog": 12, "yak": 2}
    assert [p.origin for p in report.findings["class imbalance"]] == ["yak"]
    assert set(report.findings) == {"class imbalance"}


def test_a_healthy_folder_is_told_so(tmp_path):
    for number, label in enumerate("aabb"):
        noise(tmp_path / label / f"{number}.png", number)
    report = check(tmp_path)
    assert report.healthy and "No problem found" in report.text()


def test_few_pictures_are_said_to_be_few(tmp_path):
    assert FEW == start.FEW  # the same bar as in training
    for number in range(FEW):
        Image.fromarray(np.full((8, 8), number, np.uint8)).save(tmp_path / f"{number}.png")
    assert not check(tmp_path).few and "Only" not in check(tmp_path).text()
    (tmp_path / "0.png").write_bytes(b"")
    report = check(tmp_path)
    assert report.few and report.to_dict()["few"]
    assert report.text().endswith("A few hundred are a beginning.") and "99" in report.text()


def test_a_picture_without_a_caption_is_called_by_the_name_that_says_something(tmp_path):
    folder = tmp_path / "bad"
    for number, name in enumerate(("007.png", "red_heart.png", "a.png")):
        noise(folder / name, number)
    (folder / "a.txt").write_text("captioned")
    report = check(folder)
    assert [p["reason"] for p in report.to_dict()["findings"]["caption missing"]] == [
        "has no caption; 'bad' is taken from its folder's name",
        "has no caption; 'red heart' is taken from its name",
    ]


def test_pictures_without_any_caption_are_counted_one_by_one(tmp_path):
    for part in ("train", "test"):
        for number, name in enumerate(("007", "red_heart", "008", "009", "010")):
            noise(tmp_path / part / f"{name}.png", 10 * number + len(part))
    report = check(tmp_path / "train")
    assert "Without a caption, or with an empty one: 5" in report.text()
    assert report.counts()["caption missing"] == report.serious == 5
    reasons = {one.origin: one.reason for one in report.findings["caption missing"]}
    assert reasons["red_heart.png"] == "has no caption; 'red heart' is taken from its name"
    assert reasons["007.png"] == "has no caption; 'train' is taken from its folder's name"
    (tmp_path / "test" / "007.txt").write_text("a picture")
    both = check(tmp_path)
    missing = [one.origin for one in both.findings["caption missing"]]
    assert len(missing) == 9 and "test/007.png" not in missing
    assert both.findings["caption missing"][0].values["words"] == "'train'"


def test_a_caption_without_a_picture_is_mentioned(tmp_path):
    for number in range(3):
        noise(tmp_path / f"10{number}.png", number)
        (tmp_path / f"10{number}.txt").write_text("noise")
    (tmp_path / "102.txt").rename(tmp_path / "102.png.txt")
    for name in ("107.txt", "README.txt"):
        (tmp_path / name).write_text("noise")
    report = check(tmp_path)
    assert [(one.origin, one.kind) for one in report.findings["other"]] == [("107.txt", "orphan")]
    for number in range(3):
        for path in tmp_path.glob(f"10{number}*.txt"):
            path.unlink()
    assert "other" not in check(tmp_path).findings, "no text here is a caption"


def test_counts_need_no_plural(tmp_path):
    noise(tmp_path / "a.png", 0)
    (tmp_path / "a.txt").write_text("")
    text = check(tmp_path).text()
    assert "pictures 1, different captions 1;" in text
    assert "Without a caption, or with an empty one: 1" in text


@pytest.mark.parametrize("language", ["en", "ru"])
def test_a_reason_that_is_not_known_stays(monkeypatch, language):
    monkeypatch.setenv("SFUMATO_LANG", language)
    assert spoken(Problem("a.png", "is of a later time")) == "is of a later time"


def test_transparent_pictures_are_not_blank_and_flat_ones_are(tmp_path):
    ring = np.zeros((40, 40, 4), np.uint8)
    ring[10:30, 10:30] = 255
    Image.fromarray(ring).save(tmp_path / "ring.png")
    # differs between channels, but shows nothing
    Image.new("RGBA", (40, 40), (255, 0, 0, 90)).save(tmp_path / "veil.png")
    report = check(tmp_path)
    assert report.channels == 4
    assert [p.origin for p in report.findings["blank"]] == ["veil.png"]


def test_even_a_folder_of_nothing_but_broken_files_is_reported(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no")
    report = check(tmp_path)
    assert report.counts()["unreadable"] == report.total == 1


def test_open_sources_and_unknown_names(ill):
    assert check(open_source(ill)).counts()["unreadable"] == 1
    with pytest.raises(SfumatoError, match="no data set"):
        check("emojy")


def test_the_list_names_every_data_set():
    entries = {entry.name: entry for entry in listing()}
    assert set(NAMES) <= set(entries)
    assert entries["emoji"].found and entries["emoji"].pictures == len(open_source("emoji"))
    for entry in entries.values():
        assert entry.what and entry.licence and entry.get
        assert json.loads(json.dumps(entry.to_dict()))["name"] == entry.name


def photograph(seed: int, side: int = 160) -> Image.Image:
    """Smooth colours with shapes on them, another one for each seed."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)


def test_each_remark_says_what_it_is_for_programs(ill):
    for kind, found in check(ill).findings.items():
        for one in found:
            assert one.kind in SENTENCES, (kind, one)
            assert messages("en")[SENTENCES[one.kind]]
    keys = {p["key"] for p in check(ill).to_dict()["findings"]["caption missing"]}
    assert keys == {"named_file"}


def test_every_remark_of_a_folder_has_a_kind(tmp_path, monkeypatch):
    """Each sentence comes from the reader that writes it, so that none is left behind."""
    root, away = tmp_path / "set", tmp_path / "away"
    noise(away / "x.png", 50)
    (away / "x.txt").write_text("far")
    for number, name in enumerate("abcdef"):
        noise(root / f"{name}.png", number)
    for name, content in (
        ("empty.png", b""),
        ("no.png", b"<html>"),
        ("head.png", (root / "a.png").read_bytes()[:20]),
        ("cut.png", (root / "a.png").read_bytes()[:3000]),
    ):
        (root / name).write_bytes(content)
        (root / name).with_suffix(".txt").write_text("some picture")
    Image.new("L", (200, 200)).save(root / "large.png")
    monkeypatch.setattr(decode, "MAX_PIXELS", 30_000)
    (root / "link").symlink_to(away)
    (root / "away.png").symlink_to(away / "x.png")
    (root / "a.txt").symlink_to(away / "x.txt")
    (root / "b.txt").write_text("")
    (root / "c.txt").write_bytes("сердце".encode("cp1251"))
    (root / "metadata.csv").write_bytes(
        "file_name,text\nd.png,\n,x\n../y.png,z\nz.png,z\nf.png,\xe9t\xe9\n".encode("cp1252")
    )
    (root / "metadata.jsonl").write_text("no json\n")
    found = {one.kind for some in check(root).findings.values() for one in some}
    values = [one.values for some in check(root).findings.values() for one in some]
    found |= {one["complaint"] for one in values if "complaint" in one}
    assert found >= {
        "empty", "no_picture", "header", "broken", "too_large", "link_folder", "link_away",
        "caption_link", "empty_file", "empty_caption", "no_caption", "encoded", "row", "line",
        "leaves", "absent",
    }  # fmt: skip
    assert "" not in found
    monkeypatch.setenv("SFUMATO_LANG", "ru")
    for some in check(root).findings.values():
        assert all(re.search("[а-я]", spoken(one).lower()) for one in some)


def test_a_known_kind_needs_no_sentence():
    problem = Problem("a.png", "whatever words", kind="pixels", values={"width": 3, "height": 4})
    assert spoken(problem) == "3 x 4 pixels"
    assert hash(problem) == hash(Problem("a.png", "whatever words", kind="pixels"))


@pytest.mark.parametrize(
    ("caption", "kind"),
    [
        ("...", "punctuation"),
        ("?! -", "punctuation"),
        ("IMG_1234", "file_name"),
        ("DSC00042", "file_name"),
        ("20210304 cat.JPG", "file_name"),
        ("screenshot 2021-03-04", "file_name"),
        ("<p>http://x.y/z</p>", "markup"),
        ("a cat<br/>on a mat", "markup"),
        ("cats &amp; dogs", "markup"),
        ("see http://x.y/z", "address"),
        ("HTTPS://x.y/IMG_1.jpg", "address"),
        ("a cat, www.cats.org", "address"),
        ("write to cat@cats.org", "address"),
        ("I <3 cats, a<b and b>c", None),
        ("AT&T; a cat @ home", None),
        ("the http protocol", None),
        ("РєРѕС‚ РЅР° РєСЂС‹С€Рµ", "mojibake"),
        ("cafÃ© noir", "mojibake"),
        ("caf\ufffd", "garbled"),
        ("word " * 25, "long"),
        ("a cat", None),
        ("кот", None),
        ("café, naïve, 20 °C", None),
        ("СЁМГА", None),
        ("5", None),
        ("😀", None),
        ("photo of a cat", None),
        ("picture 1 of the sea", None),
        ("猫", None),
        ("word " * 24, None),
    ],
)
def test_odd_captions(caption, kind):
    found = oddity(caption.strip())
    assert (found and found[0]) == kind
    if found:
        assert messages("en")[SENTENCES[kind]].format(**found[1])


def test_the_longest_caption_is_what_the_model_reads():
    length = inspect.signature(TextTransformer).parameters["length"].default
    assert length == LONGEST


# one writes words small, large, or with a capital at the start, and signs before and after them
LETTERS = "абвгдежзийклмнопрстуфхцчшщъыьэюяёґєіїў", "beorsàâãäåæçéèêíñóöøúüß", "acešž", "uœvré"
WORDS = st.tuples(
    st.sampled_from(["", "", "«", "“", "„", "(", "№", "€"]),
    st.sampled_from(LETTERS).flatmap(lambda letters: st.text(letters, min_size=2, max_size=3)),
    st.sampled_from([str.lower, str.upper, str.capitalize]),
    st.sampled_from(
        ["", "", "…", "’", "’s", "’S", "”", "“", "»", "!", "®", "™", "©", "°", "–", "—"]
    ),
).map(lambda parts: parts[0] + parts[2](parts[1]) + parts[3])


@pytest.mark.parametrize(
    "caption",
    [
        "NESCAFÉ®", "CAFÉ’S MENU", "Ein Riesenspaß…", "Gruß–Karte", "Её", "НІ", "Ті", "РІ",
        "SKRÅ’S OG SKRÅ’S", "IRMÃ…", "«AMANHû", "В\N{NO-BREAK SPACE}USA", "Её Её", "ÜBERGRÖß’",
    ],
)  # fmt: skip
def test_real_captions_that_happen_to_be_utf_8_stay(caption):
    assert mended(caption) == caption and oddity(caption) is None


@settings(max_examples=400, deadline=None)
@given(st.lists(WORDS, min_size=1, max_size=2), st.sampled_from([" ", "–", "’", "-"]))
def test_real_captions_of_any_words_stay(words, between):
    meant = unicodedata.normalize("NFC", between.join(words))
    assert mended(meant) == meant


@pytest.mark.parametrize("encoding", ["cp1251", "cp1252"])
@pytest.mark.parametrize(
    "meant",
    ["café noir", "Décor", "20 °C", "don’t", "Größe", "Œuvre, été", "вид", "вся Её", "😀 кот"],
)
def test_what_was_wrongly_decoded_is_mended(meant, encoding):
    def read(byte: int) -> str:
        return bytes([byte]).decode(encoding, "ignore") or chr(byte)

    wrong = "".join(map(read, meant.encode()))
    if encoding == "cp1251" and meant in ("Décor", "20 °C"):
        assert mended(wrong) in (meant, wrong)  # "DГ©cor" is not told from real words
    else:
        assert mended(wrong) == meant


@given(st.text(alphabet="абвгдежзийклмнопрстуфхцчшщъыьэюяё АБВЁёґєії", min_size=2))
def test_wrongly_decoded_russian_is_mended(text):
    meant = " ".join(unicodedata.normalize("NFC", text).split())
    assert mended(meant) == meant
    wrong = meant.encode().decode("cp1251", "ignore")
    if wrong.encode("cp1251") == meant.encode() and meant:
        # a letter alone, or after one that looks like a capital, may be a real word
        sure = re.search(r"[^\Wв_][^\W_]", meant)
        assert mended(wrong) == meant or (not sure and mended(wrong) == wrong)


def test_odd_captions_are_found_in_a_folder_and_shared_ones_once(tmp_path):
    for number in range(12):
        photograph(number).save(tmp_path / f"{number:02}.png")
        caption = "a photo" if number < 7 else f"thing {number}"
        (tmp_path / f"{number:02}.txt").write_text(caption)
    (tmp_path / "11.txt").write_text("IMG_0042")
    found = check(tmp_path).findings["caption odd"]
    assert [one.kind for one in found] == ["same_caption", "file_name"]
    assert (found[0].values["count"], found[0].values["total"]) == (7, 12)
    (tmp_path / "06.txt").write_text("something else")
    assert [one.kind for one in check(tmp_path).findings["caption odd"]] == ["file_name"]


def test_classes_are_compared_both_ways(tmp_path):
    for label, count in (("ant", 2), ("bee", 2), ("cat", 11)):
        for number in range(count):
            noise(tmp_path / label / f"{number}.png", 100 * count + number + 7 * ord(label[0]))
    report = check(tmp_path)
    assert [(p.origin, p.kind) for p in report.findings["class imbalance"]] == [("cat", "dominant")]
    assert report.balance() == (("cat", 11), ("bee", 2))
    assert "Largest class: cat, 11 pictures (73% of all)" in report.text()


def test_a_copy_in_another_class_is_said_to_be_there(tmp_path):
    for label in ("cat", "dog"):
        (tmp_path / label).mkdir()
        photograph(1).save(tmp_path / label / "same.png")
        photograph(ord(label[0])).save(tmp_path / label / "own.png")
    (found,) = check(tmp_path).findings["duplicate"]
    assert found.kind == "same_class" and found.values["label"] == "cat"
    assert found.origin == "dog/same.png"


def test_shapes_transparency_and_grey_are_counted(tmp_path):
    for number in range(6):
        photograph(number).save(tmp_path / f"{number}.jpg")
    photograph(7).crop((0, 0, 160, 70)).save(tmp_path / "long.jpg")
    photograph(8).crop((0, 0, 160, 80)).save(tmp_path / "not so long.jpg")
    photograph(9).convert("L").save(tmp_path / "grey.jpg")
    cut = photograph(10).convert("RGBA")
    cut.putalpha(Image.linear_gradient("L").resize(cut.size))
    cut.save(tmp_path / "cut.png")
    report = check(tmp_path)
    assert (report.channels, report.transparent, report.grey) == (3, 1, 1)
    (shape,) = report.findings["shape"]
    assert (shape.origin, shape.values["lost"]) == ("long.jpg", "56%")
    assert [p.origin for p in report.findings["transparency"]] == ["cut.png"]
    assert [p.origin for p in report.findings["grey"]] == ["grey.jpg"]


def test_what_is_tiny_depends_on_the_training(tmp_path):
    for side in (40, 70, 130):
        photograph(side, side).save(tmp_path / f"{side}.png")
    tiny = {
        size: [p.origin for p in check(tmp_path, size=size).findings.get("tiny", ())]
        for size in (32, 64, 128)
    }
    assert tiny == {32: [], 64: ["40.png"], 128: ["40.png", "70.png"]}


def test_similar_pictures_are_grouped_around_the_largest(tmp_path):
    for number in range(5):
        photograph(number).save(tmp_path / f"{number}.png")
    photograph(1).save(tmp_path / "again.jpg", quality=40)
    photograph(1, 320).save(tmp_path / "large.png")
    report = check(tmp_path)
    assert report.groups == (("large.png", "1.png", "again.jpg"),)
    assert [p.origin for p in report.findings["near duplicate"]] == ["1.png", "again.jpg"]
    assert report.to_dict()["groups"] == [["large.png", "1.png", "again.jpg"]]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_names_command_no_terminal(tmp_path):
    for number, label in enumerate(("a\x1b[2J", "b\u202egnp", "b\u202egnp")):
        noise(tmp_path / label / f"{number}.png", number)
    (tmp_path / "a\x1b[2J" / "\x07copy.png").write_bytes(
        (tmp_path / "b\u202egnp/1.png").read_bytes()
    )
    (tmp_path / "b\u202egnp" / "\x9b2J.png").write_text("no")
    said = check(tmp_path).text()
    assert all(line.isprintable() for line in said.split("\n"))
    assert "a\\x1b[2J/\\x07copy.png" in said and "b\\u202egnp/\\x9b2J.png" in said


def test_progress_is_told(tmp_path):
    for number in range(3):
        noise(tmp_path / f"{number}.png", number)
    told = []
    check(tmp_path, progress=lambda *step: told.append(step))
    assert told == [("looking", 0, 3), ("comparing", 0, 3)]
