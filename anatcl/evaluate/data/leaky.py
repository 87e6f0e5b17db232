"""Features that leak the target: one participant's rows under two names, or a column that nearly equals the target."""

from __future__ import annotations

import numpy as np
from scipy import special
from scipy.spatial import cKDTree

from anatcl.evaluate.data.features import Features
from anatcl.evaluate.data.problem import Problem

# Rows are the same within this share of each feature's standard deviation.
SAME = 1e-3
DIRECTIONS = 6
# A feature with at least this much of the target determines it: Chatterjee's xi, Spearman's rho, ROC area.
XI, RHO, AREA = 0.9, 0.97, 0.98
SURE = np.log(1e-4)


def _first_matrix(features: Features) -> np.ndarray:
    """Features of one encoder: the same scan gives the same features in each."""
    return next(iter(features.matrices.values())).astype(float)


def _standard(x: np.ndarray) -> np.ndarray:
    """Columns that vary, zero mean and unit variance; what is missing is the mean."""
    known = np.isfinite(x)
    count = np.maximum(known.sum(0), 1)
    mean = np.where(known, x, 0.0).sum(0) / count
    centred = np.where(known, x - mean, 0.0)
    spread = np.sqrt((centred**2).sum(0) / count)
    vary = spread > 1e-12 * np.maximum(np.abs(mean), 1e-300)
    return centred[:, vary] / spread[vary]


def same_rows(problem: Problem, features: Features) -> list[tuple[int, int]]:
    """Pairs of rows of different units whose features are the same but for rounding.

    Features that many people share by chance (age in years and sex, a few rounded volumes) cannot show this: nothing is
    returned unless a chance agreement of two of all people is less likely than one in a thousand.
    """
    z = _standard(_first_matrix(features))
    if z.shape[1] == 0 or len(z) < 2 or not _telling(z):
        return []
    # float64 products of equal rows are equal, whatever their order
    shown = z @ np.random.default_rng(0).normal(size=(z.shape[1], min(DIRECTIONS, z.shape[1]))) / np.sqrt(z.shape[1])
    tree = cKDTree(shown)
    radius = 4 * SAME
    pairs = tree.query_pairs(radius, output_type="ndarray")
    unit = problem.groups
    pairs = pairs[unit[pairs[:, 0]] != unit[pairs[:, 1]]]
    close = np.array([np.sqrt(((z[i] - z[j]) ** 2).mean()) < SAME for i, j in pairs], bool)
    return [(int(i), int(j)) for i, j in pairs[close]] if len(pairs) else []


def _telling(z: np.ndarray) -> bool:
    """Whether two people out of all agree by chance with a probability below one in a thousand.

    The smaller of two counts: what columns tell, as many of them as are not combinations of others, and what principal
    components tell if values were continuous.
    """
    n = len(z)
    chosen = z[:, np.unique(np.linspace(0, z.shape[1] - 1, 64).astype(int))]
    spread = np.sqrt(np.maximum(np.linalg.eigvalsh(chosen.T @ chosen / n), 0.0))
    of_columns = -np.mean([np.log(_coincidence(column)) for column in chosen.T]) * (spread > SAME).sum()
    of_components = np.log(spread[spread > SAME] / SAME).sum()
    return bool(min(of_columns, of_components) > np.log(n * (n - 1) / 2 * 1e3))


def _coincidence(column: np.ndarray) -> float:
    """Chance that two people agree in a column, the same participants under two names left out (one duplicate each)."""
    ordered = np.sort(column)
    near = np.searchsorted(ordered, ordered + SAME, "right") - np.searchsorted(ordered, ordered - SAME)
    n = len(column)
    return float(np.clip((near - 2).mean() / n, 1 / n**2 + 2 * SAME / 3.5, 1.0))


def determined(problem: Problem, features: Features) -> list[str]:
    """Warnings on single features that nearly determine the target, one row for each unit."""
    _, first = np.unique(problem.groups, return_index=True)
    x, y = _first_matrix(features)[first], problem.y[first].astype(float)
    if x.shape[1] == 0 or len(y) < 4 or np.ptp(y) == 0:
        return []
    found = telling_columns(x, y, problem.task.kind)
    return [f"leak? the feature {features.names[j]} alone nearly determines {problem.task.target}" for j in found[:3]]


def telling_columns(x: np.ndarray, y: np.ndarray, kind: str) -> list[int]:
    """Columns of `x` (n, d) that nearly determine `y` (n,), beyond what the best of d columns does by chance."""
    order = np.random.default_rng(0).permutation(len(y))  # ties in a feature stand in no order of the target
    x, y = np.where(np.isfinite(x), x, np.nanmax(np.where(np.isfinite(x), x, -np.inf), axis=0) + 1)[order], y[order]
    place = np.argsort(x, axis=0, kind="stable")
    xi = chatterjee(y, place)
    log_p = special.log_ndtr(-xi * np.sqrt(len(y) / 0.4))
    hit = (xi > XI) & (log_p + np.log(x.shape[1]) < SURE)
    ranks = _mean_ranks(x, place)
    if kind == "binary":
        hit |= _separates(ranks, y)
    if kind == "regression":
        target = _mean_ranks(y[:, None], np.argsort(y, kind="stable")[:, None])
        rho = np.abs(_correlation(ranks, target[:, 0]))
        with np.errstate(divide="ignore"):
            log_p = special.log_ndtr(-np.arctanh(np.minimum(rho, 1 - 1e-12)) * np.sqrt(max(len(y) - 3, 1)))
        hit |= (rho > RHO) & (log_p + np.log(x.shape[1]) < SURE)
    return np.flatnonzero(hit).tolist()


def chatterjee(y: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Chatterjee's (2021) xi of `y` on each feature: 1 where it is a function of the feature, 0 where independent.

    Parameters
    ----------
    y : ndarray of shape (n,)
        Target.
    place : ndarray of shape (n, d)
        Order of each feature.
    """
    n, ordered = len(y), np.sort(y)
    rank = np.searchsorted(ordered, y, "right").astype(float)
    above = n - np.searchsorted(ordered, y, "left")
    jumps = np.abs(np.diff(rank[place], axis=0)).sum(0)
    return 1 - n * jumps / (2 * (above * (n - above)).sum())


def _mean_ranks(x: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Ranks of each column, ties their mean."""
    found = np.empty(x.shape)
    for j in range(x.shape[1]):
        ordered = x[place[:, j], j]
        found[:, j] = (np.searchsorted(ordered, x[:, j]) + np.searchsorted(ordered, x[:, j], "right")) / 2
    return found


def _correlation(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    x, y = x - x.mean(0), y - y.mean()
    size = np.sqrt((x**2).sum(0) * (y @ y))
    return np.where(size > 0, y @ x / np.where(size > 0, size, 1.0), 0.0)


def _separates(ranks: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Columns that tell two classes apart, shape (d,)."""
    m, n = float(y.sum()), float(len(y) - y.sum())
    area = (ranks[y == 1].sum(0) - m**2 / 2) / (m * n)
    area = np.maximum(area, 1 - area)
    # An area of one: one of all choices of m people. Below: normal, but never surer than that.
    surest = special.gammaln(m + 1) + special.gammaln(n + 1) - special.gammaln(m + n + 1)
    normal = special.log_ndtr(-(area - 0.5) / np.sqrt((m + n + 1) / (12 * m * n)))
    log_p = np.where(area > 1 - 1e-9, surest, np.maximum(normal, surest))
    return (area > AREA) & (log_p + np.log(len(area)) < SURE)
