"""What a scan's own voxels say against it: a background without noise, lost slices, a missing skull, stray spikes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from anatcl.base.errors import InputError
from anatcl.images import Volume

FLAT_SHARE = 0.3  # of all voxels that have the one value of the background
SPIKE = 10.0  # times the 99.5th percentile: no tissue is so bright
FAINT = 0.05  # of the brightest tissue: below it is background
HEAD_ML = 2200  # the smallest heads have more than that above background, the largest stripped brains less
# Below its surface a head is bright (scalp), then dark (bone): medians at these depths (mm). A brain becomes brighter.
SCALP_MM, BONE_MM = (2.0, 8.0), (8.0, 18.0)
LAYER_MM = 2.0  # thickness of the layers whose medians are compared
DARKER = 0.8  # bone beside scalp; .22 to .68 in heads of four scanners (.92 in a fifth), 1.01 to 1.08 in those stripped
# Fat of the scalp beside the middle of the brain: 95th percentile of the outermost layer. 1.98 to 3.1 in the heads of a
# scanner whose thin bone is hardly seen; .75 to 1.07 in heads that are stripped, on grids of .7 to 6 mm.
FAT_MM, MIDDLE_MM, FAT = (1.0, 6.0), 25.0, 1.4
LOST = 0.1  # area of a slice beside that of its neighbours on both sides


def faces(data: NDArray) -> NDArray:
    """Voxels of the six faces of the grid, shape (n,)."""
    return np.concatenate([np.take(data, side, axis).ravel() for axis in range(3) for side in (0, -1)])


def flat_background(data: NDArray) -> NDArray | None:
    """Voxels of a background without noise: NaN, or the one value that most of the grid's faces have.

    Returns
    -------
    ndarray of bool, shape (X, Y, Z), or None
        ``None`` where the background has noise.
    """
    bad = ~np.isfinite(data)
    rim = faces(data)
    if np.isfinite(rim).mean() < 0.5:
        return bad
    values, counts = np.unique(rim[np.isfinite(rim)], return_counts=True)
    flat = bad | (data == values[counts.argmax()])
    return flat if counts.max() > 0.5 * len(rim) and flat.mean() > FLAT_SHARE else None


def lifted(data: NDArray, flat: NDArray) -> NDArray | None:
    """Intensities above a background of zeros, where those of a z-scored image lie on both sides of it.

    Parameters
    ----------
    data : ndarray of shape (X, Y, Z)
    flat : ndarray of bool, shape (X, Y, Z)
        Of :func:`flat_background`.

    Returns
    -------
    ndarray of shape (X, Y, Z) or None
        ``None`` where the background is the darkest already.
    """
    outside = data[flat & np.isfinite(data)]
    level = float(outside[0]) if len(outside) else 0.0
    inside = data[~flat]
    if not len(inside) or np.percentile(inside, 5) >= level:
        return None
    low, high = np.percentile(inside, [0.1, 99.5])
    floor = low - 0.01 * (high - low)
    return np.where(flat, 0, np.maximum(np.nan_to_num(data) - floor, 0))


def without_spikes(data: NDArray) -> NDArray:
    """Intensities no brighter than `SPIKE` times the brightest tissue: a few wild voxels would take all grey levels."""
    limit = SPIKE * float(np.percentile(data, 99.5))
    return np.minimum(data, limit) if limit > 0 else data


def refuse_lost_slices(scan: Volume, threshold: float, path: str | Path) -> None:
    """Raise where slices inside the head are empty.

    Parameters
    ----------
    scan : Volume
    threshold : float
        Intensity above which a voxel belongs to the head.

    Raises
    ------
    InputError
        The scan has lost slices.
    """
    head = scan.data > threshold
    for axis in range(3):
        area = head.sum(axis=tuple(k for k in range(3) if k != axis)).astype(float)
        before = np.maximum.accumulate(area)
        after = np.maximum.accumulate(area[::-1])[::-1]
        sides = np.minimum(before, after)
        lost = np.flatnonzero((area < LOST * sides) & (sides > 0.25 * area.max()))
        if len(lost):
            where = f"slices {lost[0]} to {lost[-1]}" if len(lost) > 1 else f"slice {lost[0]}"
            reason = f"slices inside the head are empty: {len(lost)} of {len(area)} along axis {axis + 1} ({where})."
            raise InputError(reason, path, "Convert the scan again from its DICOM files, or leave it out.")


def refuse_stripped(scan: Volume, path: str | Path) -> None:
    """Raise when the scan has no skull: what stands out from the background is not more than a brain.

    Raises
    ------
    InputError
        The scan is stripped.
    """
    level = float(np.median(faces(scan.data)))
    top = float(np.percentile(scan.data, 99.5))
    shown = np.abs(scan.data - level) > FAINT * abs(top - level)
    volume = shown.sum() * scan.voxel_volume / 1000
    if 1 - shown.mean() > FLAT_SHARE and volume < HEAD_ML and not _bone_below(scan, np.abs(scan.data - level), shown):
        raise InputError(
            f"the scan seems to be skull-stripped already ({volume:.0f} ml stand out from the background).",
            path,
            "Give its brain mask in the table preprocess: corrections (column mask), or leave the scan out; "
            "only where every scan is stripped, set preprocess: skullstrip: {method: none}.",
        )


def _bone_below(scan: Volume, brightness: NDArray, shown: NDArray) -> bool:
    """Whether what stands out from the background has bone below scalp, or the fat of a scalp, as only a head has.

    A field of view that ends within the head is no surface of it.
    """
    steps = np.maximum(1, np.ceil(2 * BONE_MM[1] / scan.spacing)).astype(int)
    solid = ndimage.binary_fill_holes(np.pad(shown, [(n, n) for n in steps], mode="edge"))
    depth = ndimage.distance_transform_edt(solid, sampling=scan.spacing)
    depth = depth[tuple(slice(n, n + size) for n, size in zip(steps, shown.shape, strict=True))]
    scalp, bone = (
        [
            np.median(brightness[layer])
            for low in np.arange(*ends, LAYER_MM).tolist()
            if (layer := _between(depth, low)).any()
        ]
        for ends in (SCALP_MM, BONE_MM)
    )
    outermost = brightness[(depth > FAT_MM[0]) & (depth <= FAT_MM[1])]
    middle = brightness[depth > MIDDLE_MM]
    if outermost.size and middle.size and np.percentile(outermost, 95) > FAT * np.median(middle):
        return True
    return bool(scalp and bone and min(bone) < DARKER * max(scalp))


def _between(depth: NDArray, low: float) -> NDArray:
    return (depth > low) & (depth <= low + LAYER_MM)
