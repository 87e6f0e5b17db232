"""Decisions about single scans: a table with a scan, a decision and a corrected mask per row."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any, Literal

import pandas as pd
from pydantic import Field

from anatcl.base.errors import InputError
from anatcl.base.files import read_tsv
from anatcl.base.words import hint
from anatcl.spec.section import Section


class Correction(Section):
    """One row of the table; only ``scan`` is needed."""

    scan: Annotated[str, Field(min_length=1)] = Field(description="BIDS stem of the scan, sub-01/anat/sub-01")
    decision: Literal["accept", "reject"] | None = Field(
        None, description="keep the scan although an image-quality metric is beyond its limit, or leave it out"
    )
    mask: str | None = Field(None, description="a manually edited brain mask; relative paths are relative to the table")
    note: str | None = Field(None, description="reason; not used by the workflow")


@dataclasses.dataclass(frozen=True)
class Corrections:
    """Decisions made after looking at the pictures.

    Attributes
    ----------
    accept, reject : list of str
        Scans taken back, and scans left out.
    masks : dict
        Scan to the absolute path of its corrected brain mask.
    """

    accept: list[str]
    reject: list[str]
    masks: dict[str, str]

    @property
    def scans(self) -> set[str]:
        """All scans with a decision by hand."""
        return {*self.accept, *self.reject, *self.masks}


def read_corrections(path: str | Path) -> Corrections:
    """Read the table; an empty path means that there is none.

    Parameters
    ----------
    path : path
        Tab-separated, the columns of `Correction`.

    Raises
    ------
    InputError
        The table or a mask does not exist, or a column, a decision or a repeated scan makes no sense.
    """
    if not str(path):
        return Corrections([], [], {})
    path = Path(path)
    if not path.is_file():
        raise InputError("the table of corrections does not exist.", path, "Correct preprocess: corrections.")
    rows = _rows(path)
    masks = {row.scan: str((path.parent / row.mask).resolve()) for row in rows if row.mask}
    for mask in masks.values():
        if not Path(mask).is_file():
            raise InputError("a mask that the table of corrections names does not exist.", mask, f"Correct {path}.")
    accept, reject = (sorted(row.scan for row in rows if row.decision == word) for word in ("accept", "reject"))
    return Corrections(accept, reject, masks)


def _rows(path: Path) -> list[Correction]:
    """The rows of the table, checked."""
    table = read_tsv(path)
    known = list(Correction.model_fields)
    unknown = sorted(set(map(str, table.columns)) - set(known))
    if "scan" not in table or unknown:
        if len(table.columns) == 1 and "," in str(table.columns[0]):
            raise InputError("the columns of the table are separated by commas.", path, "Separate them by tabs.")
        wrong = f"an unknown column {unknown} ({hint(unknown[0], known)})" if unknown else "no column 'scan'"
        raise InputError(f"the table has {wrong}.", path, f"Its columns are {', '.join(known)}.")
    twice = sorted(table["scan"][table["scan"].duplicated()].dropna())
    if twice or table["scan"].isna().any():
        told = f"the scan {twice[0]!r} occurs twice" if twice else "a row has no scan"
        raise InputError(f"{told}.", path, "Give every scan one row.")
    return [Correction.parse(_texts(row), f"line {n}", path) for n, row in enumerate(table.to_dict("records"), 2)]


def _texts(row: dict[Any, Any]) -> dict[str, Any]:
    return {str(key): None if pd.isna(value) else str(value) for key, value in row.items()}
