"""Region labels of one scan: the atlas warped to native space and fitted to the scan's own tissue."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from anatcl.images import Volume
from anatcl.measures.atlas import LEFT, RIGHT, Atlas

GREY = 2
# These follow the scan's tissue beyond the warped label; deep structures end where the atlas says.
PROPAGATED = ("cortex", "cerebellum", "ventricle")


@dataclasses.dataclass(frozen=True)
class Labels:
    """Regions of one scan, arrays of shape (X, Y, Z) with atlas indices, 0 for none.

    Attributes
    ----------
    nearest : ndarray of int
        The region that each voxel belongs to, whatever its tissue: volumes and surfaces are summed over it.
    fitted : ndarray of int
        Cortical regions confined to cortical grey matter, and the other structures: what is written to disk.
    """

    nearest: NDArray
    fitted: NDArray


def warp(atlas: Atlas, reference: Path, transform: Path, threads: int = 1, seed: int = 0) -> Volume:
    """Warp labels and hemispheres to the grid of `reference` in one interpolation by ANTs.

    Parameters
    ----------
    reference : path
        Native image.
    transform : path
        Composite transform that antsApplyTransforms uses to bring an image in template space to native space.
    """
    from anatcl.preprocess.ants import workspace

    with workspace(threads, seed) as room:
        room.put("atlas.nii", atlas.with_sides())
        room.link("reference.nii.gz", reference)
        xfm = room.link("xfm" + "".join(transform.suffixes[-1:]), transform)
        warped = room.apply("atlas.nii", "reference.nii.gz", [xfm], "out.nii", interpolation="GenericLabel")
    return warped.like(np.round(warped.data).astype(np.int32))


def fit(warped: NDArray, dseg: NDArray, spacing: NDArray, atlas: Atlas, reach_mm: float = 6.0) -> Labels:
    """Give every grey-matter voxel the nearest region on its own side.

    Parameters
    ----------
    warped : ndarray of int, shape (X, Y, Z)
        Labels of the atlas in native space, `LEFT` or `RIGHT` where there are none, 0 outside the atlas image.
    dseg : ndarray of int, shape (X, Y, Z)
        1 CSF, 2 grey matter, 3 white matter, 0 elsewhere.
    spacing : ndarray of shape (3,)
        Voxel size in mm.
    reach_mm : float
        A voxel farther than this (at least two voxels) from every label belongs to no region.

    Returns
    -------
    Labels
        Every voxel of cortical grey matter, that is grey matter whose nearest structure is cortex, has a region.
    """
    regions = atlas.regions
    label = np.where(warped < LEFT, warped, 0)
    distance, index = ndimage.distance_transform_edt(label == 0, sampling=spacing, return_indices=True)
    nearest = label[tuple(index)]
    nearest = _own_side(nearest, warped, label, spacing, atlas)
    nearest[distance > max(reach_mm, 2 * float(spacing.max()))] = 0
    spreads = _lookup(regions["index"], regions["structure"].isin(PROPAGATED), bool)
    nearest[~spreads[nearest] & (label == 0)] = 0
    cortex = _lookup(regions["index"], regions["structure"] == "cortex", bool)
    ventricle = _lookup(regions["index"], regions["structure"] == "ventricle", bool)
    keep = np.where(cortex[nearest], dseg == GREY, np.where(ventricle[nearest], dseg == 1, dseg >= GREY))
    return Labels(nearest.astype(np.int16), np.where(keep, nearest, 0).astype(np.int16))


def _own_side(nearest: NDArray, warped: NDArray, label: NDArray, spacing: NDArray, atlas: Atlas) -> NDArray:
    """Replace regions of the other hemisphere, found across the midline, by the nearest one of the voxel's own."""
    regions = atlas.regions
    side = _lookup(regions["index"], regions["hemisphere"].map({"L": 1, "R": 2, "B": 0}), np.int8)
    own = np.where(warped == LEFT, 1, np.where(warped == RIGHT, 2, 0))
    wrong = (own > 0) & (side[nearest] > 0) & (side[nearest] != own)
    for hemisphere in (1, 2):
        lost = np.argwhere(wrong & (own == hemisphere))
        seeds = np.argwhere((label > 0) & (side[label] == hemisphere))
        if len(lost) and len(seeds):
            _, at = cKDTree(seeds * spacing).query(lost * spacing)
            nearest[tuple(lost.T)] = label[tuple(seeds[at].T)]
    return nearest


def _lookup(index: ArrayLike, value: ArrayLike, dtype: type) -> NDArray:
    """Array that gives `value` at position `index`, zero elsewhere."""
    table: NDArray = np.zeros(int(np.max(index)) + 1, dtype)
    table[np.asarray(index)] = np.asarray(value)
    return table
