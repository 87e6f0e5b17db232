"""A person's word over single scans: a table with a scan, a decision and a mended mask per row."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pandas as pd

from anatcl.base.errors import InputError
from anatcl.base.files import read_tsv

COLUMNS = {"scan", "decision", "mask", "note"}
DECISIONS = ("accept", "reject")


@dataclasses.dataclass(frozen=True)
class Corrections:
    """What somebody decided after looking at the pictures.

    Attributes
    ----------
    accept, reject : list of str
        Scans taken back, and scans left out.
    masks : dict
        Scan to the absolute path of its mended brain mask.
    """

    accept: list[str]
    reject: list[str]
    masks: dict[str, str]

    @property
    def scans(self) -> set[str]:
        """All scans that a word was said about."""
        return {*self.accept, *self.reject, *self.masks}


def read_corrections(path: str | Path) -> Corrections:
    """Read the table; an empty path means that there is none.

    Parameters
    ----------
    path : path
        Tab-separated: ``scan`` (BIDS stem), and any of ``decision`` (``accept``, ``reject`` or n/a), ``mask`` (path,
        relative to the table, or n/a) and ``note`` (free text).

    Raises
    ------
    InputError
        The table or a mask does not exist, or a column, a decision or a repeated scan makes no sense.
    """
    if not str(path):
        return Corrections([], [], {})
    path = Path(path)
    if not path.is_file():
        raise InputError("the table of corrections does not exist.", path, "Mend preprocess: corrections.")
    table = read_tsv(path)
    _check(table, path)
    text = {name: table[name] if name in table else pd.Series(index=table.index, dtype=object) for name in COLUMNS}
    masks = {s: str((path.parent / m).resolve()) for s, m in zip(table["scan"], text["mask"], strict=True) if m == m}
    for mask in masks.values():
        if not Path(mask).is_file():
            raise InputError("a mask that the table of corrections names does not exist.", mask, f"Mend {path}.")
    accept, reject = (sorted(table["scan"][text["decision"] == word]) for word in DECISIONS)
    return Corrections(accept, reject, masks)


def _check(table: pd.DataFrame, path: Path) -> None:
    """Raise where a table makes no sense."""
    unknown = sorted(set(map(str, table.columns)) - COLUMNS)
    if "scan" not in table or unknown:
        wrong = f"an unknown column {unknown}" if unknown else "no column 'scan'"
        raise InputError(f"the table has {wrong}.", path, f"Its columns are {', '.join(sorted(COLUMNS))}.")
    twice = sorted(table["scan"][table["scan"].duplicated()])
    if twice or table["scan"].isna().any():
        raise InputError(f"a scan stands twice or is empty in the table ({twice[:3]}).", path, "Give it one row.")
    if "decision" in table:
        words = set(table["decision"].dropna()) - set(DECISIONS)
        if words:
            raise InputError(f"the decisions {sorted(words)} are unknown.", path, "Write accept, reject or n/a.")
