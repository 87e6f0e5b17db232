"""Where in the brain a prediction comes from: integrated gradients through a frozen encoder and its probe.

For a person x and the average x' of the training people, the attribution of a voxel is
``(x - x') * mean over t of d f(x' + t (x - x')) / dx`` (Sundararajan 2017, arXiv 1703.01365), where f is the encoder
followed by the linear probe. The attributions of all voxels add up to f(x) - f(x'): they say by how much each place
moves the prediction away from that of an average brain. For the measures baseline, which is linear, the same quantity
is exact: coefficient times difference from the average.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from anatcl.evaluate.probes.probe import LogisticProbe, RidgeProbe

if TYPE_CHECKING:
    from torch import Tensor


@dataclasses.dataclass(frozen=True)
class Readout:
    """A linear probe in the space of the features: ``prediction = features @ weights + constant``.

    Parameters
    ----------
    weights : ndarray of shape (d,)
    constant : float
    unit : str
        Unit of the prediction.
    """

    weights: np.ndarray
    constant: float
    unit: str

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Predictions for features (n, d), shape (n,)."""
        return features @ self.weights + self.constant


def fit_readout(x: np.ndarray, y: np.ndarray, groups: np.ndarray, kind: str, unit: str, seed: int) -> Readout:
    """Fit the evaluation's probe and write it as one linear function.

    Parameters
    ----------
    x : ndarray of shape (n, d)
        Features, nothing missing.
    y : ndarray of shape (n,)
        Target, or codes 0 and 1 of a binary task.
    groups : ndarray of shape (n,)
        Participant of each row.
    kind : {"regression", "binary"}
    unit : str
        Unit of the target.
    seed : int
        Of the inner folds.
    """
    rng = np.random.default_rng(seed)
    if kind == "regression":
        ridge = RidgeProbe().fit(x, y[:, None], groups, rng)
        weights, start, scaler = ridge.coefficient_[:, 0], float(ridge.mean_[0]), ridge.scaler_
    else:
        logistic = LogisticProbe().fit(x, y, groups, rng)
        weights, start, scaler = logistic.coefficient_[:, 0], float(logistic.intercept_[0]), logistic.scaler_
        unit = "log odds"
    scaled = weights * scaler.inverse_
    return Readout(scaled, start - float(scaler.mean_ @ scaled), unit)


def integrated_gradients(
    embed: Callable[[Tensor], Tensor], x: Tensor, average: Tensor, weights: Tensor, steps: int = 16
) -> Tensor:
    """Attribution of each voxel of one volume.

    Parameters
    ----------
    embed : callable
        (n, 1, X, Y, Z) to (n, d); differentiable.
    x, average : Tensor of shape (X, Y, Z)
        The person and the average.
    weights : Tensor of shape (d,)
        Of the readout.
    steps : int
        Points of the path, at the midpoints of equal parts.

    Returns
    -------
    Tensor of shape (X, Y, Z)
        In the unit of the prediction.
    """
    import torch

    total = torch.zeros_like(x)
    for step in range(steps):
        point = (average + (step + 0.5) / steps * (x - average)).requires_grad_(True)
        (embed(point[None, None]) @ weights).sum().backward()
        assert point.grad is not None
        total += point.grad
    return (x - average) * total / steps


def linear_attributions(readout: Readout, x: np.ndarray, average: np.ndarray) -> np.ndarray:
    """Attribution of each feature of each row, (n, d); rows add up to the prediction's distance from the average's."""
    return (x - average) * readout.weights


def spread(attributions: np.ndarray, affine: np.ndarray, fwhm_mm: float = 8.0) -> np.ndarray:
    """Gaussian blur of a volume, (X, Y, Z): attributions of neighbouring voxels alternate and mean little singly."""
    from scipy.ndimage import gaussian_filter

    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    return gaussian_filter(attributions, fwhm_mm / 2.3548 / sizes, mode="constant")
