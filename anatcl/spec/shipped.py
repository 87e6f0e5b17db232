"""Files that are chosen by a shipped name or by their path."""

from __future__ import annotations

from pathlib import Path

from anatcl.base.errors import InputError
from anatcl.base.words import nearest


def shipped_names(folder: Path, suffix: str) -> list[str]:
    """Names of the files that are shipped in a folder."""
    return sorted(file.stem for file in folder.glob(f"*{suffix}"))


def find_file(name: str | Path, folder: Path, suffix: str, what: str) -> Path:
    """The file of a shipped name in `folder`, or the file that `name` is the path of.

    Parameters
    ----------
    name : str or path
        Shipped name without its suffix, or a path.
    folder : Path
        Where the shipped files lie.
    suffix : str
        Theirs: ``.yaml``.
    what : str
        What a sentence calls it: ``template``.

    Raises
    ------
    InputError
        There is no such file.
    """
    shipped = folder / f"{name}{suffix}"
    path = shipped if shipped.exists() else Path(name)
    if not path.is_file():
        remedy = f"{nearest(str(name), shipped_names(folder, suffix))} Or give the path of a {suffix[1:].upper()} file."
        raise InputError(f"there is no {what} '{name}'.", None, remedy)
    return path
