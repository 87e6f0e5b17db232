"""Splits into training and test rows: by participant, never by scan."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd

from anatcl.pretrain.folds import fold_of


@dataclasses.dataclass(frozen=True)
class Split:
    """Row numbers of one outer split.

    Attributes
    ----------
    train, test : ndarray of int
        Row numbers.
    fold : int
        Which fold is tested.
    repeat : int
        Which repetition of the cross-validation.
    encoder : int
        Whose embeddings are used: -1 is the encoder of the same fold.
    """

    train: np.ndarray
    test: np.ndarray
    fold: int
    repeat: int = 0
    encoder: int = -1


def deal(groups: np.ndarray, y: np.ndarray, k: int, rng: np.random.Generator, continuous: bool) -> np.ndarray:
    """Deal participants to `k` folds, stratified by their label.

    Parameters
    ----------
    groups : ndarray of shape (n,)
        Participant of each row.
    y : ndarray of shape (n,)
        Labels; a participant's stratum is that of the first row (classes) or the mean (continuous).
    k : int
        Number of folds.
    rng : Generator
        Source of the shuffle.
    continuous : bool
        Stratify by rank (blocks of `k` neighbours) instead of by class.

    Returns
    -------
    ndarray of shape (n,), int
        Fold of each row. Fold sizes differ by at most one participant, in each class as well.
    """
    names, first, inverse = np.unique(groups, return_index=True, return_inverse=True)
    if continuous:
        mean = np.bincount(inverse, weights=y) / np.bincount(inverse)
        stratum = mean.argsort(kind="stable").argsort(kind="stable") // k
    else:
        stratum = y[first]
    order = np.lexsort((rng.random(len(names)), stratum))
    fold = np.empty(len(names), int)
    fold[order] = np.arange(len(names)) % k
    return fold[inverse]


def inner_folds(
    groups: np.ndarray, y: np.ndarray, k: int, rng: np.random.Generator, continuous: bool
) -> np.ndarray | None:
    """Folds inside a training set, fewer where classes are small; None where not even two are possible."""
    cells = [groups] if continuous else [groups[y == c] for c in np.unique(y)]
    k = min(k, *(len(np.unique(cell)) for cell in cells))
    return None if k < 2 else deal(groups, y, k, rng, continuous)


def fold_column(participants: pd.Series, folds: pd.DataFrame) -> np.ndarray:
    """Fold of each row from the folds table.

    A participant who is in no pretraining fold was seen by no encoder and may be tested with any of them: the folds
    are dealt in the order of the names.
    """
    known = fold_of(folds)
    names = sorted(set(known.values()))
    strangers = sorted(set(participants.astype(str)) - set(known))
    known |= {person: names[i % len(names)] for i, person in enumerate(strangers)}
    return participants.astype(str).map(known).to_numpy(int)
