"""One scan of one participant: truth on the scan's own grid, and the image that a scanner would make of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage

from anatcl.simulate.anatomy import HEAD_MM, Anatomy
from anatcl.simulate.deform import (
    Pose,
    Shape,
    jacobian,
    random_pose,
    random_shape,
    rotation,
    sample,
    spline,
    template_points,
)
from anatcl.simulate.effects import Factors, regions
from anatcl.simulate.people import LINEAR_SIZE, Person, Scan, Site
from anatcl.simulate.tissue import on_grid, smooth_for, tissue_fractions

Array = NDArray[Any]

SHAPE, POSE, IMAGE = 2, 3, 4  # purposes of random numbers
FOV_CENTRE = np.array([0.0, 12.0, -15.0])  # mm from the middle of the brain: the neck is in view


@dataclass(frozen=True)
class Truth:
    """What is known of a scan, on its grid.

    Attributes
    ----------
    affine : ndarray of shape (4, 4)
        Voxel indices to RAS+ mm.
    brain, icv : ndarray of shape (X, Y, Z), bool
        Brain mask (with the fluid of sulci and ventricles) and intracranial volume, which contains it.
    gm, wm, csf : ndarray of shape (X, Y, Z)
        Tissue fractions; fluid is that of the whole intracranial volume.
    outside : ndarray of shape (X, Y, Z)
        Intensity of everything outside the intracranial volume, times the part of the voxel it fills.
    labels : ndarray of shape (X, Y, Z), uint8
        Desikan-Killiany label of each voxel that is mostly the region's tissue.
    points : ndarray of shape (3, X, Y, Z)
        Where in the template (RAS+ mm) each voxel's centre belongs.
    table : DataFrame
        One row per region: volumes (mm3), thickness (mm), factors.
    summary : dict
        Global volumes (mm3), size, shape and pose.
    """

    affine: NDArray[np.float64]
    brain: NDArray[np.bool_]
    icv: NDArray[np.bool_]
    gm: Array
    wm: Array
    csf: Array
    outside: Array
    labels: NDArray[np.uint8]
    points: Array
    table: pd.DataFrame
    summary: dict[str, Any]


def make_truth(anatomy: Anatomy, who: Person, scan: Scan, voxel_mm: float) -> Truth:
    """Compute everything that is true of a scan.

    Parameters
    ----------
    anatomy : Anatomy
    who : Person
    scan : Scan
    voxel_mm : float
        Size of the isotropic voxels.
    """
    effects = who.factors(scan.years)
    shape = random_shape(who.rng(SHAPE), who.size)
    rng = who.rng(POSE, scan.number)
    pose = random_pose(rng)
    grid, affine = scan_grid(who.site, pose, voxel_mm, rng)
    points = template_points(grid, affine, pose, shape, anatomy.head)

    gm, wm, brain, territory = _brain_fields(anatomy, effects, points, voxel_mm)
    head_voxel = max(voxel_mm / HEAD_MM, 1)
    inside = smooth_for(anatomy.head.icv, head_voxel)
    icv = np.maximum(sample(inside, anatomy.head.affine, points), brain)
    outside = sample(smooth_for(anatomy.head.outside, head_voxel), anatomy.head.affine, points) * (1 - icv)
    csf = np.maximum(icv - gm - wm, 0)
    labels, table = _regions(anatomy, effects, gm, wm=wm, csf=csf, territory=territory, points=points, affine=affine)
    masks = brain > 0.5, (icv > 0.5) | (brain > 0.5)
    summary = _summary(shape, pose, gm, wm=wm, csf=csf, masks=masks, points=points, affine=affine)
    tissues = {"gm": gm, "wm": wm, "csf": csf, "outside": outside, "labels": labels}
    return Truth(affine, *masks, **tissues, points=points, table=table, summary=summary)


def scan_grid(
    site: Site, pose: Pose, voxel_mm: float, rng: np.random.Generator
) -> tuple[tuple[int, int, int], NDArray[np.float64]]:
    """Shape and affine of a scan: the site's field of view and one of its orientations, roughly on the head."""
    codes = site.orientations[int(rng.integers(len(site.orientations)))]
    tilt = np.deg2rad([rng.normal(0, site.tilt_deg) if site.tilt_deg else 0.0, 0.0, 0.0])
    axes = nib.orientations.axcodes2ornt(tuple(codes))
    field = np.array(site.field_of_view_mm)[axes[:, 0].astype(int)]
    shape = tuple(int(n) for n in np.maximum(np.round(field / voxel_mm), 4))
    matrix = np.zeros((3, 3))
    for voxel, (world, sign) in enumerate(axes):
        matrix[int(world), voxel] = sign * voxel_mm
    affine = np.eye(4)
    affine[:3, :3] = rotation(np.clip(tilt, -0.2, 0.2)) @ matrix
    centre = pose.rotation @ FOV_CENTRE + pose.shift + np.clip(rng.normal(0, 2, 3), -4, 4)
    affine[:3, 3] = centre - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return (shape[0], shape[1], shape[2]), affine


def _brain_fields(
    anatomy: Anatomy, effects: Factors, points: Array, voxel_mm: float
) -> tuple[Array, Array, Array, NDArray[np.uint8]]:
    """Grey and white matter, brain fraction and territory on the scan's grid; read only where the brain is."""
    gm, wm = tissue_fractions(anatomy, effects)
    mask = sample(anatomy.mask.astype(np.float32), anatomy.affine, points)
    near = ndimage.find_objects((ndimage.maximum_filter(mask, 3) > 0).astype(np.uint8))[0]
    local = points[(slice(None), *near)]
    out = [np.zeros(mask.shape, dtype=np.float32) for _ in range(3)]
    template_voxel = voxel_mm / LINEAR_SIZE
    for target, values in zip(out, (on_grid(anatomy, gm), on_grid(anatomy, wm), anatomy.mask), strict=True):
        smooth = smooth_for(values.astype(np.float32), template_voxel)
        target[near] = sample(smooth, anatomy.affine, local)
    territory = np.zeros(mask.shape, dtype=np.uint8)
    territory[near] = sample(anatomy.territory, anatomy.affine, local, order=0).astype(np.uint8)
    return out[0], out[1], out[2], territory


def _regions(
    anatomy: Anatomy,
    effects: Factors,
    gm: Array,
    *,
    wm: Array,
    csf: Array,
    territory: NDArray[np.uint8],
    points: Array,
    affine: NDArray[np.float64],
) -> tuple[NDArray[np.uint8], pd.DataFrame]:
    """Label image and the table of regional truth."""
    all_regions = regions()
    voxel = abs(np.linalg.det(affine[:3, :3]))
    cortical = np.array([False] + [r.cortical for r in all_regions])
    # Nuclei such as the thalamus are a mixture of grey and white: all their tissue counts.
    tissue = np.where(cortical[territory], gm, gm + wm) * (territory > 0)
    rival = np.where(cortical[territory], np.maximum(wm, csf), csf)
    labels = np.where(tissue > np.maximum(rival, 0.3), territory, 0).astype(np.uint8)
    size = len(all_regions) + 1
    volume = np.bincount(territory.ravel(), tissue.ravel(), minlength=size) * voxel
    counted = np.bincount(labels.ravel(), minlength=size) * voxel
    scale = np.bincount(territory.ravel(), (jacobian(points, affine) ** (-1 / 3)).ravel(), minlength=size)
    scale = scale / np.maximum(np.bincount(territory.ravel(), minlength=size), 1)
    rows = [
        {
            "region": r.key,
            "label": r.label,
            "volume_mm3": volume[r.label],
            "label_mm3": counted[r.label],
            "thickness_mm": anatomy.mean_thickness[i] * effects.total[i] * scale[r.label],
            "factor": effects.total[i],
            "factor_age": effects.age[i],
            "factor_diagnosis": effects.diagnosis[i],
            "factor_person": effects.person[i],
        }
        for i, r in enumerate(all_regions)
    ]
    return labels, pd.DataFrame(rows)


def _summary(
    shape: Shape,
    pose: Pose,
    gm: Array,
    *,
    wm: Array,
    csf: Array,
    masks: tuple[NDArray[np.bool_], NDArray[np.bool_]],
    points: Array,
    affine: NDArray[np.float64],
) -> dict[str, Any]:
    """Global truth of a scan, as plain numbers."""
    voxel = abs(np.linalg.det(affine[:3, :3]))
    change = np.log(np.maximum(jacobian(points, affine)[masks[0]], 1e-6))
    change -= change.mean()
    lengths = np.sqrt((shape.field**2).sum(axis=0))
    angles = nib.eulerangles.mat2euler(pose.rotation)
    return {
        "tiv_mm3": round(float(masks[1].sum() * voxel), 1),
        "brain_mm3": round(float(masks[0].sum() * voxel), 1),
        "gm_mm3": round(float(gm.sum(dtype=np.float64) * voxel), 1),
        "wm_mm3": round(float(wm.sum(dtype=np.float64) * voxel), 1),
        "csf_mm3": round(float(csf.sum(dtype=np.float64) * voxel), 1),
        "size_xyz": [round(float(s), 4) for s in shape.size],
        "displacement_mm": {"mean": round(float(lengths.mean()), 3), "max": round(float(lengths.max()), 3)},
        "log_jacobian": {
            "sd": round(float(change.std()), 4),
            "min": round(float(change.min()), 4),
            "max": round(float(change.max()), 4),
        },
        "skull_factor": round(shape.skull, 3),
        "scalp_factor": round(shape.scalp, 3),
        "rotation_deg_zyx": [round(float(a), 3) for a in np.rad2deg(angles)],
        "shift_mm": [round(float(s), 3) for s in pose.shift],
        "orientation": "".join(nib.aff2axcodes(affine)),
    }


def make_image(truth: Truth, who: Person, scan: Scan) -> Array:
    """Image of a scan, white matter near 1: the site's contrast, bias field and Rician noise."""
    rng = who.rng(IMAGE, scan.number)
    site = who.site
    clean = truth.gm * site.gm + truth.wm + truth.csf * site.csf + truth.outside * site.scalp
    spacing = np.linalg.norm(truth.affine[:3, :3], axis=0)
    # Muscle and fat are not uniform; the same smooth field leaves the brain alone.
    texture = smooth_field(rng, clean.shape, 12 / spacing)
    clean = clean * np.where(truth.outside > 0, 1 + 0.12 * texture, 1).astype(np.float32)
    biased = clean * np.exp(site.bias * smooth_field(rng, clean.shape, 70 / spacing))
    noise = rng.standard_normal((2, *clean.shape), dtype=np.float32) * np.float32(site.noise)
    return np.hypot(biased + noise[0], noise[1]).astype(np.float32)


def smooth_field(rng: np.random.Generator, shape: tuple[int, ...], stride: NDArray[np.floating]) -> Array:
    """Random field of unit variance, smooth over `stride` voxels along each axis."""
    counts = [int(np.ceil((n - 1) / s)) + 3 for n, s in zip(shape, stride, strict=True)]
    values = rng.standard_normal(counts).astype(np.float32)
    for axis in range(3):
        values = spline(values, axis, shape[axis], float(stride[axis]))
    return values / np.float32(0.33)  # standard deviation of a three-way cubic B-spline of white noise
