"""Where data sets are looked for."""

from pathlib import Path

import pytest

from sfumato.data import places
from sfumato.errors import SfumatoError


@pytest.fixture(autouse=True)
def own_machine(tmp_path, monkeypatch):
    monkeypatch.setattr(places.sys, "platform", "linux")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "user"))
    monkeypatch.delenv("SFUMATO_DATA", raising=False)


def test_the_variable_comes_before_the_users_folder(tmp_path, monkeypatch):
    assert places.data_folder("cifar10") == tmp_path / "user/sfumato/cifar10"
    monkeypatch.setenv("SFUMATO_DATA", str(tmp_path / "own"))
    assert places.data_folder("cifar10") == tmp_path / "own/cifar10"  # where a download goes
    (tmp_path / "user/sfumato/cifar10").mkdir(parents=True)
    assert places.data_folder("cifar10") == tmp_path / "user/sfumato/cifar10"  # where it lies
    (tmp_path / "own/cifar10").mkdir(parents=True)
    assert places.data_folder("cifar10") == tmp_path / "own/cifar10"


@pytest.mark.parametrize("name", ["../x", "a/b", "", "..", ".x", "a\\b", "/etc"])
def test_names_cannot_lead_elsewhere(name):
    with pytest.raises(ValueError, match="no name"):
        places.data_folder(name)


def test_each_system_has_its_folders(monkeypatch):
    home = Path.home()
    monkeypatch.setenv("XDG_DATA_HOME", "relative")  # to be ignored
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert places.user_data_folder() == home / ".local/share/sfumato"
    assert places.user_cache_folder() == home / ".cache/sfumato"
    monkeypatch.setattr(places.sys, "platform", "darwin")
    assert places.user_data_folder() == home / "Library/Application Support/sfumato"
    monkeypatch.setattr(places.sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", "local")
    assert places.user_cache_folder() == Path("local/sfumato/cache")


def test_what_is_nowhere_is_said_in_one_sentence(tmp_path):
    with pytest.raises(SfumatoError, match=r"mnist was not found in .*user.sfumato.mnist\. Cure\."):
        places.required("mnist", Path.is_dir, "Cure.")
    assert places.required("mnist", Path.is_dir, "", [tmp_path]) == tmp_path
