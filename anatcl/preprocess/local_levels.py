"""Levels of grey and white matter near each voxel, and a scan in which they are the same everywhere.

White matter is darker in a thin gyrus than in the centre of a lobe, and cortex is brighter where it holds much myelin.
Half-way between the two levels of a whole head is therefore not the border between them: it lies too deep in gyri, and
thin ones are lost. On the 1 mm scan of docs/results/measures/README.md, levels of a neighbourhood put it where
FreeSurfer has it, without a level of FreeSurfer's.

Source of the idea: Dahnke et al. 2012 (local adaptive segmentation of CAT12; Organization for Human Brain Mapping).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from anatcl.preprocess.mixels import GREY, WHITE

# A level is that of the neighbourhood of this size (SD): of white matter in voxels of the scan, since what blurs a thin
# gyrus is the voxel; of grey matter in mm.
WHITE_VOXELS = 2.5
GREY_MM = 5.0
# What is this deep in a tissue, in voxels of the scan, shows its level; where it is thinner, its middle does.
DEPTH_VOXELS = 0.9
# Weight of the level of the whole head, beside one voxel in the middle of its neighbourhood.
WHOLE = 1e-3
# Voxels farther away than this many SD do not count.
REACH = 3.0
# A level is at most this share of the way from its own to the next tissue's.
SHARE = 1 / 3


def evened(
    image: NDArray,
    found: NDArray,
    brain: NDArray,
    levels: NDArray,
    spacing: NDArray,
    voxel_mm: float,
    deep: NDArray | None = None,
) -> NDArray:
    """The scan, stretched so that the levels near each voxel become those of the whole head.

    Parameters
    ----------
    image : ndarray of shape (X, Y, Z)
        Flat scan, in units of white matter.
    found : ndarray of shape (3, X, Y, Z)
        Fractions of CSF, grey and white matter as known so far.
    brain : ndarray of bool, shape (X, Y, Z)
    levels : ndarray of shape (3,)
        Of the whole head, rising.
    spacing : ndarray of shape (3,)
        Voxel size in mm.
    voxel_mm : float
        Voxel size of the scan as it was made; the grid may be finer.
    deep : ndarray of shape (X, Y, Z), optional
        Probability of a deep nucleus: no grey matter to take the cortex's level from.

    Returns
    -------
    ndarray of float32, shape (X, Y, Z)
    """
    fluid, grey, white = (float(v) for v in levels)
    use = brain if deep is None else brain & (deep < 0.5)
    lowest, highest = grey - SHARE * (grey - fluid), grey + SHARE * (white - grey)
    in_grey, in_white = (core(found[tissue] > 0.5, spacing, voxel_mm) & use for tissue in (GREY, WHITE))
    near_grey = np.clip(nearby(image, in_grey, grey, GREY_MM / spacing, REACH), lowest, highest)
    near_white = nearby(image, in_white, white, WHITE_VOXELS * voxel_mm / spacing, REACH)
    near_white = np.clip(near_white, white - SHARE * (white - grey), white + SHARE * (white - grey))
    bright = grey + (image - near_grey) * ((white - grey) / (near_white - near_grey))
    dark = fluid + (image - fluid) * ((grey - fluid) / (near_grey - fluid))
    return np.where(image > near_grey, bright, dark).astype(np.float32)


def core(tissue: NDArray, spacing: NDArray, voxel_mm: float) -> NDArray:
    """Voxels that show a tissue's own level: deep ones, and the middle of what is thin.

    Parameters
    ----------
    tissue : ndarray of bool, shape (X, Y, Z)
    spacing : ndarray of shape (3,)
        Voxel size in mm.
    voxel_mm : float
        That of the scan as it was made.
    """
    depth = ndimage.distance_transform_edt(tissue, sampling=spacing)
    middle = tissue & (depth >= ndimage.maximum_filter(depth, size=3) - 1e-6)
    found: NDArray = middle | (depth - spacing.mean() / 2 > DEPTH_VOXELS * voxel_mm)
    return found


def nearby(image: NDArray, where: NDArray, level: float, size: NDArray, reach: float = 4.0) -> NDArray:
    """Mean of an image over a mask around each voxel; `level` where the mask is far away.

    Parameters
    ----------
    size : ndarray of shape (3,)
        SD of the neighbourhood, in voxels.
    reach : float
        What lies farther away, in SD, does not count.
    """
    weight = where.astype(np.float32)
    total, share = (ndimage.gaussian_filter(v, size, mode="constant", truncate=reach) for v in (image * weight, weight))
    found: NDArray = (total + WHOLE * level) / (share + WHOLE)
    return found
