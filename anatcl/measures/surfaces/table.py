"""The measures of each region of the cortex, from the surfaces of a hemisphere."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from anatcl.measures.surfaces import shape
from anatcl.measures.surfaces.annotation import Annotation
from anatcl.measures.surfaces.engine import Surfaces

COLUMNS = (
    "thickness_mm", "thicknessstd_mm", "volume_mm3", "area_mm2", "meancurv", "gauscurv", "curvind", "foldind",
)  # fmt: skip
MOST_MM = 5.0  # FreeSurfer caps thickness here
FEW = 10  # vertices of a tiny region


def distances(surfaces: Surfaces, most: float = MOST_MM) -> NDArray:
    """FreeSurfer's thickness: the mean of the ways from white to the nearest pial vertex and back, shape (V,), in mm.

    Fischl and Dale, *Measuring the thickness of the human cerebral cortex from MR images*, PNAS 97, 2000.
    """
    out = cKDTree(surfaces.pial).query(surfaces.white)[0]
    back = cKDTree(surfaces.white).query(surfaces.pial)[0]
    return np.minimum((out + back) / 2, most)


def vertex_table(surfaces: Surfaces) -> pd.DataFrame:
    """What each vertex contributes to its region.

    Returns
    -------
    DataFrame
        ``area`` (mm2, white surface), ``volume`` (mm3), ``thickness`` (mm), ``k1``, ``k2`` (1/mm, white surface).
    """
    k1, k2 = shape.curvatures(surfaces.white, surfaces.faces)
    return pd.DataFrame(
        {
            "area": shape.vertex_areas(surfaces.white, surfaces.faces),
            "volume": shape.vertex_volumes(surfaces.white, surfaces.pial, surfaces.faces),
            "thickness": surfaces.thickness,
            "k1": k1,
            "k2": k2,
        }
    )


def regions(vertices: pd.DataFrame, labels: NDArray, annotation: Annotation) -> pd.DataFrame:
    """The measures of FreeSurfer's ``aparc.stats`` for each region.

    Means are over the white surface, each vertex with its area.

    Parameters
    ----------
    vertices : DataFrame
        Of :func:`vertex_table`.
    labels : ndarray of int, shape (V,)
    annotation : Annotation
        Which labels there are, and their names.

    Returns
    -------
    DataFrame
        ``region``, ``hemisphere``, ``structure``, ``index``, the `COLUMNS`, and ``flags`` (empty, tiny or nothing).
        ``meancurv`` and ``gauscurv`` are means of the absolute values, ``curvind`` and ``foldind`` the integrals of
        the positive part of k1 k2 and of |k1| (|k1| - |k2|), over 4 pi.
    """
    rows = []
    for value, key in annotation.keys().items():
        mine = vertices[labels == value]
        flag = "empty" if mine.empty else "tiny" if len(mine) < FEW else ""
        numbers = dict.fromkeys(COLUMNS, np.nan) if mine.empty else _measured(mine)
        rows.append(
            {"region": key, "hemisphere": annotation.hemisphere, "structure": "cortex", "index": value}
            | numbers
            | {"flags": flag}
        )
    return pd.DataFrame(rows)


def _measured(mine: pd.DataFrame) -> dict[str, float]:
    area, thickness = mine["area"].to_numpy(), mine["thickness"].to_numpy()
    k1, k2 = mine["k1"].to_numpy(), mine["k2"].to_numpy()
    total = max(float(area.sum()), 1e-9)
    mean = float((thickness * area).sum() / total)
    product, wide = k1 * k2, np.abs(k1) * (np.abs(k1) - np.abs(k2))
    return {
        "thickness_mm": mean,
        "thicknessstd_mm": float(np.sqrt(((thickness - mean) ** 2 * area).sum() / total)),
        "volume_mm3": float(mine["volume"].sum()),
        "area_mm2": float(area.sum()),
        "meancurv": float((np.abs(k1 + k2) / 2 * area).sum() / total),
        "gauscurv": float((np.abs(product) * area).sum() / total),
        "curvind": float((np.maximum(product, 0) * area).sum() / (4 * np.pi)),
        "foldind": float((wide * area).sum() / (4 * np.pi)),
    }
