"""What each method adds to the confounds of a task: two nested models on the same participants."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit

from anatcl.evaluate.data import units
from anatcl.evaluate.probes.logistic import LogisticPath
from anatcl.evaluate.statistics import bootstrap, compare, metrics
from anatcl.evaluate.statistics.multiple import holm
from anatcl.spec.names import CONFOUNDS, GUESS

ADDED = ["task", "protocol", "method", "metric", "confounds", "with_method", "difference", "low", "high", "p", "p_holm",
         "n"]  # fmt: skip
METRIC = {"regression": "r2", "binary": "roc_auc"}
WEAK = 1e4  # inverse penalty of two coefficients: none to speak of


def added_table(tables: Sequence[pd.DataFrame], kinds: dict[str, str], n_bootstrap: int, seed: int) -> pd.DataFrame:
    """What each method adds to the confounds, by task and protocol.

    Two nested models are compared on the same participants: the confounds' prediction alone, and with the method's.
    Both take out-of-fold predictions, and their one or two coefficients are fitted on the other folds.

    Parameters
    ----------
    tables : sequence of DataFrame
        Predictions, one method and task each.
    kinds : dict
        Kind of each task.
    n_bootstrap, seed : int
        Resamples of units.
    """
    rows: list[dict[str, Any]] = []
    joined = pd.concat([t for t in tables if len(t)]) if any(len(t) for t in tables) else pd.DataFrame()
    for (task, protocol), part in joined.groupby(["task", "protocol"], sort=True) if len(joined) else ():
        kind = kinds[str(task)]
        base = part[part["method"] == CONFOUNDS]
        if kind not in METRIC or not len(base) or base["fold"].nunique() < 3 or "few-shot" in str(protocol):
            continue
        found = [
            {"task": task, "protocol": protocol, "method": method} | made
            for method, mine in part.groupby("method", sort=True)
            if method not in (CONFOUNDS, GUESS) and (made := _added(base, mine, kind, n_bootstrap, seed))
        ]
        for row, p in zip(found, holm(np.array([r["p"] for r in found])), strict=True):
            rows.append(row | {"p_holm": p})
    return pd.DataFrame(rows, columns=ADDED)


def _added(base: pd.DataFrame, mine: pd.DataFrame, kind: str, n_bootstrap: int, seed: int) -> dict[str, Any]:
    """One row of `ADDED`; empty where there are none both predictions."""
    known = base.drop_duplicates(["scan", "repeat"]).set_index(["scan", "repeat"])[
        "score" if kind == "binary" else "y_pred"
    ]
    both = mine.join(known.rename("_base"), on=["scan", "repeat"]).dropna(subset=["_base"]).reset_index(drop=True)
    both = both.groupby(units.runs(both)).filter(lambda run: _answerable(run, kind)) if len(both) else both
    if both.empty:
        return {}
    own = both["score" if kind == "binary" else "y_pred"].to_numpy(float)
    names, counts = bootstrap.draw(units.of(both), n_bootstrap, seed)
    metric, found = METRIC[kind], []
    for features in (both[["_base"]].to_numpy(float), np.column_stack([both["_base"], own])):
        made = _stacked(both, features, kind)
        found.append(bootstrap.replicate_draws(
            made, lambda run, w: metrics.evaluate(run, kind, w, (metric,)), names, counts)[metric])  # fmt: skip
    first = next(iter(both.groupby(units.runs(both), sort=True)))[1]
    n = units.effective_n(first, kind)
    tested = compare.paired(found[1] - found[0], n, both["fold"].nunique())
    if units.untestable(first, kind):
        tested["p"] = np.nan
    values = {"confounds": found[0].values[0], "with_method": found[1].values[0]}
    return {"metric": metric, **values, **tested, "n": first["scan"].nunique()}


def _answerable(run: pd.DataFrame, kind: str) -> bool:
    """Whether there is something to learn from without each fold."""
    least = 2 if kind == "binary" else 3
    return all(run.loc[run["fold"] != k, "y_true"].nunique() >= least for k in run["fold"].unique())


def _stacked(table: pd.DataFrame, x: np.ndarray, kind: str) -> pd.DataFrame:
    """Predictions of a model of `x` (n, 1 or 2) that was fitted on the other folds of the same run."""
    fitted = np.full(len(table), np.nan)
    for _, rows in table.groupby(units.runs(table)).indices.items():
        fold, y = table["fold"].to_numpy()[rows], table["y_true"].to_numpy(float)[rows]
        for k in np.unique(fold):
            train, test = rows[fold != k], rows[fold == k]
            fitted[test] = _fit(x[train], y[fold != k], x[test], kind)
    if kind == "regression":
        return table.assign(y_pred=fitted)
    return table.assign(score=fitted, prob=expit(fitted), y_pred=(fitted > 0).astype(int))


def _fit(x: np.ndarray, y: np.ndarray, new: np.ndarray, kind: str) -> np.ndarray:
    centre, spread = x.mean(0), x.std(0)
    scale = np.where(spread > 1e-12, spread, np.inf)  # a constant says nothing
    z, new = (x - centre) / scale, (new - centre) / scale
    if kind == "regression":
        design = np.column_stack([np.ones(len(z)), z])
        return np.column_stack([np.ones(len(new)), new]) @ np.linalg.lstsq(design, y, rcond=None)[0]
    w, b = LogisticPath(z, y.astype(int), 2).solve(WEAK)
    return (new @ w + b)[:, 0]
