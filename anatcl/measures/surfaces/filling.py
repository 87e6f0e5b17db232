"""One hemisphere as cat-surf wants it: a map of 1 CSF, 2 grey, 3 white and all that the white surface encloses."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage

from anatcl.base.errors import InputError
from anatcl.images import Volume
from anatcl.measures.atlas import LEFT, RIGHT, Atlas
from anatcl.measures.tissues import Tissues
from anatcl.preprocess.geometry import bounding_box

CSF, GREY, WHITE = 1.0, 2.0, 3.0
SIDES = {"L": LEFT, "R": RIGHT}
CUT = ("cerebellum", "brainstem")
RIM_MM = 2.0  # mixed voxels around filled structures
REACH_MM = 6.0  # a ventricle may be larger than its warped label
CORTEX_MM = 7.0  # grey matter farther from white matter is none of the cortex
ISLAND_MM = 3.0  # white matter farther from the rest is none
LEAST_ML = 50.0  # less white matter in a hemisphere is no hemisphere


@dataclasses.dataclass(frozen=True)
class Structures:
    """What each voxel belongs to, arrays of shape (X, Y, Z).

    Attributes
    ----------
    side : ndarray of int
        ``LEFT`` or ``RIGHT``, everywhere.
    cut : ndarray of bool
        Cerebellum and brain stem, and the white matter next to them.
    filled : ndarray of bool
        Deep structures and ventricles that lie inside the white surface.
    cortical : ndarray of bool
        Nearest to cortex of all structures.
    """

    side: NDArray
    cut: NDArray
    filled: NDArray
    cortical: NDArray


def structures(warped: NDArray, tissues: Tissues, atlas: Atlas) -> Structures:
    """Divide the head by the labels of a volumetric atlas.

    Parameters
    ----------
    warped : ndarray of int, shape (X, Y, Z)
        Labels in native space, `LEFT` or `RIGHT` where there are none, 0 outside the atlas image.
    """
    regions = atlas.regions
    label = np.where(warped < LEFT, warped, 0)
    distance, index = ndimage.distance_transform_edt(label == 0, sampling=tissues.spacing, return_indices=True)
    nearest = label[tuple(index)]

    def of(rows: NDArray) -> NDArray:
        return np.isin(nearest, regions.loc[rows, "index"])

    # Hippocampus and amygdala, too: half of them grey and half white would make a border of the white surface there.
    fluid = of((regions["structure"] == "ventricle").to_numpy())
    deep = of(~regions["structure"].isin(("ventricle", "cortex", *CUT)).to_numpy())
    filled = (deep & (distance == 0)) | (fluid & (distance <= REACH_MM) & (tissues.dseg == 1))
    cut = of(regions["structure"].isin(CUT).to_numpy())
    cortical = of((regions["structure"] == "cortex").to_numpy())
    return Structures(_sides(warped, regions), cut, filled & (tissues.dseg > 0), cortical)


def _sides(warped: NDArray, regions: pd.DataFrame) -> NDArray:
    """The hemisphere of each voxel: that of its label, or of the nearest one that has a side."""
    known = np.where(warped >= LEFT, warped, 0)
    for hemisphere, value in SIDES.items():
        known[np.isin(warped, regions.loc[regions["hemisphere"] == hemisphere, "index"])] = value
    _, index = ndimage.distance_transform_edt(known == 0, return_indices=True)
    found: NDArray = known[tuple(index)]
    return found


def hemisphere_map(tissues: Tissues, found: Structures, hemisphere: str) -> Volume:
    """The map of one hemisphere, cut to it.

    Returns
    -------
    Volume
        Float, 1 CSF and outside, 2 grey, 3 white and filled, fractions between.

    Raises
    ------
    InputError
        There is too little white matter for a hemisphere.
    """
    white = tissues.wm + 0.0
    white[found.filled] = 1
    white = np.where(_rim(found, tissues.spacing) & (tissues.dseg > 0), 1, white)
    mine = (found.side == SIDES[hemisphere]) & ~found.cut
    core = _largest((white > 0.5) & mine)
    if core.sum() * tissues.voxel_volume < LEAST_ML * 1000:
        side = {"L": "left", "R": "right"}[hemisphere]
        reason = f"the {side} hemisphere has {core.sum() * tissues.voxel_volume / 1000:.0f} ml of white matter."
        raise InputError(reason, remedy="Look at the picture of `qc`: the scan is cut, or its registration failed.")
    away = ndimage.distance_transform_edt(~core, sampling=tissues.spacing)
    value = CSF + np.clip(tissues.gm + 2 * white, 0, 2)
    value[(away > CORTEX_MM) | _far_islands((white > 0.5) & mine & ~core, away)] = CSF
    value[ndimage.binary_fill_holes(core) & ~core] = WHITE
    value[core & found.filled] = WHITE
    tissue = _largest((value > (CSF + GREY) / 2) & mine)
    near = ndimage.binary_dilation(tissue, iterations=1) & mine
    value = np.where(near, value, CSF)
    box = bounding_box(tissue, margin=0)
    return _padded(value[box].astype(np.float32), tissues, box)


def _rim(found: Structures, spacing: NDArray) -> NDArray:
    """Voxels between a filled structure and white matter, where tissue classes mean nothing."""
    distance = ndimage.distance_transform_edt(~found.filled, sampling=spacing)
    rim: NDArray = (distance <= RIM_MM) & ~found.cortical & ~found.cut
    return rim


def _far_islands(mask: NDArray, away: NDArray) -> NDArray:
    """Parts of a mask that lie apart from the core all over: fat and vessels at the base, not a blade cut off."""
    parts, count = ndimage.label(mask)
    if count == 0:
        return mask
    nearest = ndimage.minimum(away, parts, np.arange(1, count + 1))
    far: NDArray = np.concatenate([[False], nearest > ISLAND_MM])[parts]
    return far


def _largest(mask: NDArray) -> NDArray:
    """The largest connected part."""
    parts, count = ndimage.label(mask)
    if count == 0:
        return np.zeros_like(mask)
    biggest: NDArray = parts == 1 + np.bincount(parts.ravel())[1:].argmax()
    return biggest


def _padded(value: NDArray, tissues: Tissues, box: tuple[slice, ...], margin_mm: float = 4.0) -> Volume:
    """The map with CSF around it, on its place in the grid."""
    width = [int(np.ceil(margin_mm / s)) for s in tissues.spacing]
    start = [outer.start + inner.start - w for outer, inner, w in zip(tissues.box, box, width, strict=True)]
    affine = tissues.grid.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ start
    return Volume(np.pad(value, [(w, w) for w in width], constant_values=CSF), affine)


def finer(volume: Volume, mm: float, order: int = 3) -> Volume:
    """The map on a grid of about `mm`; voxels that are finer already stay.

    Cubic interpolation keeps narrow sulci and thin blades of white matter that linear interpolation closes.
    """
    factor = np.maximum(volume.spacing / mm, 1)
    data = ndimage.zoom(volume.data, factor, order=order, grid_mode=True, mode="nearest")
    ratio = np.array(data.shape) / volume.data.shape
    affine = volume.affine.copy()
    affine[:3, :3] = volume.affine[:3, :3] / ratio
    affine[:3, 3] = volume.affine[:3, 3] + volume.affine[:3, :3] @ (0.5 / ratio - 0.5)
    return Volume(np.clip(data, CSF, WHITE).astype(np.float32), affine)
