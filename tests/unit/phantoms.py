"""Brains of nested balls, whose fractions are known, and what classifiers say of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage


def balls(
    radii: tuple[float, float, float] = (20.0, 15.0, 11.0),
    shape: tuple[int, int, int] = (44, 48, 46),
    spacing: float = 1.0,
    parts: int = 4,
) -> tuple[NDArray, NDArray]:
    """Brain of CSF, grey and white matter in nested balls: fractions (3, X, Y, Z) and the brain mask."""
    axes = [(np.arange(n * parts) + 0.5) / parts - n / 2 for n in shape]
    distance = np.sqrt(sum(np.square(a).reshape([-1 if i == k else 1 for i in range(3)]) for k, a in enumerate(axes)))
    inside = [(distance * spacing < r).astype(np.float32) for r in radii]
    whole, brain, white = (_mean(m, parts) for m in inside)
    mask = whole > 0.5
    truth = np.stack([1 - brain, brain - white, white]).astype(np.float32) * mask
    return truth, mask


def _mean(data: NDArray, parts: int) -> NDArray:
    x, y, z = (n // parts for n in data.shape)
    return data.reshape(x, parts, y, parts, z, parts).mean(axis=(1, 3, 5))


def gaussian_posteriors(
    image: NDArray,
    mask: NDArray,
    truth: NDArray,
    levels: NDArray,
    widths: tuple[float, float, float] = (0.09, 0.09, 0.03),
) -> NDArray:
    """What three Gaussians of unequal width say, the truth's blurred shares as priors."""
    priors = np.stack([ndimage.gaussian_filter(t, 2.0) for t in truth]) + 0.02
    width = np.array(widths)[:, None, None, None]
    density = priors * np.exp(-0.5 * ((image - levels[:, None, None, None]) / width) ** 2) / width
    return (density / np.maximum(density.sum(0), 1e-30) * mask).astype(np.float32)
