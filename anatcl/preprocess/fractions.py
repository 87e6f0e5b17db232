"""Tissue fractions of one scan: how much of each voxel is CSF, grey and white matter.

A posterior is not a fraction. Three Gaussians of unequal width put the border between grey and white matter where the
wider one ends, not where a voxel is half of each: white matter comes out too small and cortex too thick. Here a voxel
may be mixed (:mod:`anatcl.preprocess.mixels`), and the posteriors say only where each tissue is to be expected.
Everything is fitted to the scan, the levels of grey and white matter to the neighbourhood of each voxel
(:mod:`anatcl.preprocess.local_levels`).

Voxels of 1.5 mm and more are worked on in 2 or 3 pieces a side and averaged back, so that a voxel of three tissues is
one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from anatcl.base.errors import InputError
from anatcl.preprocess.geometry import bounding_box, largest_component, paste
from anatcl.preprocess.local_levels import GREY_MM, WHITE_VOXELS, evened, nearby
from anatcl.preprocess.mixels import CSF, GREY, WHITE, Mixels, fit

# Voxel side, in mm, of the grid that the work is done on; a voxel is cut into no more pieces than this along a side.
GRID_MM = 1.0
MOST_PIECES = 3
# The work is done on the brain's box, so many voxels wider: the spline through the scan does not notice the cut.
MARGIN = 4
# What is left of the bias field varies over this length (SD of the smoothing, mm).
FIELD_MM = 14.0
# The priors are blurred by this much (mm): a posterior is sharper than it is certain.
BLUR_MM = 1.0
# No tissue is impossible anywhere.
FLOOR = 0.02
# The fit leaves out this much (mm) under the mask's border, where vessels and meninges lie.
RIM_MM = 2.0
# Weight of total-variation denoising, in standard deviations of the noise.
DENOISE = 1.5
# How often the levels near each voxel are taken from the fractions, and these made anew.
ROUNDS = 2
# The level of a deep nucleus is that of its neighbourhood of this size (SD, mm).
NUCLEUS_MM = 3.0
FEWEST = 20


def fractions(
    image: NDArray, brain: NDArray, posteriors: NDArray, spacing: NDArray, deep: NDArray | None = None
) -> tuple[NDArray, dict[str, Any]]:
    """Estimate the tissue fractions of one scan.

    Parameters
    ----------
    image : ndarray of shape (X, Y, Z)
        Bias-corrected T1w scan, in any unit.
    brain : ndarray of bool, shape (X, Y, Z)
    posteriors : ndarray of shape (3, X, Y, Z)
        Probabilities of CSF, grey and white matter inside the brain mask.
    spacing : ndarray of shape (3,)
        Voxel size in mm.
    deep : ndarray of shape (X, Y, Z), optional
        Probability of a deep nucleus (thalamus, striatum, pallidum). They are grey matter, though some are as bright as
        white matter.

    Returns
    -------
    fractions : ndarray of float32, shape (3, X, Y, Z)
        Adding up to one inside the brain mask, zero outside.
    facts : dict
        What was fitted, for the sidecar.

    Raises
    ------
    InputError
        The scan holds values that are not finite, has no white or no grey matter, or is not a T1w contrast.
    """
    spacing = np.asarray(spacing, float)
    level, noise = _check(image, brain, posteriors)
    factors = np.clip(np.round(spacing / GRID_MM), 1, MOST_PIECES).astype(int)
    box = bounding_box(brain, MARGIN)
    scan = denoise(image[box] / level, noise)
    inner = np.stack([_refine(p[box], factors, 1) for p in posteriors])
    mask = _repeat(brain[box], factors)
    nuclei = None if deep is None else _refine(deep[box], factors, 1)
    voxel_mm = float(spacing.mean())
    found, model = _fine(_refine(scan, factors, 3), mask, inner, spacing / factors, nuclei, voxel_mm)
    facts = {
        "TissueMethod": "fractions",
        "Levels": dict(zip(("CSF", "GM", "WM"), (round(float(v), 4) for v in model.levels), strict=True)),
        "NoiseWidth": round(model.noise, 4),
        "Weights": [round(float(w), 4) for w in model.weights],
        "GridMm": [round(float(h), 4) for h in spacing / factors],
        "DeepNuclei": deep is not None,
        "LocalLevels": {
            "Rounds": ROUNDS,
            "SmoothingGMMm": GREY_MM,
            "SmoothingWMMm": round(WHITE_VOXELS * voxel_mm, 4),
        },
    }
    return np.stack([paste(_average(f, factors), brain.shape, box) for f in found]) * brain, facts


def _sure(brain: NDArray, posteriors: NDArray, tissue: int) -> NDArray:
    """Voxels that are surely of a tissue; where voxels are so coarse that few are, those that are mostly of it."""
    sure = brain & (posteriors[tissue] > 0.9)
    return sure if sure.sum() >= FEWEST else brain & (posteriors.argmax(axis=0) == tissue)


def _check(image: NDArray, brain: NDArray, posteriors: NDArray) -> tuple[float, float]:
    """Brightness of white matter, and noise as a share of it."""
    cure = "Look at the picture of `qc`; give its brain mask in the table preprocess: corrections, or leave it out."
    if not np.isfinite(image[brain]).all() or not np.isfinite(posteriors).all():
        raise InputError("the scan has values inside the brain that are not finite.", remedy=cure)
    sure = {name: _sure(brain, posteriors, tissue) for tissue, name in ((GREY, "grey"), (WHITE, "white"))}
    for name, where in sure.items():
        if where.sum() < FEWEST:
            raise InputError(f"there is hardly any {name} matter in the brain mask.", remedy=cure)
    grey, white = (float(np.median(image[where])) for where in sure.values())
    if not 0 < grey < white:
        raise InputError("grey matter is not darker than white matter: this is not a T1w contrast.", remedy=cure)
    return white, noise_level(image / white, ndimage.binary_erosion(posteriors[WHITE] > 0.5) & brain)


def noise_level(image: NDArray, where: NDArray) -> float:
    """Standard deviation of the noise, from second differences, which smooth structure does not have.

    Source: Immerkaer 1996 (Comput Vis Image Underst 64:300), in three dimensions and by the median.
    """
    kernel = np.array([1.0, -2.0, 1.0])
    rest = image.astype(np.float32)
    for axis in range(3):
        rest = ndimage.convolve1d(rest, kernel, axis=axis, mode="nearest")
    size = np.abs(rest[where]) if where.any() else np.abs(rest)
    return float(np.median(size) / 0.6745 / np.sqrt(6.0**3))


def denoise(image: NDArray, noise: float) -> NDArray:
    """Total-variation denoising (Chambolle 2004): noise goes, edges stay."""
    from skimage.restoration import denoise_tv_chambolle

    if noise <= 0:
        return image.astype(np.float32)
    return denoise_tv_chambolle(image.astype(np.float32), weight=DENOISE * noise, max_num_iter=30)


def _fine(
    image: NDArray, brain: NDArray, posteriors: NDArray, spacing: NDArray, deep: NDArray | None, voxel_mm: float
) -> tuple[NDArray, Mixels]:
    """Fractions on the fine grid, shape (3, X, Y, Z), and the model."""
    flat = flatten(image, posteriors[WHITE], spacing)
    priors = np.stack([ndimage.gaussian_filter(p, BLUR_MM / spacing) for p in posteriors]) + np.float32(FLOOR)
    priors /= priors.sum(0)
    inside = ndimage.binary_erosion(brain, iterations=max(1, round(RIM_MM / float(spacing.mean()))))
    start = [np.median(flat[s]) if (s := brain & (p > 0.9)).sum() >= FEWEST else 0.4 for p in posteriors]
    model = fit(flat[inside], priors[:, inside], np.array(start), 0.07)
    found = np.zeros((3, *brain.shape), np.float32)
    found[:, brain], density = model.fractions(flat[brain], priors[:, brain])
    even = flat
    for _ in range(ROUNDS):  # the nuclei below, too, are told apart better on the scan with even levels
        even = evened(flat, found, brain, model.levels, spacing, voxel_mm, deep)
        found[:, brain], density = model.fractions(even[brain], priors[:, brain])
    if deep is not None:
        claim_nuclei(found, even, brain, deep, density, model.noise, spacing)
    peel(found, brain, spacing)
    return found, model


def flatten(image: NDArray, white: NDArray, spacing: NDArray) -> NDArray:
    """Divide by the level of white matter around each voxel: what bias correction left."""
    pure = (white > 0.9) & ndimage.binary_erosion(white > 0.5, iterations=max(1, round(1 / float(spacing.mean()))))
    pure = pure if pure.sum() >= FEWEST else white > 0.9
    level = float(np.median(image[pure])) if pure.any() else 1.0
    field = nearby(image, pure, level, FIELD_MM / spacing)
    return (image / np.clip(field, 0.8 * level, 1.25 * level)).astype(np.float32)


def claim_nuclei(
    found: NDArray, image: NDArray, brain: NDArray, deep: NDArray, density: NDArray, noise: float, spacing: NDArray
) -> None:
    """Give deep nuclei to grey matter, in place, where their own level explains a voxel as well as the model does."""
    weight = np.where(brain, deep, 0).astype(np.float32) ** 2
    near = ndimage.gaussian_filter(weight, NUCLEUS_MM / spacing)
    level = ndimage.gaussian_filter(image * weight, NUCLEUS_MM / spacing) / np.maximum(near, 1e-6)
    chance = deep[brain]
    # Half of the nuclei's spread is their own texture.
    own = chance * np.exp(-0.25 * ((image - level)[brain] / noise) ** 2)
    share = own / np.maximum(own + (1 - chance) * density, 1e-30)
    found[:, brain] *= 1 - share
    found[GREY, brain] += share


def peel(found: NDArray, brain: NDArray, spacing: NDArray) -> None:
    """Turn into CSF, in place, what no solid tissue is next to: meninges, veins, specks."""
    reach = max(1, round(1 / float(spacing.mean())))
    tissue = found[GREY] + found[WHITE] > 0.5
    core = largest_component(ndimage.binary_erosion(tissue, iterations=reach))
    solid = ndimage.binary_dilation(core, iterations=2 * reach, mask=tissue)
    near = ndimage.binary_dilation(solid, iterations=reach) & brain
    found[GREY:] *= near
    found[CSF] = np.where(brain, np.clip(1 - found[GREY] - found[WHITE], 0, 1), 0)


def _refine(data: NDArray, factors: NDArray, order: int) -> NDArray:
    """Interpolate to pieces of voxels."""
    if (factors == 1).all():
        return data.astype(np.float32)
    return ndimage.zoom(data.astype(np.float32), factors, order=order, mode="nearest", grid_mode=True)


def _repeat(mask: NDArray, factors: NDArray) -> NDArray:
    for axis, factor in enumerate(factors):
        mask = np.repeat(mask, factor, axis)
    return mask


def _average(data: NDArray, factors: NDArray) -> NDArray:
    """Average the pieces of each voxel."""
    shape = np.stack([np.array(data.shape) // factors, factors], 1).ravel()
    return data.reshape(shape).mean(axis=(1, 3, 5), dtype=np.float32)
