"""A mixture of pure and mixed voxels with one noise width, fitted by EM.

A voxel is CSF, grey or white matter, or a mixture of two of them in any proportion. All have the same noise: what
spreads further is mixed, not noisier. Priors of the pure tissues come from outside, voxel by voxel; a mixture is
expected where its two tissues meet.

Source: Choi et al. 1991 (IEEE Trans Med Imaging 10:395) for mixed voxels, Shattuck et al. 2001 (NeuroImage 13:856) for
uniform proportions and one noise width.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

CSF, GREY, WHITE = range(3)
PAIRS = ((CSF, GREY), (GREY, WHITE), (CSF, WHITE))
# Proportions of each mixture.
PARTS = 7
ITERATIONS = 15
# The fit looks at no more voxels than this, evenly spaced.
SAMPLE = 200_000
# Voxels that are worked on at once: bounds the memory.
CHUNK = 200_000
# Noise below this share of the white level is rounding.
LEAST_NOISE = 0.01


def compositions() -> NDArray:
    """Shares of CSF, grey and white matter of each state, shape (S, 3): three pure ones, then the mixtures."""
    part = (np.arange(PARTS) + 0.5) / PARTS
    states = [np.eye(3)]
    for one, other in PAIRS:
        mixed = np.zeros((PARTS, 3))
        mixed[:, one], mixed[:, other] = 1 - part, part
        states.append(mixed)
    return np.concatenate(states).astype(np.float32)


def kinds() -> NDArray:
    """Which of the six kinds (three pure tissues, three mixtures) each state is of, shape (S,)."""
    return np.repeat(np.arange(6), [1, 1, 1, PARTS, PARTS, PARTS])


@dataclasses.dataclass(frozen=True)
class Mixels:
    """The fitted model.

    Attributes
    ----------
    levels : ndarray of shape (3,)
        Brightness of pure CSF, grey and white matter.
    noise : float
        Standard deviation, the same for all states.
    weights : ndarray of shape (6,)
        How much more often than the priors say each kind occurs.
    """

    levels: NDArray
    noise: float
    weights: NDArray

    def joint(self, values: NDArray, priors: NDArray) -> NDArray:
        """Density of each state and value together, shape (S, N), for values (N,) and priors (3, N)."""
        # In place: arrays of a state and a voxel are large, and making them takes longer than filling them.
        found = values[None] - (compositions() @ self.levels)[:, None].astype(np.float32)
        found /= np.float32(self.noise)
        np.square(found, out=found)
        found *= np.float32(-0.5)
        np.exp(found, out=found)
        chance = expected(priors)
        chance *= self.weights[kinds()][:, None].astype(np.float32)
        chance *= found
        return chance

    def responsibilities(self, values: NDArray, priors: NDArray) -> NDArray:
        """Probability of each state, shape (S, N); zero everywhere for a value that no state explains."""
        found = self.joint(values, priors)
        found /= np.maximum(found.sum(0), 1e-30)
        return found

    def fractions(self, values: NDArray, priors: NDArray) -> tuple[NDArray, NDArray]:
        """Expected composition, shape (3, N), and the density of each value, shape (N,)."""
        shares, density = np.empty((3, len(values)), np.float32), np.empty(len(values), np.float32)
        for start in range(0, len(values), CHUNK):
            part = slice(start, start + CHUNK)
            joint = self.joint(values[part], priors[:, part])
            density[part] = joint.sum(0)
            shares[:, part] = compositions().T @ joint / np.maximum(density[part], 1e-30)
            # So far from every level that all densities vanish: the nearest pure tissue.
            lost = density[part] < 1e-30
            shares[:, part][:, lost] = self._nearest(values[part][lost])
        return shares, density

    def _nearest(self, values: NDArray) -> NDArray:
        at = np.abs(values[None] - self.levels[:, None]).argmin(0)
        return np.eye(3, dtype=np.float32)[:, at]


def expected(priors: NDArray) -> NDArray:
    """Chance of each state by the priors of the pure tissues, shape (S, N); a mixture's is spread over its parts."""
    chance = np.empty((len(kinds()), priors.shape[1]), np.float32)
    chance[:3] = priors
    for kind, (one, other) in enumerate(PAIRS, 3):
        chance[kinds() == kind] = 2 * np.sqrt(priors[one] * priors[other]) / PARTS
    return chance


def fit(values: NDArray, priors: NDArray, levels: NDArray, noise: float) -> Mixels:
    """Fit levels, noise and weights by EM.

    Parameters
    ----------
    values : ndarray of shape (N,)
        Brightness in units of white matter.
    priors : ndarray of shape (3, N)
    levels : ndarray of shape (3,)
        Where to start; also what a tissue that is hardly there keeps.
    noise : float
        Where to start.
    """
    step = max(1, len(values) // SAMPLE)
    values, priors = values[::step], priors[:, ::step]
    states, kind, start = compositions().astype(float), kinds(), np.asarray(levels, float)
    model = Mixels(start, noise, np.ones(6))
    chance = np.maximum(np.bincount(kind, expected(priors).sum(1)), 1e-9)
    # As good as no weight against a tissue that is there.
    ridge = 1e-4 * len(values) * np.eye(3)
    for _ in range(ITERATIONS):
        found = model.responsibilities(values, priors).astype(float)
        count = found.sum(1)
        levels = np.linalg.solve((states.T * count) @ states + ridge, states.T @ (found @ values) + ridge @ start)
        miss = values[None] - (states @ levels)[:, None]
        np.square(miss, out=miss)
        miss *= found
        noise = max(float(np.sqrt(miss.sum() / max(count.sum(), 1e-9))), LEAST_NOISE)
        model = Mixels(levels, noise, np.bincount(kind, count) / chance)
    return model
