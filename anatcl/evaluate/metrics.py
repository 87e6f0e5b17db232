"""Metrics of many resamples at once: each takes row weights, so that a bootstrap is one matrix product.

Every function takes ``weights`` of shape (b, n), one row per resample, and returns (b,); weights of ones give the
plain metric, which equals scikit-learn's.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

Array = np.ndarray
DIRECTION = {"mae": -1, "rmse": -1}  # lower is better; the others: higher is better
CHANCE = {"r2": 0.0, "pearson_r": 0.0, "balanced_accuracy": None, "roc_auc": 0.5}
PRIMARY = {"regression": "mae", "binary": "roc_auc", "multiclass": "balanced_accuracy"}


def divide(a: Array, b: Array) -> Array:
    """``a / b``, NaN where `b` is zero."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(b != 0, a / np.where(b == 0, 1.0, b), np.nan)


def mae(y: Array, pred: Array, w: Array) -> Array:
    """Mean absolute error, unit of the target."""
    return divide(w @ np.abs(pred - y), w.sum(1))


def rmse(y: Array, pred: Array, w: Array) -> Array:
    """Root of the mean squared error, unit of the target."""
    return np.sqrt(divide(w @ (pred - y) ** 2, w.sum(1)))


def _moments(a: Array, b: Array, w: Array) -> tuple[Array, Array, Array]:
    """Weighted variances of `a` and `b` and their covariance."""
    a, b, total = a - a.mean(), b - b.mean(), w.sum(1)  # centred first: no cancellation
    ma, mb = divide(w @ a, total), divide(w @ b, total)
    clip = 1e-12
    va, vb = divide(w @ a**2, total) - ma**2, divide(w @ b**2, total) - mb**2
    return (
        np.where(va > clip * (a**2).mean(), va, 0.0),
        np.where(vb > clip * (b**2).mean(), vb, 0.0),
        divide(w @ (a * b), total) - ma * mb,
    )


def r2(y: Array, pred: Array, w: Array) -> Array:
    """Coefficient of determination; 0 is as good as the mean of the tested people."""
    variance, _, _ = _moments(y, y, w)
    return 1.0 - divide(divide(w @ (pred - y) ** 2, w.sum(1)), variance)


def pearson_r(y: Array, pred: Array, w: Array) -> Array:
    """Pearson correlation of prediction and target; NaN for constant predictions."""
    vy, vp, cov = _moments(y, pred, w)
    return divide(cov, np.sqrt(vy * vp))


def bias_slope(y: Array, pred: Array, w: Array) -> Array:
    """Slope of the error (prediction - target) on the target; 0 is unbiased, -1 is a constant prediction."""
    vy, _, cov = _moments(y, pred - y, w)
    return divide(cov, vy)


def bias_mean(y: Array, pred: Array, w: Array) -> Array:
    """Mean error, unit of the target."""
    return divide(w @ (pred - y), w.sum(1))


def balanced_accuracy(y: Array, pred: Array, w: Array) -> Array:
    """Mean over classes of the share of their rows that is predicted right; absent classes do not count."""
    recalls = [divide(w @ ((y == c) & (pred == c)), w @ (y == c).astype(float)) for c in np.unique(y)]
    return np.nanmean(np.stack(recalls), axis=0) if recalls else np.full(len(w), np.nan)


def _by_score(y: Array, score: Array, w: Array) -> tuple[Array, Array]:
    """Weights of positives and of negatives summed per distinct score, ascending, shapes (b, distinct)."""
    order = np.argsort(score, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(score[order]) > 0])
    sorted_w, positive = w[:, order], y[order] == 1
    pos = np.add.reduceat(sorted_w * positive, starts, axis=1)
    neg = np.add.reduceat(sorted_w * ~positive, starts, axis=1)
    return pos, neg


def pair_counts(y: Array, score: Array, w: Array) -> tuple[Array, Array]:
    """Weighted number of (positive, negative) pairs in the right order (ties count half), and of all pairs."""
    pos, neg = _by_score(y, score, w)
    right = (pos * (np.cumsum(neg, axis=1) - 0.5 * neg)).sum(1)
    return right, pos.sum(1) * neg.sum(1)


def roc_auc(y: Array, score: Array, w: Array, block: Array | None = None) -> Array:
    """Area under the ROC curve over pairs of rows of one block.

    Scores of different folds come from different models and have different scales: only rows that the same model
    tested are compared. With one block this is the usual area.
    """
    block = np.zeros(len(y), int) if block is None else block
    counts = [pair_counts(y[block == k], score[block == k], w[:, block == k]) for k in np.unique(block)]
    right, pairs = (np.sum([c[i] for c in counts], axis=0) for i in (0, 1))
    return divide(right, pairs)


def average_precision(y: Array, score: Array, w: Array) -> Array:
    """Average precision of the pooled scores; chance level is the share of positives."""
    pos, neg = _by_score(y, score, w)
    tp, fp = np.cumsum(pos[:, ::-1], axis=1), np.cumsum(neg[:, ::-1], axis=1)
    precision = np.nan_to_num(divide(tp, tp + fp))
    return divide((pos[:, ::-1] * precision).sum(1), pos.sum(1))


def evaluate(table: pd.DataFrame, kind: str, w: Array) -> dict[str, Array]:
    """Every metric of one run's predictions.

    Parameters
    ----------
    table : DataFrame of n rows
        Columns ``y_true``, ``y_pred``, ``fold``, and ``score`` for binary tasks.
    kind : str
        Kind of the task.
    w : ndarray of shape (b, n)
        Row weights of each resample.

    Returns
    -------
    dict of str to ndarray of shape (b,)
        Metric values.
    """
    y, pred = table["y_true"].to_numpy(float), table["y_pred"].to_numpy(float)
    if kind == "regression":
        functions: list[Callable[[Array, Array, Array], Array]] = [mae, rmse, r2, pearson_r, bias_slope, bias_mean]
        found = {f.__name__: f(y, pred, w) for f in functions}
        if table.groupby("fold")["y_pred"].nunique().max() <= 1:
            # One constant per fold: the constants follow the training means, which run against the tested people.
            found["pearson_r"] = np.full(len(w), np.nan)
        return found
    found = {"balanced_accuracy": balanced_accuracy(y, pred, w)}
    if kind == "binary":
        score = table["score"].to_numpy(float)
        found["roc_auc"] = roc_auc(y, score, w, table["fold"].to_numpy())
        found["average_precision"] = average_precision(y, score, w)
    return found
