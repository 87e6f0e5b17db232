"""Where the skull begins in the scan itself: the edges of the warped masks, moved to the edges seen in the intensities.

A template's intracranial mask lands within a few millimetres of the inner table of the skull; the scan itself shows
where CSF meets bone. Every level is taken from the scan, none is a constant of a scanner:

- The shell around the warped mask holds bone, fluid and brighter things (`shell_levels`).
- CSF that lies outside the warped mask, thick as it is over the vertex of older people, is joined to it; marrow and
  scalp are not, since they are brighter and have bone before them (`with_fluid`).
- The edge then moves to where the intensity is `EDGE` of the way from bone to what lies inside, both measured nearby;
  distance to the edge is weighed against it (`moved`).

The numbers below are lengths and shares, set on 16 IXI scans beside the DLMUSE segmentation (see docs/results).
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from anatcl.images import Volume
from anatcl.preprocess.geometry import close_mm, dilate_mm, erode_mm, largest_component

# The warped edge is that far off at most where fluid lies beyond it; what is joined is thicker than `SKIN_MM`.
FLUID_MM, SKIN_MM, OPEN_MM = 8.0, 3.0, 4.0
AWAY_MM = 2.5  # from what is brighter than fluid: between bone and marrow a voxel looks like fluid
LOW = 0.3  # share of the way from bone to fluid at which fluid begins
# Share of the way from bone to what lies inside at which the edge is, and the half-width of doubt around it.
EDGE, DOUBT = 0.85, 0.25
REACH_MM = 1.5
SMOOTH_MM = 3.2
INSIDE_MM, OUTSIDE_MM = 4.0, 9.0  # how far from the edge levels are measured
NEAR_MM = 10.0  # SD of the neighbourhood in which they are
BLOCK_MM = 4.0  # grid on which they are averaged
FAR = 1e-3  # weight of the plain mean
DEEP_MM = 3.0  # from the edge inward: brain, whatever the edge's error
FLUID_PERCENT = 1.0  # of the cranium, at least, is pure fluid
SAMPLE = 20_000  # intensities that a level is estimated from
# Half the thickness of a sheet that is no brain; how far a brain mask reaches beyond tissue, a voxel at least, so that
# voxels of which tissue is less than a half are in it; half the width of a sulcus that it closes.
PEEL_MM, RIM_MM, CLOSE_MM = 2.0, 2.0, 6.0


def to_inner_table(scan: Volume, icv: NDArray) -> NDArray:
    """Move the edge of a warped intracranial mask to the inner table of the skull.

    Parameters
    ----------
    scan : Volume
        Bias-corrected scan; a factor on its intensities changes nothing.
    icv : ndarray of bool, shape (X, Y, Z)
        Warped mask.

    Returns
    -------
    ndarray of bool, shape (X, Y, Z)
        One component without holes; the warped mask where nothing lies inside or outside of it.
    """
    distance = signed_distance(icv, scan)
    levels = shell_levels(scan.data, distance)
    if levels is None:
        return icv
    return moved(scan, with_fluid(scan, icv, distance, levels), levels)


@dataclasses.dataclass(frozen=True)
class Levels:
    """Intensities between which bone, fluid and what is brighter lie."""

    bone_to_fluid: float
    fluid_to_bright: float


def shell_levels(data: NDArray, distance: NDArray) -> Levels | None:
    """Levels in the shell around the warped edge, from the scan alone.

    Parameters
    ----------
    data, distance : ndarray of shape (X, Y, Z)
        Intensities; signed distance (mm) to the warped edge, negative inside.
    """
    brain = means_of_three(data[distance < -DEEP_MM])
    if brain is None:
        return None
    shell = data[(distance > -2) & (distance < FLUID_MM)]
    found = means_of_three(shell[shell < brain[1]])
    if found is None:
        return None
    bone, fluid, bright = found
    return Levels(bone + LOW * (fluid - bone), (fluid + bright) / 2)


def means_of_three(values: NDArray) -> NDArray | None:
    """Means of three classes of intensities, dark to bright (k-means); None where there are not three."""
    if np.unique(values[:SAMPLE]).size < 3:
        return None
    values = values[:: max(1, len(values) // SAMPLE)].astype(np.float64)
    means = np.percentile(values, [10, 50, 90])
    for _ in range(30):
        nearest = np.abs(values[:, None] - means).argmin(axis=1)
        means = np.array([values[nearest == k].mean() if (nearest == k).any() else means[k] for k in range(3)])
    return means


def with_fluid(scan: Volume, icv: NDArray, distance: NDArray, levels: Levels) -> NDArray:
    """The mask with the fluid that lies against it from outside, as far as it is thicker than `SKIN_MM`."""
    bright = (scan.data > levels.fluid_to_bright) & (distance > AWAY_MM)
    fluid = (scan.data > levels.bone_to_fluid) & (scan.data < levels.fluid_to_bright) & (distance < FLUID_MM)
    fluid &= ~dilate_mm(bright, scan, AWAY_MM)
    joined = whole(opened(icv | fluid, scan, OPEN_MM)) & ~icv
    thick = joined & (distance > SKIN_MM)
    return icv | joined & dilate_mm(thick, scan, SKIN_MM + float(scan.spacing.max()))


def moved(scan: Volume, icv: NDArray, levels: Levels) -> NDArray:
    """The mask with its edge where the intensity falls to bone, by no more than `REACH_MM` from where it was."""
    distance = signed_distance(icv, scan)
    inside = local_mean(scan, (distance < 0) & (distance > -INSIDE_MM))
    outside = local_mean(scan, (distance > 0) & (distance < OUTSIDE_MM) & (scan.data < levels.bone_to_fluid))
    contrast = np.maximum(inside - outside, 1e-6 * max(float(inside.max()), 1e-6))
    bright = np.clip((scan.data - outside - EDGE * contrast) / (DOUBT * contrast), -1, 1)
    balance = ndimage.gaussian_filter(bright - distance / REACH_MM, SMOOTH_MM / scan.spacing)
    # Opened, so that no marrow or vein hangs on by a thread.
    return whole(ndimage.binary_opening(balance > 0))


def signed_distance(mask: NDArray, scan: Volume) -> NDArray:
    """Distance (mm) of every voxel to the nearest one across the mask's edge, negative inside."""
    outward = ndimage.distance_transform_edt(~mask, sampling=scan.spacing)
    return (outward - ndimage.distance_transform_edt(mask, sampling=scan.spacing)).astype(np.float32)


def local_mean(scan: Volume, where: NDArray) -> NDArray:
    """Mean intensity of the voxels `where`, weighted by a Gaussian of SD `NEAR_MM`; their plain mean far from any.

    It is computed on blocks of about `BLOCK_MM`, each of which holds one value.
    """
    from skimage.measure import block_reduce

    factors = tuple(int(f) for f in np.maximum(1, np.round(BLOCK_MM / scan.spacing)))
    total = block_reduce(np.where(where, scan.data, 0).astype(np.float32), factors, np.mean)
    weight = block_reduce(where.astype(np.float32), factors, np.mean)
    plain = float(total.sum() / max(weight.sum(), 1e-6))
    sigma = NEAR_MM / (scan.spacing * factors)
    total, weight = (ndimage.gaussian_filter(v, sigma, truncate=3) for v in (total, weight))
    mean = (total + FAR * plain) / (weight + FAR)
    for axis, factor in enumerate(factors):
        mean = np.repeat(mean, factor, axis=axis)
    return mean[tuple(slice(0, n) for n in where.shape)]


def opened(mask: NDArray, scan: Volume, radius_mm: float) -> NDArray:
    """The mask without what is thinner than twice `radius_mm`."""
    return dilate_mm(erode_mm(mask, scan, radius_mm), scan, radius_mm) & mask


def whole(mask: NDArray) -> NDArray:
    """The largest component, its holes filled."""
    return ndimage.binary_fill_holes(largest_component(mask))


def brain_within(scan: Volume, icv: NDArray, core: NDArray | None = None) -> NDArray:
    """The brain in the cranium: grey and white matter without dura and veins, and the CSF next to it.

    Parameters
    ----------
    scan : Volume
        Bias-corrected scan; a factor on its intensities changes nothing.
    icv : ndarray of bool, shape (X, Y, Z)
        Intracranial mask.
    core : ndarray of bool, shape (X, Y, Z), optional
        What is brain for certain, dark lesions too.

    Returns
    -------
    ndarray of bool, shape (X, Y, Z)
        Brain mask, without holes; the intracranial mask where the scan has no contrast inside it.
    """
    level = tissue_level(scan.data[erode_mm(icv, scan, DEEP_MM)])
    if level is None:
        return icv
    tissue = scan.data > level
    if core is not None:
        tissue |= core
    return with_rim(peeled(tissue & icv, scan), icv, scan)


def tissue_level(deep: NDArray) -> float | None:
    """Intensity half-way from fluid to grey matter, from the intensities deep in the cranium; None without contrast.

    Grey matter is the middle one of three classes; fluid is not the darkest of them, which in young people, who have
    little of it, is a mixture of fluid and cortex, but the darkest `FLUID_PERCENT` of all: ventricles and cisterns.
    """
    classes = means_of_three(deep)
    if classes is None:
        return None
    return float(np.percentile(deep, FLUID_PERCENT) + classes[1]) / 2


def peeled(tissue: NDArray, scan: Volume) -> NDArray:
    """Tissue without the sheets and strings around it that are thinner than twice `PEEL_MM` (dura, veins, nerves)."""
    core = largest_component(erode_mm(tissue, scan, PEEL_MM))
    return largest_component(tissue & dilate_mm(core, scan, PEEL_MM + float(scan.spacing.max())))


def with_rim(brain: NDArray, icv: NDArray, scan: Volume) -> NDArray:
    """Tissue with a rim of a voxel, `RIM_MM` at least, inside the skull; sulci and fissures are closed.

    Parameters
    ----------
    brain, icv : ndarray of bool, shape (X, Y, Z)
        Grey and white matter; intracranial mask.
    """
    rim = max(RIM_MM, float(scan.spacing.max()))
    return ndimage.binary_fill_holes(close_mm(dilate_mm(brain, scan, rim), scan, CLOSE_MM) & icv)
