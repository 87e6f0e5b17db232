"""Tissue maps of one scan, read, checked and cut to the head."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from anatcl.base.errors import InputError
from anatcl.images import Volume, load
from anatcl.measures.labels import GREY
from anatcl.preprocess.geometry import bounding_box


@dataclasses.dataclass(frozen=True)
class Tissues:
    """Tissue maps of one scan on one grid, cut to the head, arrays of shape (X, Y, Z).

    Attributes
    ----------
    gm, wm, csf : ndarray of float
        Posterior probabilities.
    dseg : ndarray of int
        1 CSF, 2 grey matter, 3 white matter.
    icv : ndarray of bool
        Intracranial volume.
    spacing : ndarray of shape (3,)
        Voxel size in mm.
    grid : Volume
        The uncut grid; its data are not used.
    box : tuple of slice
        Where the cut arrays lie in it.
    """

    gm: NDArray
    wm: NDArray
    csf: NDArray
    dseg: NDArray
    icv: NDArray
    spacing: NDArray
    grid: Volume
    box: tuple[slice, ...]

    @property
    def voxel_volume(self) -> float:
        """Volume of one voxel, in mm3."""
        return self.grid.voxel_volume

    def uncut(self, data: NDArray) -> Volume:
        """Put a cut array back on the whole grid."""
        whole = np.zeros(self.grid.data.shape, data.dtype)
        whole[self.box] = data
        return self.grid.like(whole)


def load_tissues(gm: Path, wm: Path, csf: Path, dseg: Path, icv: Path) -> Tissues:
    """Read the maps, check that they share a grid, cut them to what holds tissue and two voxels more."""
    paths = {"gm": gm, "wm": wm, "csf": csf, "dseg": dseg, "icv": icv}
    grid = load(gm)
    maps = {"gm": grid.data}
    for name, path in list(paths.items())[1:]:
        volume = load(path)
        if volume.data.shape != grid.data.shape or not np.allclose(volume.affine, grid.affine, atol=1e-3):
            raise InputError(f"the image does not lie on the grid of {gm}.", path, "Run `segment` again for this scan.")
        maps[name] = volume.data
    for name in ("gm", "wm", "csf"):
        if not np.isfinite(maps[name]).all() or maps[name].min() < -1e-3 or maps[name].max() > 1.001:
            raise InputError("the probabilities do not lie between 0 and 1.", paths[name], "Run `segment` again.")
    inside = (maps["gm"] + maps["wm"] + maps["csf"] > 0.01) | (maps["icv"] > 0)
    if not (maps["dseg"] == GREY).any():
        raise InputError("there is no grey matter in the segmentation.", dseg, "Look at the picture of `qc`.")
    box = bounding_box(inside, margin=2)
    cut = {name: np.ascontiguousarray(data[box]) for name, data in maps.items()}
    return Tissues(
        gm=cut["gm"], wm=cut["wm"], csf=cut["csf"], dseg=cut["dseg"].astype(np.int16), icv=cut["icv"] > 0.5,
        spacing=np.asarray(grid.spacing, float), grid=grid, box=box,
    )  # fmt: skip


def on_grid(path: Path, tissues: Tissues) -> NDArray:
    """Read an image on the grid of the tissue maps, cut as they are, shape (X, Y, Z).

    Raises
    ------
    InputError
        It lies on another grid, or holds values that are not finite where there is tissue.
    """
    volume = load(path)
    grid = tissues.grid
    if volume.data.shape != grid.data.shape or not np.allclose(volume.affine, grid.affine, atol=1e-3):
        raise InputError("the image does not lie on the grid of the tissue maps.", path, "Run `segment` again for it.")
    data = volume.data[tissues.box]
    if not np.isfinite(data[tissues.dseg > 0]).all():
        raise InputError(
            "the image has values that are not finite inside the brain.", path, "Run `bias_correct` again."
        )
    return np.nan_to_num(data)
