"""From predictions to rows of the long table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anatcl.base.errors import InputError
from anatcl.base.files import read_tsv
from anatcl.evaluate import bootstrap, metrics
from anatcl.evaluate.task import Problem

COLUMNS = [
    "method", "task", "kind", "protocol", "metric", "value", "low", "high", "n", "n_participants", "n_sites",
    "n_dropped", "folds", "seed", "flags",
]  # fmt: skip
SKIPPED = "skipped"
SMALL = 50


def describe(problem: Problem, site_column: str = "site") -> dict[str, Any]:
    """Counts of a problem, as they stand in every row of the table."""
    sites = problem.rows[site_column].nunique() if site_column in problem.rows else np.nan
    return {
        "n": len(problem.rows),
        "n_participants": problem.rows["participant_id"].nunique() if len(problem.rows) else 0,
        "n_sites": sites,
        "n_dropped": problem.n_dropped,
    }


def score_rows(
    predictions: pd.DataFrame, kind: str, wanted: tuple[str, ...], n_bootstrap: int, seed: int
) -> list[dict[str, Any]]:
    """Metric, value and interval of one method's predictions for one task."""
    names, counts = bootstrap.draw(predictions["participant_id"].to_numpy(str), n_bootstrap, seed)
    replicates = bootstrap.replicate(predictions, kind, names, counts)
    unknown = set(wanted) - set(replicates)
    if unknown:
        raise InputError(f"unknown metrics {sorted(unknown)} of a {kind} task.", remedy=f"Known: {sorted(replicates)}.")
    rows = []
    for metric in wanted or replicates:
        low, high = bootstrap.interval(replicates[metric])
        rows.append({"metric": metric, "value": replicates[metric][0], "low": low, "high": high})
    return rows


def compare_all(predictions: list[pd.DataFrame], kinds: dict[str, str], n_bootstrap: int, seed: int) -> pd.DataFrame:
    """Compare the methods of each task two by two, on the scans that both predicted.

    Returns
    -------
    DataFrame
        task, protocol, metric, method_a, method_b, difference (a - b), low, high, p, p_holm (Holm over the pairs of
        a task and protocol), n, n_participants.
    """
    rows: list[dict[str, Any]] = []
    everything = [t for t in predictions if len(t)]
    if everything:
        table = pd.concat(everything)
        for (task, protocol), part in table.groupby(["task", "protocol"], sort=True):
            found = _compare_task(part, kinds[str(task)], n_bootstrap, seed)
            for row, p in zip(found, holm(np.array([r["p"] for r in found])), strict=True):
                rows.append({"task": task, "protocol": protocol, **row, "p_holm": p})
    columns = ["task", "protocol", "metric", "method_a", "method_b", "difference", "low", "high", "p", "p_holm", "n",
               "n_participants"]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def _compare_task(part: pd.DataFrame, kind: str, n_bootstrap: int, seed: int) -> list[dict[str, Any]]:
    methods = {str(m): t for m, t in part.groupby("method", sort=True)}
    rows, names = [], list(methods)
    for i, a in enumerate(names):
        for b in names[i + 1 :]:
            rows.append(_compare(methods[a], methods[b], a, b, kind, n_bootstrap, seed))
    return rows


def _compare(
    a: pd.DataFrame, b: pd.DataFrame, name_a: str, name_b: str, kind: str, n_bootstrap: int, seed: int
) -> dict[str, Any]:
    """Difference of the primary metric with its paired bootstrap interval and normal p value."""
    shared = set(a["scan"]) & set(b["scan"])
    a, b = a[a["scan"].isin(shared)], b[b["scan"].isin(shared)]
    names, counts = bootstrap.draw(a["participant_id"].to_numpy(str), n_bootstrap, seed)
    metric = metrics.PRIMARY[kind]
    difference = (
        bootstrap.replicate(a, kind, names, counts)[metric] - bootstrap.replicate(b, kind, names, counts)[metric]
    )
    low, high = bootstrap.interval(difference)
    return {
        "metric": metric, "method_a": name_a, "method_b": name_b, "difference": difference[0], "low": low,
        "high": high, "p": normal_p(difference), "n": len(shared), "n_participants": len(names),
    }  # fmt: skip


def normal_p(replicates: np.ndarray) -> float:
    """Two-sided p value of the first value against its resamples' standard deviation."""
    from scipy.stats import norm

    spread = np.nanstd(replicates[1:], ddof=1)
    if not np.isfinite(spread) or spread == 0:
        return 1.0 if replicates[0] == 0 else np.nan
    return float(2 * norm.sf(abs(replicates[0]) / spread))


def holm(p: np.ndarray) -> np.ndarray:
    """Holm's step-down adjusted p values; NaN stays NaN and does not count as a test."""
    adjusted = np.full(len(p), np.nan)
    known = np.flatnonzero(np.isfinite(p))
    order = known[np.argsort(p[known], kind="stable")]
    steps = p[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted


def concatenate(files: list[str | Path]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Join score tables into one, sorted by task and then in the order given, and the tasks that were refused apart."""
    tables = [read_tsv(f).assign(_order=i) for i, f in enumerate(files)]
    tables = [t for t in tables if len(t)]
    if not tables:
        return pd.DataFrame(columns=COLUMNS), pd.DataFrame(columns=COLUMNS)
    table = pd.concat(tables).sort_values(["task", "protocol", "_order"], kind="stable")
    table = table.drop(columns="_order").reset_index(drop=True)
    refused = table["metric"] == SKIPPED
    return table[~refused], table[refused]
