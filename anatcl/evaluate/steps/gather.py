"""From the scores and predictions of single tasks to the tables of a whole run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from anatcl.base.files import read_tsv, write_tsv
from anatcl.evaluate.statistics import compare, scores
from anatcl.evaluate.statistics.published import SHIPPED, published_rows
from anatcl.evaluate.statistics.scores import FLOATS
from anatcl.evaluate.steps.added import added_table

SUBGROUP_COLUMNS = ["method", "task", "protocol", "subgroup", "metric", "value", "low", "high", "n", "n_participants",
                    "p_differ"]  # fmt: skip


def gather(
    inputs: list[str | Path],
    predictions: list[str | Path],
    out: str | Path,
    *,
    comparisons: str | Path | None = None,
    skipped: str | Path | None = None,
    scans: str | Path | None = None,
    subgroups: list[str] | None = None,
    out_subgroups: str | Path | None = None,
    published: str | Path | None = SHIPPED,
    seed: int = 0,
    n_bootstrap: int = 1000,
) -> None:
    """Write the scores of all methods and tasks, paired tests, what methods add to confounds (``added.tsv``), refused
    tasks, and subgroups.
    """
    table, refused = scores.concatenate(inputs)
    kinds = dict(zip(table["task"], table["kind"], strict=True))
    tables = [t for t in (read_tsv(f) for f in predictions) if len(t)]
    extra = scores.challenge_rows(table)
    if published is not None:
        extra += published_rows(kinds, table, published)
    beside = Path(out).parent
    compared = compare.compare_all(tables, kinds, n_bootstrap, seed, scores.missing_variances(table))
    write_tsv(comparisons or beside / "comparisons.tsv", compared, FLOATS)
    write_tsv(beside / "added.tsv", added_table(tables, kinds, n_bootstrap, seed), FLOATS)
    write_tsv(skipped or beside / "skipped.tsv", refused[scores.COLUMNS], FLOATS)
    if scans:
        rows = subgroup_table(tables, kinds, read_tsv(scans), subgroups or [], n_bootstrap, seed)
        write_tsv(out_subgroups or beside / "subgroups.tsv", rows, FLOATS)
    write_tsv(out, pd.DataFrame([*table.to_dict("records"), *extra], columns=scores.COLUMNS), FLOATS)


def subgroup_table(
    tables: list[pd.DataFrame],
    kinds: dict[str, str],
    scans: pd.DataFrame,
    columns: list[str],
    n_bootstrap: int,
    seed: int,
) -> pd.DataFrame:
    """Scores of every method and task within subgroups; see `scores.subgroup_rows`."""
    keys = ["method", "task", "protocol"]
    rows: list[dict[str, Any]] = []
    for table in tables:
        for names, part in table.groupby(keys, sort=True):
            found = scores.subgroup_rows(part, kinds[str(names[1])], scans, columns, n_bootstrap, seed)
            rows += [dict(zip(keys, names, strict=True)) | row for row in found]
    return pd.DataFrame(rows, columns=SUBGROUP_COLUMNS)
