"""The true deformation of a scan as a displacement field that ANTs and ITK read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from anatcl.base.files import atomic_path

Array = NDArray[Any]

STEP_MM = 6.0  # the truth is a cubic spline on nodes 8 mm apart: linear steps of 6 mm are within 0.3 mm of it
LPS = np.array([-1.0, -1.0, 1.0], dtype=np.float32)  # ITK's vectors
VECTOR_INTENT = 1007


def write_field(path: Path, points: Array, affine: NDArray[np.float64]) -> None:
    """Write where in the template the points of a scan belong.

    Parameters
    ----------
    path : Path
        NIfTI displacement field: applied by ``antsApplyTransforms`` with the scan as reference it warps images from
        the template to the scan. Its grid reaches from the scan's first voxel to its last.
    points : ndarray of shape (3, X, Y, Z)
        Template coordinates (RAS+ mm) of the scan's voxels.
    affine : ndarray of shape (4, 4)
        Of the scan.
    """
    last = np.array(points.shape[1:]) - 1
    steps = np.ceil(last * np.linalg.norm(affine[:3, :3], axis=0) / STEP_MM).astype(int)
    index = np.stack(np.meshgrid(*map(np.linspace, np.zeros(3), last, steps + 1), indexing="ij"))
    world = np.einsum("ij,jxyz->ixyz", affine[:3, :3], index) + affine[:3, 3].reshape(3, 1, 1, 1)
    targets = np.stack([ndimage.map_coordinates(p, index, order=1) for p in points])
    moves = np.round((targets - world) * LPS.reshape(3, 1, 1, 1), 3).astype(np.float32)
    grid = affine @ np.diag([*(last / steps), 1.0])
    image = nib.Nifti1Image(np.moveaxis(moves, 0, -1)[:, :, :, None, :], grid)
    image.set_sform(grid, code=1)
    image.set_qform(grid, code=1)
    image.header.set_intent(VECTOR_INTENT)
    image.header.set_xyzt_units("mm", "sec")
    with atomic_path(path) as temporary:
        nib.save(image, temporary)
