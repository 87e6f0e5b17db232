"""What a prediction is made with: the preparation of the features and the model, one object from fit to readout."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import pandas as pd

from anatcl.evaluate.probes.linear import LogisticProbe, RidgeProbe
from anatcl.evaluate.probes.own import OwnProbe
from anatcl.evaluate.probes.prepare import Preparation
from anatcl.evaluate.probes.simple import ConstantProbe, NeighbourProbe
from anatcl.spec.baselines import OwnBaseline
from anatcl.spec.task import Task


class Regressor(Protocol):
    """A probe of numbers."""

    @property
    def inner_prediction_(self) -> np.ndarray | None:
        """Out-of-fold predictions (n,) of the first target; None where the probe makes none."""

    def fit(self, x: np.ndarray, y: np.ndarray, groups: np.ndarray, rng: np.random.Generator) -> Regressor:
        """Learn from features (n, d), targets (n, t) and participants (n,)."""

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Predictions (m, t)."""

    def leverage(self, x: np.ndarray) -> np.ndarray | None:
        """Change of the first target's prediction per unit residual of each training row, (m, n)."""


class Classifier(Protocol):
    """A probe of classes."""

    def fit(self, x: np.ndarray, y: np.ndarray, groups: np.ndarray, rng: np.random.Generator) -> Classifier:
        """Learn from features (n, d), codes (n,) and participants (n,)."""

    def decision(self, x: np.ndarray) -> np.ndarray:
        """Log probabilities at equal class frequencies, (m, classes)."""

    def probability(self, x: np.ndarray) -> np.ndarray:
        """Probabilities at the training rows' class frequencies, (m, classes)."""

    def leverage(self, x: np.ndarray) -> np.ndarray | None:
        """Change of the log odds per unit residual of each training row, (m, n); None unless binary and linear."""


Make = Callable[[int], Any]


def maker(task: Task, kind: str | OwnBaseline = "linear") -> Make:
    """What makes the model of a task from the number of features: ridge or logistic regression, neighbours, one's own.

    Without features it is the guess that needs none: the median, or the class frequencies.
    """
    regression = task.kind == "regression"

    def make(n_features: int) -> Regressor | Classifier:
        if isinstance(kind, OwnBaseline):
            return OwnProbe(kind, task.kind)
        if n_features == 0:
            return ConstantProbe(regression)
        if kind == "knn":
            return NeighbourProbe(regression)
        if regression:
            return RidgeProbe()
        return LogisticProbe()

    return make


@dataclasses.dataclass(frozen=True)
class Readout:
    """A linear probe in the space of the raw features, for some rows: ``prediction = sum(weights * x) + constant``.

    Covariates and sites are those of the participants and stay fixed.

    Parameters
    ----------
    weights : ndarray of shape (m, d)
        Change of a person's prediction per unit of a raw feature; 0 where the person lacks the feature.
    constant : ndarray of shape (m,)
        Prediction where every raw feature is 0.
    """

    weights: np.ndarray
    constant: np.ndarray

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Predictions for raw features (m, d) of the same participants, shape (m,)."""
        return (np.where(self.weights != 0, x, 0.0) * self.weights).sum(1) + self.constant


class Probe:
    """Preparation and model of one task: everything that is learned from training rows, in one object.

    Parameters
    ----------
    task : Task
        Says which steps come first, and what is predicted.
    make : callable
        Makes a `Regressor` or a `Classifier` from the number of features, see `maker`.
    """

    def __init__(self, task: Task, make: Make) -> None:
        self.task = task
        self.make = make

    def fit(
        self, x: np.ndarray, rows: pd.DataFrame, y: np.ndarray, groups: np.ndarray, rng: np.random.Generator
    ) -> Probe:
        """Learn the preparation, then the model.

        Parameters
        ----------
        x : ndarray of shape (n, d)
            Raw features of the training rows.
        rows : DataFrame of n rows
            Their rows of the scans table: covariates and sites.
        y : ndarray of shape (n, t) or (n,)
            Targets (regression) or codes.
        groups : ndarray of shape (n,)
            Participant of each row; the inner folds keep a participant together.
        rng : Generator
            Of the inner folds.
        """
        self.preparation_ = Preparation(self.task)
        self.prepared_ = self.preparation_.fit_transform(x, rows)
        self.groups_ = groups
        return self.refit(y, rng)

    def refit(self, y: np.ndarray, rng: np.random.Generator) -> Probe:
        """Fit the model again for other labels of the same rows; the preparation knows no label and stays."""
        self.model_ = self.make(self.prepared_.shape[1])
        y = y[:, None] if self.task.kind == "regression" and y.ndim == 1 else y
        self.model_.fit(self.prepared_, y, self.groups_, rng)
        return self

    def prepare(self, x: np.ndarray, rows: pd.DataFrame) -> np.ndarray:
        """Raw features (m, d) and their rows as the model takes them, (m, d)."""
        return self.preparation_.transform(x, rows)

    def predict(self, x: np.ndarray, rows: pd.DataFrame) -> np.ndarray:
        """Numbers (m, t), or log probabilities at equal class frequencies (m, classes), from raw features."""
        z = self.prepare(x, rows)
        found: np.ndarray = self.model_.predict(z) if self.task.kind == "regression" else self.model_.decision(z)
        return found

    def readout(self, x: np.ndarray, rows: pd.DataFrame) -> Readout:
        """The prediction for some participants as a linear function of their raw features.

        The prediction is the first target's number, or the log odds of the second of two classes.

        Parameters
        ----------
        x : ndarray of shape (m, d)
            Their raw features; only which are missing matters.
        rows : DataFrame of m rows
            Their rows of the scans table.
        """
        if not isinstance(self.model_, RidgeProbe | LogisticProbe):
            raise TypeError(f"{type(self.model_).__name__} is not linear")
        coefficient, intercept = self.model_.line
        scaler = self.model_.scaler_
        slope, offset = self.preparation_.affine(rows, x.shape[1])
        weights = coefficient * scaler.inverse_ * slope
        shift = coefficient * scaler.inverse_ * (offset - scaler.mean_)
        missing = ~np.isfinite(x)
        filled = coefficient * scaler.transform(self.prepare(x, rows))
        return Readout(np.where(missing, 0.0, weights), np.where(missing, filled, shift).sum(1) + intercept)
