"""Arrays of a run that makes no maps: packed from a release's or another program's, or taken as they are."""

from __future__ import annotations

import contextlib
import logging
import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anatcl.base.errors import InputError
from anatcl.base.files import atomic_path, read_json, write_json, write_tsv
from anatcl.base.words import plural
from anatcl.bids.derivatives import find_maps
from anatcl.pretrain.arrays import PackedArrays, array_meta, open_arrays, write_arrays
from anatcl.pretrain.openbhb import AFFINES, checked, ras_grid, read_map
from anatcl.pretrain.pack import (
    INTENSITY,
    Grid,
    cohort_grid,
    default_scale,
    normalise,
    read_ahead,
    read_one,
    to_grid,
    write_usable,
)
from anatcl.spec.layout import EXCLUDED
from anatcl.spec.openbhb import MASKS, RESOURCE

log = logging.getLogger(__name__)


def pack_release(
    scans: pd.DataFrame,
    root: str | Path,
    out_dir: str | Path,
    *,
    map_name: str = "vbm",
    voxel_mm: float = 0.0,
    crop: list[list[int]] | None = None,
    dtype: str = "float16",
    threads: int = 1,
) -> dict[str, Any]:
    """Pack the ``.npy`` maps of an OpenBHB release; a map that cannot be used is listed in ``excluded.tsv``.

    Parameters
    ----------
    scans : DataFrame
        Rows of scans.tsv; column ``path`` names each map, relative to the release.
    root, out_dir : path
    map_name : {"vbm", "quasi-raw"}
    voxel_mm, crop, dtype, threads
        See `anatcl.pretrain.pack.pack`. The crop is in voxels of the maps, turned to RAS order.

    Returns
    -------
    dict
        Content of arrays.json.

    Raises
    ------
    InputError
        No map can be read.
    """
    scans = scans.sort_values("scan", ignore_index=True)
    paths = [Path(root) / str(path) for path in scans["path"]]
    shape = _most_common(paths)
    grid, turn = ras_grid(shape, _affine(Path(root), map_name, shape), voxel_mm, crop)
    intensity = INTENSITY[map_name]

    def read(path: Path) -> np.ndarray:
        volume = checked(read_map(path), shape, path)
        if not np.isfinite(volume).all():
            raise InputError("the map holds values that are not finite.", path, "Fetch it again.")
        if not volume.any():
            raise InputError("the map is empty.", path, "Fetch it again, or leave the participant out.")
        return to_grid(normalise(turn(volume), intensity), grid)

    meta = published_meta(grid, map_name, dtype)
    write_usable(Path(out_dir), read_ahead(paths, read, threads), scans, meta, dtype)
    return meta


def published_meta(grid: Grid, map_name: str, dtype: str) -> dict[str, Any]:
    """Content of arrays.json for maps in the space of the published ones (MNI152), packed on `grid`."""
    meta = array_meta(grid.shape, grid.affine, map_name, grid.crop, default_scale(dtype), INTENSITY[map_name])
    return meta | {"source_shape": list(grid.source_shape), "template": "MNI152"}


def pack_maps(
    scans: pd.DataFrame,
    root: str | Path,
    out_dir: str | Path,
    *,
    map_name: str = "vbm",
    voxel_mm: float = 0.0,
    crop: list[list[int]] | None = None,
    dtype: str = "float16",
    threads: int = 1,
) -> dict[str, Any]:
    """Pack the maps that another program made of a cohort's scans; parameters and result as of `pack_release`.

    Raises
    ------
    InputError
        No map belongs to a scan, or none can be read.
    """
    scans = scans.sort_values("scan", ignore_index=True)
    found = find_maps(root, scans["scan"])
    grid = cohort_grid(list(found.values()), voxel_mm, crop)
    intensity = INTENSITY[map_name]

    def read(name: Path) -> np.ndarray:
        if str(name) not in found:
            raise InputError("the folder has no map of the scan.", root, "Make it, or leave the scan out.")
        return read_one(found[str(name)], grid, intensity)

    meta = array_meta(grid.shape, grid.affine, map_name, grid.crop, default_scale(dtype), intensity)
    meta |= {"source_shape": list(grid.source_shape), "template": ""}
    names = [Path(scan) for scan in scans["scan"]]
    write_usable(Path(out_dir), read_ahead(names, read, threads), scans, meta, dtype)
    return meta


def _most_common(paths: list[Path]) -> tuple[int, ...]:
    """The shape that most maps have, by their headers."""
    seen: Counter[tuple[int, ...]] = Counter()
    for path in paths:
        with contextlib.suppress(InputError):
            seen[tuple(read_map(path).shape)] += 1
    if not seen:
        raise InputError("no map of the release can be read.", paths[0] if paths else None, "Fetch it again.")
    return seen.most_common(1)[0][0]


def _affine(root: Path, map_name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Voxel to mm of the stored maps: the header of the release's mask, or the published grid where it is absent."""
    mask = root / RESOURCE / MASKS[map_name][0]
    if mask.is_file():
        import nibabel as nib

        image: Any = nib.load(mask)
        if tuple(image.shape[:3]) == shape:
            return np.asarray(image.affine, dtype=float)
        log.warning("%s has another shape than the maps: their published grid is used", mask)
    return AFFINES[map_name]


def take_packed(scans: pd.DataFrame, folder: str | Path, out_dir: str | Path, map_name: str) -> dict[str, Any]:
    """Take packed arrays into a run: all of them by a link, some of them by a copy of their volumes.

    Parameters
    ----------
    scans : DataFrame
        Rows of scans.tsv that are asked for.
    folder : path
        Holds ``volumes.npy``, ``rows.tsv`` and ``arrays.json``.
    out_dir : path
        Gets the same, with the rows of `scans` in the order of the volumes, and an empty ``excluded.tsv``.
    map_name : str
        Map that the run says it trains on.

    Raises
    ------
    InputError
        The folder is not whole, holds another map, or a scan that it has not.
    """
    packed, out = open_arrays(folder), Path(out_dir)
    if packed.meta["map"] != map_name:
        reason = f"the arrays hold {packed.meta['map']} maps, and pretrain: map says {map_name}."
        raise InputError(reason, Path(folder) / "arrays.json", f"Set pretrain: map: {packed.meta['map']}.")
    place = {scan: number for number, scan in enumerate(packed.rows["scan"].astype(str))}
    unknown = [scan for scan in scans["scan"].astype(str) if scan not in place]
    if unknown:
        reason = f"the arrays have no row of {unknown[0]} ({plural(len(unknown), 'scan')} in all)."
        raise InputError(reason, Path(folder) / "rows.tsv", "Start the run again, so that it reads the table again.")
    rows = scans.assign(_place=scans["scan"].astype(str).map(place)).sort_values("_place", ignore_index=True)
    chosen = rows.pop("_place").tolist()
    out.mkdir(parents=True, exist_ok=True)
    if chosen == list(range(len(packed.rows))):
        _link(packed, out, rows)
    else:
        true = (packed.true(number) for number in chosen)
        write_arrays(out, true, rows, packed.meta, str(packed.meta.get("dtype", packed.volumes.dtype)))
    write_tsv(out / "excluded.tsv", pd.DataFrame(columns=list(EXCLUDED)))
    return read_json(out / "arrays.json")


def _link(packed: PackedArrays, out: Path, rows: pd.DataFrame) -> None:
    """The volumes by a link, so that the largest file of a run is not there twice."""
    target = packed.folder / "volumes.npy"
    with atomic_path(out / "volumes.npy") as temporary:
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(os.path.relpath(target, out) if not target.is_absolute() else target)
    write_tsv(out / "rows.tsv", rows)
    write_json(out / "arrays.json", {**packed.meta, "volumes_sha256": packed.sha256})
