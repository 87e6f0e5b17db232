"""How good the surfaces of a scan are: numbers of each hemisphere, and the limits on them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from anatcl.images import Volume
from anatcl.measures.surfaces import shape
from anatcl.measures.surfaces.engine import Surfaces
from anatcl.spec.names import SURFACE_QUALITY

SIDES = {"L": "left", "R": "right"}
WHITE_MM = 1.0  # how far under the white surface white matter is sampled
GREY_SHARE = 0.35  # how far into the cortex grey matter is sampled


def quality(surfaces: Surfaces, numbers: Mapping[str, Any], scan: Volume, cortex: NDArray) -> dict[str, float]:
    """Surface-quality metrics of one hemisphere.

    Parameters
    ----------
    surfaces : Surfaces
    numbers : mapping
        What the program said: ``intersections`` of the surfaces, ``defects``.
    scan : Volume
        The bias-corrected T1w image.
    cortex : ndarray of bool, shape (V,)
        Vertices that belong to a region.

    Returns
    -------
    dict
        ``euler`` (2 for a sphere; the sum over several parts else), ``defects`` (handles of the surface before its
        topology was corrected), ``intersections`` (pairs of triangles of white and pial surface that cross),
        ``contrast`` (white minus grey over their mean, in percent, mean over the cortex), ``area_cm2`` (white
        surface) and ``thickness_mm`` (mean) of the cortex.
    """
    area = shape.vertex_areas(surfaces.white, surfaces.faces)[cortex]
    crossings = numbers["intersections"]
    found = {
        "euler": shape.euler(surfaces.faces),
        "defects": numbers["defects"],
        "intersections": crossings["white"] + crossings["pial"],
        "contrast": float(np.nanmean(contrast(surfaces, scan)[cortex])) if cortex.any() else float("nan"),
        "area_cm2": float(area.sum()) / 100,
        "thickness_mm": float((surfaces.thickness[cortex] * area).sum() / max(area.sum(), 1e-9)),
    }
    return {name: round(float(found[name]), 4) for name in SURFACE_QUALITY}


def contrast(surfaces: Surfaces, scan: Volume) -> NDArray:
    """White minus grey matter over their mean, in percent, at each vertex (FreeSurfer's ``pctsurfcon``)."""
    outward = shape.normals(surfaces.white, surfaces.faces)
    white = sample(scan, surfaces.white - WHITE_MM * outward)
    grey = sample(scan, surfaces.white + GREY_SHARE * (surfaces.pial - surfaces.white))
    mean = (white + grey) / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        share: NDArray = np.where(mean > 0, 100 * (white - grey) / mean, np.nan)
    return share


def sample(volume: Volume, points: NDArray) -> NDArray:
    """Values of a volume at points in mm, linear between voxels, shape (V,)."""
    voxels = (points - volume.affine[:3, 3]) @ np.linalg.inv(volume.affine[:3, :3]).T
    return ndimage.map_coordinates(volume.data.astype(np.float32), voxels.T, order=1, mode="nearest")


def broken(numbers: Mapping[str, Mapping[str, float]], limits: Mapping[str, Sequence[float | None]]) -> str:
    """Which limits the hemispheres break, as one sentence; empty where they break none.

    Parameters
    ----------
    numbers : mapping
        ``L`` and ``R`` to the numbers of :func:`quality`.
    limits : mapping
        Name to (lowest, highest); None is no limit. A number that is missing breaks its limit.
    """
    return "; ".join(
        f"{SIDES[side]} surface: {text}"
        for side, mine in sorted(numbers.items())
        for name, (low, high) in limits.items()
        if (text := _beyond(name, mine.get(name), low, high))
    )


def _beyond(name: str, value: float | None, low: float | None, high: float | None) -> str:
    if value is None or math.isnan(value):
        return f"{name} could not be measured"
    if low is not None and value < low:
        return f"{name} {value:g} is below {low:g}"
    return f"{name} {value:g} is above {high:g}" if high is not None and value > high else ""
