"""The shuffled-label control: the same protocol must find nothing where there is nothing."""

from __future__ import annotations

from typing import Any

import numpy as np

from anatcl.evaluate.data.problem import Problem
from anatcl.evaluate.probes.cross_validation import Outcome
from anatcl.evaluate.statistics import metrics
from anatcl.evaluate.statistics.bootstrap import RUN

METRIC = {"regression": "pearson_r", "binary": "roc_auc", "multiclass": "balanced_accuracy"}
# Folds correlate, so that the spread is wider than that of independent people; see `compare.difference`.
ALARM = 3.5


def shuffle_count(n_participants: int) -> int:
    """Many shuffles where one is noisy (small cohorts), one where it is exact and dear."""
    return int(np.clip(1000 // max(n_participants, 1), 1, 20))


def chance(problem: Problem) -> tuple[float, float]:
    """Chance level of the control's metric and its standard error over participants."""
    people, first = np.unique(problem.groups, return_index=True)
    if problem.task.kind == "regression":
        return 0.0, 1 / np.sqrt(len(people) - 1)
    count = np.bincount(problem.y[first], minlength=len(problem.classes))
    if problem.task.kind == "binary":
        return 0.5, float(np.sqrt((count.sum() + 1) / (12 * count[0] * count[1])))
    level = 1 / len(count)
    return level, float(np.sqrt((level * (1 - level) / count).sum()) / len(count))


def control_rows(problem: Problem, outcome: Outcome, value: float, folds: int) -> tuple[list[dict[str, Any]], str]:
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
    """
    if not outcome.controls:
        return [], ""
    metric = METRIC[problem.task.kind]
    found = shuffled_scores(outcome, problem.task.kind)
    known = found[np.isfinite(found)]
    if not len(known):
        return [], ""
    level, error = chance(problem)
    half = error * np.sqrt((2 - 1 / folds) / len(known))
    rows = [{"metric": f"{metric}_shuffled", "value": known.mean(), "low": known.mean() - 1.96 * half,
             "high": known.mean() + 1.96 * half}]  # fmt: skip
    if len(known) >= 99:
        rows.append({"metric": "p_chance", "value": permutation_p(value, known)})
    leak = known.mean() - level > ALARM * half
    return rows, f"shuffled labels reach {known.mean():.3f}, chance is {level:.3f}: leak?" if leak else ""


def permutation_p(value: float, shuffled: np.ndarray) -> float:
    """One-sided p value of a score among those with shuffled labels, itself counted in."""
    return float((1 + (shuffled >= value).sum()) / (1 + len(shuffled)))


def shuffled_scores(outcome: Outcome, kind: str) -> np.ndarray:
    """The control's metric with each of the shuffled labels, shape (shuffles,)."""
    return np.array([_mean_metric(table, kind, METRIC[kind]) for table in outcome.controls])


def _mean_metric(table: Any, kind: str, metric: str) -> float:
    values = [metrics.evaluate(run, kind, np.ones((1, len(run))))[metric][0] for _, run in table.groupby(RUN)]
    return float(np.mean(values))
