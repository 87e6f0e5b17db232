"""What the brain-age gap says: differences between groups, and how much of it is the site."""

from __future__ import annotations

import numpy as np
import pandas as pd

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


def evaluate(run: pd.DataFrame, problem: Problem, w: Array) -> dict[str, Array]:
    """Gap metrics of one run's predictions: ``gap_g_<group>`` and ``gap_site_share``, where the task asks for them."""
    task = problem.task
    if task.kind != "regression" or not (task.gap_groups or task.bias_correction):
        return {}
    rows = problem.rows.set_index("scan").loc[run["scan"]]
    gap = (run["y_corrected" if "y_corrected" in run else "y_pred"] - run["y_true"]).to_numpy()
    found = {}
    for group in task.gap_groups:
        if group.column in rows:
            case = in_groups(rows[group.column], group.positives, group.negatives)
            if min((case == 1).sum(), (case == 0).sum()) >= 2:
                found[f"gap_g_{group.name}"] = hedges_g(gap, case, w)
    if task.site in rows and rows[task.site].nunique() > 1:
        found["gap_site_share"] = site_share(gap, rows[task.site].astype(str).to_numpy(), w)
    return found
