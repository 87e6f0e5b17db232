"""Reliability of a measure: differences within a participant, and intraclass correlation."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from anatcl.measures.dictionary import GLOBALS, describe, split_column

# An intraclass correlation from fewer people than this says nothing.
FEWEST = 10
COLUMNS = [
    "measure", "unit", "n_participants", "n_scans", "mean_abs_difference", "percent_difference", "percent_low",
    "percent_high", "icc31", "icc31_low", "icc31_high", "note",
]  # fmt: skip
FEW_NOTE = f"fewer than {FEWEST} participants with repeats: no ICC"


def icc31(data: NDArray, level: float = 0.95) -> tuple[float, float, float]:
    """ICC(3,1): two-way mixed model, single rating, consistency.

    Parameters
    ----------
    data : ndarray of shape (n, k)
        One row per participant, one column per repeat, nothing missing.
    level : float
        Coverage of the interval.

    Returns
    -------
    icc, low, high : float

    Notes
    -----
    Shrout and Fleiss 1979, Psychological Bulletin 86:420: (MSR - MSE) / (MSR + (k - 1) MSE), interval from F.
    """
    n, k = data.shape
    mean = data.mean()
    rows = k * ((data.mean(axis=1) - mean) ** 2).sum() / (n - 1)
    residual = data - data.mean(axis=1, keepdims=True) - data.mean(axis=0, keepdims=True) + mean
    error = (residual**2).sum() / ((n - 1) * (k - 1))
    if error <= 0:
        return (1.0, 1.0, 1.0) if rows > 0 else (np.nan, np.nan, np.nan)
    f, df1, df2 = rows / error, n - 1, (n - 1) * (k - 1)
    tail = 1 - (1 - level) / 2
    low = f / stats.f.ppf(tail, df1, df2)
    high = f * stats.f.ppf(tail, df2, df1)
    return tuple(float((x - 1) / (x + k - 1)) for x in (f, low, high))  # type: ignore[return-value]


def pairs(table: pd.DataFrame) -> pd.DataFrame:
    """First two scans, by name, of each participant who has several; sorted, with the column ``repeat`` (0, 1).

    Only scans measured by the same source and thickness method are compared.
    """
    same = [c for c in ("participant_id", "source", "thickness_method") if c in table]
    ordered = table[table["participant_id"].notna()].sort_values("scan")
    number = ordered.groupby(same, dropna=False).cumcount()
    size = ordered.groupby(same, dropna=False)["scan"].transform("size")
    return ordered.assign(repeat=number)[(size > 1) & (number < 2)]


def reliability(table: pd.DataFrame, seed: int = 0, draws: int = 1000) -> pd.DataFrame:
    """Reliability of each measure over participants with repeats.

    Parameters
    ----------
    table : DataFrame
        Cohort table.
    seed, draws : int
        Of the bootstrap over participants that gives the interval of the percent difference.

    Returns
    -------
    DataFrame
        Columns `COLUMNS`, one row per measure; empty when nobody has a repeat. ``percent_difference`` is the mean over
        participants of 100 |a - b| / mean(a, b). Repeats months apart hold change as well as error.
    """
    repeats = pairs(table)
    if repeats.empty:
        return pd.DataFrame(columns=COLUMNS)
    measures = [*GLOBALS, *(str(c) for c in table.columns if split_column(str(c)))]
    wide = repeats.pivot_table(index="participant_id", columns="repeat", values=measures, aggfunc="first", dropna=False)
    units = describe(measures)
    rows = [_row(m, units[m]["Units"], wide[m].to_numpy(float), seed, draws) for m in measures if (m, 1) in wide]
    return pd.DataFrame(rows, columns=COLUMNS)


def _row(measure: str, unit: str, data: NDArray, seed: int, draws: int) -> tuple:
    data = data[np.isfinite(data).all(axis=1)]
    n = len(data)
    if n == 0:
        return measure, unit, 0, 0, *[np.nan] * 7, "no value"
    difference = np.abs(data[:, 0] - data[:, 1])
    mean = np.abs(data.mean(axis=1))
    percent = 100 * difference / np.where(mean > 0, mean, np.nan)
    low, high = _interval(percent, seed, draws) if n >= 3 else (np.nan, np.nan)
    agreement = icc31(data) if n >= FEWEST else (np.nan,) * 3
    note = "" if n >= FEWEST else FEW_NOTE
    return measure, unit, n, 2 * n, difference.mean(), np.nanmean(percent), low, high, *agreement, note


def _interval(values: NDArray, seed: int, draws: int) -> tuple[float, float]:
    """95 % bootstrap interval of the mean."""
    rng = np.random.default_rng(seed)
    means = values[rng.integers(0, len(values), (draws, len(values)))].mean(axis=1)
    return tuple(np.percentile(means, [2.5, 97.5]))
