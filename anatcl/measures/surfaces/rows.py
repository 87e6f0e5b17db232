"""The table of one scan with the engine surface: the cortex from its surfaces, the rest from its tissue maps."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from anatcl.base.files import read_json
from anatcl.measures import labels as labelling
from anatcl.measures.atlas import Atlas
from anatcl.measures.regions import global_volumes, region_table
from anatcl.measures.surface import Mesh
from anatcl.measures.surfaces import annotation, gifti
from anatcl.measures.surfaces.quality import broken
from anatcl.measures.surfaces.table import COLUMNS, regions, vertex_table
from anatcl.measures.tissues import Tissues
from anatcl.spec.atlas import label

NO_MESH = Mesh(np.zeros((0, 3)), np.zeros((0, 3), int), np.zeros((0, 3)))


@dataclasses.dataclass(frozen=True)
class Cortex:
    """The cortex of one scan.

    Attributes
    ----------
    rows : DataFrame
        A row per region.
    points : ndarray of shape (V, 3)
        Vertices of both central surfaces, RAS+ in mm.
    labels : ndarray of int, shape (V,)
    thickness : ndarray of shape (V,)
        In mm.
    names : dict
        Label to the key of its row.
    """

    rows: pd.DataFrame
    points: NDArray
    labels: NDArray
    thickness: NDArray
    names: dict[int, str]


def measure_cortex(stem: Path, atlas_name: str) -> Cortex:
    """Measure the regions of an atlas on the surfaces of a scan, and write the labels of the vertices beside them.

    Parameters
    ----------
    stem : path
        Folder and name of the scan's GIfTI files.
    atlas_name : str
        An atlas with an annotation.
    """
    parts = []
    for side, one in annotation.load_annotations(atlas_name).items():
        surfaces = gifti.read_surfaces(stem, side)
        at = annotation.carried(one, surfaces.registered)
        gifti.write_labels(label_file(stem, side, atlas_name), at, one.names, side)
        rows = regions(vertex_table(surfaces), at, one)
        parts.append(Cortex(rows, surfaces.central, at, surfaces.thickness, one.keys()))
    return Cortex(
        rows=pd.concat([part.rows for part in parts], ignore_index=True),
        points=np.concatenate([part.points for part in parts]),
        labels=np.concatenate([part.labels for part in parts]),
        thickness=np.concatenate([part.thickness for part in parts]),
        names={value: key for part in parts for value, key in part.names.items()},
    )


def label_file(stem: Path, hemisphere: str, atlas_name: str) -> Path:
    """The labels of the vertices of a hemisphere."""
    return gifti.path_of(stem, hemisphere, f"atlas-{label(atlas_name)}_dseg.label")


def paint(cortex: Cortex, tissues: Tissues, labels: labelling.Labels, atlas: Atlas) -> tuple[NDArray, NDArray]:
    """Labels and thickness (mm) of the grey matter, each voxel with those of the nearest vertex, shape (X, Y, Z)."""
    mine = np.isin(labels.nearest, atlas.regions.loc[atlas.regions["structure"] == "cortex", "index"])
    where = np.argwhere(mine & (tissues.dseg == labelling.GREY))
    affine, start = tissues.grid.affine, np.array([s.start for s in tissues.box])
    _, nearest = cKDTree(cortex.points).query((where + start) @ affine[:3, :3].T + affine[:3, 3])
    painted = np.where(mine, 0, labels.fitted).astype(np.int16)
    thickness = np.zeros(painted.shape, np.float32)
    found = cortex.labels[nearest]
    painted[tuple(where.T)] = found
    thickness[tuple(where.T)] = np.where(found > 0, cortex.thickness[nearest], 0)
    return painted, thickness


def measure(
    scan: str, tissues: Tissues, labels: labelling.Labels, atlas: Atlas, surfaces: Mapping[str, Any]
) -> tuple[pd.DataFrame, NDArray, NDArray, dict[int, str]]:
    """Measure one scan.

    Parameters
    ----------
    scan : str
    tissues, labels, atlas
        As for the engine volume; they give the global volumes and the structures outside the cortex.
    surfaces : mapping
        ``stem`` (path), ``atlas`` (name), ``quality`` (path of the JSON), ``limits`` (name to lowest and highest) and
        ``accept`` (scans that no limit leaves out).

    Returns
    -------
    table : DataFrame
        Without the columns that say how it was made.
    labels, thickness : ndarray of shape (X, Y, Z)
    names : dict
        Label to region.
    """
    cortex = measure_cortex(surfaces["stem"], surfaces["atlas"])
    painted, thickness = paint(cortex, tissues, labels, atlas)
    counts = np.bincount(painted.ravel(), minlength=int(cortex.rows["index"].max()) + 1)
    rows = cortex.rows.assign(voxels=counts[cortex.rows["index"]])
    deep = region_table(tissues, labels, atlas, thickness, NO_MESH)
    deep = deep[deep["structure"] != "cortex"]
    table = pd.concat([global_volumes(tissues), rows, deep], ignore_index=True).reindex(
        columns=["region", "hemisphere", "structure", "index", "voxels", *COLUMNS, "thicknessvoxels_mm", "flags"]
    )
    numbers = read_json(surfaces["quality"])["hemispheres"]
    reason = "" if scan in surfaces["accept"] else broken(numbers, surfaces["limits"])
    names = cortex.names | dict(zip(deep["index"], deep["region"], strict=True))
    return table.assign(excluded=reason), painted, thickness, names
