"""Intervals by resampling participants, with all their scans and repetitions."""

from __future__ import annotations

import numpy as np
import pandas as pd

from anatcl.evaluate import metrics

RUN = ["repeat", "encoder"]


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


def replicate(predictions: pd.DataFrame, kind: str, names: np.ndarray, counts: np.ndarray) -> dict[str, np.ndarray]:
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
        runs.append(metrics.evaluate(run, kind, weights))
    return {m: np.mean([run[m] for run in runs], axis=0) for m in runs[0]}


def interval(replicates: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Percentile interval of the resamples (the first value, the sample itself, is left out)."""
    values = replicates[1:][np.isfinite(replicates[1:])]
    if len(values) < 0.5 * (len(replicates) - 1) or len(values) < 2:
        return np.nan, np.nan
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
