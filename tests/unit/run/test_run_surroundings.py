"""Users without a name or a home, and a folder for temporary files."""

from __future__ import annotations

import getpass
import os
from pathlib import Path

import pytest

from anatcl.base.errors import InputError
from anatcl.run.surroundings import surroundings


@pytest.fixture
def nameless(monkeypatch: pytest.MonkeyPatch) -> None:
    """No name in the environment and no entry among the users, as with ``docker run --user 4321``."""
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", lambda uid: (_ for _ in ()).throw(KeyError(f"uid not found: {uid}")))


def test_an_ordinary_user_needs_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("USER", "somebody")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert surroundings(tmp_path / "x") == {}
    assert not (tmp_path / "x").exists()


def test_a_user_without_a_name_gets_one(tmp_path, monkeypatch, nameless):
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(KeyError):
        getpass.getuser()
    given = surroundings(tmp_path)
    assert given == {"USER": f"user{os.getuid()}", "LOGNAME": f"user{os.getuid()}"}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert getpass.getuser() == f"user{os.getuid()}"


@pytest.mark.parametrize("home", ["/nonexistent", "/proc/1", None])
def test_a_home_that_cannot_be_written_is_made_elsewhere(tmp_path, monkeypatch, home):
    monkeypatch.setenv("USER", "somebody")
    monkeypatch.setenv("HOME", home) if home else monkeypatch.delenv("HOME")
    monkeypatch.setattr("os.access", lambda path, mode: Path(path) == tmp_path)
    own = tmp_path / "x" / "home"
    caches = {"XDG_CACHE_HOME": str(own / ".cache"), "XDG_CONFIG_HOME": str(own / ".config")}
    assert surroundings(tmp_path / "x") == {"HOME": str(own), **caches}
    assert (tmp_path / "x" / "home").is_dir()


def test_temporary_files_go_where_they_are_wanted(tmp_path, monkeypatch):
    monkeypatch.setenv("USER", "somebody")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert surroundings(tmp_path, tmp_path / "a b" / "c") == {"TMPDIR": str(tmp_path / "a b" / "c")}
    assert list((tmp_path / "a b" / "c").iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"no temporary file.*--work-dir"):
        surroundings(tmp_path, tmp_path / "file")
