"""Logistic regression over a path of penalties: scikit-learn's answer, sooner.

Minimises ``|w|^2 / 2 + C sum_i s_i loss_i`` (intercept free), as scikit-learn's ``LogisticRegression`` does. Three
things make it fast: with more features than rows the problem is written in an orthonormal basis of the rows; a bound
on the Hessian preconditions L-BFGS, so that few iterations are needed at any penalty; each starts from the last one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy import linalg, optimize, special

# Stops when no coordinate of the preconditioned gradient exceeds this share of the sum of sample weights times C.
TOLERANCE = 1e-8


def reduced(x: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Rows of `x` (n, d) in an orthonormal basis (d, r) of their span when n < d, else `x` itself and None."""
    n, d = x.shape
    if n >= d:
        return x, None
    basis, coordinates = linalg.qr(x.T, mode="economic", check_finite=False)
    return np.ascontiguousarray(coordinates.T), basis


def balanced_weights(y: np.ndarray, n_classes: int) -> np.ndarray:
    """Sample weights n / (classes * count of the class), shape (n,)."""
    count = np.bincount(y, minlength=n_classes)
    return len(y) / (n_classes * count[y])


def logistic_path(
    x: np.ndarray, y: np.ndarray, strengths: Sequence[float], n_classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients for several penalties, classes weighted equally.

    Parameters
    ----------
    x : ndarray of shape (n, d)
        Features.
    y : ndarray of shape (n,)
        Codes 0 .. n_classes - 1, all present.
    strengths : sequence of p floats
        Inverse penalties C; fastest in increasing order.
    n_classes : int
        2 gives one sigmoid, more give a softmax.

    Returns
    -------
    coefficients : ndarray of shape (p, d, m)
        m = 1 for two classes, else n_classes.
    intercepts : ndarray of shape (p, m)
    """
    weight = balanced_weights(y, n_classes)
    a, basis = reduced(x)
    centre = weight @ a / weight.sum()
    a = a - centre  # weighted centring uncouples the intercept
    binary = n_classes == 2
    m = 1 if binary else n_classes
    target = y[:, None].astype(float) if binary else np.eye(n_classes)[y]
    gradient = _sigmoid if binary else _softmax
    gram = (a.T * weight) @ a
    w, b = np.zeros((a.shape[1], m)), np.zeros(m)
    found = []
    for strength in strengths:
        w, b = _solve(a, target, weight, gram, strength, 0.25 if binary else 0.5, gradient, w, b)
        found.append((w, b - centre @ w))
    coefficients = np.stack([f[0] if basis is None else basis @ f[0] for f in found])
    return coefficients, np.stack([f[1] for f in found])


def _sigmoid(z: np.ndarray, target: np.ndarray, weight: np.ndarray) -> tuple[float, np.ndarray]:
    """Weighted log loss and its derivative by the scores `z` (n, 1)."""
    loss = weight @ (np.logaddexp(0.0, z) - target * z)[:, 0]
    return float(loss), weight[:, None] * (special.expit(z) - target)


def _softmax(z: np.ndarray, target: np.ndarray, weight: np.ndarray) -> tuple[float, np.ndarray]:
    """Weighted log loss and its derivative by the scores `z` (n, m)."""
    log_p = z - special.logsumexp(z, axis=1, keepdims=True)
    return float(-(weight @ (target * log_p).sum(1))), weight[:, None] * (np.exp(log_p) - target)


def _solve(
    a: np.ndarray,
    target: np.ndarray,
    weight: np.ndarray,
    gram: np.ndarray,
    strength: float,
    bound: float,
    gradient: Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[float, np.ndarray]],
    w: np.ndarray,
    b: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """One penalty, started at (w, b): L-BFGS in coordinates where the bound on the Hessian is the identity."""
    r, m = w.shape
    factor = linalg.cholesky(bound * strength * gram + np.eye(r), lower=True, check_finite=False)
    scale = np.sqrt(bound * strength * weight.sum())

    def objective(v: np.ndarray) -> tuple[float, np.ndarray]:
        coefficient = linalg.solve_triangular(
            factor, v[: r * m].reshape(r, m), lower=True, trans="T", check_finite=False
        )
        loss, slope = gradient(a @ coefficient + v[r * m :] / scale, target, weight)
        value = 0.5 * (coefficient**2).sum() + strength * loss
        inner = coefficient + strength * (a.T @ slope)
        dv = linalg.solve_triangular(factor, inner, lower=True, check_finite=False)
        return value, np.concatenate([dv.ravel(), strength * slope.sum(0) / scale])

    start = np.concatenate([(factor.T @ w).ravel(), b * scale])
    found = optimize.minimize(
        objective,
        start,
        jac=True,
        method="L-BFGS-B",
        options={"maxcor": 20, "maxiter": 500, "ftol": 1e-13, "gtol": TOLERANCE * np.sqrt(strength * weight.sum())},
    ).x
    coefficient = linalg.solve_triangular(factor, found[: r * m].reshape(r, m), lower=True, trans="T")
    return coefficient, found[r * m :] / scale
