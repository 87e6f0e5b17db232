"""A cheap thickness: grey matter summed along the normal of the white surface.

From each vertex of the grey/white interface a ray goes outward, and the grey-matter probability is summed along it
until the other bank of the sulcus is nearer than the one the ray came from. Because probabilities are summed, partial
volume counts for what it is, and a cortex thinner than a voxel still has its thickness. No diffeomorphism keeps rays
apart, so deep in closed sulci and on sharp crowns this is rougher than DiReCT.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from anatcl.measures.surface import Mesh

MAX_MM = 8.0


def thickness_at_vertices(grey: NDArray, inside: NDArray, spacing: NDArray, mesh: Mesh) -> NDArray:
    """Thickness in mm at each vertex of the white surface, shape (V,).

    Parameters
    ----------
    grey : ndarray of shape (X, Y, Z)
        Probability of cortical grey matter.
    inside : ndarray of shape (X, Y, Z)
        Probability of lying inside the white surface.
    spacing : ndarray of shape (3,)
        Voxel size in mm.
    """
    spacing = np.asarray(spacing, float)
    step = float(spacing.min()) / 4
    # Smoothed by one voxel, `inside` falls along a ray down to the middle of a sulcus, and rises again beyond it.
    potential = ndimage.gaussian_filter(inside.astype(np.float32), 1.0)
    out = _march(grey, potential, mesh, spacing, step, round(MAX_MM / step), outward=True)
    back = _march(grey, potential, mesh, spacing, step, round(1.5 * float(spacing.mean()) / step), outward=False)
    return np.minimum(out + back, MAX_MM)


def _march(
    grey: NDArray, potential: NDArray, mesh: Mesh, spacing: NDArray, step: float, steps: int, outward: bool
) -> NDArray:
    """Sum `grey` along the normals (or against them) until `potential` turns, in mm, shape (V,)."""
    sign = 1.0 if outward else -1.0
    direction = sign * mesh.normals * step
    count = len(mesh.vertices)
    total, dose = np.zeros(count), np.zeros(count)
    before, last = np.full(count, np.nan), np.full(count, sign * np.inf)
    alive = np.arange(count)
    # Midpoints of the steps, so that the sum is a midpoint rule from the surface on.
    place = mesh.vertices + direction / 2
    for _ in range(steps):
        at = (place[alive] / spacing).T
        level = ndimage.map_coordinates(potential, at, order=1, mode="nearest")
        turned = (level - last[alive]) * sign > 1e-4
        stop = alive[turned]
        # The sum went half a step beyond the last midpoint: correct it to the turning point of a parabola.
        total[stop] += dose[stop] * (_vertex(before[stop], last[stop], level[turned]) - 0.5)
        at, level, alive = at[:, ~turned], level[~turned], alive[~turned]
        if not len(alive):
            break
        before[alive], last[alive] = last[alive], level
        dose[alive] = step * ndimage.map_coordinates(grey, at, order=1)
        total[alive] += dose[alive]
        place[alive] += direction[alive]
    return total


def _vertex(a: NDArray, b: NDArray, c: NDArray) -> NDArray:
    """Where, in steps from the middle one, the parabola through three equidistant values turns; within half a step."""
    with np.errstate(invalid="ignore", divide="ignore"):
        place = 0.5 * (a - c) / (a - 2 * b + c)
    return np.clip(np.nan_to_num(place, nan=0.0, posinf=0.0, neginf=0.0), -0.5, 0.5)


def thickness_map(
    grey: NDArray, inside: NDArray, spacing: NDArray, mesh: Mesh, where: NDArray, cortical: NDArray
) -> NDArray:
    """Thickness in mm at the voxels of `where`, zero elsewhere, shape (X, Y, Z).

    Parameters
    ----------
    grey, inside, spacing, mesh
        As for :func:`thickness_at_vertices`.
    where : ndarray of bool, shape (X, Y, Z)
        Voxels that get a value, from the four vertices nearest to each.
    cortical : ndarray of bool, shape (V,)
        Vertices that border on cortex.
    """
    result = np.zeros(grey.shape, np.float32)
    voxels = np.argwhere(where)
    if not cortical.any() or not len(voxels):
        return result
    some = Mesh(mesh.vertices[cortical], np.zeros((0, 3), int), mesh.normals[cortical])
    value = thickness_at_vertices(grey, inside, spacing, some)
    k = min(4, len(value))
    _, near = cKDTree(some.vertices).query(voxels * np.asarray(spacing), k=k)
    result[where] = value[near.reshape(len(voxels), k)].mean(axis=1)
    return result
