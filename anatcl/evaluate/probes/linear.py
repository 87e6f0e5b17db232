"""Linear probes on frozen features: scaling, penalty and coefficients are learned from the training rows only.

All follow scikit-learn's manners: ``__init__`` stores, ``fit`` learns, learned attributes end in ``_``. ``leverage``
says how much each training row moves each prediction per unit of its residual; intervals need it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import linalg
from scipy.special import expit, log_softmax, softmax

from anatcl.evaluate.data.split import inner_folds
from anatcl.evaluate.probes.logistic import ROUGH, LogisticPath, balanced_weights

# Half decades.
RIDGE_PENALTIES = tuple(10.0 ** (k / 2) for k in range(9))
LOGISTIC_C = tuple(10.0 ** (k / 2) for k in range(-8, 1))
STRONG, WEAK = "strongest", "weakest"
INNER_FOLDS = 3
# Weaker penalties cost most. A log loss that has grown this much over its least only grows further: they are left out.
HOPELESS = 1.25


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


class Ridge:
    """Ridge regression for many penalties from one Gram matrix.

    Minimises ``||y - b - X w||^2 + penalty ||w||^2`` as scikit-learn's ``Ridge`` does.

    Parameters
    ----------
    x : ndarray of shape (n, d)
        Features, columns of zero mean.
    """

    def __init__(self, x: np.ndarray) -> None:
        self.x = x
        self.primal = x.shape[0] >= x.shape[1]
        self.gram = x.T @ x if self.primal else x @ x.T

    def _factor(self, penalty: float) -> tuple[np.ndarray, bool]:
        shifted = self.gram + penalty * np.eye(len(self.gram))
        return linalg.cho_factor(shifted, lower=True, overwrite_a=True, check_finite=False)

    def coefficients(self, y: np.ndarray, penalty: float) -> np.ndarray:
        """Coefficients (d, t) for targets (n, t)."""
        centred = y - y.mean(0)
        if self.primal:
            return linalg.cho_solve(self._factor(penalty), self.x.T @ centred, check_finite=False)
        return self.x.T @ linalg.cho_solve(self._factor(penalty), centred, check_finite=False)

    def leverage(self, new: np.ndarray, penalty: float) -> np.ndarray:
        """Derivative of the predictions at `new` (m, d) by the training targets, shape (m, n)."""
        if self.primal:
            moved = new @ linalg.cho_solve(self._factor(penalty), self.x.T, check_finite=False)
        else:
            moved = linalg.cho_solve(self._factor(penalty), self.x @ new.T, check_finite=False).T
        return moved + 1.0 / len(self.x)


class RidgeProbe:
    """Standardised ridge regression; penalty by cross-validation over participants inside the training rows.

    Several targets share the decompositions, and each has its own penalty; the inner folds are stratified by the first.

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
        """Choose penalties and fit; see `Regressor.fit`."""
        folds = inner_folds(groups, y[:, 0], self.inner, rng, continuous=True)
        chosen = np.full(y.shape[1], len(self.penalties) // 2)
        self.inner_prediction_ = np.full(len(y), np.nan)
        if folds is not None:
            inner = self._inner_predictions(x, y, folds)
            chosen = ((inner - y) ** 2).sum(1).argmin(0)
            self.inner_prediction_ = inner[chosen[0], :, 0]
        self.end_ = at_end(int(chosen[0]), len(self.penalties), (WEAK, STRONG)) if folds is not None else ""
        self.penalty_ = np.asarray(self.penalties)[chosen]
        self.scaler_ = Standardise().fit(x)
        self.ridge_ = Ridge(self.scaler_.transform(x))
        self.mean_ = y.mean(0)
        self.coefficient_ = np.empty((x.shape[1], y.shape[1]))
        for penalty in np.unique(self.penalty_):
            targets = self.penalty_ == penalty
            self.coefficient_[:, targets] = self.ridge_.coefficients(y[:, targets], penalty)
        return self

    def _inner_predictions(self, x: np.ndarray, y: np.ndarray, folds: np.ndarray) -> np.ndarray:
        """Out-of-fold predictions for every penalty, shape (p, n, t)."""
        found = np.empty((len(self.penalties), *y.shape))
        for k in np.unique(folds):
            train, test = folds != k, folds == k
            scaler = Standardise().fit(x[train])
            ridge, new = Ridge(scaler.transform(x[train])), scaler.transform(x[test])
            for i, penalty in enumerate(self.penalties):
                found[i, test] = new @ ridge.coefficients(y[train], penalty) + y[train].mean(0)
        return found

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Predictions for `x` (m, d), shape (m, t)."""
        return self.scaler_.transform(x) @ self.coefficient_ + self.mean_

    @property
    def line(self) -> tuple[np.ndarray, float]:
        """Coefficients (d,) of the standardised features and intercept of the first target."""
        return self.coefficient_[:, 0], float(self.mean_[0])

    def leverage(self, x: np.ndarray) -> np.ndarray:
        """See `Regressor.leverage`."""
        return self.ridge_.leverage(self.scaler_.transform(x), float(self.penalty_[0]))


class _InnerFold:
    """One inner fold of a logistic regression: the log loss of its tested part, strength after strength."""

    def __init__(self, x: np.ndarray, y: np.ndarray, tested: np.ndarray, n_classes: int) -> None:
        scaler = Standardise().fit(x[~tested])
        self.path = LogisticPath(scaler.transform(x[~tested]), y[~tested], n_classes, ROUGH)
        self.new, self.y = scaler.transform(x[tested]), y[tested]

    def loss(self, strength: float) -> float:
        """Balanced log loss."""
        w, b = self.path.solve(strength)
        return balanced_log_loss(log_probability(self.new @ w + b), self.y)


class LogisticProbe:
    """Standardised logistic regression with balanced classes; penalty by inner cross-validation on the log loss.

    Parameters
    ----------
    strengths : sequence of float
        Candidate inverse penalties (scikit-learn's C), increasing.
    inner : int
        Inner folds; fewer when a class has fewer participants.
    """

    def __init__(self, strengths: Sequence[float] = LOGISTIC_C, inner: int = INNER_FOLDS) -> None:
        self.strengths = strengths
        self.inner = inner

    def fit(self, x: np.ndarray, y: np.ndarray, groups: np.ndarray, rng: np.random.Generator) -> LogisticProbe:
        """Choose the penalty and fit; see `Classifier.fit`."""
        n_classes = int(y.max()) + 1
        folds = inner_folds(groups, y, self.inner, rng, continuous=False)
        chosen = len(self.strengths) // 2
        if folds is not None:
            chosen = int(np.nanargmin(self._inner_losses(x, y, folds, n_classes)))
        self.end_ = at_end(chosen, len(self.strengths), (STRONG, WEAK)) if folds is not None else ""
        self.strength_ = self.strengths[chosen]
        self.scaler_ = Standardise().fit(x)
        self.x_, self.y_ = self.scaler_.transform(x), y
        path = LogisticPath(self.x_, y, n_classes)
        for strength in (self.strengths[max(chosen - 2, 0)], self.strengths[chosen]):  # the smaller one is a warm start
            self.coefficient_, self.intercept_ = path.solve(strength)
        self.log_prior_ = np.log(np.bincount(y, minlength=n_classes) / len(y))
        return self

    def _inner_losses(self, x: np.ndarray, y: np.ndarray, folds: np.ndarray, n_classes: int) -> np.ndarray:
        """Log loss of each strength, summed over the folds; NaN for those beyond what is worth trying."""
        parts = [_InnerFold(x, y, folds == k, n_classes) for k in np.unique(folds)]
        losses = np.full(len(self.strengths), np.nan)
        for i, strength in enumerate(self.strengths):
            losses[i] = sum(part.loss(strength) for part in parts)
            if losses[i] > HOPELESS * np.nanmin(losses):
                break
        return losses

    def decision(self, x: np.ndarray) -> np.ndarray:
        """See `Classifier.decision`."""
        return log_probability(self.scaler_.transform(x) @ self.coefficient_ + self.intercept_)

    def probability(self, x: np.ndarray) -> np.ndarray:
        """See `Classifier.probability`."""
        return softmax(self.decision(x) + self.log_prior_, axis=1)

    @property
    def line(self) -> tuple[np.ndarray, float]:
        """Coefficients (d,) of the standardised features and intercept of the log odds of the second of two classes."""
        return self.coefficient_[:, 0], float(self.intercept_[0])

    def leverage(self, x: np.ndarray) -> np.ndarray | None:
        """See `Classifier.leverage`."""
        if self.coefficient_.shape[1] > 1:
            return None
        weight = balanced_weights(self.y_, 2) * self.strength_
        p = expit(self.x_ @ self.coefficient_ + self.intercept_)[:, 0]
        curvature = weight * p * (1 - p)
        centre = curvature @ self.x_ / curvature.sum()
        a, new = self.x_ - centre, self.scaler_.transform(x) - centre
        n, d = a.shape
        if n >= d:
            hessian = (a.T * curvature) @ a + np.eye(d)
            moved = new @ linalg.solve(hessian, a.T, assume_a="pos")
        else:  # Woodbury: (I + A'DA)^-1 A' = A' (I + D AA')^-1
            root = np.sqrt(curvature)
            kernel = np.eye(n) + root[:, None] * (a @ a.T) * root
            moved = (linalg.solve(kernel, (root[:, None] * (a @ new.T)), assume_a="pos") / root[:, None]).T
        return (moved + 1.0 / curvature.sum()) * weight


def at_end(chosen: int, count: int, ends: tuple[str, str]) -> str:
    """Which end of its grid a penalty is at; empty inside."""
    return ends[0] if chosen == 0 else ends[1] if chosen == count - 1 else ""


def log_probability(z: np.ndarray) -> np.ndarray:
    """Log probabilities (m, classes) from scores: (m, 1) is the log odds of the second of two classes."""
    return log_softmax(np.hstack([np.zeros_like(z), z]) if z.shape[1] == 1 else z, axis=1)


def balanced_log_loss(log_p: np.ndarray, y: np.ndarray) -> float:
    """Sum over classes of the mean log loss of their rows; `log_p` (n, classes), `y` codes (n,)."""
    each = -log_p[np.arange(len(y)), y]
    return float(sum(each[y == c].mean() for c in np.unique(y)))
