"""What Snakemake and its jobs expect of the machine: a user with a name, a home, a place for temporary files."""

from __future__ import annotations

import getpass
import logging
import os
import tempfile
from pathlib import Path

from anatcl.base.errors import InputError

log = logging.getLogger(__name__)


def surroundings(folder: Path, temporary: str | Path | None = None) -> dict[str, str]:
    """Variables to set for a run, on top of those that are there.

    A container that is started for any user id (``docker run --user 4321``) has no entry for it among the users, and
    often no home that this user may write to. Snakemake asks for both before its first job.

    Parameters
    ----------
    folder : path
        Where a home may be made when there is none.
    temporary : path, optional
        Folder for temporary files; made where it is absent.

    Raises
    ------
    InputError
        The folder for temporary files cannot be written.
    """
    return _user() | _home(folder) | (_temporary(Path(temporary).expanduser()) if temporary else {})


def _user() -> dict[str, str]:
    try:
        getpass.getuser()
    except (KeyError, OSError):  # KeyError before Python 3.13
        return dict.fromkeys(("USER", "LOGNAME"), f"user{os.getuid()}")
    return {}


def _home(folder: Path) -> dict[str, str]:
    home = Path(os.environ.get("HOME", "/"))
    caches = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache") / "snakemake"
    if home.is_dir() and os.access(home, os.W_OK) and _can_be_made(caches):
        return {}
    own = folder / "home"
    own.mkdir(parents=True, exist_ok=True)
    log.warning("The home folder cannot be written; caches are kept in %s.", own)
    return {"HOME": str(own), "XDG_CACHE_HOME": str(own / ".cache"), "XDG_CONFIG_HOME": str(own / ".config")}


def _can_be_made(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)


def _temporary(folder: Path) -> dict[str, str]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        remedy = "Make it writable, or name another one with --work-dir."
        raise InputError(f"no temporary file can be written ({error.strerror}).", folder, remedy) from error
    return {"TMPDIR": str(folder.absolute())}
