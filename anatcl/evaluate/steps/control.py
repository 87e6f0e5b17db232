"""The shuffled-label control: the same protocol must find nothing where there is nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy import special

from anatcl.evaluate.data import units
from anatcl.evaluate.data.problem import Problem
from anatcl.evaluate.probes.cross_validation import Outcome
from anatcl.evaluate.statistics import boundary, metrics

METRIC = {"regression": "pearson_r", "binary": "roc_auc", "multiclass": "balanced_accuracy"}
# Folds correlate, so that the spread is wider than that of independent people; see `compare.difference`.
ALARM = 3.5
FALSE_ALARM = 0.005  # one-sided, of the shuffles' own spread; both conditions must hold


def shuffle_count(n_participants: int) -> int:
    """Many shuffles where one is noisy (small cohorts), one where it is exact and dear."""
    return int(np.clip(1000 // max(n_participants, 1), 1, 20))


def chance(problem: Problem, tested: pd.DataFrame) -> tuple[float, float]:
    """Chance level of the control's metric and its standard error over the units that were tested.

    Parameters
    ----------
    problem : Problem
        The task.
    tested : DataFrame
        One run's predictions; who was only trained on does not count.
    """
    unit = problem.groups[pd.Index(problem.rows["scan"]).get_indexer(tested["scan"])]
    table = tested.assign(**{units.UNIT: unit})
    if problem.task.kind == "regression":
        return 0.0, 1 / np.sqrt(max(units.count(table) - 1, 1))
    if problem.task.kind == "binary":
        variance = boundary.variance_of("roc_auc", table)
        return 0.5, float(np.sqrt(variance(0.5))) if variance else np.inf
    level = 1 / max(len(problem.classes), 1)
    return level, float(np.sqrt(boundary.accuracy_variance(units.per_class(table).astype(float))(level)))


def control_rows(
    problem: Problem, outcome: Outcome, value: float, folds: int, within: str = ""
) -> tuple[list[dict[str, Any]], str]:
    """Rows of the control, and a warning where it is above chance.

    Parameters
    ----------
    problem : Problem
        The task.
    outcome : Outcome
        With predictions for shuffled labels.
    value : float
        The control's metric with the right labels; its permutation p value is given from 99 shuffles on.
    folds : int
        Number of folds.
    within : str
        Column within which labels were shuffled: what is above chance is then its doing and no leak.
    """
    if not outcome.controls:
        return [], ""
    metric = METRIC[problem.task.kind]
    found = shuffled_scores(outcome, problem.task.kind)
    known = found[np.isfinite(found)]
    if not len(known):
        return [], ""
    _, first = next(iter(outcome.predictions.groupby(units.runs(outcome.predictions), sort=True)))
    level, error = chance(problem, first)
    half = error * np.sqrt((2 - 1 / folds) / len(known))
    rows = [{"metric": f"{metric}_shuffled", "value": known.mean(), "low": known.mean() - 1.96 * half,
             "high": known.mean() + 1.96 * half}]  # fmt: skip
    if len(known) >= 99:
        rows.append({"metric": "p_chance", "value": permutation_p(value, known)})
    leak = known.mean() - level > max(ALARM * half, own_limit(known))
    if within:
        for row in rows:
            row["metric"] = f"{row['metric']}_within_{within}"
        return rows, f"labels shuffled within {within} reach {known.mean():.3f}, chance is {level:.3f}" if leak else ""
    text = f"shuffled labels reach {known.mean():.3f}, chance is {level:.3f}: leak? (at most 1 in 100 clean tables)"
    return rows, text if leak else ""


def own_limit(known: np.ndarray) -> float:
    """How far above chance the mean of the shuffles may lie by their own spread; nothing is known of a single one."""
    if len(known) < 2:
        return 0.0
    return float(special.stdtrit(len(known) - 1, 1 - FALSE_ALARM) * known.std(ddof=1) / np.sqrt(len(known)))


def permutation_p(value: float, shuffled: np.ndarray) -> float:
    """One-sided p value of a score among those with shuffled labels, itself counted in."""
    return float((1 + (shuffled >= value).sum()) / (1 + len(shuffled)))


def shuffled_scores(outcome: Outcome, kind: str) -> np.ndarray:
    """The control's metric with each of the shuffled labels, shape (shuffles,)."""
    return np.array([_mean_metric(table, kind, METRIC[kind]) for table in outcome.controls])


def _mean_metric(table: Any, kind: str, metric: str) -> float:
    values = [
        metrics.evaluate(run, kind, np.ones((1, len(run))))[metric][0] for _, run in table.groupby(units.runs(table))
    ]
    return float(np.mean(values))
