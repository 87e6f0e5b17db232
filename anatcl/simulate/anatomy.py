"""The template as surfaces and distances, so that a cortex of any thickness can be made from it.

The packaged ICBM152 maps are averages: sulci are fused and the grey-matter probability says little about thickness.
They are turned into one sharp brain: a white-matter surface, sulci opened along the ridges of the distance from it, and
for each place of the cortex its thickness. Moving the outer boundary to ``factor * thickness`` thins the cortex and
widens the sulci, as atrophy does, and leaves the intracranial volume alone.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from anatcl.preprocess.head import LABELS, build_head, packaged_folder
from anatcl.preprocess.head_anatomy import HeadParameters
from anatcl.simulate.effects import atlas_folder, regions

Array = NDArray[Any]

REACH_MM = 3.0  # how far from the atlas's cortical labels a voxel still belongs to the cortex
THICKEST_MM = 4.2
HEAD_MM = 2.0  # grid of everything outside the brain


@dataclass(frozen=True)
class HeadFields:
    """What lies outside the brain, on a grid of `HEAD_MM`.

    Attributes
    ----------
    outside : ndarray of shape (X, Y, Z)
        T1 intensity (fractions of white matter) of skull, scalp, face and neck; bone inside the skull.
    icv : ndarray of shape (X, Y, Z)
        1 inside the skull.
    away : ndarray of shape (X, Y, Z)
        Smoothed distance from the intracranial volume, mm.
    normal : ndarray of shape (3, X, Y, Z)
        Direction in which `away` grows.
    affine : ndarray of shape (4, 4)
    """

    outside: Array
    icv: Array
    away: Array
    normal: Array
    affine: NDArray[np.float64]


@dataclass(frozen=True)
class Anatomy:
    """The template brain on its 1 mm grid; the fields are listed for the `n` voxels of the brain mask only.

    Attributes
    ----------
    affine : ndarray of shape (4, 4)
        Voxel indices of the box to ICBM mm.
    mask : ndarray of shape (X, Y, Z), bool
        The brain mask.
    territory : ndarray of shape (X, Y, Z), uint8
        Label of the region that a voxel belongs to when it is grey matter; 0 elsewhere.
    region : ndarray of shape (n,), uint8
        `territory` inside the mask.
    cortex : ndarray of shape (n,), bool
        Where the surfaces below hold; elsewhere (deep nuclei, cerebellum) the fractions do.
    depth : ndarray of shape (n,)
        Signed distance from the white-matter surface, mm; positive outside.
    thickness : ndarray of shape (n,)
        Thickness of the cortex, mm.
    gm, wm : ndarray of shape (n,)
        Tissue fractions outside the cortex.
    ventricle : ndarray of shape (n,)
        Distance from the ventricles (mm), negative inside.
    inner : ndarray of shape (n,)
        Depth inside a subcortical label, mm.
    mean_thickness : ndarray of shape (83,)
        Mean thickness of the cortical regions over their white-matter surface, mm; NaN for the others.
    head : HeadFields
    """

    affine: NDArray[np.float64]
    mask: NDArray[np.bool_]
    territory: NDArray[np.uint8]
    region: NDArray[np.uint8]
    cortex: NDArray[np.bool_]
    depth: Array
    thickness: Array
    gm: Array
    wm: Array
    ventricle: Array
    inner: Array
    mean_thickness: NDArray[np.float64]
    head: HeadFields


@functools.cache
def anatomy() -> Anatomy:
    """Prepare the template once per process (about five seconds)."""
    maps, labels, affine = _load()
    mask = maps["mask"] > 0
    white, grey = maps["wm"], maps["gm"]
    fluid = np.clip(1 - grey - white, 0, 1) * mask
    cortical_labels = np.array([False] + [r.cortical for r in regions()])[labels]
    subcortical = (labels > 0) & ~cortical_labels

    near, nearest = ndimage.distance_transform_edt(~cortical_labels, return_indices=True)
    cortex = mask & (near <= REACH_MM) & ~subcortical
    territory = np.where(cortex, labels[tuple(nearest)], np.where(subcortical & mask, labels, 0)).astype(np.uint8)

    depth = _signed_distance(_white_matter(white, fluid, mask, cortex))
    thickness, ribbon = _thickness(depth, fluid, mask, cortex)
    depth = ndimage.gaussian_filter(depth, 0.5)
    sharp = {k: np.clip(0.5 + 1.5 * (v - 0.5), 0, 1) for k, v in (("gm", grey), ("wm", white))}
    total = np.maximum(sharp["gm"] + sharp["wm"], 1)
    return Anatomy(
        affine=affine,
        mask=mask,
        territory=territory,
        region=territory[mask],
        cortex=cortex[mask],
        depth=depth[mask],
        thickness=thickness[mask],
        gm=(sharp["gm"] / total)[mask],
        wm=(sharp["wm"] / total)[mask],
        ventricle=_signed_distance(_ventricles(fluid, mask, affine))[mask],
        inner=_depth_inside(np.where(subcortical, labels, 0))[mask],
        mean_thickness=_mean_thickness(thickness, depth, ribbon, territory),
        head=_head_fields(maps, affine),
    )


def _load() -> tuple[dict[str, Array], NDArray[np.uint8], NDArray[np.float64]]:
    """Packaged maps and labels on one 1 mm grid, cropped to the brain."""
    import nibabel as nib

    maps, affine = {}, np.eye(4)
    for name in ("t1", "gm", "wm"):
        image = nib.nifti1.load(packaged_folder() / f"mni_icbm152_{name}_tal_nlin_sym_09a_converted.nii.gz")
        maps[name], affine = np.asarray(image.dataobj, dtype=np.float32) / 255, image.affine
    maps["mask"] = ndimage.binary_fill_holes(maps["t1"] > 0).astype(np.float32)
    atlas = nib.nifti1.load(atlas_folder() / "atlas-desikankilliany.nii.gz")
    labels = np.zeros(maps["t1"].shape, dtype=np.uint8)
    first = np.round(atlas.affine[:3, 3] - affine[:3, 3]).astype(int)
    box = tuple(slice(f, f + n) for f, n in zip(first, atlas.shape, strict=True))
    labels[box] = np.asarray(atlas.dataobj)
    inside = ndimage.find_objects(maps["mask"].astype(np.uint8))[0]
    box = tuple(slice(max(0, s.start - 2), s.stop + 2) for s in inside)
    affine = affine.copy()
    affine[:3, 3] += [s.start for s in box]
    return {k: np.ascontiguousarray(v[box]) for k, v in maps.items()}, labels[box].copy(), affine


def _signed_distance(mask: NDArray[np.bool_]) -> Array:
    """Distance to the border of `mask` in voxels: negative inside, positive outside, zero on the border."""
    outside = ndimage.distance_transform_edt(~mask)
    return np.where(mask, 0.5 - ndimage.distance_transform_edt(mask), outside - 0.5).astype(np.float32)


def _white_matter(white: Array, fluid: Array, mask: NDArray[np.bool_], cortex: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """White matter, with the thin blades that the average has blurred and a core in gyri that lost theirs."""
    below_surface = ndimage.distance_transform_edt(mask & (fluid < 0.4))
    blade = cortex & (white - ndimage.gaussian_filter(white, 3) > 0.04) & (white > 0.15) & (below_surface > 2.5)
    found = (white > 0.4) | blade
    core = cortex & (_signed_distance(found) > THICKEST_MM) & (below_surface > 3.2)
    return found | core


def _thickness(
    depth: Array, fluid: Array, mask: NDArray[np.bool_], cortex: NDArray[np.bool_]
) -> tuple[Array, NDArray[np.bool_]]:
    """Thickness (mm) at every voxel, continued beyond the cortex, and the cortex itself."""
    slope = np.sqrt(sum(g**2 for g in np.gradient(ndimage.gaussian_filter(depth, 0.6))))
    # Where two banks of a sulcus touch, the distance from white matter has a ridge: its gradient vanishes.
    sulcus = cortex & (slope < 0.55) & (depth > 1)
    ribbon = cortex & ~sulcus & (depth > 0) & ~((fluid > 0.35) & (depth > 0.8))
    whole = depth - _signed_distance(mask & ~sulcus & ~((fluid > 0.35) & (depth > 0.8)))
    weight = ndimage.gaussian_filter(ribbon.astype(np.float32), 1.5)
    smooth = ndimage.gaussian_filter(np.clip(whole, 1.2, THICKEST_MM) * ribbon, 1.5) / np.maximum(weight, 1e-3)
    return np.clip(smooth, 1.2, THICKEST_MM).astype(np.float32), ribbon


def _mean_thickness(
    thickness: Array, depth: Array, ribbon: NDArray[np.bool_], territory: NDArray[np.uint8]
) -> NDArray[np.float64]:
    """Mean over the inner surface of each cortical region."""
    surface = ribbon & (depth < 1)
    count = np.bincount(territory[surface], minlength=len(regions()) + 1)
    total = np.bincount(territory[surface], thickness[surface], minlength=len(regions()) + 1)
    mean = total / np.maximum(count, 1)
    return np.array([mean[r.label] if r.cortical else np.nan for r in regions()])


def _ventricles(fluid: Array, mask: NDArray[np.bool_], affine: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Fluid deep inside the brain, near the middle: the lateral and third ventricles."""
    x, y, z = (affine[k, 3] + np.arange(n).reshape([-1 if j == k else 1 for j in range(3)])
               for k, n in enumerate(mask.shape))  # fmt: skip
    near = (np.abs(x) < 42) & (y > -62) & (y < 42) & (z > -14) & (z < 32)
    near = near & ((np.abs(x) > 12) | (y > -26))  # not the cistern behind the third ventricle
    deep = ndimage.distance_transform_edt(mask) > 18
    # The corpus callosum lies above the ventricles: what is above it in the middle is the longitudinal fissure.
    roof = np.where(np.abs(x) < 4, 18, 32)
    parts, _ = ndimage.label((fluid > 0.5) & near & deep & (z < roof))
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    return np.isin(parts, np.flatnonzero(sizes > 300))


def _depth_inside(labels: NDArray[np.uint8]) -> Array:
    """Distance (mm) of each labelled voxel from the border of its own label."""
    depth = np.zeros(labels.shape, dtype=np.float32)
    for label, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is not None:
            inside = np.pad(labels[box] == label, 1)
            depth[box] += ndimage.distance_transform_edt(inside)[1:-1, 1:-1, 1:-1].astype(np.float32)
    return depth


def _head_fields(maps: dict[str, Array], affine: NDArray[np.float64]) -> HeadFields:
    """Build the head on a coarser grid and describe what lies outside the brain."""
    step = int(HEAD_MM)
    coarse = {k: ndimage.uniform_filter(v, step, origin=-1)[::step, ::step, ::step] for k, v in maps.items()}
    affine = affine @ np.diag([HEAD_MM, HEAD_MM, HEAD_MM, 1])
    affine[:3, 3] += (HEAD_MM - 1) / 2
    parameters = HeadParameters(neck_mm=80)
    head = build_head(coarse["t1"], coarse["mask"] > 0.5, affine, parameters)
    table = np.zeros(len(LABELS), dtype=np.float32)
    for name, value in parameters.intensity.items():
        table[LABELS[name]] = value
    labels = np.where(head.icv_mask, LABELS["bone"], head.labels)
    outside = ndimage.gaussian_filter(table[labels], 0.3)
    away = ndimage.distance_transform_edt(~head.icv_mask, sampling=HEAD_MM).astype(np.float32)
    away = ndimage.gaussian_filter(away, 2)
    normal = np.stack(np.gradient(away, HEAD_MM))
    normal /= np.maximum(np.sqrt((normal**2).sum(axis=0)), 0.3)
    return HeadFields(outside, head.icv_mask.astype(np.float32), away, normal, head.affine)
