"""Logistic regression over a path of penalties: scikit-learn's answer, sooner.

Minimises ``|w|^2 / 2 + C sum_i s_i loss_i`` (intercept free), as scikit-learn's ``LogisticRegression`` does. What makes
it fast: the features are turned once into the eigenvectors of their Gram matrix, which serves all penalties (with more
features than rows, into a basis of the rows first); there a diagonal makes the Hessian nearly the identity, exactly so
at w = 0, so that few iterations are needed; each penalty starts from the last answer; small two-class problems are
solved by Newton's method.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy import linalg, optimize, special

# A gradient is small enough when no coordinate exceeds this share of the square root of its curvature's scale.
EXACT, ROUGH = 1e-7, 1e-5
# Newton's Hessian costs n r^2; below this it is cheaper than the dozens of steps that it saves.
NEWTON_COST = 4e6
# From this many multiplications in a gradient on, a rough answer is computed in single precision.
SINGLE = 1e6
SMALLEST_CURVATURE = 1e-3


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


@dataclasses.dataclass
class Rows:
    """Training rows in the eigenvectors of their weighted Gram matrix.

    Attributes
    ----------
    a : ndarray of shape (n, r)
        Coordinates, of zero weighted mean.
    strength : ndarray of shape (r,)
        Weighted sums of squares of the columns of `a`.
    target : ndarray of shape (n, m)
        1 for the row's class; m = 1 for two classes.
    weight : ndarray of shape (n,)
        Sample weights.
    """

    a: np.ndarray
    strength: np.ndarray
    target: np.ndarray
    weight: np.ndarray

    def probability(self, z: np.ndarray) -> np.ndarray:
        """Probabilities (n, m) of scores (n, m)."""
        if z.shape[1] == 1:
            return special.expit(z)
        z = z - z.max(axis=1, keepdims=True)
        np.exp(z, out=z)
        z /= z.sum(axis=1, keepdims=True)
        return z

    def loss(self, z: np.ndarray) -> tuple[float, np.ndarray]:
        """Weighted log loss of scores (n, m) and its derivative by them."""
        if z.shape[1] == 1:
            each = (np.logaddexp(0.0, z) - self.target * z)[:, 0]
            p = special.expit(z)
        else:
            z = z - z.max(axis=1, keepdims=True)
            p = np.exp(z)
            total = p.sum(axis=1, keepdims=True)
            each = np.log(total[:, 0]) - np.einsum("ij,ij->i", self.target, z)
            p /= total
        p -= self.target
        p *= self.weight[:, None]
        return float(self.weight.astype(float) @ each.astype(float)), p


class LogisticPath:
    """Logistic regression of one training set, solved for one penalty after the other, classes weighted equally.

    Parameters
    ----------
    x : ndarray of shape (n, d)
        Features.
    y : ndarray of shape (n,)
        Codes 0 .. n_classes - 1, all present.
    n_classes : int
        2 gives one sigmoid, more give a softmax.
    tolerance : float
        `EXACT`, or `ROUGH` where probabilities to about four digits do.
    """

    def __init__(self, x: np.ndarray, y: np.ndarray, n_classes: int, tolerance: float = EXACT) -> None:
        weight = balanced_weights(y, n_classes)
        a, self.basis = reduced(x)
        self.centre = weight @ a / weight.sum()
        a = a - self.centre  # weighted centring uncouples the intercept
        strength, self.axes = linalg.eigh((a.T * weight) @ a, check_finite=False, overwrite_a=True, driver="evd")
        target = y[:, None].astype(float) if n_classes == 2 else np.eye(n_classes)[y]
        self.rows = Rows(a @ self.axes, np.maximum(strength, 0.0), target, weight)
        (n, r), m = a.shape, target.shape[1]
        self.newton = m == 1 and n * r * r <= NEWTON_COST
        if not self.newton and tolerance > EXACT and n * r * m >= SINGLE:
            self.rows = Rows(*(v.astype(np.float32) for v in (self.rows.a, self.rows.strength, target, weight)))
        self.tolerance = tolerance
        self.w, self.b = np.zeros((r, m)), np.zeros(m)

    def solve(self, c: float) -> tuple[np.ndarray, np.ndarray]:
        """Coefficients (d, m) and intercepts (m,) for the inverse penalty `c`, m = 1 for two classes.

        Each call starts from the answer of the last one: fastest in increasing order.
        """
        method = _newton if self.newton else _lbfgs
        self.w, self.b = method(self.rows, c, self.w, self.b, self.tolerance)
        turned = self.axes @ self.w
        return turned if self.basis is None else self.basis @ turned, self.b - self.centre @ turned


def _newton(rows: Rows, c: float, w: np.ndarray, b: np.ndarray, tolerance: float) -> tuple[np.ndarray, np.ndarray]:
    """Two classes, one penalty, started at (w, b): Newton's method with halved steps where the loss would grow."""
    design = np.column_stack([rows.a, np.ones(len(rows.a))])
    ridge = np.r_[np.ones(len(w)), 0.0]
    v = np.r_[w[:, 0], b]

    def value(v: np.ndarray) -> tuple[float, np.ndarray]:
        loss, slope = rows.loss((design @ v)[:, None])
        return 0.5 * float(ridge @ v**2) + c * loss, ridge * v + c * (slope[:, 0] @ design)

    f, g = value(v)
    for _ in range(50):
        p = rows.probability((design @ v)[:, None])[:, 0]
        curvature = c * rows.weight * np.maximum(p * (1 - p), 1e-12)
        hessian = (design.T * curvature) @ design
        hessian[np.diag_indices_from(hessian)] += ridge
        step = linalg.solve(hessian, g, assume_a="pos", check_finite=False)
        decrement = float(g @ step)
        size = 1.0
        while size > 1e-6:
            f_new, g_new = value(v - size * step)
            if f_new <= f - 1e-4 * size * decrement + 1e-12 * abs(f):
                break
            size /= 2
        v, f, g = v - size * step, f_new, g_new
        # Quadratic convergence: what is left after this step is about the square of the step.
        if decrement <= tolerance**2 * c * len(rows.a) or decrement <= 1e-15 * abs(f):
            break
    return v[:-1, None], v[-1:]


def _lbfgs(rows: Rows, c: float, w: np.ndarray, b: np.ndarray, tolerance: float) -> tuple[np.ndarray, np.ndarray]:
    """One penalty, started at (w, b): L-BFGS in coordinates in which the Hessian there is nearly the identity."""
    r, m = w.shape
    kind = rows.a.dtype
    p = rows.probability(rows.a @ w.astype(kind) + b.astype(kind))
    mean = rows.weight @ (p * (1 - p)) / rows.weight.sum()
    curvature = np.maximum(mean.astype(float), SMALLEST_CURVATURE)
    total = float(rows.weight.sum(dtype=float))
    scale = np.sqrt(c * rows.strength.astype(float)[:, None] * curvature + 1.0)
    shift = np.sqrt(c * total * curvature)

    def objective(v: np.ndarray) -> tuple[float, np.ndarray]:
        w = v[: r * m].reshape(r, m) / scale
        loss, slope = rows.loss(rows.a @ w.astype(kind) + (v[r * m :] / shift).astype(kind))
        dw = (w + c * (rows.a.T @ slope)) / scale
        db = c * slope.sum(0, dtype=float) / shift
        return 0.5 * float(np.vdot(w, w)) + c * loss, np.concatenate([dw.ravel(), db])

    found = optimize.minimize(
        objective,
        np.concatenate([(w * scale).ravel(), b * shift]),
        jac=True,
        method="L-BFGS-B",
        options={
            "maxcor": 15,
            "maxiter": 1000,
            # Noise of single precision would stall the line search.
            "ftol": tolerance**2 if kind == np.float64 else 1e-7,
            "gtol": tolerance * float(np.sqrt(c * total)),
        },
    ).x
    return found[: r * m].reshape(r, m) / scale, found[r * m :] / shift
