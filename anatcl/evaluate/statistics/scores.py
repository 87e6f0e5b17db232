"""From predictions to rows of the long table."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anatcl.base.errors import InputError
from anatcl.base.files import read_tsv
from anatcl.evaluate.data.problem import Problem
from anatcl.evaluate.statistics import bootstrap, gap, metrics

COLUMNS = [
    "method", "task", "kind", "group", "protocol", "metric", "value", "low", "high", "n", "n_participants", "n_sites",
    "n_dropped", "folds", "seed", "flags",
]  # fmt: skip
# What the bootstrap lacks: stands in the table of a single task for the paired tests, not in the joint one.
PAIRS = "missing_variance"
SKIPPED = "skipped"
SMALL = 50
SMALLEST_SUBGROUP = 10
AGE_BAND = 20


def describe(problem: Problem) -> dict[str, Any]:
    """Counts of a problem, as they stand in every row of the table."""
    rows, site = problem.rows, problem.task.site
    return {
        "n": len(rows),
        "n_participants": rows["participant_id"].nunique() if len(rows) else 0,
        "n_sites": rows[site].nunique() if site in rows else np.nan,
        "n_dropped": problem.n_dropped,
    }


def score_rows(
    problem: Problem,
    predictions: pd.DataFrame,
    missing_variance: dict[str, float],
    n_bootstrap: int,
    seed: int,
) -> list[dict[str, Any]]:
    """Metric, value and interval of one method's predictions for one task."""
    kind, wanted = problem.task.kind, problem.task.metrics
    names, counts = bootstrap.draw(predictions["participant_id"].to_numpy(str), n_bootstrap, seed)

    def evaluate(run: pd.DataFrame, w: np.ndarray) -> dict[str, np.ndarray]:
        return metrics.evaluate(run, kind, w) | gap.evaluate(run, problem, w)

    replicates = bootstrap.replicate(predictions, evaluate, names, counts)
    unknown = set(wanted) - set(replicates)
    if unknown:
        raise InputError(f"unknown metrics {sorted(unknown)} of a {kind} task.", remedy=f"Known: {sorted(replicates)}.")
    rows = []
    for metric in wanted or replicates:
        low, high = np.clip(
            bootstrap.interval(replicates[metric], missing_variance.get(metric, 0.0)),
            *metrics.RANGES.get(metric, (-np.inf, np.inf)),
        )
        lacking = missing_variance.get(metric, np.nan)
        rows.append({"metric": metric, "value": replicates[metric][0], "low": low, "high": high, PAIRS: lacking})
    return rows


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


def missing_variances(table: pd.DataFrame) -> dict[tuple[str, str, str, str], float]:
    """What the bootstrap lacks by task, protocol, method and metric, of a table from `concatenate`."""
    if PAIRS not in table:
        return {}
    keys = table[["task", "protocol", "method", "metric"]].astype(str).itertuples(index=False, name=None)
    return dict(zip(keys, table[PAIRS].astype(float), strict=True))


def challenge_rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Score of the OpenBHB challenge, ``MAE of age * balanced accuracy of site ** 0.3`` (lower is better).

    The challenge takes the MAE on sites that were not trained on. A row from another protocol says so.
    """
    rows = []
    for prefix in ("", "openbhb-"):
        age = table[(table["task"] == f"{prefix}age") & (table["metric"] == "mae")]
        site = table[(table["task"] == f"{prefix}site") & (table["metric"] == "balanced_accuracy")]
        accuracy = dict(zip(site["method"], site["value"], strict=False))
        for row in age[age["method"].isin(accuracy)].to_dict("records"):
            outside = row["protocol"].startswith("leave-") or "-to-" in row["protocol"]
            mark = "" if outside else "MAE within sites, the challenge's is on unseen ones"
            value = row["value"] * accuracy[row["method"]] ** 0.3
            change = {"metric": "openbhb_score", "value": value, "low": np.nan, "high": np.nan, "flags": mark}
            rows.append({str(key): item for key, item in row.items()} | change)
    return rows


def subgroup_rows(
    predictions: pd.DataFrame, kind: str, scans: pd.DataFrame, columns: list[str], n_bootstrap: int, seed: int
) -> list[dict[str, Any]]:
    """Scores of one method and task within subgroups of the tested people.

    Parameters
    ----------
    predictions : DataFrame
        Predictions of one method, task and protocol.
    kind : str
        Kind of the task.
    scans : DataFrame
        Scans table with `columns`.
    columns : list of str
        ``age`` is cut into bands of 20 years, other columns are taken by value.
    n_bootstrap, seed : int
        Resamples of participants.
    """
    rows = []
    for label, scans_of in _subgroups(scans, columns):
        part = predictions[predictions["scan"].isin(scans_of)]
        if part["participant_id"].nunique() < SMALLEST_SUBGROUP:
            continue  # often nobody: the task tests other people
        names, counts = bootstrap.draw(part["participant_id"].to_numpy(str), n_bootstrap, seed)
        found = bootstrap.replicate(part, lambda run, w: metrics.evaluate(run, kind, w), names, counts)
        for metric, replicates in found.items():
            low, high = bootstrap.interval(replicates)
            rows.append(
                {"subgroup": label, "metric": metric, "value": replicates[0], "low": low, "high": high,
                 "n": part["scan"].nunique(), "n_participants": len(names)}
            )  # fmt: skip
    return rows


def _subgroups(scans: pd.DataFrame, columns: list[str]) -> Iterator[tuple[str, set[str]]]:
    for column in [c for c in columns if c in scans]:
        values = scans[column]
        if column == "age":
            start = (pd.to_numeric(values, errors="coerce") // AGE_BAND * AGE_BAND).astype("Int64")
            values = start.map(lambda a: f"{a}-{a + AGE_BAND}", na_action="ignore")
        for value, part in scans.groupby(values, sort=True):
            yield f"{column}={value}", set(part["scan"])
