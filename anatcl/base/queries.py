"""Queries over a table, as pandas reads them, in a user's configuration."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from anatcl.base.errors import InputError
from anatcl.base.words import nearest

if TYPE_CHECKING:
    import pandas as pd

EXAMPLE = "Write for example: age >= 18 and sex == 'M'."


def fits_query(table: pd.DataFrame, query: str, what: str = "", key: Sequence[str] = ()) -> pd.Series:
    """Evaluate a query row by row.

    Parameters
    ----------
    table : DataFrame of n rows
        What is asked about.
    query : str
        A comparison in pandas' words: ``age >= 18 and sex == 'M'``.
    what : str
        What a sentence calls it: ``task age``.
    key : sequence of str
        Where it stands in the configuration.

    Returns
    -------
    Series of n bool

    Raises
    ------
    InputError
        The query cannot be evaluated, or is not a comparison.
    """
    import pandas as pd

    asked = f"{what}: the query {query!r}" if what else f"the query {query!r}"
    if "@" in query or "__" in query:  # pandas would look up Python variables and attributes
        raise InputError(f"{asked} has '@' or '__', which a query over columns may not contain.", None, EXAMPLE, key)
    try:
        result = table.eval(query, engine="python")
    except Exception as error:  # pandas raises whatever the expression does; the reason is kept
        reason = f"{asked} cannot be evaluated ({' '.join(str(error).split())})."
        raise InputError(reason, None, _remedy(str(error), table), key) from error
    if not isinstance(result, pd.Series) or result.dtype != bool:
        raise InputError(f"{asked} is not a comparison.", None, EXAMPLE, key)
    return result


def _remedy(reason: str, table: pd.DataFrame) -> str:
    unknown = re.search(r"name '(.+)' is not defined", reason)
    if unknown:
        known = [str(name) for name in table if not str(name).startswith("_")]
        return f"{nearest(unknown.group(1), known)} Put text in quotes."
    return "Put text in quotes, and compare numbers with numbers." if "not supported between" in reason else EXAMPLE
