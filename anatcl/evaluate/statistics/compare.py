"""Paired comparison of methods on the same people."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy import special

from anatcl.evaluate.statistics import bootstrap, metrics

COMPARED = {
    "regression": ("mae", "r2", "pearson_r"),
    "binary": ("roc_auc", "balanced_accuracy", "average_precision"),
    "multiclass": ("balanced_accuracy",),
}
COLUMNS = ["task", "protocol", "metric", "method_a", "method_b", "difference", "low", "high", "p", "p_holm", "n",
           "n_participants"]  # fmt: skip


# Methods that see the same scans err partly alike. Chosen so that six metrics keep the level in 400 simulated cohorts.
SHARED = 0.2
Pairs = dict[tuple[str, str, str, str], float]


def compare_all(
    predictions: list[pd.DataFrame], kinds: dict[str, str], n_bootstrap: int, seed: int, pairs: Pairs | None = None
) -> pd.DataFrame:
    """Compare the methods of each task two by two, on the scans that all of them predicted.

    Parameters
    ----------
    predictions : list of DataFrame
        One table per method and task.
    kinds : dict
        Kind of each task.
    n_bootstrap, seed : int
        Resamples of participants.
    pairs : dict, optional
        Variance that the bootstrap lacks (`anatcl.evaluate.statistics.dependence`) by task, protocol, method and
        metric.

    Returns
    -------
    DataFrame
        `COLUMNS`; difference is a - b, p_holm is Holm's adjustment over the pairs of a task, protocol and metric.
    """
    rows: list[dict[str, Any]] = []
    tables = [t for t in predictions if len(t)]
    for (task, protocol), part in pd.concat(tables).groupby(["task", "protocol"], sort=True) if tables else ():
        lacking = {k[2:]: v for k, v in (pairs or {}).items() if k[:2] == (task, protocol)}
        for metric, found in _compare_task(part, kinds[str(task)], n_bootstrap, seed, lacking).items():
            for row, p in zip(found, holm(np.array([r["p"] for r in found])), strict=True):
                rows.append({"task": task, "protocol": protocol, "metric": metric, **row, "p_holm": p})
    return pd.DataFrame(rows, columns=COLUMNS)


def _compare_task(
    part: pd.DataFrame, kind: str, n_bootstrap: int, seed: int, lacking: dict[tuple[str, str], float]
) -> dict[str, list[dict[str, Any]]]:
    methods = {str(m): t for m, t in part.groupby("method", sort=True)}
    shared = set.intersection(*(set(t["scan"]) for t in methods.values()))
    methods = {m: t[t["scan"].isin(shared)] for m, t in methods.items()}
    if not shared:
        return {}
    people = part.loc[part["scan"].isin(shared), "participant_id"].to_numpy(str)
    names, counts = bootstrap.draw(people, n_bootstrap, seed)
    found = {
        m: bootstrap.replicate(t, lambda run, w: metrics.evaluate(run, kind, w), names, counts)
        for m, t in methods.items()
    }
    folds = part["fold"].nunique()
    order, rows = list(methods), {}
    for metric in COMPARED[kind]:
        missing = {m: lacking.get((m, metric), np.nan) for m in order}
        rows[metric] = [
            {
                "method_a": a,
                "method_b": b,
                "n": len(shared),
                "n_participants": len(names),
                **difference(found[a][metric] - found[b][metric], len(names), folds, missing[a] + missing[b]),
            }
            for i, a in enumerate(order)
            for b in order[i + 1 :]
        ]
    return rows


def difference(replicates: np.ndarray, n_participants: int, folds: int, pairs: float = np.nan) -> dict[str, float]:
    """Difference with interval and two-sided p value.

    The paired bootstrap takes the fitted models as given. What it lacks, because models of different folds share
    training people, is for methods that err independently the sum of what each method's own interval lacks (`pairs`);
    for methods that err alike it is less, and `SHARED` of it is taken to cancel. It is never more than Nadeau and
    Bengio (2003) assume, who give the folds' errors the correlation 1 / folds, so that the variance is
    ``1 + (folds - 1) / folds`` times the bootstrap's; that is taken where `pairs` is not known. By itself theirs is
    too careful here: equal methods differ at the 5 % level in 2.5 % of simulated cohorts. Student's t has
    participants - 1 degrees of freedom.

    Parameters
    ----------
    replicates : ndarray of shape (n + 1,)
        Difference in the sample, then in each paired resample.
    n_participants, folds : int
        Sizes.
    pairs : float
        Sum of both methods' missing variances; NaN where not known.
    """
    known = replicates[1:][np.isfinite(replicates[1:])]
    value = float(replicates[0])
    nothing = {"difference": value, "low": np.nan, "high": np.nan, "p": np.nan}
    if not np.isfinite(value) or 2 * len(known) < len(replicates) - 1 or n_participants < 3:
        return nothing
    variance = known.var(ddof=1)
    most = variance * (1 - 1 / folds)
    spread = np.sqrt(variance + (most if np.isnan(pairs) else min(max((1 - SHARED) * pairs, 0.0), most)))
    if spread <= 1e-12:
        return {"difference": value, "low": value, "high": value, "p": 1.0} if value == 0 else nothing
    freedom = n_participants - 1
    half = float(special.stdtrit(freedom, 0.975) * spread)
    p = float(2 * special.stdtr(freedom, -abs(value) / spread))
    return {"difference": value, "low": value - half, "high": value + half, "p": p}


def corrected_t(differences: np.ndarray, n_train: float, n_test: float) -> float:
    """Two-sided p value of Nadeau and Bengio's corrected resampled t test.

    Parameters
    ----------
    differences : ndarray of shape (j,)
        Difference of two methods in each of `j` folds (of all repetitions).
    n_train, n_test : float
        Mean sizes of the training and of the tested part.
    """
    j = len(differences)
    spread = differences.std(ddof=1) * np.sqrt(1 / j + n_test / n_train)
    return float(2 * special.stdtr(j - 1, -abs(differences.mean()) / spread)) if spread > 0 else np.nan


def holm(p: np.ndarray) -> np.ndarray:
    """Holm's step-down adjusted p values; NaN stays NaN and does not count as a test."""
    adjusted = np.full(len(p), np.nan)
    known = np.flatnonzero(np.isfinite(p))
    order = known[np.argsort(p[known], kind="stable")]
    steps = p[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted
