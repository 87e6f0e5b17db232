"""From NIfTI maps to packed arrays: reorient, crop, downsample, store."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anatcl.base.errors import InputError
from anatcl.base.files import write_tsv
from anatcl.base.words import plural
from anatcl.pretrain.arrays import array_meta, write_arrays
from anatcl.spec.layout import EXCLUDED

log = logging.getLogger(__name__)

PATTERNS = {
    "vbm": "{scan}_space-{template}_label-GM_desc-modulated_probseg.nii.gz",
    "quasi-raw": "{scan}_space-{template}_desc-affine_T1w.nii.gz",
}
# VBM values are modulated tissue fractions and stay as they are (the published Normalize(0, 1) is the identity);
# intensities of a T1w image mean nothing across scanners, so the quasi-raw map is divided by its mean in the brain.
INTENSITY = {"vbm": "none", "quasi-raw": "brain-mean"}
# The grid CAT12 r1xxx wrote for OpenBHB, and the part of it that AnatCL's encoder sees.
CAT12_SHAPE = (121, 145, 121)
CAT12_CROP = [[0, 121], [8, 136], [0, 121]]


@dataclass(frozen=True)
class Grid:
    """How one map becomes one packed volume; the same for the whole cohort.

    Attributes
    ----------
    source_shape, source_affine
        Grid of the maps in RAS order.
    crop : list of [start, stop] per axis, in source voxels
    shape, affine
        Grid of the packed volumes.
    factor : ndarray of 3
        Packed voxel size / source voxel size, per axis.
    """

    source_shape: tuple[int, int, int]
    source_affine: np.ndarray
    crop: list[list[int]]
    shape: tuple[int, int, int]
    affine: np.ndarray
    factor: np.ndarray


def read_ras(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Read a 3-D NIfTI image in the closest RAS axis order.

    Returns
    -------
    volume : ndarray of shape (X, Y, Z), float32
    affine : ndarray of shape (4, 4), voxel to mm

    Raises
    ------
    InputError
        When the file is absent, unreadable, not 3-D, or holds values that are not finite.
    """
    import nibabel as nib

    if not Path(path).is_file():
        raise InputError("the map does not exist.", file=path, remedy="Run the preprocess stage for this scan.")
    try:
        image = nib.as_closest_canonical(nib.load(path))
        volume = np.asarray(image.dataobj, dtype=np.float32)
    except (OSError, EOFError, ValueError, nib.filebasedimages.ImageFileError) as error:
        raise InputError(f"the map cannot be read ({error}).", file=path, remedy="Make it again.") from error
    if volume.ndim == 4 and volume.shape[3] == 1:
        volume = volume[..., 0]
    if volume.ndim != 3:
        raise InputError(
            f"the map has {volume.ndim} dimensions, not 3.", file=path, remedy="Give one 3-D map per scan."
        )
    if not np.isfinite(volume).all():
        raise InputError("the map holds values that are not finite.", file=path, remedy="Make it again.")
    return volume, np.asarray(image.affine, dtype=float)


def plan_grid(
    shape: tuple[int, ...], affine: np.ndarray, voxel_mm: float = 0.0, crop: list[list[int]] | None = None
) -> Grid:
    """Say how maps on a grid are cropped and downsampled.

    Parameters
    ----------
    shape, affine
        Grid of the maps in RAS order.
    voxel_mm : float
        Packed voxel size; 0, or not coarser than the maps, keeps theirs.
    crop : list of [start, stop] per axis, optional
        In source voxels. Default: y 8:136 on the 121 x 145 x 121 grid of CAT12, else nothing.
    """
    if crop is None:
        crop = CAT12_CROP if tuple(shape) == CAT12_SHAPE else [[0, n] for n in shape]
    crop = [[max(0, int(a)), min(int(b), n)] for (a, b), n in zip(crop, shape, strict=True)]
    if any(b <= a for a, b in crop):
        raise InputError(f"the crop {crop} leaves nothing of a map of shape {tuple(shape)}.", remedy="Widen the crop.")
    size = np.array([b - a for a, b in crop])
    voxel = np.linalg.norm(affine[:3, :3], axis=0)
    if 0 < voxel_mm < voxel.min() - 1e-3:
        log.warning("maps have %.3g mm voxels; they are not refined to %.3g mm", voxel.min(), voxel_mm)
    factor = np.maximum(voxel_mm / voxel, 1.0)
    factor[np.abs(factor - 1) < 1e-3] = 1.0
    new = np.maximum(np.floor(size / factor + 1e-6).astype(int), 1)
    # Centres the new grid in the cropped field of view, so that what is lost is lost evenly on both sides.
    start = np.array([a for a, _ in crop]) + (size - 1) / 2 - (new - 1) / 2 * factor
    out = affine.copy()
    out[:3, :3] = affine[:3, :3] * factor
    out[:3, 3] = affine[:3, :3] @ start + affine[:3, 3]
    return Grid(tuple(shape), affine, crop, tuple(int(n) for n in new), out, factor)  # type: ignore[arg-type]


def to_grid(volume: np.ndarray, grid: Grid) -> np.ndarray:
    """Crop and downsample one RAS volume (source shape) to the packed grid, float32.

    Downsampling smooths by a Gaussian first (anti-aliasing), of the width that takes a voxel of the source to one of
    the packed size: ``sigma = 0.4247 * sqrt(factor^2 - 1)`` source voxels (FWHM = packed voxel), then interpolates
    linearly. Values keep their meaning (a tissue fraction stays a fraction).
    """
    if np.all(grid.factor == 1.0):
        return np.ascontiguousarray(volume[tuple(slice(a, b) for a, b in grid.crop)])
    from scipy import ndimage

    sigma = 0.4247 * np.sqrt(np.maximum(grid.factor**2 - 1, 0))
    smooth = ndimage.gaussian_filter(volume, sigma, mode="constant", truncate=3.0)
    inverse = np.linalg.inv(grid.source_affine) @ grid.affine
    return ndimage.affine_transform(
        smooth, np.diag(grid.factor), offset=inverse[:3, 3], output_shape=grid.shape, order=1, mode="constant"
    )


def normalise(volume: np.ndarray, intensity: str) -> np.ndarray:
    """Scale intensities as the map's kind asks: ``none``, or ``brain-mean`` (divide by the mean of voxels > 0)."""
    if intensity == "none":
        return volume
    inside = volume[volume > 0]
    return volume / inside.mean() if inside.size else volume


def read_one(path: str | Path, grid: Grid, intensity: str) -> np.ndarray:
    """Read one map, check its grid and bring it to the packed grid."""
    volume, affine = read_ras(path)
    if volume.shape != grid.source_shape or not np.allclose(affine, grid.source_affine, atol=1e-3):
        raise InputError(
            f"the map has shape {volume.shape} and affine {np.round(affine, 3).tolist()}, the cohort has "
            f"{grid.source_shape} and {np.round(grid.source_affine, 3).tolist()}.",
            file=path,
            remedy="Make all maps with one template and voxel size.",
        )
    if not volume.any():
        raise InputError("the map is empty.", file=path, remedy="Look at the scan's QC picture.")
    return to_grid(normalise(volume, intensity), grid)


def pack(
    scans: pd.DataFrame,
    maps_dir: str | Path,
    out_dir: str | Path,
    *,
    map_name: str = "vbm",
    template: str = "",
    voxel_mm: float = 0.0,
    crop: list[list[int]] | None = None,
    pattern: str = "",
    dtype: str = "float16",
    scale: float = 0.0,
    threads: int = 1,
) -> dict[str, Any]:
    """Pack the maps of a cohort; a scan whose map is unusable is left out and listed in ``excluded.tsv``.

    Parameters
    ----------
    scans : DataFrame
        Rows of scans.tsv that belong to the cohort.
    maps_dir, out_dir : path
    map_name : {"vbm", "quasi-raw"}
    template : str
        Name of the template in the maps' file names.
    voxel_mm : float
        Packed voxel size in mm; 0 keeps that of the maps.
    crop : list of [start, stop] per axis, optional
        See `plan_grid`.
    pattern : str
        File name below `maps_dir` with ``{scan}`` and ``{template}``; default by `map_name`. Other people's maps
        (CAT12's ``mwp1``) are taken with their own.
    dtype : {"float16", "uint8", "float32"}
    scale : float
        True value of a stored 1; 0 = 1.0, or 2/255 for uint8 (modulated fractions rarely exceed 2).
    threads : int
        Maps read at a time.

    Returns
    -------
    dict
        Content of arrays.json.
    """
    if map_name not in PATTERNS:
        raise InputError(f"map {map_name!r} is unknown.", remedy=f"Choose {' or '.join(PATTERNS)}.")
    scans = scans.sort_values("scan", ignore_index=True)
    paths = [Path(maps_dir) / (pattern or PATTERNS[map_name]).format(scan=s, template=template) for s in scans["scan"]]
    grid = cohort_grid(paths, voxel_mm, crop)
    intensity = INTENSITY[map_name]
    volumes = read_ahead(paths, lambda path: read_one(path, grid, intensity), threads)
    scale = scale or default_scale(dtype)
    meta = array_meta(grid.shape, grid.affine, map_name, grid.crop, scale, intensity)
    meta |= {"source_shape": list(grid.source_shape), "template": template}
    write_usable(Path(out_dir), volumes, scans, meta, dtype)
    return meta


def default_scale(dtype: str) -> float:
    """True value of a stored 1."""
    return 2 / 255 if dtype == "uint8" else 1.0


def write_usable(
    out: Path, volumes: Iterable[np.ndarray | InputError], scans: pd.DataFrame, meta: dict[str, Any], dtype: str
) -> None:
    """Write packed arrays of the scans whose volume could be read, and ``excluded.tsv`` of the others."""
    kept: list[int] = []
    excluded: list[dict[str, str]] = []
    _write(out, _usable(volumes, scans, kept, excluded), scans, kept, meta, dtype)
    write_tsv(out / "excluded.tsv", pd.DataFrame(excluded, columns=list(EXCLUDED)))
    there, shape = plural(len(scans), "scan"), tuple(meta["shape"])
    log.info("packed %d of %s, %s voxels of %g mm", len(kept), there, shape, meta["voxel_mm"])


def _usable(
    volumes: Iterable[np.ndarray | InputError], scans: pd.DataFrame, kept: list[int], excluded: list[dict[str, str]]
) -> Iterator[np.ndarray]:
    """Volumes that could be read; their rows of `scans` are noted in `kept`, the other ones in `excluded`."""
    for i, volume in enumerate(volumes):
        if isinstance(volume, InputError):
            log.warning("left out: %s", volume)
            excluded.append(_exclusion(scans.iloc[i], volume))
        else:
            kept.append(i)
            yield volume


def read_ahead(
    paths: Sequence[Path], read: Callable[[Path], np.ndarray], threads: int
) -> Iterator[np.ndarray | InputError]:
    """Each map in order, or what is wrong with it; a window of maps is read ahead."""
    with ThreadPoolExecutor(max(1, threads)) as pool:
        window = 4 * max(1, threads)
        for begin in range(0, len(paths), window):
            for job in [pool.submit(read, path) for path in paths[begin : begin + window]]:
                try:
                    yield job.result()
                except InputError as error:
                    yield error


def _write(
    out: Path, volumes: Iterator[np.ndarray], scans: pd.DataFrame, kept: list[int], meta: dict[str, Any], dtype: str
) -> None:
    """Write at full length, then again without the empty end if scans dropped out on the way (rare)."""
    write_arrays(out, volumes, scans, meta, dtype)
    if not kept:
        raise InputError("no scan has a usable map.", file=out, remedy="The lines above say for each what to do.")
    if len(kept) < len(scans):
        full = np.load(out / "volumes.npy", mmap_mode="r")
        scale = np.float32(meta["scale"])
        true = (full[i].astype(np.float32) * scale for i in range(len(kept)))
        write_arrays(out, true, scans.iloc[kept], meta, dtype)


def cohort_grid(paths: list[Path], voxel_mm: float, crop: list[list[int]] | None) -> Grid:
    """Plan from the grid that most maps have (headers only), so that one odd map cannot exclude the rest."""
    import nibabel as nib

    seen: Counter[tuple[Any, ...]] = Counter()
    for path in paths:
        try:
            image = nib.as_closest_canonical(nib.load(path))
        except (OSError, EOFError, ValueError, nib.filebasedimages.ImageFileError):
            continue
        if len(image.shape) >= 3 and np.isfinite(image.affine).all():
            seen[(*image.shape[:3], *np.round(image.affine, 4).ravel())] += 1
    if not seen:
        where = paths[0].parent if paths else None
        raise InputError("no map of the cohort can be read.", file=where, remedy="Run the preprocess stage first.")
    most = seen.most_common(1)[0][0]
    return plan_grid(most[:3], np.array(most[3:], dtype=float).reshape(4, 4), voxel_mm, crop)


def _exclusion(row: pd.Series, error: InputError) -> dict[str, str]:
    return {
        "scan": row["scan"],
        "participant_id": row.get("participant_id", "n/a"),
        "stage": "pretrain pack",
        "reason": error.reason,
        "file": error.file,
        "remedy": error.remedy,
    }
