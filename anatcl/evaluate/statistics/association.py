"""Association of two columns of any kind: a size from 0 to 1 and a p value."""

from __future__ import annotations

import numpy as np
from scipy import stats

Array = np.ndarray
PERMUTATIONS = 2000
SMALLEST_EXPECTED = 5  # below it the chi-squared distribution is no guide


def association(a: Array, b: Array, numbers: tuple[bool, bool], seed: int = 0) -> tuple[str, float, float]:
    """Name, size and p value of the association of two columns without missing values.

    Two numbers: Spearman's rho (its size). A number and classes: the square root of epsilon squared (what classes
    explain of the ranks, corrected for their number), with Kruskal and Wallis' test. Classes: Cramer's V corrected for
    its bias (Bergsma 2013), with the chi-squared test, or permutations where counts are small.

    Parameters
    ----------
    a, b : ndarray of shape (n,)
        Values.
    numbers : tuple of bool
        Whether each is a quantity.
    seed : int
        Of the permutations.
    """
    if all(numbers):
        found = stats.spearmanr(a.astype(float), b.astype(float))
        return "rho", float(abs(found.statistic)), float(found.pvalue)
    if any(numbers):
        return _ranks(*((a, b) if numbers[0] else (b, a)))
    return _classes(a, b, seed)


def _ranks(values: Array, classes: Array) -> tuple[str, float, float]:
    names = np.unique(classes)
    groups = [values[classes == c].astype(float) for c in names]
    found = stats.kruskal(*groups)
    n, k = len(values), len(names)
    share = (found.statistic - k + 1) / max(n - k, 1)
    return "eta", float(np.sqrt(np.clip(share, 0.0, 1.0))), float(found.pvalue)


def _classes(a: Array, b: Array, seed: int) -> tuple[str, float, float]:
    x, y = (np.unique(v, return_inverse=True)[1] for v in (a, b))
    rows, columns, n = x.max() + 1, y.max() + 1, len(x)
    expected = np.outer(np.bincount(x), np.bincount(y)) / n

    def chi(other: Array) -> float:
        counts = np.bincount(x * columns + other, minlength=rows * columns).reshape(rows, columns)
        return float(((counts - expected) ** 2 / expected).sum())

    observed = chi(y)
    if expected.min() < SMALLEST_EXPECTED:
        rng = np.random.default_rng(seed)
        drawn = np.array([chi(rng.permutation(y)) for _ in range(PERMUTATIONS)])
        p = (1 + (drawn >= observed - 1e-9).sum()) / (1 + PERMUTATIONS)
    else:
        p = stats.chi2.sf(observed, (rows - 1) * (columns - 1))
    phi = max(observed / n - (rows - 1) * (columns - 1) / (n - 1), 0.0)
    smaller = min(rows - (rows - 1) ** 2 / (n - 1), columns - (columns - 1) ** 2 / (n - 1)) - 1
    return "V", float(np.sqrt(min(phi / smaller, 1.0))) if smaller > 0 else 0.0, float(p)
