"""Linear probes on frozen features: scaling, penalty and coefficients are learned from the training rows only.

All follow scikit-learn's manners: ``__init__`` stores, ``fit`` learns, learned attributes end in ``_``.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from anatcl.evaluate.split import inner_folds

RIDGE_PENALTIES = (1.0, 10.0, 100.0, 1e3, 1e4)
LOGISTIC_C = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
INNER_FOLDS = 3


class Standardise:
    """Zero mean and unit variance per feature; missing values become the mean, constant features zero."""

    def fit(self, x: np.ndarray) -> Standardise:
        """Learn means and standard deviations of the columns of `x`, shape (n, d)."""
        known = np.isfinite(x)
        count = np.maximum(known.sum(0), 1)
        self.mean_ = np.where(known, x, 0.0).sum(0) / count
        centred = np.where(known, x - self.mean_, 0.0)
        deviation = np.sqrt((centred**2).sum(0) / count)
        # Rounding makes a constant column's deviation tiny rather than zero.
        dead = deviation <= 1e-9 * np.abs(self.mean_)
        self.inverse_ = np.where(dead, 0.0, 1.0 / np.where(dead, 1.0, deviation))
        return self

    def transform(self, x: np.ndarray) -> np.ndarray:
        """Return the standardised copy of `x`, shape (n, d), float64."""
        scaled = (x - self.mean_) * self.inverse_
        return np.where(np.isfinite(scaled), scaled, 0.0)


def ridge_path(x: np.ndarray, y: np.ndarray, new: np.ndarray, penalties: Sequence[float]) -> np.ndarray:
    """Ridge predictions for many penalties and targets from one decomposition.

    Minimises ``||y - b - X w||^2 + penalty ||w||^2`` as scikit-learn's ``Ridge`` does.

    Parameters
    ----------
    x : ndarray of shape (n, d)
        Training features, columns of zero mean.
    y : ndarray of shape (n, t)
        Targets.
    new : ndarray of shape (m, d)
        Features to predict from.
    penalties : sequence of p floats
        Penalties, > 0.

    Returns
    -------
    ndarray of shape (p, m, t)
        Predictions.
    """
    mean = y.mean(0)
    n, d = x.shape
    if n >= d:
        values, basis = np.linalg.eigh(x.T @ x)
        left, right = new @ basis, basis.T @ (x.T @ (y - mean))
    else:
        values, basis = np.linalg.eigh(x @ x.T)
        left, right = (new @ x.T) @ basis, basis.T @ (y - mean)
    values = np.maximum(values, 0.0)
    return np.stack([left @ (right / (values + a)[:, None]) for a in penalties]) + mean


class RidgeProbe:
    """Standardised ridge regression; penalty by cross-validation over participants inside the training rows.

    Parameters
    ----------
    penalties : sequence of float
        Candidates.
    inner : int
        Inner folds; fewer when there are fewer participants.
    """

    def __init__(self, penalties: Sequence[float] = RIDGE_PENALTIES, inner: int = INNER_FOLDS) -> None:
        self.penalties = penalties
        self.inner = inner

    def fit(self, x: np.ndarray, y: np.ndarray, groups: np.ndarray, rng: np.random.Generator) -> RidgeProbe:
        """Choose the penalty and keep what predictions need; `x` (n, d), `y` (n,), `groups` (n,)."""
        folds = inner_folds(groups, y, self.inner, rng, continuous=True)
        self.penalty_ = self.penalties[len(self.penalties) // 2]
        if folds is not None:
            self.penalty_ = self.penalties[int(np.argmin(self._inner_errors(x, y, folds)))]
        self.scaler_ = Standardise().fit(x)
        self.x_, self.y_ = self.scaler_.transform(x), y
        return self

    def _inner_errors(self, x: np.ndarray, y: np.ndarray, folds: np.ndarray) -> np.ndarray:
        errors = np.zeros(len(self.penalties))
        for k in np.unique(folds):
            train, test = folds != k, folds == k
            scaler = Standardise().fit(x[train])
            predicted = ridge_path(
                scaler.transform(x[train]), y[train, None], scaler.transform(x[test]), self.penalties
            )[:, :, 0]
            errors += ((predicted - y[test]) ** 2).sum(1)
        return errors

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Predictions for `x` (m, d), shape (m,)."""
        return ridge_path(self.x_, self.y_[:, None], self.scaler_.transform(x), [self.penalty_])[0, :, 0]


class LogisticProbe:
    """Standardised logistic regression with balanced classes; penalty by inner cross-validation on the log loss.

    Parameters
    ----------
    strengths : sequence of float
        Candidate inverse penalties (scikit-learn's C).
    inner : int
        Inner folds; fewer when a class has fewer participants.
    """

    def __init__(self, strengths: Sequence[float] = LOGISTIC_C, inner: int = INNER_FOLDS) -> None:
        self.strengths = strengths
        self.inner = inner

    def fit(self, x: np.ndarray, y: np.ndarray, groups: np.ndarray, rng: np.random.Generator) -> LogisticProbe:
        """Choose the penalty and fit; `x` (n, d), `y` (n,) integer codes, `groups` (n,)."""
        folds = inner_folds(groups, y, self.inner, rng, continuous=False)
        self.strength_ = self.strengths[len(self.strengths) // 2]
        if folds is not None:
            self.strength_ = self.strengths[int(np.argmin(self._inner_losses(x, y, folds)))]
        self.scaler_ = Standardise().fit(x)
        self.model_ = self._model(self.strength_, self.scaler_.transform(x), y)
        self.classes_ = self.model_.classes_
        count = np.bincount(y)[self.classes_]
        self.log_prior_ = np.log(count / count.sum())
        return self

    @staticmethod
    def _model(strength: float, x: np.ndarray, y: np.ndarray) -> LogisticRegression:
        model = LogisticRegression(C=strength, class_weight="balanced", tol=1e-6, max_iter=500)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            return model.fit(x, y)

    def _inner_losses(self, x: np.ndarray, y: np.ndarray, folds: np.ndarray) -> np.ndarray:
        losses = np.zeros(len(self.strengths))
        for k in np.unique(folds):
            train, test = folds != k, folds == k
            scaler = Standardise().fit(x[train])
            xt, xv = scaler.transform(x[train]), scaler.transform(x[test])
            for i, strength in enumerate(self.strengths):
                model = self._model(strength, xt, y[train])
                losses[i] += balanced_log_loss(model.predict_log_proba(xv), y[test], model.classes_)
        return losses

    def decision(self, x: np.ndarray) -> np.ndarray:
        """Log probabilities under equal class frequencies, shape (m, classes)."""
        return self.model_.predict_log_proba(self.scaler_.transform(x))

    def probability(self, x: np.ndarray) -> np.ndarray:
        """Probabilities under the class frequencies of the training rows, shape (m, classes)."""
        raw = self.decision(x) + self.log_prior_
        raw = np.exp(raw - raw.max(1, keepdims=True))
        return raw / raw.sum(1, keepdims=True)


def balanced_log_loss(log_probability: np.ndarray, y: np.ndarray, classes: np.ndarray) -> float:
    """Sum over classes of the mean log loss of their rows; `log_probability` (n, classes)."""
    columns = np.searchsorted(classes, y)
    each = -log_probability[np.arange(len(y)), columns]
    return float(sum(each[y == c].mean() for c in np.unique(y)))


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
        """Learn the median or the class frequencies of `y`."""
        if self.regression:
            self.median_ = float(np.median(y))
        else:
            self.classes_, count = np.unique(y, return_counts=True)
            self.frequency_ = count / count.sum()
        return self

    def predict(self, x: np.ndarray) -> np.ndarray:
        """The median for each row of `x`, shape (m,)."""
        return np.full(len(x), self.median_)

    def decision(self, x: np.ndarray) -> np.ndarray:
        """Log frequencies for each row of `x`: the largest is the majority class."""
        return np.tile(np.log(self.frequency_), (len(x), 1))

    def probability(self, x: np.ndarray) -> np.ndarray:
        """Class frequencies for each row of `x`."""
        return np.tile(self.frequency_, (len(x), 1))
