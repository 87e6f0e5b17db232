"""The measures of one scan: from tissue maps and a transform to labels, a thickness map and a table of regions."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from anatcl.base.derivatives import dataset_of, sources
from anatcl.base.errors import InputError
from anatcl.base.files import write_json, write_tsv
from anatcl.base.provenance import peak_memory_mb, versions
from anatcl.base.words import nearest
from anatcl.images import save
from anatcl.measures import labels as labelling
from anatcl.measures.atlas import Atlas, load_atlas
from anatcl.measures.distance import thickness_map
from anatcl.measures.regions import COARSE_MM, global_volumes, region_table
from anatcl.measures.structures import follow
from anatcl.measures.surface import area_surface, labels_at, white_surface
from anatcl.measures.tissues import Tissues, load_tissues, on_grid
from anatcl.spec.names import THICKNESS

log = logging.getLogger(__name__)

TABLE = [
    "scan", "region", "hemisphere", "structure", "index", "voxels", "thickness_mm", "thicknessvoxels_mm",
    "thicknessstd_mm", "volume_mm3", "area_mm2", "thickness_method", "thickness_trust", "source", "flags",
]  # fmt: skip
# Of the engine surface: the channels that a volume has not, and why the scan's surfaces are not to be used.
FURTHER = ["meancurv", "gauscurv", "curvind", "foldind", "excluded"]


def inside_white(tissues: Tissues, labels: labelling.Labels, atlas: Atlas) -> NDArray:
    """Probability of lying inside the white surface: white matter, and structures that the atlas fills."""
    filled = atlas.regions.loc[atlas.regions["fill"], "index"]
    return np.where(np.isin(labels.nearest, filled) & (tissues.dseg > 0), 1, tissues.wm).astype(np.float32)


def measure(
    scan: str,
    tissues: Tissues,
    labels: labelling.Labels,
    atlas: Atlas,
    method: str = "distance",
    options: dict[str, Any] | None = None,
) -> tuple[pd.DataFrame, NDArray]:
    """Measure one scan.

    Parameters
    ----------
    scan : str
        Name that goes into the table.
    method : str
        How thickness is estimated, one of `anatcl.spec.names.THICKNESS`.
    options : dict, optional
        Parameters of that method.

    Returns
    -------
    table : DataFrame
        One row per region and per global volume, columns `TABLE`.
    thickness : ndarray of shape (X, Y, Z)
        In mm, on the cut grid, zero outside the cortex.
    """
    inside = inside_white(tissues, labels, atlas)
    cortex = np.isin(labels.nearest, atlas.regions.loc[atlas.regions["structure"] == "cortex", "index"])
    thickness = _estimate(method)(tissues, labels, inside, cortex, options or {})
    mesh = area_surface(inside, tissues.spacing)
    table = pd.concat([global_volumes(tissues), region_table(tissues, labels, atlas, thickness, mesh)])
    return _said(table, scan, method, tissues)[TABLE], thickness


def _said(table: pd.DataFrame, scan: str, method: str, tissues: Tissues) -> pd.DataFrame:
    """The table with the columns that say what it is of and how it was made."""
    trust = "coarse" if tissues.spacing.max() > COARSE_MM else "fine"
    table = table.assign(scan=scan, thickness_method=method, thickness_trust=trust, source="anatcl")
    return table.assign(flags=table["flags"].fillna("")).reset_index(drop=True)


def _by_surfaces(
    scan: str, tissues: Tissues, labels: labelling.Labels, atlas: Atlas, surfaces: dict[str, Any]
) -> tuple[pd.DataFrame, NDArray, NDArray, dict[int, str]]:
    from anatcl.measures.surfaces.rows import measure as measure_surfaces

    table, painted, thickness, names = measure_surfaces(scan, tissues, labels, atlas, surfaces)
    return _said(table, scan, "surface", tissues)[TABLE + FURTHER], painted, thickness, names


def _estimate(method: str) -> Callable[..., NDArray]:
    if method not in THICKNESS:
        raise InputError(f"there is no thickness method {method!r}.", remedy=nearest(method, THICKNESS))
    return {"distance": _distance, "direct": _direct, "kelly_kapowski": _kelly_kapowski}[method]


def _distance(
    tissues: Tissues, labels: labelling.Labels, inside: NDArray, cortex: NDArray, options: dict[str, Any]
) -> NDArray:
    where = cortex & (labels.fitted > 0)
    mesh = white_surface(inside, tissues.spacing)
    cortical = labels_at(mesh, cortex, tissues.spacing)
    return thickness_map(_cortical_grey(tissues, cortex), inside, tissues.spacing, mesh, where, cortical)


def _direct(
    tissues: Tissues, labels: labelling.Labels, inside: NDArray, cortex: NDArray, options: dict[str, Any]
) -> NDArray:
    from anatcl.measures.direct import direct

    result = direct(_cortical_grey(tissues, cortex), inside, tissues.spacing, **options)
    return np.where(cortex & (labels.fitted > 0), result, 0).astype(np.float32)


def _kelly_kapowski(
    tissues: Tissues, labels: labelling.Labels, inside: NDArray, cortex: NDArray, options: dict[str, Any]
) -> NDArray:
    from anatcl.measures.kelly_kapowski import kelly_kapowski

    result = kelly_kapowski(_cortical_grey(tissues, cortex), inside, tissues.spacing, **options)
    return np.where(cortex & (labels.fitted > 0), result, 0).astype(np.float32)


def _cortical_grey(tissues: Tissues, cortex: NDArray) -> NDArray:
    """Grey-matter probability inside the cortex, zero elsewhere, shape (X, Y, Z)."""
    return np.where(cortex, tissues.gm, 0).astype(np.float32)


def run(
    scan: str,
    maps: dict[str, Path],
    transform: Path,
    *,
    image: Path,
    atlas_name: str,
    template: str,
    method: str,
    outputs: dict[str, Path],
    options: dict[str, Any] | None = None,
    surfaces: dict[str, Any] | None = None,
    threads: int = 1,
    seed: int = 0,
) -> pd.DataFrame:
    """Measure one scan from files to files.

    Parameters
    ----------
    maps : dict
        Paths ``gm``, ``wm``, ``csf``, ``dseg``, ``icv``, on one grid.
    transform : path
        Template to T1w.
    image : path
        Bias-corrected scan on the same grid: the borders of deep structures are read off it.
    atlas_name : str
        Name of a packaged atlas or path of a YAML file.
    template : str
        Space that `transform` comes from.
    outputs : dict
        Paths ``labels``, ``thickness``, ``measures``; a JSON sidecar goes beside each.
    surfaces : dict, optional
        The cortex is measured on the scan's surfaces: ``stem``, ``quality``, ``limits`` and ``accept`` of
        :func:`anatcl.measures.surfaces.rows.measure`. Method and options are those of the engine volume alone.
    """
    start = time.monotonic()
    atlas = load_atlas(atlas_name)
    atlas.check_space(template)
    tissues = load_tissues(**maps)
    warped = labelling.warp(atlas, maps["dseg"], transform, threads, seed)
    maps_of = np.stack([tissues.csf, tissues.gm, tissues.wm])
    followed = follow(warped.data[tissues.box], on_grid(image, tissues), maps_of, tissues.spacing, atlas)
    labels = labelling.fit(followed, tissues.dseg, tissues.spacing, atlas)
    names = dict(zip(atlas.regions["index"], atlas.regions["key"], strict=True))
    painted = labels.fitted
    if surfaces is None:
        told = {"threads": threads, "seed": seed} | (options or {})
        table, thickness = measure(scan, tissues, labels, atlas, method, told)
    else:
        method, options = "surface", None
        table, painted, thickness, names = _by_surfaces(scan, tissues, labels, atlas, surfaces | {"atlas": atlas_name})
    if not (table["structure"] == "cortex").any() or table.loc[table["structure"] == "cortex", "voxels"].sum() == 0:
        raise InputError("no cortical region has any grey matter.", transform, "The registration failed: see `qc`.")
    save(outputs["labels"], tissues.uncut(painted), np.int16)
    save(outputs["thickness"], tissues.uncut(thickness), np.float32)
    write_tsv(outputs["measures"], table)
    record = _record(atlas, method, options, threads, seed)
    record |= sources([*maps.values(), image], dataset_of(outputs["labels"]), [transform])
    record |= {"Seconds": round(time.monotonic() - start, 2), "PeakMemoryMB": peak_memory_mb()}
    _sidecars(outputs, record, names, tissues)
    return table


def _record(atlas: Atlas, method: str, options: Any, threads: int, seed: int) -> dict[str, Any]:
    return {
        "Atlas": atlas.name,
        "AtlasSpace": atlas.space,
        "ThicknessMethod": method,
        "ThicknessOptions": options or {},
        "Threads": threads,
        "Seed": seed,
        "Versions": versions(),
    }


def _sidecars(outputs: dict[str, Path], record: dict[str, Any], names: dict[int, str], tissues: Tissues) -> None:
    from anatcl.measures.dictionary import REGION_TABLE

    keys = {str(index): key for index, key in names.items()}
    coarse = bool(tissues.spacing.max() > COARSE_MM)
    note = (
        f"Voxels of {tissues.spacing.max():.2g} mm are too coarse for cortical thickness: read it as a rank, not in mm."
        if coarse
        else ""
    )
    here = {"SpatialReference": "orig"}
    labels = {"Description": "Regions of the atlas on the scan's grid.", "Type": "ROI", "Manual": False, "Labels": keys}
    thickness = {"Description": "Cortical thickness on the scan's grid.", "Units": "mm"}
    about: dict[str, dict[str, Any]] = {
        "labels": here | labels,
        "thickness": here | thickness | {"VoxelsTooCoarse": coarse, "Note": note},
        "measures": REGION_TABLE | {"VoxelsTooCoarse": coarse, "Note": note},
    }
    for name, path in outputs.items():
        stem = path.name.split(".")[0]
        write_json(path.with_name(f"{stem}.json"), about[name] | record)
