"""The brain-age gap: differences between groups, and the share explained by site."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import special

from anatcl.evaluate.data import units
from anatcl.evaluate.data.problem import Problem, in_groups
from anatcl.evaluate.statistics.metrics import Array, divide


def hedges_g(gap: Array, case: Array, w: Array) -> Array:
    """Difference of the groups' means over their pooled standard deviation, with Hedges' correction for small n.

    Parameters
    ----------
    gap : ndarray of shape (n,)
        Predicted minus true age, years.
    case : ndarray of shape (n,)
        1 case, 0 control, NaN neither.
    w : ndarray of shape (b, n)
        Row weights of each resample.
    """
    moments = []
    for group in (1, 0):
        part = w * (case == group)
        n = part.sum(1)
        mean = divide(part @ gap, n)
        moments.append((n, mean, part @ gap**2 - n * np.nan_to_num(mean) ** 2))
    (n1, m1, s1), (n0, m0, s0) = moments
    pooled = np.sqrt(divide(s1 + s0, np.maximum(n1 + n0 - 2, 0)))
    return divide(m1 - m0, pooled) * (1 - 3 / (4 * (n1 + n0) - 9))


def site_share(gap: Array, site: Array, w: Array) -> Array:
    """Share of the gap's variance between sites, adjusted for their number (0 on average when sites are alike)."""
    n = w.sum(1)
    mean = divide(w @ gap, n)
    total = w @ gap**2 - n * mean**2
    between, used = -n * mean**2, np.zeros(len(w))
    for value in np.unique(site):
        part = w[:, site == value]
        size = part.sum(1)
        between = between + np.nan_to_num(divide((part @ gap[site == value]) ** 2, size))
        used += size > 0
    return 1 - (1 - divide(between, total)) * divide(n - 1, n - used)


def share_of_f(f: float, n: int, k: int) -> float:
    """Adjusted share of the variance between `k` sites that an F statistic of a one-way model stands for."""
    return (k - 1) * (f - 1) / ((k - 1) * f + n - k)


def site_share_interval(gap: Array, site: Array, unit: Array, level: float = 0.95) -> tuple[float, float]:
    """Interval of the share of the gap's variance between sites, from the F distribution.

    Resampling people adds differences between sites that are none, so that a bootstrap excludes zero where sites are
    alike. The limits are those at which the F statistic lies at a quantile of its distribution without a site effect
    (the exact interval of an intraclass correlation of a balanced design, Searle 1971); below zero stands for no
    effect. A unit with several scans counts once.
    """
    mean = pd.DataFrame({"gap": gap, "site": site, "unit": unit}).groupby(["site", "unit"], sort=True)["gap"].mean()
    values, names = mean.to_numpy(), mean.index.get_level_values("site").to_numpy()
    n, k = len(values), len(np.unique(names))
    if k < 2 or n - k < 2:
        return np.nan, np.nan
    share = float(site_share(values, names, np.ones((1, n)))[0])
    if not share < 1:
        return np.nan, np.nan
    f = (share * (n - k) / (k - 1) + 1) / (1 - share)
    low, high = (f / special.fdtri(k - 1, n - k, q) for q in ((1 + level) / 2, (1 - level) / 2))
    return share_of_f(low, n, k), share_of_f(high, n, k)


def evaluate(run: pd.DataFrame, problem: Problem, w: Array) -> dict[str, Array]:
    """Gap metrics of one run's predictions: ``gap_g_<group>`` and ``gap_site_share``, where the task asks for them."""
    task = problem.task
    if task.kind != "regression" or not (task.gap_groups or task.bias_correction):
        return {}
    rows = problem.rows.set_index("scan").loc[run["scan"]]
    gap = _gap(run)
    found = {}
    for group in task.gap_groups:
        if group.column in rows:
            case = in_groups(rows[group.column], group.positives, group.negatives)
            if min((case == 1).sum(), (case == 0).sum()) >= 2:
                found[f"gap_g_{group.name}"] = hedges_g(gap, case, w)
    if task.site in rows and rows[task.site].nunique() > 1:
        known = rows[task.site].notna().to_numpy()
        found["gap_site_share"] = site_share(gap[known], rows[task.site][known].astype(str).to_numpy(), w[:, known])
    return found


def _gap(run: pd.DataFrame) -> Array:
    return (run["y_corrected" if "y_corrected" in run else "y_pred"] - run["y_true"]).to_numpy()


def site_interval(predictions: pd.DataFrame, problem: Problem) -> tuple[float, float]:
    """`site_share_interval` of a predictions table, the mean over its runs."""
    site = problem.rows.set_index("scan")[problem.task.site].dropna().astype(str)
    found = []
    for _, everybody in predictions.groupby(units.runs(predictions), sort=True):
        run = everybody[everybody["scan"].isin(site.index)]
        person = problem.groups[pd.Index(problem.rows["scan"]).get_indexer(run["scan"])]
        found.append(site_share_interval(_gap(run), site.loc[run["scan"]].to_numpy(), person))
    low, high = np.mean(found, axis=0)
    return float(low), float(high)
