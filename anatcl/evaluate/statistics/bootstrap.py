"""Intervals by resampling units of independence, with all their scans and repetitions."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy import special

from anatcl.evaluate.data import units
from anatcl.evaluate.statistics.scales import Scale

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


@dataclasses.dataclass(frozen=True)
class Replicates:
    """A score in the sample and in each resample.

    Attributes
    ----------
    values : ndarray of shape (n + 1,)
        Mean over fits; the first is the sample itself.
    draws : dict of str to ndarray
        For each level that is a random sample of fits (see `units.drawn`): the sample's score by draw.
    pool : float
        Variance between pools that training participants are drawn from, see `units.pool_share`.
    """

    values: np.ndarray
    draws: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    pool: float = 0.0

    def __sub__(self, other: Replicates) -> Replicates:
        """The paired difference; levels of the same name, except seeds, are drawn alike for both."""
        draws = {}
        for level in dict.fromkeys([*self.draws, *other.draws]):
            a, b = self.draws.get(level), other.draws.get(level)
            if a is not None and b is not None and len(a) == len(b) and level != units.SEED:
                draws[level] = a - b
            else:
                draws |= {f"{level} {i}": d for i, d in enumerate((a, b)) if d is not None}
        return Replicates(self.values - other.values, draws, max(self.pool, other.pool))

    def spread_of(self, level: str) -> float:
        """Standard deviation of the sample's score over the draws of a level; NaN with fewer than two."""
        known = self.draws.get(level, np.empty(0))
        known = known[np.isfinite(known)]
        return float(known.std(ddof=1)) if len(known) > 1 else float("nan")

    @property
    def draw_variance(self) -> tuple[float, float]:
        """Variance of the mean that is due to the draws, and its degrees of freedom (infinite without draws)."""
        known = {level: d[np.isfinite(d)] for level, d in self.draws.items()}
        more = {level: self.pool if level.startswith("repeat") else 0.0 for level in known}
        parts = [
            (float(d.var(ddof=1)) * (1 / len(d) + more[level]), len(d) - 1) for level, d in known.items() if len(d) > 1
        ]
        total = sum(v for v, _ in parts)
        return total, (total**2 / sum(v**2 / f for v, f in parts) if total > 0 else np.inf)


def replicate(
    predictions: pd.DataFrame, evaluate: Evaluate, names: np.ndarray, counts: np.ndarray
) -> dict[str, np.ndarray]:
    """Metrics of the sample (first value) and of each resample, shape (n + 1,) each; see `replicate_draws`."""
    return {m: r.values for m, r in replicate_draws(predictions, evaluate, names, counts).items()}


def replicate_draws(
    predictions: pd.DataFrame, evaluate: Evaluate, names: np.ndarray, counts: np.ndarray
) -> dict[str, Replicates]:
    """Metrics of the sample (first value) and of each resample.

    Each run (repetition, encoder, seed) is scored apart and the scores are averaged.

    Returns
    -------
    dict of str to Replicates
        Replicates of each metric.
    """
    keys, found = [], []
    levels = units.runs(predictions)
    for key, run in predictions.groupby(levels, sort=True):
        keys.append(key)
        found.append(evaluate(run, counts[:, np.searchsorted(names, units.of(run))]))
    table = pd.DataFrame(keys, columns=levels)
    drawn = units.drawn(predictions)
    pool = units.pool_share(predictions)
    return {m: _averaged(np.stack([run[m] for run in found]), table, drawn, pool) for m in found[0]}


def _averaged(values: np.ndarray, keys: pd.DataFrame, drawn: list[str], pool: float) -> Replicates:
    """Mean over runs (rows of `values`), and the sample's scores by value of each drawn level."""
    draws = {level: pd.Series(values[:, 0]).groupby(keys[level]).mean().to_numpy() for level in drawn}
    return Replicates(values.mean(0), draws, pool)


def interval(
    replicates: np.ndarray,
    missing_variance: float = 0.0,
    level: float = 0.95,
    *,
    n: float = np.inf,
    extra: float = 0.0,
    extra_freedom: float = np.inf,
    scale: Scale | None = None,
) -> tuple[float, float]:
    """Interval about the value, from the resamples' spread and the variance that they lack.

    With a `scale` it is symmetric there (Student's t); without one it has the resamples' quantiles, widened.

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
    n : float
        Effective number of units: a bootstrap of `n` units has ``(n - 1) / n`` of the variance, known with ``n - 1``
        degrees of freedom.
    extra, extra_freedom : float
        Variance from draws of fits, and its degrees of freedom.
    scale : Scale, optional
        See `anatcl.evaluate.statistics.scales`.
    """
    value, resamples = replicates[0], replicates[1:][np.isfinite(replicates[1:])]
    if len(resamples) < 2 or 2 * len(resamples) < len(replicates) - 1 or n <= 1:
        return np.nan, np.nan
    low, high = np.quantile(resamples, [(1 - level) / 2, (1 + level) / 2])
    spread = resamples.var(ddof=1)
    if spread <= 0:
        return float(low), float(high)
    people = (1.0 if np.isinf(n) else n / (n - 1)) * (1 + np.clip(missing_variance / spread, 0.0, 1.0))
    more = extra / spread
    freedom = pooled_freedom(people, n - 1, more, extra_freedom)
    widen = np.sqrt(people + more) * quantile_ratio(freedom, level)
    if scale is not None:
        centre, half = scale.to(value), widen * special.ndtri((1 + level) / 2) * scale.to(resamples).std(ddof=1)
        return float(scale.back(centre - half)), float(scale.back(centre + half))
    return float(value - (value - low) * widen), float(value + (high - value) * widen)


def pooled_freedom(a: float, freedom_a: float, b: float, freedom_b: float) -> float:
    """Satterthwaite's degrees of freedom of the sum of two variances."""
    weight = a**2 / freedom_a + b**2 / freedom_b
    return float((a + b) ** 2 / weight) if weight > 0 else np.inf


def quantile_ratio(freedom: float, level: float = 0.95) -> float:
    """Student's quantile over the normal one."""
    if np.isinf(freedom):
        return 1.0
    return float(special.stdtrit(freedom, (1 + level) / 2) / special.ndtri((1 + level) / 2))
