"""Plausibility of a brain mask: whether the template's tissues explain its intensities.

A bottle of water, an empty shell or noise can be given a mask of a brain's size and place. What they lack is a brain's
inside: ventricles, deep grey and white matter where the template, by its affine alone, has them. So intensities are
regressed on the template's three tissues. What water shows as well is taken out of both before: a smooth field over the
whole mask, and anything that depends on nothing but the depth below the mask's edge (shells, a dark or bright middle).
No sign is asked for, so that any contrast between tissues will do.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from anatcl.base.errors import InputError
from anatcl.images import Volume
from anatcl.preprocess.geometry import bounding_box, coarsen, coordinates, crop
from anatcl.preprocess.template import Template

GRID_MM = 4.0
EDGE_MM = 6.0  # left out below the mask's edge, where any object differs from what is around it
# Share of the variance that tissue has to explain. 25 heads of two scanners (2 and 1 mm) have .30 to .45 by their
# affine; seven of them have .29 to .39 by a mere pose, and .15 or more with noise of half their brightness. Phantoms
# have .02 at most.
LEAST = 0.1


def tissue_share(scan: Volume, mask: NDArray, matrix: NDArray, template: Template) -> float:
    """Share of the variance of a scan's intensities that the template's tissues explain.

    Parameters
    ----------
    scan : Volume
    mask : ndarray of bool, shape (X, Y, Z)
        What is taken for the brain.
    matrix : ndarray of shape (4, 4)
        Template point to scan point (RAS, mm).
    template : Template

    Returns
    -------
    float
        0 to 1; 0 where nothing lies deep enough inside the mask, or all has one intensity.
    """
    if not mask.any():
        return 0.0
    box = bounding_box(mask, margin=int(np.ceil(2 * GRID_MM / scan.spacing.min())))
    coarse = coarsen(crop(scan, box), GRID_MM)
    solid = coarsen(crop(scan.like(mask.astype(np.float32)), box), GRID_MM)
    depth = ndimage.distance_transform_edt(np.pad(solid.data > 0.5, 1), sampling=coarse.spacing)[1:-1, 1:-1, 1:-1]
    inside = depth > EDGE_MM
    points = coordinates(coarse, np.argwhere(inside))
    values = coarse.data[inside].astype(float)
    if len(values) < 100 or np.ptp(values) == 0:
        return 0.0
    values = np.clip(values, *np.percentile(values, [1, 99]))
    rest = _without(_common(points, depth[inside]), np.c_[values, _tissues(template, points, matrix)])
    return _explained(rest[:, 0], rest[:, 1:])


def _tissues(template: Template, points: NDArray, matrix: NDArray) -> NDArray:
    """Fractions of the template's tissues at points of the scan, shape (N, 3)."""
    there = coordinates(Volume(np.empty(0), np.linalg.inv(matrix)), points)
    columns = []
    for name in ("csf", "gm", "wm"):
        tissue = coarsen(template.volume(name), GRID_MM)
        index = coordinates(Volume(np.empty(0), np.linalg.inv(tissue.affine)), there)
        columns.append(ndimage.map_coordinates(tissue.data.astype(float), index.T, order=1, mode="nearest"))
    return np.stack(columns, 1)


def _common(points: NDArray, depth: NDArray) -> NDArray:
    """What any object may show: a quadratic field, and a level for each depth; shape (N, ...)."""
    x, y, z = ((points - points.mean(0)) / points.std(0)).T
    field = np.stack([np.ones(len(x)), x, y, z, x * x, y * y, z * z, x * y, x * z, y * z], 1)
    step = ((depth - depth.min()) / GRID_MM).astype(int)
    return np.c_[field, np.eye(step.max() + 1)[step]]


def _without(common: NDArray, columns: NDArray) -> NDArray:
    """Residuals of columns after a least-squares fit of `common`."""
    return columns - common @ np.linalg.lstsq(common, columns, rcond=None)[0]


def _explained(values: NDArray, by: NDArray) -> float:
    total = float((values**2).sum())
    left = float((_without(by, values) ** 2).sum())
    return 1 - left / total if total > 0 else 0.0


def refuse_phantom(
    scan: Volume, mask: NDArray, matrix: NDArray, template: Template, path: str | Path, remedy: str
) -> None:
    """Raise where a mask holds no brain.

    Raises
    ------
    InputError
        The template's tissues do not explain the intensities inside the mask.
    """
    share = tissue_share(scan, mask, matrix, template)
    if share < LEAST:
        reason = f"no plausible brain was found (the template's tissues explain {share:.0%} of its intensities)."
        raise InputError(reason, path, remedy)
