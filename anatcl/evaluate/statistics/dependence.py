"""The widening of a cross-validated interval, because tested participants also train the other folds.

Person i is tested by a model that j trained, and j by a model that i trained. When a chance agreement of the two helps
one test it helps the other too, so that each pair counts twice and the plain bootstrap, which takes the fitted models
as given, is too narrow: an R^2 of 100 people with 20 features is covered in 84 % of samples instead of 95 %.

To first order j's training moves the metric m of i's test by ``q_ij = dm/df_i * leverage_ij * residual_j`` (f_i is the
prediction, the residual is out of fold), and the missing variance is ``sum_ij q_ij q_ji``. Nothing is refitted. The
calibration test of this repository measures what it achieves.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

Array = np.ndarray
# A matrix of this many rows squared is still cheap; beyond, the effect is below a percent or two.
LARGEST = 6000


def _fold_centred(values: Array, fold: Array) -> Array:
    out = values.astype(float).copy()
    for k in np.unique(fold):
        out[fold == k] -= out[fold == k].mean()
    return out


def regression_slopes(table: pd.DataFrame) -> dict[str, Array]:
    """Derivative of each metric by each prediction, shape (n,)."""
    y, pred, fold = table["y_true"].to_numpy(float), table["y_pred"].to_numpy(float), table["fold"].to_numpy()
    n, error, centred = len(y), pred - y, y - y.mean()
    variance = (centred**2).mean()
    yf, pf = _fold_centred(y, fold), _fold_centred(pred, fold)
    norm_y, norm_p = np.sqrt(yf @ yf), np.sqrt(pf @ pf)
    found = {
        "mae": np.sign(error) / n,
        "rmse": error / n / max(np.sqrt((error**2).mean()), 1e-300),
        "r2": -2 * error / n / variance,
        "bias_slope": centred / n / variance,
        "bias_mean": np.full(n, 1 / n),
    }
    if norm_y > 0 and norm_p > 0:
        found["pearson_r"] = (yf / norm_y - (yf @ pf) / norm_y / norm_p**2 * pf) / norm_p
    return found


def binary_slopes(table: pd.DataFrame) -> dict[str, Array]:
    """Derivative of each metric by each log odds, shape (n,); steps are smoothed by a Gaussian kernel."""
    y, fold = table["y_true"].to_numpy(float) == 1, table["fold"].to_numpy()
    score, prob = table["score"].to_numpy(float), table["prob"].to_numpy(float)
    n, width = len(y), score.std() * len(score) ** -0.2
    if width == 0:
        return {}
    count = np.where(y, y.sum(), (~y).sum())
    auc, pairs = np.zeros(n), 0
    for k in np.unique(fold):
        pos, neg = np.flatnonzero(y & (fold == k)), np.flatnonzero(~y & (fold == k))
        near = _kernel(score[pos][:, None] - score[neg], width)
        auc[pos] += near.sum(1)
        auc[neg] -= near.sum(0)
        pairs += len(pos) * len(neg)
    return {
        "roc_auc": auc / max(pairs, 1),
        "balanced_accuracy": np.where(y, 1, -1) * _kernel(score, width) / count / 2,
        "average_precision": _precision_slope(y, score, width),
        "brier": 2 * (prob - y) * prob * (1 - prob) / n,
    }


def _kernel(difference: Array, width: float) -> Array:
    return np.exp(-0.5 * (difference / width) ** 2) / (width * np.sqrt(2 * np.pi))


def _precision_slope(y: Array, score: Array, width: float) -> Array:
    """Derivative of the average precision when ranks are smoothed."""
    from scipy.special import ndtr

    above = ndtr((score[None, :] - score[y][:, None]) / width)  # (positives, n): how far j stands above i
    above[np.arange(y.sum()), np.flatnonzero(y)] = 1.0
    rank, hits = above.sum(1, keepdims=True), above[:, y].sum(1, keepdims=True)
    moved = _kernel(score[None, :] - score[y][:, None], width) * (np.where(y, rank, 0.0) - hits) / rank**2 / y.sum()
    moved[np.arange(y.sum()), np.flatnonzero(y)] = 0.0
    slope = moved.sum(0)
    slope[y] -= moved.sum(1)
    return slope


SLOPES: dict[str, Callable[[pd.DataFrame], dict[str, Array]]] = {
    "regression": regression_slopes,
    "binary": binary_slopes,
}


def _sum_rows(matrix: Array, person: Array, n: int) -> Array:
    """Sum the rows of `matrix` that belong to the same person, shape (n, columns)."""
    total = np.zeros((n, matrix.shape[1]))
    if len(np.unique(person)) == len(person):
        total[person] = matrix
    else:
        np.add.at(total, person, matrix)
    return total


class Dependence:
    """Sums the effects of pairs of participants over the runs of a cross-validation.

    Parameters
    ----------
    kind : str
        Kind of the task.
    groups : ndarray of shape (n,)
        Participant of each row.

    """

    def __init__(self, kind: str, groups: Array) -> None:
        self.slopes = SLOPES.get(kind)
        self.names, self.person = np.unique(groups, return_inverse=True)
        self.runs: list[tuple[Array, dict[str, Array], Array]] = []

    def add(self, table: pd.DataFrame, rows: Array, leverage: Array, residual: Array) -> None:
        """Add a run.

        Parameters
        ----------
        table : DataFrame of m rows
            Predictions of the run.
        rows : ndarray of shape (m,)
            Row numbers of the problem that they belong to.
        leverage : ndarray of shape (m, n), float32
            Change of each prediction per unit residual of each row of the problem (zero where it did not train).
        residual : ndarray of shape (n,)
            Out-of-fold residual of each row of the problem.
        """
        if self.slopes is not None:
            effect = leverage * residual.astype(leverage.dtype)
            self.runs.append((rows, self.slopes(table), effect))

    def variance(self) -> dict[str, float]:
        """Variance that the bootstrap lacks, per metric."""
        if not self.runs:
            return {}
        wanted = set.intersection(*(set(slopes) for _, slopes, _ in self.runs))
        if len(self.runs) == 1 and len(self.names) == len(self.person):
            return {m: v for m, v in self._single().items() if m in wanted}
        effects = {metric: self.effects(metric) for metric in sorted(wanted)}
        return {metric: float(np.einsum("ij,ji->", q, q)) for metric, q in effects.items()}

    def effects(self, metric: str) -> Array:
        """``q_ij`` of a metric: what j's training does to the test of i, shape (p, p); the mean over runs."""
        total = np.zeros((len(self.names), len(self.names)))
        for rows, slopes, effect in self.runs:
            total += self._by_person(slopes[metric][:, None] * effect, rows)
        return total / len(self.runs)

    def _single(self) -> dict[str, float]:
        """One run, one scan each: ``sum_ij s_i s_j E_ij E_ji`` needs one product for all metrics."""
        rows, slopes, effect = self.runs[0]
        both = effect[:, rows]
        both = both * both.T
        return {m: float(s @ both @ s) for m, s in slopes.items()}

    def _by_person(self, effect: Array, rows: Array) -> Array:
        """Sum an (m, n) matrix over the rows of each participant, shape (p, p)."""
        tested = _sum_rows(effect, self.person[rows], len(self.names))
        return _sum_rows(tested.T, self.person, len(self.names)).T
