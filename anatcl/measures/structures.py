"""Borders of deep structures from the scan's own intensities, not from the warped atlas alone.

Registration brings each structure near its place; caudate beside a wide ventricle, or a small pallidum, it misses by a
voxel or two. Each structure's own brightness is read off its core, that of its surroundings off the tissues in a shell
around it. A voxel near the warped border then goes to whichever explains it better, the farther from the border the
more reluctantly.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from anatcl.measures.atlas import LEFT, RIGHT, Atlas

# How far, in mm, a registration misses the border of a deep structure: the scale of the logistic prior.
MISS_MM = 1.0
REACH_MM = 4.0
# What a structure's core is: this share of it, the farthest from its border.
CORE = 0.4
# The noise of neighbours is no different: evidence is smoothed over this many voxels (SD).
SMOOTH_VOX = 0.6
# Brightness inside a structure spreads by at least this share of what lies between CSF and white matter.
LEAST = 0.07
# A structure that is hardly darker than white matter (pallidum, thalamus) is held against the white matter beside it:
# the internal capsule is brighter than the hemispheres, and would else be taken for pallidum. That level is read off
# voxels with so much white matter, so many at least.
WHITE, PURE, ENOUGH = 2, 0.9, 30
# Smaller structures stay where the atlas has them.
FEWEST = 8


@dataclasses.dataclass(frozen=True)
class Scene:
    """What all structures of one scan share, arrays of shape (X, Y, Z).

    Attributes
    ----------
    image : ndarray
        Brightness, white matter near 1.
    fractions : ndarray of shape (3, X, Y, Z)
        CSF, grey and white matter.
    levels : ndarray of shape (3,)
        Brightness of the three.
    deep : ndarray of bool
        Where the atlas has a deep structure.
    spacing : ndarray of shape (3,)
        Voxel size in mm.
    """

    image: NDArray
    fractions: NDArray
    levels: NDArray
    deep: NDArray
    spacing: NDArray


def follow(warped: NDArray, image: NDArray, fractions: NDArray, spacing: NDArray, atlas: Atlas) -> NDArray:
    """Move the borders of deep structures to where the scan has them.

    Parameters
    ----------
    warped : ndarray of int, shape (X, Y, Z)
        Labels of the atlas in native space, `LEFT` or `RIGHT` where there are none.
    image : ndarray of shape (X, Y, Z)
        Bias-corrected scan.
    fractions : ndarray of shape (3, X, Y, Z)
        CSF, grey and white matter.
    spacing : ndarray of shape (3,)
        Voxel size in mm.

    Returns
    -------
    ndarray of int, shape (X, Y, Z)
        Labels; a voxel that a structure lost has its side alone, or the ventricle beside it where it is CSF. Structures
        of fewer than eight voxels, and all that is no deep structure, stay as they are; so does everything where a
        tissue is absent.
    """
    names = atlas.regions.loc[atlas.regions["structure"] == "subcortex", "index"].to_numpy()
    deep = np.isin(warped, names)
    pure = [image[f > 0.9] for f in fractions]
    if min(len(p) for p in pure) < FEWEST:
        return warped
    levels = np.array([np.median(p) for p in pure])
    scene = Scene(image / levels[2], fractions, levels / levels[2], deep, np.asarray(spacing, float))
    best, chosen = np.zeros(warped.shape, np.float32), np.zeros(warped.shape, warped.dtype)
    for index in names:
        mine = warped == index
        if mine.sum() < FEWEST:
            chosen[mine], best[mine] = index, np.inf
            continue
        box, gain = weigh(mine, scene)
        wins = gain > best[box]
        best[box][wins], chosen[box][wins] = gain[wins], index
    return _settle(warped, chosen, deep, fractions[0], atlas)


def weigh(structure: NDArray, scene: Scene) -> tuple[tuple[slice, ...], NDArray]:
    """Log odds of one structure against its surroundings in a box around it, and that box."""
    box = _around(structure, np.ceil(REACH_MM / scene.spacing).astype(int) + 1)
    mine, value, deep = structure[box], scene.image[box], scene.deep[box]
    distance = signed_distance(mine, scene.spacing)
    core = value[distance <= np.quantile(distance[mine], CORE)]
    level = float(np.median(core))
    spread = max(1.4826 * float(np.median(np.abs(core - level))), LEAST * float(scene.levels[2] - scene.levels[0]))
    own = _density(value, level, spread)
    around = (distance > MISS_MM) & (distance < REACH_MM) & ~deep
    tissues = scene.fractions[(slice(None), *box)]
    share = tissues[:, around].sum(1) + 1.0
    levels = scene.levels.copy()
    if level > levels[WHITE] - spread:
        levels[WHITE] = _nearby(value[around & (tissues[WHITE] > PURE)], levels[WHITE])
    other = sum(p * _density(value, k, spread) for p, k in zip(share / share.sum(), levels, strict=True))
    evidence = ndimage.gaussian_filter(np.log(own + 1e-4) - np.log(other + 1e-4), SMOOTH_VOX)
    return box, np.where(distance < REACH_MM, evidence - distance / MISS_MM, -np.inf)


def _nearby(values: NDArray, level: float) -> float:
    """Level of white matter beside one structure; that of the whole brain where it is higher or there is little."""
    return max(level, float(np.median(values))) if len(values) >= ENOUGH else level


def signed_distance(mask: NDArray, spacing: NDArray) -> NDArray:
    """Distance in mm from the border of a mask, negative inside."""
    outside = ndimage.distance_transform_edt(~mask, sampling=spacing)
    inside = ndimage.distance_transform_edt(mask, sampling=spacing)
    half = float(np.mean(spacing)) / 2
    return np.where(mask, half - inside, outside - half)


def _around(mask: NDArray, margin: NDArray) -> tuple[slice, ...]:
    found = ndimage.find_objects(mask.astype(np.uint8))[0]
    return tuple(
        slice(max(s.start - m, 0), min(s.stop + m, n)) for s, m, n in zip(found, margin, mask.shape, strict=True)
    )


def _density(value: NDArray, level: float, spread: float) -> NDArray:
    return np.exp(-0.5 * ((value - level) / spread) ** 2)


def _settle(warped: NDArray, chosen: NDArray, deep: NDArray, csf: NDArray, atlas: Atlas) -> NDArray:
    """Write what was chosen over the warped labels; give what was lost to the ventricle beside it, or to its side."""
    regions = atlas.regions
    side = np.zeros(int(regions["index"].max()) + 1, warped.dtype)
    side[regions["index"]] = regions["hemisphere"].map({"L": LEFT, "R": RIGHT, "B": 0})
    result = warped.copy()
    lost = deep & (chosen == 0)
    result[lost] = side[warped[lost]]
    water = np.isin(warped, regions.loc[regions["structure"] == "ventricle", "index"])
    wet = lost & (csf > 0.5)
    if wet.any() and water.any():
        at = ndimage.distance_transform_edt(~water, return_distances=False, return_indices=True)
        result[wet] = warped[tuple(at)][wet]
    return np.where(chosen > 0, chosen, result)
