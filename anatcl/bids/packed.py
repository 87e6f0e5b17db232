"""The index of packed arrays: the participants of their ``rows.tsv``, filtered like those of a dataset."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pandas as pd

from anatcl.base.errors import InputError
from anatcl.base.queries import fits_query
from anatcl.bids import filters
from anatcl.bids.builder import STAGE, Index
from anatcl.bids.tables import from_texts, read_table, typed
from anatcl.spec.bids import Options
from anatcl.spec.layout import EXCLUDED

ROWS, VOLUMES = "rows.tsv", "volumes.npy"
FIRST = ("scan", "path", "participant_id", "session_id")
ALWAYS = ("age", "sex", "site")


def packed_index(root: Path, options: Options) -> Index:
    """Index the rows of a folder of packed arrays.

    Raises
    ------
    InputError
        ``rows.tsv`` is missing, or has no scans.
    """
    file = root / ROWS
    if not file.is_file():
        raise InputError(
            f"there is no {ROWS} in the folder of packed arrays.", root, "Give the folder that pack wrote."
        )
    table = read_table(file)
    lacking = [name for name in ("scan", "participant_id") if name not in table.columns]
    if lacking:
        raise InputError(f"the table has no column {lacking[0]}.", file, "Pack the arrays again.")
    rows = [row | {"path": VOLUMES} for row in table.rows]
    counted = Counter(row["scan"] for row in rows)
    if twice := [scan for scan, count in counted.items() if count > 1]:
        raise InputError(f"{twice[0]} occurs in the table more than once.", file, "Keep one row for each scan.")
    columns = [*FIRST, *(name for name in table.columns if name not in FIRST)]
    columns += [name for name in ALWAYS if name not in columns]
    excluded: list[dict[str, str]] = []
    asked = [row for row in rows if filters.asked_for(row["participant_id"], options)]
    kept = _included(asked, options, excluded)
    scans = _queried(from_texts(sorted(kept, key=lambda row: row["scan"]), columns), options, excluded)
    counts = {
        "rows found": len(rows),
        "not asked for": len(rows) - len(asked),
        "scans used": len(scans),
        "excluded rows": len(excluded),
        "participants used": int(scans["participant_id"].nunique()),
    }
    notes = from_texts([], ["about", "note", "remedy"])
    return Index(scans, from_texts(excluded, list(EXCLUDED)), _people(scans), [], notes, counts)


def _included(rows: list[dict[str, str]], options: Options, excluded: list[dict[str, str]]) -> list[dict[str, str]]:
    kept = []
    for row in rows:
        if filters.left_out(row["participant_id"], options):
            told = "the participant is excluded by the configuration.", "Remove it from participants: exclude."
            excluded.append(_exclusion(row, *told))
        else:
            kept.append(row)
    return kept


def _queried(scans: pd.DataFrame, options: Options, excluded: list[dict[str, str]]) -> pd.DataFrame:
    if not options.query or scans.empty:
        return scans
    fits = fits_query(typed(scans), options.query, key=("participants", "query")).to_numpy()
    for _, row in scans[~fits].iterrows():
        reason = f"it does not match participants.query ({options.query})."
        excluded.append(_exclusion(row, reason, "Change the query to include it."))
    return scans[fits].reset_index(drop=True)


def _exclusion(row: dict[str, str] | pd.Series, reason: str, remedy: str) -> dict[str, str]:
    who = {"scan": row["scan"], "participant_id": row["participant_id"], "stage": STAGE}
    return who | {"reason": reason, "file": ROWS, "remedy": remedy}


def _people(scans: pd.DataFrame) -> pd.DataFrame:
    """One row for each participant: scans, and what is the same in all of them."""
    rows = []
    for person, mine in scans.groupby("participant_id", sort=True):
        same = [c for c in scans.columns if c not in FIRST and mine[c].nunique(dropna=False) == 1]
        known = {c: mine[c].iloc[0] or "" for c in same}
        rows.append({"participant_id": str(person), "n_scans": str(len(mine)), **known})
    columns = ["participant_id", "n_scans", *(c for c in scans.columns if c not in FIRST)]
    return from_texts(rows, columns)
