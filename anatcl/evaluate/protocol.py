"""Out-of-fold predictions: everything that is fitted is fitted on the training rows of its split."""

from __future__ import annotations

import zlib
from collections.abc import Iterable

import numpy as np
import pandas as pd

from anatcl.evaluate.features import Features
from anatcl.evaluate.probe import ConstantProbe, LogisticProbe, RidgeProbe
from anatcl.evaluate.split import Split
from anatcl.evaluate.task import Problem, Refused

COLUMNS = ["method", "task", "protocol", "scan", "participant_id", "repeat", "encoder", "fold", "y_true", "y_pred"]


def rng_for(seed: int, task: str, *numbers: int) -> np.random.Generator:
    """Source of random numbers of one task, equal for every method (so that their splits are)."""
    return np.random.default_rng([seed, zlib.crc32(task.encode()), *numbers])


def make_probe(kind: str, n_features: int) -> RidgeProbe | LogisticProbe | ConstantProbe:
    """The probe of a kind of task; a constant when there are no features."""
    if n_features == 0:
        return ConstantProbe(kind == "regression")
    return RidgeProbe() if kind == "regression" else LogisticProbe()


def check_classes(problem: Problem, splits: Iterable[Split]) -> None:
    """Refuse a task where some training part lacks a class."""
    if problem.task.kind == "regression":
        return
    for split in splits:
        missing = set(range(len(problem.classes))) - set(problem.y[split.train].tolist())
        if missing:
            names = [problem.classes[c] for c in sorted(missing)]
            raise Refused(f"fold {split.fold}: no {' and no '.join(names)} case among those trained on.", problem)


def cross_validate(problem: Problem, features: Features, splits: list[Split], seed: int) -> pd.DataFrame:
    """Predict every tested row with a probe fitted on the training rows of its split.

    Parameters
    ----------
    problem : Problem of n rows
        Labels and participants.
    features : Features of n rows
        Aligned with the problem's rows. Split of fold k uses the embeddings of encoder k.
    splits : list of Split
        Outer splits.
    seed : int
        Seed of the inner folds.

    Returns
    -------
    DataFrame
        One row per tested row and split: scan, participant_id, repeat, encoder, fold, y_true, y_pred, and for classes
        score (log odds at equal class frequencies, binary) and prob or prob_<class>.
    """
    check_classes(problem, splits)
    parts = []
    for split in splits:
        x = features.of(split.fold)
        probe = make_probe(problem.task.kind, x.shape[1])
        rng = rng_for(seed, problem.task.name, split.repeat, split.fold)
        probe.fit(x[split.train], problem.y[split.train], problem.groups[split.train], rng)
        parts.append(_tested(problem, split, probe, x[split.test]))
    return pd.concat(parts).sort_values(["repeat", "encoder", "scan"], kind="stable").reset_index(drop=True)


def _tested(
    problem: Problem, split: Split, probe: RidgeProbe | LogisticProbe | ConstantProbe, x: np.ndarray
) -> pd.DataFrame:
    rows = problem.rows.iloc[split.test]
    part = pd.DataFrame(
        {
            "scan": rows["scan"].to_numpy(),
            "participant_id": rows["participant_id"].to_numpy(),
            "repeat": split.repeat,
            "encoder": 0,
            "fold": split.fold,
            "y_true": problem.y[split.test],
        }
    )
    if problem.task.kind == "regression":
        assert not isinstance(probe, LogisticProbe)
        return part.assign(y_pred=probe.predict(x))
    assert not isinstance(probe, RidgeProbe)
    decision, probability = probe.decision(x), probe.probability(x)
    part = part.assign(y_pred=probe.classes_[decision.argmax(1)])
    if problem.task.kind == "binary":
        return part.assign(score=decision[:, 1] - decision[:, 0], prob=probability[:, 1])
    return part.assign(**{f"prob_{name}": probability[:, i] for i, name in enumerate(problem.classes)})
