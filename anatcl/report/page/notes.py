"""What the index accepted, repaired or converted, for the page: a row for each note, with those it is about."""

from __future__ import annotations

import pandas as pd

from anatcl.base.joins import some

NAMED = 3  # scans or tables that a row names


def grouped(notes: pd.DataFrame) -> list[dict[str, str]]:
    """Rows of the page from ``notes.tsv``: equal notes in one row, in the order of the table.

    Parameters
    ----------
    notes : DataFrame
        Columns ``about``, ``note``, ``remedy``; may be empty.

    Returns
    -------
    list of dict
        ``about`` (the first few, and how many more), ``note``, ``remedy``.
    """
    if notes.empty:
        return []
    together = notes.fillna("").astype(str).groupby(["note", "remedy"], sort=False)["about"]
    return [
        {"about": some(list(about), NAMED), "note": str(note), "remedy": str(cure)} for (note, cure), about in together
    ]
