"""All scans that were left out, whichever stage left them out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from anatcl.base import failures
from anatcl.base.files import read_tsv, write_tsv
from anatcl.spec.layout import EXCLUDED_WITH_LOG, PERSON_MARK

COLUMNS = list(EXCLUDED_WITH_LOG)


def merge(tables: Sequence[str | Path], failures_dir: str | Path | None = None) -> pd.DataFrame:
    """Join the stages' exclusion tables and the markers of failed scans.

    Parameters
    ----------
    tables : sequence of path
        ``excluded.tsv`` files; those that do not exist are passed over.
    failures_dir : path, optional
        Folder of failure markers.

    Returns
    -------
    DataFrame
        Columns `COLUMNS`, sorted by scan, each scan and stage once.
    """
    parts = [read_tsv(path) for path in tables if Path(path).exists()]
    if failures_dir and Path(failures_dir).is_dir():
        parts.append(_failed(failures_dir))
    filled = [part for part in parts if len(part)]
    joined = pd.concat(filled, ignore_index=True) if filled else pd.DataFrame(columns=COLUMNS)
    joined = joined.reindex(columns=COLUMNS)
    from_scan = joined["scan"].astype("string").str.extract(r"^(sub-[^/]+)", expand=False)
    joined["participant_id"] = joined["participant_id"].astype("string").fillna(from_scan)
    joined = joined.drop_duplicates(["scan", "stage", "reason"])
    return joined.sort_values(["scan", "stage", "reason"], kind="stable").reset_index(drop=True)


def _failed(folder: str | Path) -> pd.DataFrame:
    """Failed scans. Each remedy ends with how the scan is tried again: one that failed is passed over until then."""
    table = failures.failed(folder)
    table = table[[not str(scan).endswith(PERSON_MARK) for scan in table["scan"]]].copy()  # a mean of scans is no scan
    table["remedy"] = [
        text if failures.AGAIN in text else f"{text} Then {failures.AGAIN}" for text in table["remedy"].astype(str)
    ]
    return table


def write_exclusions(tables: Sequence[str | Path], failures_dir: str | Path | None, out: str | Path) -> None:
    """Write the joined table of exclusions."""
    write_tsv(out, merge(tables, failures_dir))
