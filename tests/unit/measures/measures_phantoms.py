"""Shapes of known thickness, area and volume, with exact partial volume."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage


def ball(radius_mm: float, shape: tuple[int, int, int], spacing: NDArray, fine: int = 4) -> NDArray:
    """Fraction of each voxel inside a ball whose centre lies off the grid."""
    axes = [
        (np.arange(n * fine) + 0.5) / fine * h - n * h / 2 + shift
        for n, h, shift in zip(shape, spacing, (0.13, 0.29, -0.21), strict=True)
    ]
    x, y, z = np.meshgrid(*axes, indexing="ij", sparse=True)
    inside = (x**2 + y**2 + z**2 < radius_mm**2).astype(np.float32)
    a, b, c = shape
    return inside.reshape(a, fine, b, fine, c, fine).mean((1, 3, 5))


def shell(inner_mm: float, thickness_mm: float, voxel_mm: float) -> tuple[NDArray, NDArray, NDArray]:
    """Grey and white probability of an even cortex around a ball, and the spacing; axes of unequal length."""
    n = int(2 * (inner_mm + thickness_mm) / voxel_mm) + 8
    shape, spacing = (n, n + 1, n + 2), np.full(3, voxel_mm)
    white = ball(inner_mm, shape, spacing)
    return ball(inner_mm + thickness_mm, shape, spacing) - white, white, spacing


def ribbon(thickness_mm: float, amplitude_mm: float = 6.0, period_mm: float = 13.0, fine: int = 8) -> tuple:
    """A cortex of even thickness on a folded sheet, 1 mm voxels; sulci are closed where they are narrow.

    Returns
    -------
    grey, white : ndarray of shape (46, 18, 34)
    spacing : ndarray of shape (3,)
    inner : ndarray of bool
        Voxels far from the sides of the block.
    """
    nx, ny, nz = 46, 18, 34
    x = (np.arange(nx * fine) + 0.5) / fine - nx / 2
    z = (np.arange(nz * fine) + 0.5) / fine
    white = z[None, :] < (0.45 * nz + amplitude_mm * np.cos(2 * np.pi * (x + 0.37) / period_mm))[:, None]
    away = ndimage.distance_transform_edt(~white) / fine
    grey = ~white & (away <= thickness_mm)
    sheets = [np.repeat(m.reshape(nx, fine, nz, fine).mean((1, 3))[:, None], ny, 1) for m in (grey, white)]
    inner = np.zeros((nx, ny, nz), bool)
    inner[9:-9, 6:-6] = True
    return sheets[0].astype(np.float32), sheets[1].astype(np.float32), np.ones(3), inner
