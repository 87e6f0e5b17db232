"""Whether the table of scans has a column that is needed."""

from __future__ import annotations

import pandas as pd

from anatcl.base.errors import InputError
from anatcl.base.words import nearest
from anatcl.spec.check import Place


def lacking(place: Place, column: str, table: pd.DataFrame, who: str = "") -> list[tuple[Place, InputError]]:
    """What is wrong with a needed column: it does not exist, or no scan has a value.

    Parameters
    ----------
    place : tuple of str or int
        Where the configuration names it.
    column : str
        Its name.
    table : DataFrame
        The scans.
    who : str
        What needs it, at the start of the sentence: ``task age: ``.
    """
    if column in table and table[column].notna().any():
        return []
    known = [str(name) for name in table if table[name].notna().any() and name != "path"]
    why = "no scan has a value in the column" if column in table else "the scans table has no column"
    remedy = f"{nearest(column, known)} Or name it by bids: columns."
    return [(place, InputError(f"{who}{why} {column!r}.", None, remedy))]
