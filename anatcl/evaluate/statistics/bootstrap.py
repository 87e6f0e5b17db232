"""Intervals by resampling participants, with all their scans and repetitions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

RUN = ["repeat", "encoder"]
Evaluate = Callable[[pd.DataFrame, np.ndarray], dict[str, np.ndarray]]


def draw(participants: np.ndarray, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """How often each participant is drawn in each of `n` resamples.

    Parameters
    ----------
    participants : ndarray of shape (m,)
        Participant of each row, text.
    n : int
        Number of resamples.
    seed : int
        Equal seeds and equal participants give equal resamples, whatever the method: comparisons are paired.

    Returns
    -------
    names : ndarray of shape (p,)
        Sorted participants.
    counts : ndarray of shape (n + 1, p)
        Draws; the first row is all ones, the sample itself.
    """
    names = np.unique(participants)
    rng = np.random.default_rng([seed, 20_000])
    counts = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=n).astype(float)
    return names, np.vstack([np.ones(len(names)), counts])


def replicate(
    predictions: pd.DataFrame, evaluate: Evaluate, names: np.ndarray, counts: np.ndarray
) -> dict[str, np.ndarray]:
    """Metrics of the sample (first value) and of each resample.

    Each run (repetition, encoder) is scored apart and the scores are averaged.

    Returns
    -------
    dict of str to ndarray of shape (n + 1,)
        Replicates of each metric.
    """
    runs = []
    for _, run in predictions.groupby(RUN, sort=True):
        weights = counts[:, np.searchsorted(names, run["participant_id"].to_numpy(str))]
        runs.append(evaluate(run, weights))
    return {m: np.mean([run[m] for run in runs], axis=0) for m in runs[0]}


def interval(replicates: np.ndarray, missing_variance: float = 0.0, level: float = 0.95) -> tuple[float, float]:
    """Percentile interval, widened about the value for variance that the resamples lack.

    Parameters
    ----------
    replicates : ndarray of shape (n + 1,)
        The value, then its resamples.
    missing_variance : float
        See `anatcl.evaluate.statistics.dependence`; below zero counts as zero. The bootstrap holds ``sum_ij q_ij^2``,
        which ``sum_ij q_ij q_ji`` cannot exceed: an estimate beyond the bootstrap's variance is an error of first order
        (more features than people) and counts as that variance.
    level : float
        Coverage that is aimed at.
    """
    value, resamples = replicates[0], replicates[1:][np.isfinite(replicates[1:])]
    if len(resamples) < 2 or 2 * len(resamples) < len(replicates) - 1:
        return np.nan, np.nan
    low, high = np.quantile(resamples, [(1 - level) / 2, (1 + level) / 2])
    spread = resamples.var(ddof=1)
    widen = np.sqrt(1 + np.clip(missing_variance / spread, 0.0, 1.0)) if spread > 0 else 1.0
    return float(value - (value - low) * widen), float(value + (high - value) * widen)
