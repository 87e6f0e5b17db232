"""Metrics of many resamples at once: each takes row weights, so that a bootstrap is one matrix product.

Every function takes ``weights`` of shape (b, n), one row per resample, and returns (b,); weights of ones give the
plain metric, which equals scikit-learn's. Scores of different folds come from different models: correlation and ROC
area compare only rows of one fold (``block``), as the mean over folds does, but weigh folds by what they hold.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

import numpy as np
import pandas as pd
from scipy import special

from anatcl.evaluate.data import units

Array = np.ndarray
SITE_MEAN = "_site_mean"
LOWER_IS_BETTER = ("mae", "rmse", "brier", "mae_corrected")
PRIMARY = {"regression": "mae", "binary": "roc_auc", "multiclass": "balanced_accuracy"}
NEWTON_STEPS = 25
# Values a metric can take; an interval that is widened about its value ends there.
RANGES = {
    "roc_auc": (0.0, 1.0),
    "roc_auc_pooled": (0.0, 1.0),
    "roc_auc_within_site": (0.0, 1.0),
    "sensitivity": (0.0, 1.0),
    "specificity": (0.0, 1.0),
    "ppv": (0.0, 1.0),
    "pearson_r_pooled": (-1.0, 1.0),
    "pearson_r_within_site": (-1.0, 1.0),
    "partial_r_age": (-1.0, 1.0),
    "average_precision": (0.0, 1.0),
    "balanced_accuracy": (0.0, 1.0),
    "brier": (0.0, 1.0),
    "pearson_r": (-1.0, 1.0),
    "r2": (-np.inf, 1.0),
    "mae": (0.0, np.inf),
    "rmse": (0.0, np.inf),
    "mae_corrected": (0.0, np.inf),
}


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
    """Weighted variances of `a` and `b` and their covariance; rounding noise of a constant becomes zero."""
    a, b, total = a - a.mean(), b - b.mean(), w.sum(1)  # centred first: no cancellation
    ma, mb = divide(w @ a, total), divide(w @ b, total)
    va, vb = divide(w @ a**2, total) - ma**2, divide(w @ b**2, total) - mb**2
    covariance = divide(w @ (a * b), total) - ma * mb
    return np.where(va > 1e-12 * (a @ a), va, 0.0), np.where(vb > 1e-12 * (b @ b), vb, 0.0), covariance


def r2(y: Array, pred: Array, w: Array, block: Array | None = None) -> Array:
    """Coefficient of determination; 0 is as good as the mean of those tested, or of those of the same block."""
    spread = np.zeros(len(w))
    for rows in _blocks(block, len(y)):
        variance, _, _ = _moments(y[rows], y[rows], w[:, rows])
        spread += np.nan_to_num(variance) * w[:, rows].sum(1)
    return 1.0 - divide(w @ (pred - y) ** 2, spread)


def _blocks(block: Array | None, n: int) -> Iterator[Array]:
    """Row numbers of each block."""
    block = np.zeros(n, int) if block is None else block
    for k in np.unique(block):
        yield np.flatnonzero(block == k)


def pearson_r(y: Array, pred: Array, w: Array, block: Array | None = None) -> Array:
    """Pearson correlation of prediction and target around the means of each block; NaN for constants per block.

    Around one common mean, predictions of a constant per fold would correlate negatively: the constant follows the
    training participants, whose mean is high where the tested participants' is low.
    """
    sums = np.zeros((3, len(w)))
    for rows in _blocks(block, len(y)):
        total = w[:, rows].sum(1)
        sums += np.nan_to_num(np.stack(_moments(y[rows], pred[rows], w[:, rows]))) * total
    return divide(sums[2], np.sqrt(sums[0] * sums[1]))


def bias_slope(y: Array, pred: Array, w: Array) -> Array:
    """Slope of the error (prediction - target) on the target; 0 is unbiased, -1 is a constant prediction."""
    vy, _, covariance = _moments(y, pred - y, w)
    return divide(covariance, vy)


def bias_mean(y: Array, pred: Array, w: Array) -> Array:
    """Mean error, unit of the target."""
    return divide(w @ (pred - y), w.sum(1))


def balanced_accuracy(y: Array, pred: Array, w: Array) -> Array:
    """Mean over classes of the share of their rows that is predicted right; absent classes do not count."""
    present, hit = [], []
    for c in np.unique(y):
        of_class = w @ (y == c).astype(float)
        present.append(of_class > 0)
        hit.append(np.nan_to_num(divide(w @ ((y == c) & (pred == c)), of_class)))
    return divide(np.sum(hit, axis=0), np.sum(present, axis=0))


def _by_score(y: Array, score: Array, w: Array) -> tuple[Array, Array]:
    """Weights of positives and of negatives summed per distinct score, ascending, shapes (b, distinct)."""
    order = np.argsort(score, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(score[order]) > 0])
    sorted_w, positive = w[:, order], y[order] == 1
    pos = np.add.reduceat(sorted_w * positive, starts, axis=1)
    neg = np.add.reduceat(sorted_w * ~positive, starts, axis=1)
    return pos, neg


def roc_auc(y: Array, score: Array, w: Array, block: Array | None = None) -> Array:
    """Share of (positive, negative) pairs of one block that are in the right order; ties count half."""
    right, pairs = np.zeros(len(w)), np.zeros(len(w))
    for rows in _blocks(block, len(y)):
        pos, neg = _by_score(y[rows], score[rows], w[:, rows])
        right += (pos * (np.cumsum(neg, axis=1) - 0.5 * neg)).sum(1)
        pairs += pos.sum(1) * neg.sum(1)
    return divide(right, pairs)


def average_precision(y: Array, score: Array, w: Array) -> Array:
    """Average precision of the pooled scores; chance level is the share of positives.

    A row of weight 3 stands for three people of nearly its score, who are ranked one after the other. Taken as a tie,
    all three would have the precision of the last: resamples were then better than the sample, and alike. Rows that
    share a score are a tie, as in scikit-learn.
    """
    pos, neg = (part[:, ::-1] for part in _by_score(y, score, w))
    distinct, rows = np.unique(score, return_counts=True)
    hit = np.isin(distinct, score[y == 1])[::-1]
    fp, above = np.cumsum(neg, axis=1)[:, hit], (np.cumsum(pos + neg, axis=1) - pos - neg)[:, hit]
    pos, neg = pos[:, hit], neg[:, hit]
    tied = pos * np.nan_to_num(1 - divide(fp, above + pos + neg))
    # sum over k = 1 .. pos of (tp + k) / (above + k)
    ranked = pos - fp * (special.digamma(above + pos + 1) - special.digamma(above + 1))
    return divide(np.where(rows[::-1][hit] == 1, ranked, tied).sum(1), pos.sum(1))


def brier(y: Array, prob: Array, w: Array) -> Array:
    """Mean squared error of the probability."""
    return divide(w @ (prob - y) ** 2, w.sum(1))


def calibration_slope(y: Array, prob: Array, w: Array) -> Array:
    """Slope of a logistic regression of the label on the predicted log odds: 1 is calibrated, below 1 overconfident.

    Newton's method for all resamples at once, with bounded steps; NaN where there is no finite answer.
    """
    p = np.clip(prob, 1e-9, 1 - 1e-9)
    z = np.log(p / (1 - p))
    scale = z.std()
    if scale < 1e-9:
        return np.full(len(w), np.nan)
    z = (z - z.mean()) / scale
    coefficient, settled = np.zeros((2, len(w))), np.zeros(len(w), bool)
    design = np.stack([np.ones(len(z)), z])
    for _ in range(NEWTON_STEPS):
        q = 1 / (1 + np.exp(-(coefficient.T @ design)))
        slope, curvature = (w * (y - q)) @ design.T, (w * q * (1 - q)) @ np.stack([design[0], z, z**2]).T
        h0, h1, h2 = curvature.T
        determinant = h0 * h2 - h1**2
        step = np.stack([h2 * slope[:, 0] - h1 * slope[:, 1], h0 * slope[:, 1] - h1 * slope[:, 0]])
        step = np.nan_to_num(divide(step, np.broadcast_to(determinant, step.shape)))
        size = np.abs(step).max(0)
        coefficient += step / np.maximum(size, 1.0)
        settled = (size < 1e-6) & (determinant > 1e-12)
        if settled.all():
            break
    return np.where(settled, coefficient[1] / scale, np.nan)


# Metrics of which the mean over left-out sites is given, and whether they take the score or the prediction.
SITE_METRICS: dict[str, dict[str, tuple[Callable[..., Array], bool]]] = {
    "regression": {f.__name__: (f, False) for f in (mae, rmse, r2, pearson_r)},
    "binary": {
        "roc_auc": (roc_auc, True),
        "balanced_accuracy": (balanced_accuracy, False),
        "average_precision": (average_precision, True),
    },
    "multiclass": {"balanced_accuracy": (balanced_accuracy, False)},
}


def evaluate(table: pd.DataFrame, kind: str, w: Array, wanted: Collection[str] | None = None) -> dict[str, Array]:
    """Every metric of one run's predictions; where whole sites are left out, also its mean over sites.

    Pooled over sites, R squared and the correlation take each site's own mean, and an ROC area weighs a site by its
    pairs of cases and controls; in the mean (``<metric>_site_mean``) every site counts alike.
    Parameters and returned values are those of `pooled`.
    """
    found = pooled(table, kind, w, wanted)
    site = units.sites(table)
    return found if site is None else found | site_means(table, kind, w, site)


def site_means(table: pd.DataFrame, kind: str, w: Array, site: Array) -> dict[str, Array]:
    """Mean over sites of the main metrics within the site; a site drawn twice counts twice."""
    y, pred = table["y_true"].to_numpy(float), table["y_pred"].to_numpy(float)
    score = table["score"].to_numpy(float) if kind == "binary" else pred
    names, first, code = np.unique(site, return_index=True, return_inverse=True)
    rows = [np.flatnonzero(code == i) for i in range(len(names))]
    times, found = w[:, first], {}
    for metric, (function, of_score) in SITE_METRICS[kind].items():
        shown = score if of_score else pred
        values = np.array([function(y[r], shown[r], np.ones((1, len(r))))[0] for r in rows])
        known = np.isfinite(values)
        found[metric + SITE_MEAN] = divide(times[:, known] @ values[known], times[:, known].sum(1))
    return found


def pooled(table: pd.DataFrame, kind: str, w: Array, wanted: Collection[str] | None = None) -> dict[str, Array]:
    """Every metric of one run's predictions.

    Parameters
    ----------
    table : DataFrame of n rows
        Columns ``y_true``, ``y_pred``, ``fold``; ``score`` and ``prob`` for binary tasks; ``y_corrected`` where the age
        bias was corrected.
    kind : str
        Kind of the task.
    w : ndarray of shape (b, n)
        Row weights of each resample.
    wanted : collection of str, optional
        What is asked for; metrics that are dear and not among them are left out.

    Returns
    -------
    dict of str to ndarray of shape (b,)
        Metric values.
    """
    y, pred, fold = table["y_true"].to_numpy(float), table["y_pred"].to_numpy(float), table["fold"].to_numpy()
    if kind != "regression":
        found = {"balanced_accuracy": balanced_accuracy(y, pred, w)}
        if kind == "binary":
            score, prob = table["score"].to_numpy(float), table["prob"].to_numpy(float)
            found |= {"roc_auc": roc_auc(y, score, w, fold), "average_precision": average_precision(y, score, w)}
            found["brier"] = brier(y, prob, w)
            if wanted is not None and "calibration_slope" not in wanted:
                return found
            # One probability per fold follows the training participants, against the tested ones: no calibration to
            # speak of.
            constant = table.groupby("fold")["prob"].nunique().max() <= 1
            found["calibration_slope"] = np.full(len(w), np.nan) if constant else calibration_slope(y, prob, w)
        return found
    found = {f.__name__: f(y, pred, w) for f in (mae, rmse)}
    found["r2"] = r2(y, pred, w, None if units.sites(table) is None else fold)
    found |= {"pearson_r": pearson_r(y, pred, w, fold)}
    found |= {f.__name__: f(y, pred, w) for f in (bias_slope, bias_mean)}
    if "y_corrected" in table:
        corrected = table["y_corrected"].to_numpy(float)
        found |= {"mae_corrected": mae(y, corrected, w), "bias_slope_corrected": bias_slope(y, corrected, w)}
    return found
