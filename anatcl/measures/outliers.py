"""Outlying measures of the cohort."""

from __future__ import annotations

import numpy as np
import pandas as pd

from anatcl.measures.dictionary import GLOBALS, split_column

LIMIT = 5.0
FEWEST = 8


def robust_z(values: np.ndarray) -> np.ndarray:
    """Distance from the median in units of 1.4826 x the median absolute deviation, shape (n,).

    Zero deviation (all alike) gives zero, not infinity.
    """
    centre = np.nanmedian(values)
    spread = 1.4826 * np.nanmedian(np.abs(values - centre))
    if not spread > 0:
        return np.zeros(len(values))
    return (values - centre) / spread


def outliers(table: pd.DataFrame, site: pd.Series | None = None, limit: float = LIMIT) -> pd.DataFrame:
    """List measures beyond `limit` robust deviations from the median of their own site.

    Parameters
    ----------
    table : DataFrame
        Cohort table.
    site : Series, optional
        Site of each row. A site of fewer than `FEWEST` scans is compared with the whole cohort.
    limit : float
        Beyond which |z| a measure is listed.

    Returns
    -------
    DataFrame
        Columns ``scan, measure, value, median, robust_z, compared_with``, sorted. Empty with fewer than `FEWEST` scans.
    """
    columns = ["scan", "measure", "value", "median", "robust_z", "compared_with"]
    if len(table) < FEWEST:
        return pd.DataFrame(columns=columns)
    groups = _groups(site, table.index)
    rows = []
    for column in [*GLOBALS, *(str(c) for c in table.columns if split_column(str(c)))]:
        values = table[column].to_numpy(float)
        for name, members, reference in groups:
            if np.isfinite(values[reference]).sum() < FEWEST:
                continue
            centre = np.nanmedian(values[reference])
            z = robust_z(values[reference])[np.searchsorted(reference, members)]
            for at in np.flatnonzero(np.abs(z) > limit):
                row = members[at]
                rows.append((table["scan"].iloc[row], column, values[row], centre, z[at], name))
    return pd.DataFrame(rows, columns=columns).sort_values(["scan", "measure"]).reset_index(drop=True)


def _groups(site: pd.Series | None, index: pd.Index) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Name of the comparison, positions of the rows judged, sorted positions of the rows they are judged against."""
    everyone = np.arange(len(index))
    names = pd.Series("", index=index) if site is None else site.fillna("").astype(str)
    result = []
    for name in sorted(names.unique()):
        members = np.flatnonzero(names.to_numpy() == name)
        alone = name and len(members) >= FEWEST
        result.append((name if alone else "cohort", members, members if alone else everyone))
    return result
