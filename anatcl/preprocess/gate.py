"""Limits on image-quality metrics: which scans enter the cohort tables, and which are left out and why.

The limits apply at aggregation: a scan that fails keeps all its files, and one line of configuration keeps it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from anatcl.base.files import read_json, read_tsv, write_tsv
from anatcl.preprocess.limits import broken_limits
from anatcl.spec.layout import EXCLUDED

SUFFIX = "_desc-qc.json"


def decide(scan: str, numbers: Mapping[Any, Any], rules: Mapping[str, Any]) -> str:
    """Why a scan is left out; an empty text when it stays. A decision by hand overrides the metrics."""
    if scan in rules["reject"]:
        return "rejected after visual inspection"
    return "" if scan in rules["accept"] else "; ".join(broken_limits(numbers, rules["limits"]))


def join(inputs: Sequence[Path], root: Path) -> pd.DataFrame:
    """Numbers of some scans as a table with ``scan`` first.

    Parameters
    ----------
    inputs : sequence of Path
        ``<root>/<scan>_desc-qc.json`` files.
    """
    rows = [{"scan": Path(f).relative_to(root).as_posix().removesuffix(SUFFIX), **read_json(f)} for f in inputs]
    return pd.DataFrame(rows).sort_values("scan")


def gate_cohort(chunks: Sequence[Path], rules: Mapping[str, Any], out: str | Path, out_excluded: str | Path) -> None:
    """Join the chunks' metrics, and write which scans are left out.

    Parameters
    ----------
    chunks : sequence of Path
        Tables of :func:`join`.
    rules : mapping
        ``limits`` (see :func:`broken_limits`), ``accept`` and ``reject`` (lists of scans).
    out : path
        Table with ``scan``, the numbers, and ``failed`` (reason, or n/a).
    out_excluded : path
        Exclusions with remedies.
    """
    table = pd.concat([read_tsv(chunk) for chunk in chunks], ignore_index=True).sort_values("scan")
    table["failed"] = [decide(str(row["scan"]), row.to_dict(), rules) or None for _, row in table.iterrows()]
    write_tsv(out, table)
    failed = table[table["failed"].notna()]
    rows = [_excluded(str(scan), str(reason), Path(out).parent) for scan, reason in failed[["scan", "failed"]].values]
    write_tsv(out_excluded, pd.DataFrame(rows, columns=list(EXCLUDED)))


def _excluded(scan: str, reason: str, root: Path) -> dict[str, str]:
    return {
        "scan": scan,
        "participant_id": scan.split("/")[0],
        "stage": "preprocess qc",
        "reason": reason,
        "file": str(root / f"{scan}_desc-qc.png"),
        "remedy": f"Look at the picture; 'preprocess: accept: [{scan}]' keeps the scan.",
    }
