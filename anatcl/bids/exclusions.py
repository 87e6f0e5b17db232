"""One table of everything that was left out, from the tables and markers that the stages leave."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from anatcl.base.errors import InputError
from anatcl.base.failures import failed
from anatcl.base.files import read_tsv, write_tsv

COLUMNS = ["scan", "participant_id", "stage", "reason", "file", "remedy"]
MERGED = [*COLUMNS, "log"]
ORDER = ["bids", "preprocess", "measures", "pretrain", "evaluate", "report"]


def merge(*tables: pd.DataFrame) -> pd.DataFrame:
    """Merge exclusions of several stages.

    Parameters
    ----------
    *tables : DataFrame
        Any of the columns `MERGED`, at least ``scan``; a table may be empty.

    Returns
    -------
    DataFrame
        Columns `MERGED`, sorted by scan, then by stage in the order of the data flow; equal rows once. Where
        ``participant_id`` is missing it is taken from the scan's name.
    """
    full = [table.reindex(columns=MERGED).astype(object) for table in tables if not table.empty]
    if not full:
        return pd.DataFrame(columns=MERGED)
    rows = pd.concat(full, ignore_index=True)
    rows = rows.where(rows.notna() & (rows != ""), None)
    rows["participant_id"] = [p or _participant(s) for p, s in zip(rows["participant_id"], rows["scan"], strict=True)]
    rows["_order"] = [_rank(stage) for stage in rows["stage"]]
    rows = rows.drop_duplicates(MERGED).sort_values(["scan", "_order", "file", "reason"], kind="stable")
    return rows[MERGED].reset_index(drop=True)


def merge_files(bids: Path, failures: Path | None, qc: Path | None, out: Path) -> pd.DataFrame:
    """Read what the stages left, merge it and write it to `out`.

    Parameters
    ----------
    bids : Path
        ``results/bids/excluded.tsv``.
    failures : Path or None
        Folder of failure markers; absent when nothing failed.
    qc : Path or None
        Table of scans that quality control left out; absent when there is none.
    out : Path
        TSV file to write.
    """
    tables = [_table(bids)]
    if failures is not None and failures.is_dir():
        tables.append(failed(failures))
    if qc is not None and qc.is_file():
        tables.append(_table(qc))
    merged = merge(*tables)
    write_tsv(out, merged)
    return merged


def _table(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise InputError("there is no such table.", path, "Run `python -m anatcl bids index` first.")
    table = read_tsv(path)
    if "scan" not in table.columns:
        raise InputError("the table of exclusions has no column 'scan'.", path, "Delete it; it is made again.")
    return table


def _participant(scan: str | None) -> str | None:
    found = re.match(r"sub-[^/_]+", scan or "")
    return found.group() if found else None


def _rank(stage: str | None) -> int:
    """A marker's stage is ``preprocess register``: its first word tells the stage."""
    word = (stage or "").partition(" ")[0]
    return ORDER.index(word) if word in ORDER else len(ORDER)
