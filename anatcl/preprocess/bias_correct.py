"""Check and conform one scan, then remove its bias field with N4."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from anatcl.base.errors import InputError
from anatcl.images import Volume, load, save
from anatcl.preprocess.ants import Workspace, workspace
from anatcl.preprocess.defects import faces, flat_background, lifted, refuse_lost_slices, without_spikes
from anatcl.preprocess.geometry import coarsen, largest_component

MOSTLY_NAN = 0.97  # of a grid whose background is NaN
COPY_AGAIN = "Convert the scan again from its DICOM files, or exclude it in config (participants: exclude)."


def conform(path: str | Path) -> Volume:
    """Read a scan and make sure that it can be worked with; the grid stays as it is.

    Returns
    -------
    Volume
        float32, non-negative intensities.

    Raises
    ------
    InputError
        Not 3-D, unusable affine, or no contrast at all.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scan = load(path)
    if not np.isfinite(scan.affine).all() or abs(np.linalg.det(scan.affine[:3, :3])) < 1e-6:
        raise InputError("its affine is singular or not finite.", path, COPY_AGAIN)
    bad = ~np.isfinite(scan.data)
    flat = flat_background(scan.data)
    if bad.mean() > (MOSTLY_NAN if np.isfinite(faces(scan.data)).mean() < 0.5 else 0.5):
        raise InputError("more than half of its voxels are not finite.", path, COPY_AGAIN)
    data = None if flat is None else lifted(scan.data, flat)
    if data is None:
        data = np.where(bad, 0, scan.data)
    low, high = np.percentile(data, [0.5, 99.9])
    if not high > low:
        raise InputError("all its voxels have the same value.", path, COPY_AGAIN)
    data = without_spikes(np.maximum(data - min(low, 0), 0))
    return Volume(data.astype(np.float32), orthogonal(scan.affine, path))


def orthogonal(affine: NDArray, path: str | Path, tolerance: float = 0.01) -> NDArray:
    """The nearest affine without shear: ITK knows rotation and spacing only.

    Raises
    ------
    InputError
        The shear is larger than rounding (`tolerance`, as a cosine between two axes).
    """
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    directions = affine[:3, :3] / spacing
    if np.abs(directions.T @ directions - np.eye(3)).max() > tolerance:
        raise InputError(
            "its axes are not at right angles (a sheared affine).", path, "Resample it onto an orthogonal grid first."
        )
    u, _, v = np.linalg.svd(directions)
    fixed = affine.copy()
    fixed[:3, :3] = (u @ v) * spacing
    return fixed


def head_mask(volume: Volume) -> NDArray:
    """Rough mask of the head: Otsu's threshold, largest part, holes filled slice by slice along each axis."""
    coarse = coarsen(volume, 4.0)
    mask = largest_component(ndimage.binary_opening(coarse.data > otsu(coarse.data)))
    for axis in range(3):
        mask = np.stack([ndimage.binary_fill_holes(m) for m in np.moveaxis(mask, axis, 0)], axis)
    index = np.indices(volume.data.shape, sparse=True)
    factors = np.maximum(1, np.round(4.0 / volume.spacing)).astype(int)
    nearest = tuple(np.minimum(i // f, n - 1) for i, f, n in zip(index, factors, mask.shape, strict=True))
    return mask[nearest]


def otsu(data: NDArray, bins: int = 256) -> float:
    """Otsu's threshold of intensities clipped at their 99.5th percentile, halved: skin and CSF belong to the head."""
    top = np.percentile(data, 99.5)
    counts, edges = np.histogram(data[data < top], bins)
    centres = (edges[1:] + edges[:-1]) / 2
    weight = np.cumsum(counts)
    total = np.cumsum(counts * centres)
    rest = np.maximum(weight[-1] - weight, 1)
    between = weight * rest * (total / np.maximum(weight, 1) - (total[-1] - total) / rest) ** 2
    return float(centres[between.argmax()]) / 2


def n4(room: Workspace, image: str, output: str, settings: dict[str, Any], spacing: NDArray, mask: str = "") -> None:
    """Run N4 inside the workspace.

    Parameters
    ----------
    settings : dict
        ``grid_mm`` (size of the voxels that are looked at), ``iterations`` of the levels, ``tolerance``, and
        ``spline_mm``: distance of the spline's knots at the first level, halved at every next one; without it one
        span covers the image.
    """
    shrink = max(1, round(settings["grid_mm"] / float(np.median(spacing))))
    options: dict[str, Any] = {"mask_image": mask} if mask else {}
    if "spline_mm" in settings:
        options["bspline_fitting_distance"] = float(settings["spline_mm"])
    room.run(
        "N4BiasFieldCorrection",
        dimension=3,
        input_image=image,
        output_image=output,
        shrink_factor=shrink,
        n_iterations=settings["iterations"],
        convergence_threshold=settings["tolerance"],
        **options,
    )


def bias_correct(
    image: str | Path, out: str | Path, settings: dict[str, Any], threads: int = 1, seed: int = 0
) -> dict[str, Any]:
    """Correct one scan; intensities are scaled so that the head's median is 100.

    Returns
    -------
    dict
        What belongs into the sidecar.
    """
    scan = conform(image)
    mask = head_mask(scan)
    if mask.sum() * scan.voxel_volume < 5e5:
        raise InputError("no plausible brain was found (less than 0.5 litres of tissue).", image, COPY_AGAIN)
    refuse_lost_slices(scan, otsu(coarsen(scan, 4.0).data), image)
    with workspace(threads, seed) as room:
        room.put("scan.nii", scan)
        room.put("mask.nii", scan.like(mask.astype(np.uint8)))
        n4(room, "scan.nii", "corrected.nii", settings, scan.spacing, "mask.nii")
        corrected = _finite(room.get("corrected.nii").data)
        fields: list[float] = []
        if "again" in settings:
            corrected, fields = correct_again(room, scan.like(corrected), mask, settings["again"])
        calls = room.calls
    scale = 100 / np.median(corrected[mask & (corrected > 0)])
    save(out, scan.like((corrected * scale).astype(np.float32)), np.int16, scaled=True)
    return {
        "Calls": calls,
        "IntensityScale": float(scale),
        "HeadVolumeMl": float(mask.sum() * scan.voxel_volume / 1e3),
        "FieldsFoundAgain": fields,
    }


def correct_again(
    room: Workspace, scan: Volume, mask: NDArray, settings: dict[str, Any]
) -> tuple[NDArray, list[float]]:
    """Look for a field that the first splines were too wide for; take it out only where it is a strong one.

    Narrow splines find a weak field in every head, because of its anatomy: fields below ``above`` are left in.

    Parameters
    ----------
    room : Workspace
        Holds ``mask.nii``.
    scan : Volume
        Corrected once.
    mask : ndarray of bool
        The head.
    settings : dict
        N4's (see `n4`), ``above`` (standard deviation of the field's logarithm in the head), ``at_most`` so many times.

    Returns
    -------
    corrected : ndarray
        Intensities, non-negative.
    fields : list of float
        Strength of the field that each look found; the last one was left in, unless there were ``at_most``.
    """
    fields: list[float] = []
    corrected = scan.data
    for _ in range(settings["at_most"]):
        room.put("once.nii", scan.like(corrected.astype(np.float32)))
        n4(room, "once.nii", "again.nii", settings, scan.spacing, "mask.nii")
        again = _finite(room.get("again.nii").data)
        inside = mask & (corrected > 0) & (again > 0)
        fields.append(float(np.std(np.log(again[inside] / corrected[inside]))))
        if fields[-1] <= settings["above"]:
            break
        corrected = again
    return corrected, fields


def _finite(data: NDArray) -> NDArray:
    """Intensities without negative ones and such that are no numbers."""
    return np.where(np.isfinite(data), np.maximum(data, 0), 0)
