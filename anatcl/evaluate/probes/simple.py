"""Probes that are not linear: the guess that uses no feature, and the nearest neighbours."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from anatcl.evaluate.data.split import inner_folds
from anatcl.evaluate.probes.linear import INNER_FOLDS, Standardise, balanced_log_loss

NEIGHBOURS = (1, 3, 5, 11, 21)


class ConstantProbe:
    """What is known without features: the training median (regression) or the majority class.

    Parameters
    ----------
    regression : bool
        Which of the two.
    """

    def __init__(self, regression: bool) -> None:
        self.regression = regression

    def fit(self, x: np.ndarray, y: np.ndarray, groups: np.ndarray, rng: np.random.Generator) -> ConstantProbe:
        """Learn the medians of `y` (n, t) or the class frequencies of `y` (n,)."""
        if self.regression:
            self.median_ = np.median(y, axis=0)
            self.inner_prediction_ = np.full(len(y), np.nan)
        else:
            self.frequency_ = np.bincount(y) / len(y)
        return self

    def predict(self, x: np.ndarray) -> np.ndarray:
        """The medians for each row of `x`, shape (m, t)."""
        return np.tile(self.median_, (len(x), 1))

    def decision(self, x: np.ndarray) -> np.ndarray:
        """Log frequencies for each row of `x`: the largest is the majority class."""
        return np.tile(np.log(self.frequency_), (len(x), 1))

    def probability(self, x: np.ndarray) -> np.ndarray:
        """Class frequencies for each row of `x`."""
        return np.tile(self.frequency_, (len(x), 1))

    def leverage(self, x: np.ndarray) -> None:
        """A constant has no linear leverage."""


class NeighbourProbe:
    """Mean of the k nearest training rows (standardised, Euclidean); k by inner cross-validation.

    Parameters
    ----------
    regression : bool
        Average targets, or class shares weighted to equal class frequencies.
    neighbours : sequence of int
        Candidates for k.
    inner : int
        Inner folds.
    """

    def __init__(self, regression: bool, neighbours: Sequence[int] = NEIGHBOURS, inner: int = INNER_FOLDS) -> None:
        self.regression = regression
        self.neighbours = neighbours
        self.inner = inner

    def fit(self, x: np.ndarray, y: np.ndarray, groups: np.ndarray, rng: np.random.Generator) -> NeighbourProbe:
        """Choose k and keep the training rows."""
        folds = inner_folds(groups, y[:, 0] if self.regression else y, self.inner, rng, self.regression)
        self.inner_prediction_ = np.full(len(y), np.nan)
        self.k_ = self.neighbours[len(self.neighbours) // 2]
        if folds is not None:
            self.k_ = self.neighbours[int(np.argmin(sum(self._losses(x, y, folds, k) for k in np.unique(folds))))]
        self._keep(x, y)
        return self

    def _keep(self, x: np.ndarray, y: np.ndarray) -> None:
        self.scaler_ = Standardise().fit(x)
        self.x_ = self.scaler_.transform(x)
        self.y_ = y if self.regression else np.eye(int(y.max()) + 1)[y]
        self.prior_ = None if self.regression else self.y_.mean(0)

    def _losses(self, x: np.ndarray, y: np.ndarray, folds: np.ndarray, fold: int) -> np.ndarray:
        inner = NeighbourProbe(self.regression)
        inner._keep(x[folds != fold], y[folds != fold])
        losses = []
        for k in self.neighbours:
            inner.k_ = k
            if self.regression:
                losses.append(((inner.predict(x[folds == fold]) - y[folds == fold]) ** 2).sum())
            else:
                losses.append(balanced_log_loss(inner.decision(x[folds == fold]), y[folds == fold]))
        return np.array(losses)

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Means of the neighbours' targets (regression, (m, t)) or class shares ((m, classes))."""
        new = self.scaler_.transform(x)
        distance = (self.x_**2).sum(1) - 2 * new @ self.x_.T
        nearest = np.argsort(distance, axis=1, kind="stable")[:, : self.k_]
        return self.y_[nearest].mean(1)

    def decision(self, x: np.ndarray) -> np.ndarray:
        """See `Classifier.decision`; one pseudo-neighbour per class keeps the logarithm finite."""
        shares = (self.predict(x) * self.k_ + self.prior_) / (self.k_ + 1) / self.prior_
        return np.log(shares / shares.sum(1, keepdims=True))

    def probability(self, x: np.ndarray) -> np.ndarray:
        """See `Classifier.probability`."""
        return (self.predict(x) * self.k_ + self.prior_) / (self.k_ + 1)

    def leverage(self, x: np.ndarray) -> None:
        """Neighbours have no linear leverage."""
