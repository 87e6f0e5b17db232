"""Tissue fractions of one participant in template space: cortex thinned, nuclei shrunk, ventricles grown."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from anatcl.simulate.anatomy import Anatomy
from anatcl.simulate.effects import Factors, regions

Array = NDArray[Any]


def tissue_fractions(anatomy: Anatomy, effects: Factors) -> tuple[Array, Array]:
    """Grey and white matter fractions of the `n` voxels of the brain mask; the rest of each voxel is fluid.

    Parameters
    ----------
    anatomy : Anatomy
    effects : Factors

    Returns
    -------
    gm, wm : ndarray of shape (n,)
    """
    factor = np.append(1.0, effects.total).astype(np.float32)
    stretch = factor[anatomy.region]
    white = step(-anatomy.depth)
    # The inner surface stays; the outer one moves to `stretch * thickness` and leaves fluid behind.
    grey = np.minimum(step(stretch * anatomy.thickness - anatomy.depth), 1 - white)
    gm = np.where(anatomy.cortex, grey, anatomy.gm)
    wm = np.where(anatomy.cortex, white, anatomy.wm)
    # Ventricles grow into white matter and nuclei, never into cortex.
    left = np.where(anatomy.cortex, 1, 1 - step(effects.ventricle_mm - anatomy.ventricle) * (anatomy.ventricle < 8))
    left = left * _kept(anatomy, effects)
    return (gm * left).astype(np.float32), (wm * left).astype(np.float32)


def step(distance_mm: Array) -> Array:
    """Part of a 1 mm voxel that lies behind a surface at `distance_mm` from its centre."""
    return np.clip(0.5 + distance_mm, 0, 1)


def _kept(anatomy: Anatomy, effects: Factors) -> Array:
    """Part of each voxel that shrinking nuclei keep: they lose their rim until the wanted volume is left."""
    kept = np.ones(anatomy.region.shape, dtype=np.float32)
    for region, factor in zip(regions(), effects.total, strict=True):
        if region.cortical or factor >= 1:
            continue
        voxels = np.flatnonzero(anatomy.region == region.label)
        depth = anatomy.inner[voxels] - 0.5
        kept[voxels] = step(depth - _rim(depth, factor))
    return kept


def _rim(depth: Array, factor: float) -> float:
    """Width (mm) of the rim that must go so that `factor` of the volume is left."""
    low, high = -1.0, float(depth.max()) + 1
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (middle, high) if step(depth - middle).mean() > factor else (low, middle)
    return low


def on_grid(anatomy: Anatomy, values: Array) -> Array:
    """Put values of the brain mask's voxels back on the grid, zero elsewhere."""
    volume = np.zeros(anatomy.mask.shape, dtype=np.float32)
    volume[anatomy.mask] = values
    return volume


def smooth_for(volume: Array, voxel_mm: float) -> Array:
    """Blur a 1 mm volume as voxels of `voxel_mm` would, so that sampling it there is free of aliasing."""
    sigma = np.sqrt(max(voxel_mm**2 - 1, 0.05)) / 2.355
    return ndimage.gaussian_filter(volume, sigma, truncate=3)
