"""Paired comparison of methods on the same participants."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np
import pandas as pd
from scipy import special

from anatcl.evaluate.data import units
from anatcl.evaluate.statistics import bootstrap, metrics
from anatcl.evaluate.statistics.multiple import holm

COMPARED = {
    "regression": ("mae", "r2", "pearson_r"),
    "binary": ("roc_auc", "balanced_accuracy", "average_precision"),
    "multiclass": ("balanced_accuracy",),
}
COLUMNS = ["task", "protocol", "metric", "method_a", "method_b", "difference", "low", "high", "p", "p_holm",
           "detectable", "n", "n_participants", "n_effective", "note"]  # fmt: skip


# The rival whose only difference between two runs is its seed: a single one does not stand for it.
UNTRAINED, ONE_SEED = "untrained", "one initialisation of the untrained encoder"
# Methods that see the same scans err partly alike: the smallest share of their pair effects that cancels in a simulated
# cohort (``python -m benchmarks.coverage --fit``). It is up to three quarters where there is nothing to learn.
SHARED = 0.05
POWER, LEVEL = 0.8, 0.05
Pairs = dict[tuple[str, str, str, str], float]


def compare_all(
    predictions: list[pd.DataFrame], kinds: dict[str, str], n_bootstrap: int, seed: int, pairs: Pairs | None = None
) -> pd.DataFrame:
    """Compare the methods of each task two by two, each pair on the scans that both predicted.

    Parameters
    ----------
    predictions : list of DataFrame
        One table per method and task.
    kinds : dict
        Kind of each task.
    n_bootstrap, seed : int
        Resamples of participants.
    pairs : dict, optional
        Variance that the bootstrap lacks (`anatcl.evaluate.statistics.dependence`) by task, protocol, method and
        metric.

    Returns
    -------
    DataFrame
        `COLUMNS`; difference is a - b, p_holm is Holm's adjustment over the pairs of a task, protocol and metric.
    """
    rows: list[dict[str, Any]] = []
    tables = [t for t in predictions if len(t)]
    for (task, protocol), part in pd.concat(tables).groupby(["task", "protocol"], sort=True) if tables else ():
        lacking = {k[2:]: v for k, v in (pairs or {}).items() if k[:2] == (task, protocol)}
        for metric, found in _compare_task(part, kinds[str(task)], n_bootstrap, seed, lacking).items():
            corrected, few = holm(np.array([r["p"] for r in found])), _too_few(found, n_bootstrap)
            for row, p in zip(found, corrected, strict=True):
                noted = {"p_holm": p, "note": row["note"] or few}
                rows.append({"task": task, "protocol": protocol, "metric": metric, **row, **noted})
    return pd.DataFrame(rows, columns=COLUMNS)


def _too_few(found: list[dict[str, Any]], n_bootstrap: int) -> str:
    """A note where so many pairs are tested that no p value of so few resamples can stay below 5 % corrected."""
    pairs = sum(np.isfinite(row["p"]) for row in found)
    if pairs < LEVEL * (n_bootstrap + 1):
        return ""
    return f"{n_bootstrap} resamples are too few for {pairs} pairs: at least {int(pairs / LEVEL)}"


@dataclasses.dataclass
class _Shared:
    """Replicates of each method on sets of scans, each computed once.

    Attributes
    ----------
    tables : dict of str to DataFrame
        Predictions by method.
    """

    tables: dict[str, pd.DataFrame]
    kind: str
    n_bootstrap: int
    seed: int
    found: dict[tuple[str, frozenset[str]], dict[str, bootstrap.Replicates]] = dataclasses.field(default_factory=dict)

    def on(self, method: str, scans: frozenset[str]) -> dict[str, bootstrap.Replicates]:
        """Replicates of a method on some scans; equal scans give equal resamples to every method."""
        if (method, scans) not in self.found:
            part = self.part(method, scans)
            names, counts = bootstrap.draw(units.of(part), self.n_bootstrap, self.seed)
            self.found[method, scans] = bootstrap.replicate_draws(
                part, lambda run, w: metrics.evaluate(run, self.kind, w, COMPARED[self.kind]), names, counts
            )
        return self.found[method, scans]

    def part(self, method: str, scans: frozenset[str]) -> pd.DataFrame:
        """Predictions of a method for some scans."""
        table = self.tables[method]
        return table if len(scans) == table["scan"].nunique() else table[table["scan"].isin(scans)]


def _compare_task(
    part: pd.DataFrame, kind: str, n_bootstrap: int, seed: int, lacking: dict[tuple[str, str], float]
) -> dict[str, list[dict[str, Any]]]:
    """Rows by metric: every pair of methods on the scans that these two predicted."""
    shared = _Shared({str(m): t for m, t in part.groupby("method", sort=True)}, kind, n_bootstrap, seed)
    scans = {m: frozenset(t["scan"]) for m, t in shared.tables.items()}
    folds = part["fold"].nunique()
    rows: dict[str, list[dict[str, Any]]] = {}
    for a, b in itertools.combinations(shared.tables, 2):
        both = scans[a] & scans[b]
        if both:
            for metric, row in _pair(shared, (a, b), both, folds, lacking).items():
                rows.setdefault(metric, []).append({"method_a": a, "method_b": b, **row})
    return rows


def _pair(
    shared: _Shared,
    pair: tuple[str, str],
    scans: frozenset[str],
    folds: int,
    lacking: dict[tuple[str, str], float],
) -> dict[str, dict[str, Any]]:
    """Tests of two methods by metric."""
    one, other = (shared.on(method, scans) for method in pair)
    table = shared.part(pair[0], scans)
    first = next(iter(table.groupby(units.runs(table), sort=True)))[1]
    refusal = units.untestable(first, shared.kind)
    counts = {"n": len(scans), "n_participants": first["participant_id"].nunique()}
    note = f"not tested: {refusal}" if refusal else _seed_note(shared, pair)
    site_means = [m + metrics.SITE_MEAN for m in COMPARED[shared.kind]] if units.sites(first) is not None else []
    rows = {}
    for metric in [*COMPARED[shared.kind], *site_means]:
        missing = lacking.get((pair[0], metric), np.nan) + lacking.get((pair[1], metric), np.nan)
        n = units.effective_n(first, shared.kind, metric)
        made = paired(one[metric] - other[metric], n, folds, missing)
        rows[metric] = counts | made | {"n_effective": n, "note": note} | ({"p": np.nan} if refusal else {})
    return rows


def _seed_note(shared: _Shared, pair: tuple[str, str]) -> str:
    alone = UNTRAINED in pair and units.SEED not in units.drawn(shared.tables[UNTRAINED])
    return ONE_SEED if alone else ""


def paired(found: bootstrap.Replicates, n: float, folds: int, pairs: float = np.nan) -> dict[str, float]:
    """`difference` for paired replicates with their draws; a bootstrap of `n` units has (n - 1) / n of the variance."""
    values = found.values
    if n > 1:
        values = np.r_[values[0], values[0] + (values[1:] - values[0]) * np.sqrt(n / (n - 1))]
    extra, freedom = found.draw_variance
    return difference(values, n, folds, pairs, extra=extra, extra_freedom=freedom)


def difference(
    replicates: np.ndarray,
    n_participants: float,
    folds: int,
    pairs: float = np.nan,
    *,
    extra: float = 0.0,
    extra_freedom: float = np.inf,
) -> dict[str, float]:
    """Difference with interval and two-sided p value.

    The paired bootstrap takes the fitted models as given. What it lacks, because models of different folds share
    training participants, is for methods that err independently the sum of what each method's own interval lacks
    (`pairs`); for methods that err alike it is less, and `SHARED` of it is taken to cancel. It is never more than
    Nadeau and Bengio (2003) assume, who give the folds' errors the correlation 1 / folds, so that the variance is ``1 +
    (folds - 1) / folds`` times the bootstrap's; that is taken where `pairs` is not known. By itself theirs is too
    careful here: equal methods differ at the 5 % level in 2.5 % of simulated cohorts. Student's t has participants - 1
    degrees of freedom. No p value is below what the resamples can show, ``1 / (n + 1)``. The detectable difference is
    the smallest true one that a test at 5 % finds in four of five such cohorts.

    Parameters
    ----------
    replicates : ndarray of shape (n + 1,)
        Difference in the sample, then in each paired resample.
    n_participants : float
        Effective number of units of independence, see `units.effective_n`.
    folds : int
        Number of folds.
    pairs : float
        Sum of both methods' missing variances; NaN where not known.
    extra, extra_freedom : float
        Variance of the difference between draws of fits, and its degrees of freedom.
    """
    known = replicates[1:][np.isfinite(replicates[1:])]
    value = float(replicates[0])
    nothing = {"difference": value, "low": np.nan, "high": np.nan, "p": np.nan, "detectable": np.nan}
    if not np.isfinite(value) or 2 * len(known) < len(replicates) - 1 or n_participants < 3:
        return nothing
    variance = known.var(ddof=1)
    most = variance * (1 - 1 / folds)
    people = variance + (most if np.isnan(pairs) else min(max((1 - SHARED) * pairs, 0.0), most))
    spread = np.sqrt(people + extra)
    if spread <= 1e-12:
        return nothing | {"p": 1.0} if value == 0 else nothing
    freedom = bootstrap.pooled_freedom(people, n_participants - 1, extra, extra_freedom)
    half = float(special.stdtrit(freedom, 0.975) * spread)
    p = max(float(2 * special.stdtr(freedom, -abs(value) / spread)), 1 / (len(known) + 1))
    detectable = half + float(special.stdtrit(freedom, POWER) * spread)
    return {"difference": value, "low": value - half, "high": value + half, "p": p, "detectable": detectable}
