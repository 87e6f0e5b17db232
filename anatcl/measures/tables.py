"""From the tables of single scans to the table of the cohort, in two levels."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anatcl.base.errors import InputError
from anatcl.base.files import read_tsv
from anatcl.measures.dictionary import GLOBALS, split_column
from anatcl.spec.layout import EXCLUDED

log = logging.getLogger(__name__)

LEAD = ["scan", "participant_id", "session_id"]
TAIL = ["thickness_method", "thickness_trust", "source", "n_outliers", "flags"]


def widen(table: pd.DataFrame) -> pd.Series:
    """Turn the table of one scan (a row per region) into one row of the cohort table."""
    whole = table[table["structure"] == "global"].set_index("region")["volume_mm3"]
    row = {f"{name}_mm3": whole.get(name, np.nan) for name in ("tiv", "gm", "wm", "csf")}
    regions = table[table["structure"] != "global"]
    cortex = regions[regions["structure"] == "cortex"]
    names = {"thickness": "thickness_mm", "thicknessstd": "thicknessstd_mm", "volume": "volume_mm3", "area": "area_mm2"}
    optional = {"thicknessvoxels": "thicknessvoxels_mm"} | {
        m: m for m in ("meancurv", "gauscurv", "curvind", "foldind")
    }
    names |= {measure: column for measure, column in optional.items() if column in table}
    for measure, column in names.items():
        row |= dict(zip(measure + "_" + cortex["region"], cortex[column], strict=True))
    other = regions[regions["structure"] != "cortex"]
    row |= dict(zip("volume_" + other["region"], other["volume_mm3"], strict=True))
    flagged = table[table["flags"].fillna("") != ""]
    first = table.iloc[0]
    text = {name: first[name] for name in ("thickness_method", "thickness_trust", "source")}
    if "excluded" in table:
        text["excluded"] = first["excluded"]
    text["flags"] = ";".join(f"{f}:{r}" for f, r in zip(flagged["flags"], flagged["region"], strict=True))
    return pd.Series({"scan": first["scan"]} | row | text)


def chunk(paths: Iterable[str | Path]) -> pd.DataFrame:
    """Join tables of single scans into one wide table, sorted by scan."""
    rows = [widen(read_tsv(path)) for path in paths]
    if not rows:
        raise InputError("no table of a scan was given.", remedy="Look at excluded.tsv: perhaps every scan failed.")
    return pd.DataFrame(rows).sort_values("scan").reset_index(drop=True)


def join(chunks: Iterable[pd.DataFrame], scans: pd.DataFrame) -> pd.DataFrame:
    """Join chunk tables and add the participant of each scan.

    Parameters
    ----------
    chunks : iterable of DataFrame
        As `chunk` makes them.
    scans : DataFrame
        The index of scans; rows without measures are left out, the others keep their order by name.

    Returns
    -------
    DataFrame
        `LEAD`, the global volumes, regional columns, `TAIL` without ``n_outliers``.
    """
    table = pd.concat(list(chunks), ignore_index=True)
    doubled = table.loc[table["scan"].duplicated(), "scan"]
    if len(doubled):
        raise InputError(
            f"scan {doubled.iloc[0]} has two rows of measures.", remedy="Remove results/measures and rerun."
        )
    people = scans.reindex(columns=LEAD)[LEAD].drop_duplicates("scan")
    table = people.merge(table, on="scan", how="inner").sort_values("scan").reset_index(drop=True)
    tail = [name for name in (*TAIL, "excluded") if name in table]
    return table[[*LEAD, *GLOBALS, *[c for c in table.columns if split_column(str(c))], *tail]]


def gate(table: pd.DataFrame, qc: pd.DataFrame | None, query: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Remove scans that cannot be measured or fail the quality query.

    Parameters
    ----------
    table : DataFrame
        Cohort table.
    qc : DataFrame or None
        Image-quality metrics, one row per scan, column ``scan``.
    query : str
        A pandas query over the columns of `qc`; scans for which it is false leave.

    Returns
    -------
    kept : DataFrame
    excluded : DataFrame
        Columns `anatcl.spec.layout.EXCLUDED`.
    """
    reasons: dict[str, tuple[str, str]] = {}
    cortex = [c for c in table.columns if str(c).startswith(("thickness_lh_", "thickness_rh_"))]
    lost = table[cortex].isna().mean(axis=1) > 0.5 if cortex else pd.Series(False, index=table.index)
    for scan in table.loc[lost, "scan"]:
        reasons[scan] = ("more than half of the cortical regions are empty", "Look at the registration in its picture.")
    if "excluded" in table:
        for scan, reason in table.loc[table["excluded"].fillna("") != "", ["scan", "excluded"]].itertuples(index=False):
            remedy = f"Look at the picture of its surfaces; 'preprocess: accept: [{scan}]' keeps the scan."
            reasons.setdefault(scan, (str(reason), remedy))
        table = table.drop(columns="excluded")
    if qc is not None and query:
        passed = set(_query(qc, query)["scan"])
        for scan in table.loc[table["scan"].isin(qc["scan"]) & ~table["scan"].isin(passed), "scan"]:
            reasons.setdefault(
                scan, (f"quality outside the limits ({query})", "Look at its picture, or change the limits.")
            )
    out = table["scan"].isin(reasons)
    excluded = table.loc[out, ["scan", "participant_id"]].assign(
        stage="measures",
        reason=[reasons[s][0] for s in table.loc[out, "scan"]],
        file="",
        remedy=[reasons[s][1] for s in table.loc[out, "scan"]],
    )
    return table[~out].reset_index(drop=True), excluded.reindex(columns=list(EXCLUDED)).reset_index(drop=True)


def _query(qc: pd.DataFrame, query: str) -> pd.DataFrame:
    try:
        return qc.query(query)
    except Exception as error:  # pandas raises many kinds for a query that a user mistyped
        raise InputError(f"the quality query {query!r} fails ({error}).", remedy=f"Columns: {list(qc)}") from error


def adjusted(table: pd.DataFrame) -> pd.DataFrame:
    """Volumes adjusted for TIV: `volumeprop_*` (fraction of it) and `volumeres_*` (regressed out, mm3).

    The volumes are those of grey matter, white matter and CSF (``volumeprop_gm`` ...) and of every region.

    The regression is fitted on the whole table, so the residuals describe this cohort; a predictor must fit its own on
    training data.
    """
    regional = [str(c) for c in table.columns if (p := split_column(str(c))) and p[0] == "volume"]
    columns = {c.removesuffix("_mm3"): table[c] for c in GLOBALS if c != "tiv_mm3"}
    columns |= {c.removeprefix("volume_"): table[c] for c in regional}
    tiv = table["tiv_mm3"].to_numpy(float)
    result: dict[str, Any] = {name: table[name] for name in LEAD}
    result |= {f"volumeprop_{name}": volume / tiv for name, volume in columns.items()}
    result |= {f"volumeres_{name}": _residual(volume.to_numpy(float), tiv) for name, volume in columns.items()}
    return pd.DataFrame(result)


def _residual(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """`y` less its linear dependence on `x`, at the mean of `x`; NaN stays NaN. Shape (n,)."""
    use = np.isfinite(x) & np.isfinite(y)
    if use.sum() < 3 or np.ptp(x[use]) == 0:
        return np.full(len(y), np.nan)
    dx = x - x[use].mean()
    slope = (dx[use] * (y[use] - y[use].mean())).sum() / (dx[use] ** 2).sum()
    return y - slope * dx
