"""The shipped profiles, and those that a command names."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

from anatcl.base.errors import InputError
from anatcl.run.places import snakefile

FLAGS = ("--workflow-profile", "--profile")


def folder() -> Path:
    """Where the shipped profiles are."""
    return snakefile().parent / "profiles"


def names() -> list[str]:
    """Names of the shipped profiles."""
    return sorted(path.parent.name for path in folder().glob("*/config.yaml"))


def text(name: str) -> str:
    """Content of a shipped profile.

    Raises
    ------
    InputError
        There is none of that name.
    """
    if name not in names():
        raise InputError(f"there is no profile {name!r}.", None, _remedy(name))
    return (folder() / name / "config.yaml").read_text(encoding="utf-8")


def check(options: Sequence[str]) -> None:
    """Make sure that the profile which options of Snakemake name is there.

    Raises
    ------
    InputError
        A path was given, and no ``config.yaml`` is in it. A bare word may be a profile of the user's own, elsewhere.
    """
    for word, following in zip(options, [*options[1:], ""], strict=True):
        flag, _, joined = word.partition("=")
        value = joined or following
        if flag in FLAGS and (flag == FLAGS[0] or "/" in value) and value != "none" and not _there(Path(value)):
            raise InputError(f"{flag}: there is no profile here.", value, _remedy(Path(value).name))


def _there(path: Path) -> bool:
    return any((path / name).is_file() for name in ("config.yaml", *(f"config.v{n}+.yaml" for n in range(8, 11))))


def _remedy(name: str) -> str:
    near = (difflib.get_close_matches(name, names(), 1, 0.5) or ["slurm"])[0]
    return (
        f"Shipped profiles: {', '.join(names())}. Write one: mkdir {near}; anatcl profile {near} > {near}/config.yaml."
    )
