"""Intervals for few participants or values at the end of their range, where a bootstrap is too narrow or has no width.

A resample of a perfect score is perfect. These intervals take the variance at the value that is asked about, not at the
one that was found (Wilson 1927 for a share, Newcombe 2006 for an ROC area after Hanley and McNeil 1982), so that they
have a width everywhere. People are counted by unit of independence.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy import optimize, special

from anatcl.evaluate.data import units

# Metrics whose rule is exact enough to be preferred wherever units are few.
RATES = ("sensitivity", "specificity", "ppv")
EXACT = ("roc_auc", "roc_auc_pooled", "balanced_accuracy", *RATES)
INSIDE = 1e-9
Variance = Callable[[float], float]


def share_variance(n: float) -> Variance:
    """Variance of a share, or at most that of any mean of values from 0 to 1, of `n` units."""
    return lambda p: p * (1 - p) / n


def accuracy_variance(per_class: np.ndarray) -> Variance:
    """Variance of the mean over classes of shares, taken as equal."""
    return lambda p: p * (1 - p) * float((1 / per_class).sum()) / len(per_class) ** 2


def area_variance(positives: np.ndarray, negatives: np.ndarray) -> Variance:
    """Variance of an ROC area whose pairs are within blocks (Newcombe's method 5).

    Parameters
    ----------
    positives, negatives : ndarray of shape (blocks,)
        Units of each class in each block.
    """
    pairs = positives * negatives
    extra = (positives + negatives) / 2 - 1

    def variance(a: float) -> float:
        each = a * (1 - a) * (1 + extra * ((1 - a) / (2 - a) + a / (1 + a)))
        return float((pairs * each).sum() / pairs.sum() ** 2)

    return variance


def variance_of(metric: str, table: pd.DataFrame) -> Variance | None:
    """How the variance of a metric depends on its value, for one run's predictions; None where there is no rule."""
    if metric == "roc_auc":
        positives, negatives = _per_fold(table)
        return area_variance(positives, negatives) if (positives * negatives).sum() else None
    if metric == "balanced_accuracy":
        return accuracy_variance(units.per_class(table).astype(float))
    if metric == "roc_auc_pooled":
        counts = units.per_class(table).astype(float)
        return area_variance(counts[1:], counts[:1]) if len(counts) == 2 else None
    if metric in RATES:
        column, value = {"sensitivity": ("y_true", 1), "specificity": ("y_true", 0), "ppv": ("y_pred", 1)}[metric]
        return share_variance(max(units.count(table[table[column] == value]), 1))
    if metric in ("average_precision", "brier"):
        return share_variance(max(units.smallest(table, "binary"), 1))
    return None


def _per_fold(table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Units with a positive and with a negative row, by fold."""
    pairs = pd.DataFrame({"fold": table["fold"].to_numpy(), "y": table["y_true"].to_numpy(), "u": units.of(table)})
    counts = pairs.drop_duplicates().groupby(["fold", "y"]).size().unstack(fill_value=0)
    return tuple(counts[c].to_numpy(float) if c in counts else np.zeros(len(counts)) for c in (1, 0))  # type: ignore[return-value]


def score_interval(
    value: float, variance: Variance, inflation: float = 1.0, extra: float = 0.0, level: float = 0.95
) -> tuple[float, float]:
    """Every value that the observed one does not contradict.

    Parameters
    ----------
    value : float
        Between 0 and 1.
    variance : callable
        Variance of the observed value where the true one is as given.
    inflation : float
        Factor for what the variance lacks.
    extra : float
        Variance from elsewhere (draws of training participants).
    level : float
        Coverage that is aimed at.
    """
    z = special.ndtri((1 + level) / 2)

    def beyond(true: float) -> float:
        return abs(value - true) - z * float(np.sqrt(variance(true) * inflation + extra))

    inside = float(np.clip(value, INSIDE, 1 - INSIDE))  # at an end itself the variance is zero
    low = optimize.brentq(beyond, 0.0, inside) if beyond(0.0) > 0 else 0.0
    high = optimize.brentq(beyond, inside, 1.0) if beyond(1.0) > 0 else 1.0
    return float(low), float(high)
