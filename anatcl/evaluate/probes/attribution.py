"""Attribution maps: integrated gradients through a frozen encoder and its probe.

For a person x and the average x' of the training participants, the attribution of a voxel is
``(x - x') * mean over t of d f(x' + t (x - x')) / dx`` (Sundararajan 2017, arXiv 1703.01365), where f is the encoder
followed by the table's own probe of the fold that tests the person: with its preparation, and with the person's
covariates and site held as they are. The attributions of all voxels add up to f(x) - f(x'): they say by how much each
place moves the prediction away from that of an average brain. For the measures baseline, which is linear, the same
quantity is exact: coefficient times difference from the average.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from anatcl.evaluate.probes.probe import Readout

if TYPE_CHECKING:
    from torch import Tensor


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
        Of the person's readout.
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
    """Attribution of each feature of each participant, (m, d); 0 where the participant, or every participant, lacks it.

    Rows add up to the prediction's distance from that for the average's features.
    """
    return np.where(readout.weights != 0, np.nan_to_num(x - average) * readout.weights, 0.0)


def spread(attributions: np.ndarray, affine: np.ndarray, fwhm_mm: float = 8.0) -> np.ndarray:
    """Gaussian blur of a volume, (X, Y, Z): attributions of neighbouring voxels alternate and mean little singly."""
    from scipy.ndimage import gaussian_filter

    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    return gaussian_filter(attributions, fwhm_mm / 2.3548 / sizes, mode="constant")
