"""What is summed and averaged over each region of one scan."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from anatcl.measures.atlas import Atlas
from anatcl.measures.labels import Labels
from anatcl.measures.surface import Mesh, region_area
from anatcl.measures.tissues import Tissues

THINNEST_MM = 1.0


def global_volumes(tissues: Tissues) -> pd.DataFrame:
    """TIV and tissue volumes in mm3."""
    volume = tissues.voxel_volume
    values = {"tiv": tissues.icv.sum() * volume}
    for name in ("gm", "wm", "csf"):
        values[name] = float(getattr(tissues, name).sum(dtype=np.float64)) * volume
    return pd.DataFrame(
        {"region": list(values), "hemisphere": "B", "structure": "global", "volume_mm3": list(values.values())}
    )


def region_table(tissues: Tissues, labels: Labels, atlas: Atlas, thickness: NDArray, mesh: Mesh) -> pd.DataFrame:
    """Measures of each region of the atlas; thickness and area for cortex alone."""
    size = int(atlas.regions["index"].max()) + 1
    index = atlas.regions["index"].to_numpy()
    cortex = (atlas.regions["structure"] == "cortex").to_numpy()
    voxels = np.bincount(labels.fitted.ravel(), minlength=size)
    mean, deviation = _mean_and_deviation(labels.fitted, thickness, size)
    harmonic = _harmonic_mean(labels.fitted, thickness, size)
    area = region_area(mesh, labels.nearest, tissues.spacing, size) if len(mesh.vertices) else np.zeros(size)
    table = pd.DataFrame(
        {
            "region": atlas.regions["key"],
            "hemisphere": atlas.regions["hemisphere"],
            "structure": atlas.regions["structure"],
            "index": index,
            "voxels": voxels[index],
            "thickness_mm": np.where(cortex, harmonic[index], np.nan),
            "thicknessvoxels_mm": np.where(cortex, mean[index], np.nan),
            "thicknessstd_mm": np.where(cortex, deviation[index], np.nan),
            "volume_mm3": _volumes(tissues, labels, atlas, size),
            "area_mm2": np.where(cortex, area[index], np.nan),
        }
    )
    return _flag(table, tissues.voxel_volume)


def _volumes(tissues: Tissues, labels: Labels, atlas: Atlas, size: int) -> NDArray:
    """Tissue of the kind that each region consists of, summed over it, in mm3."""
    flat = labels.nearest.ravel()
    sums = {
        name: np.bincount(flat, getattr(tissues, name).ravel(), minlength=size) * tissues.voxel_volume
        for name in ("gm", "wm", "csf")
    }
    rows = zip(atlas.regions["index"], atlas.regions["tissue"], strict=True)
    return np.array([sum(sums[name][i] for name in tissue.split("+")) for i, tissue in rows])


def _mean_and_deviation(labels: NDArray, values: NDArray, size: int) -> tuple[NDArray, NDArray]:
    """Mean and standard deviation of the positive `values` inside each label; NaN where there are none."""
    use = values > 0
    at, value = labels[use], values[use].astype(np.float64)
    count = np.bincount(at, minlength=size).astype(float)
    count[count == 0] = np.nan
    mean = np.bincount(at, value, minlength=size) / count
    square = np.bincount(at, (value - mean[at]) ** 2, minlength=size) / count
    return mean, np.sqrt(square)


def _harmonic_mean(labels: NDArray, values: NDArray, size: int) -> NDArray:
    """Mean over the surface, from values over voxels; NaN where there are none.

    A patch of cortex has voxels in proportion to its thickness, so a mean over voxels counts thick patches too often.
    Weights of one over the thickness undo that: the mean over area is the harmonic mean over voxels. No cortex is
    thinner than `THINNEST_MM`: where the map is, by error, such voxels get no more weight than that.
    """
    use = values > 0
    at, value = labels[use], values[use].astype(np.float64)
    weight = 1 / np.maximum(value, THINNEST_MM)
    total = np.bincount(at, weight, minlength=size)
    total[total == 0] = np.nan
    return np.bincount(at, weight * value, minlength=size) / total


def _flag(table: pd.DataFrame, voxel_volume: float, few: int = 10) -> pd.DataFrame:
    """Say in `flags` which regions are empty or tiny; an empty one has no measures rather than zeros."""
    empty = table["voxels"] == 0
    tiny = ~empty & ((table["voxels"] < few) | (table["volume_mm3"] < few * voxel_volume / 2))
    columns = ["thickness_mm", "thicknessvoxels_mm", "thicknessstd_mm", "volume_mm3", "area_mm2"]
    table.loc[empty, columns] = np.nan
    lost = (table["structure"] == "cortex") & ~empty & ((table["area_mm2"] <= 0) | table["thickness_mm"].isna())
    table.loc[lost & (table["area_mm2"] <= 0), "area_mm2"] = np.nan
    table["flags"] = np.select([empty, lost, tiny], ["empty", "no-surface", "tiny"], "")
    return table
