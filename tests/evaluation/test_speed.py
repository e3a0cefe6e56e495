"""Speed and memory of a real process."""

import pytest

from sfumato.errors import SfumatoError
from sfumato.evaluation.provenance import code_hash, manifest_of, surroundings, weights_hash
from sfumato.evaluation.speed import speed_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    import tiny

    return tiny.model().save(tmp_path_factory.mktemp("models") / "tiny")


def test_a_process_of_its_own_is_measured(folder):
    found = speed_of(str(folder), "cpu", "red heart", timeout=120)
    assert found is not None
    assert 0 < found["one"] < 10
    assert 0 < found["sixteen"] < 30
    assert found["load"] > 0
    assert 50e6 < found["peak bytes"] < 4e9  # torch alone takes more than a hundred million
    assert found["steps"] == 4


def test_what_takes_too_long_is_no_number(folder):
    assert speed_of(str(folder), "cpu", "red heart", timeout=0.01) is None


def test_a_failure_names_its_cause(tmp_path):
    with pytest.raises(SfumatoError, match="There is no model"):
        speed_of(str(tmp_path), "cpu", "red heart", timeout=120)


def test_the_hash_of_weights_sees_every_number(folder):
    import sfumato

    one, other = sfumato.load(folder, "cpu"), sfumato.load(folder, "cpu")
    assert weights_hash(one) == weights_hash(other)
    parameter = next(iter(other.prompted.parameters()))
    parameter.data.view(-1)[-1] += 1e-3
    assert weights_hash(one) != weights_hash(other)


def test_the_manifest_is_found_in_model_and_run(folder, tmp_path):
    assert "model.safetensors" in manifest_of(folder)
    assert "model.safetensors" in manifest_of(None)
    assert manifest_of(tmp_path) == {}
    run = tmp_path / "run"
    run.mkdir()
    (run / "model").symlink_to(folder)
    assert manifest_of(run) == manifest_of(folder)


def test_the_surroundings_name_code_and_versions():
    found = surroundings()
    assert len(found["code"]) == 64
    assert found["code"] == code_hash()
    assert code_hash("diffusion") != code_hash()
    assert found["libraries"]["torch"]
    assert found["threads"] >= 1
