"""Baselines of a user's own behind the interface of our probes: the contract is on the page "Extend"."""

from __future__ import annotations

from typing import Any

import numpy as np

from anatcl.base.errors import InputError
from anatcl.base.named import call_named
from anatcl.spec.baselines import OwnBaseline

LEAST = 1e-12  # of a probability, so that its logarithm is finite


def made(told: OwnBaseline, kind: str) -> Any:
    """The learner for a task of a kind (regression, binary, multiclass)."""
    return call_named(told.baseline, {"kind": kind, **told.arguments})


def why_not(told: OwnBaseline, kind: str) -> str:
    """Why a baseline cannot answer tasks of a kind; empty where it can."""
    learner, needed = made(told, kind), ("fit", "predict" if kind == "regression" else "predict_proba")
    lacking = [name for name in needed if not callable(getattr(learner, name, None))]
    return f"{told.baseline} has no method {' and no '.join(lacking)} for a {kind} task" if lacking else ""


class OwnProbe:
    """A learner of the user's own, see `anatcl.evaluate.probes.probe` for the interface.

    Parameters
    ----------
    told : OwnBaseline
        Which.
    kind : {"regression", "binary", "multiclass"}
        Of the task.
    """

    def __init__(self, told: OwnBaseline, kind: str) -> None:
        self.told = told
        self.kind = kind

    def fit(self, x: np.ndarray, y: np.ndarray, groups: np.ndarray, rng: np.random.Generator) -> OwnProbe:
        """Fit a learner for each target of `y` (n, t), or one for the codes `y` (n,).

        NumPy's global generator, which many learners draw from, is seeded before each fit.
        """
        targets = list(y.T) if self.kind == "regression" else [y]
        seed = int(rng.integers(2**32))
        self.models_ = [self._fitted(x, target, seed) for target in targets]
        self.inner_prediction_ = np.full(len(y), np.nan)
        self.frequency_ = None if self.kind == "regression" else np.bincount(y) / len(y)
        return self

    def _fitted(self, x: np.ndarray, y: np.ndarray, seed: int) -> Any:
        model = made(self.told, self.kind)
        np.random.seed(seed)
        model.fit(x.copy(), y.copy())
        return model

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Numbers, shape (m, t)."""
        return np.column_stack([self._checked(model.predict(x.copy()), (len(x),)) for model in self.models_])

    def decision(self, x: np.ndarray) -> np.ndarray:
        """See `Classifier.decision`."""
        return np.log(np.maximum(self.probability(x) / self.frequency_, LEAST))

    def probability(self, x: np.ndarray) -> np.ndarray:
        """See `Classifier.probability`."""
        assert self.frequency_ is not None
        found = self._checked(self.models_[0].predict_proba(x.copy()), (len(x), len(self.frequency_)))
        return np.maximum(found, LEAST) / np.maximum(found, LEAST).sum(1, keepdims=True)

    def leverage(self, x: np.ndarray) -> None:
        """Nothing is known of how it depends on a single row."""

    def _checked(self, found: Any, shape: tuple[int, ...]) -> np.ndarray:
        values = np.asarray(found, dtype=float)
        values = values.reshape(shape) if values.size == np.prod(shape) else values
        if values.shape != shape or not np.isfinite(values).all():
            what = f"shape {values.shape}" if values.shape != shape else "numbers that are not finite"
            reason = f"{self.told.baseline} predicted {what}, where {shape} numbers are needed."
            raise InputError(reason, None, "See the contract of baselines in docs/extend.md.")
        return values
