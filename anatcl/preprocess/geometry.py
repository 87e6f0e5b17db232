"""Grids: spacing, resampling for estimates, padding, anatomical axes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from anatcl.images import Volume


def coarsen(volume: Volume, spacing_mm: float) -> Volume:
    """Average whole voxels so that each axis comes near `spacing_mm`; axes that are coarser already stay.

    Averaging is its own anti-alias filter, and the affine follows the centres of the averaged blocks.
    """
    factors = np.maximum(1, np.round(spacing_mm / volume.spacing)).astype(int)
    if (factors == 1).all():
        return volume
    shape = [n // f for n, f in zip(volume.data.shape, factors, strict=True)]
    cut = volume.data[tuple(slice(0, n * f) for n, f in zip(shape, factors, strict=True))]
    blocks = cut.reshape(shape[0], factors[0], shape[1], factors[1], shape[2], factors[2])
    affine = volume.affine.copy()
    affine[:3, :3] = volume.affine[:3, :3] * factors
    affine[:3, 3] = (volume.affine @ np.append((factors - 1) / 2, 1))[:3]
    return Volume(blocks.mean(axis=(1, 3, 5), dtype=np.float32), affine)


def coordinates(volume: Volume, index: NDArray) -> NDArray:
    """RAS+ coordinates (mm), shape (N, 3), of voxel indices of shape (N, 3)."""
    from nibabel.affines import apply_affine

    return apply_affine(volume.affine, index)


def dilate_mm(mask: NDArray, volume: Volume, radius_mm: float) -> NDArray:
    """All voxels within `radius_mm` of the mask."""
    return ndimage.distance_transform_edt(~mask, sampling=volume.spacing) <= radius_mm


def erode_mm(mask: NDArray, volume: Volume, radius_mm: float) -> NDArray:
    """All voxels deeper than `radius_mm` inside the mask."""
    return ndimage.distance_transform_edt(mask, sampling=volume.spacing) > radius_mm


def close_mm(mask: NDArray, volume: Volume, radius_mm: float) -> NDArray:
    """Fill gaps narrower than twice `radius_mm` (padded, so that the border is no wall)."""
    pad = np.ceil(radius_mm / volume.spacing).astype(int) + 1
    width = [(p, p) for p in pad]
    padded = np.pad(mask, width)
    distance = ndimage.distance_transform_edt(~padded, sampling=volume.spacing)
    closed = ndimage.distance_transform_edt(distance <= radius_mm, sampling=volume.spacing) > radius_mm
    inner = tuple(slice(p, n + p) for p, n in zip(pad, mask.shape, strict=True))
    return closed[inner] | mask


def largest_component(mask: NDArray) -> NDArray:
    """The largest 6-connected part of a mask."""
    labels, count = ndimage.label(mask)
    if count <= 1:
        return mask.astype(bool)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return labels == sizes.argmax()


def bounding_box(mask: NDArray, margin: int = 0) -> tuple[slice, slice, slice]:
    """Slices of the smallest box around a mask, `margin` voxels wider."""
    box = ndimage.find_objects(mask.astype(np.uint8))[0]
    x, y, z = (slice(max(0, s.start - margin), min(n, s.stop + margin)) for s, n in zip(box, mask.shape, strict=True))
    return x, y, z


def crop(volume: Volume, box: tuple[slice, slice, slice]) -> Volume:
    """Cut a box out of a volume; the affine follows."""
    affine = volume.affine.copy()
    affine[:3, 3] = (volume.affine @ np.array([*(s.start for s in box), 1.0]))[:3]
    return Volume(volume.data[box], affine)


def paste(data: NDArray, shape: tuple[int, ...], box: tuple[slice, ...]) -> NDArray:
    """Put what was cut out back into its box of a grid of `shape`, float32, zero around it."""
    whole = np.zeros(shape, np.float32)
    whole[box] = data
    return whole
