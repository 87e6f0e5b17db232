"""What is summed and averaged over each region of one scan."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from anatcl.measures.atlas import Atlas
from anatcl.measures.labels import Labels
from anatcl.measures.surface import Mesh, labels_at
from anatcl.measures.tissues import Tissues

THINNEST_MM = 1.0
# Beyond this voxel size neighbouring banks of a sulcus share voxels: see docs/results/measures.
COARSE_MM = 1.5


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
    """Measures of each region of the atlas; thickness and area for cortex alone.

    Thickness is estimated twice: from `thickness`, voxel by voxel (:func:`harmonic_mean`), and from what the region
    holds as a whole (:func:`layer_thickness`). ``thickness_mm`` is their geometric mean, weighted by
    :func:`share_of_layer`: their errors are of different origin, and the coarser the voxels, the less one of them says
    (docs/results/measures).
    """
    size = int(atlas.regions["index"].max()) + 1
    index = atlas.regions["index"].to_numpy()
    cortex = (atlas.regions["structure"] == "cortex").to_numpy()
    voxels = np.bincount(labels.fitted.ravel(), minlength=size)
    mean, deviation = _mean_and_deviation(labels.fitted, thickness, size)
    harmonic = harmonic_mean(labels.fitted, thickness, size)
    at = labels_at(mesh, labels.nearest, tissues.spacing)
    area, curvature = (
        np.bincount(at, values, minlength=size)[index] for values in (mesh.vertex_area(), mesh.vertex_curvature())
    )
    volume = _volumes(tissues, labels, atlas, size)
    share = share_of_layer(tissues.spacing)
    pooled = _of_hemisphere(curvature, area, atlas)
    layer = layer_thickness(volume, area, (1 - share) * curvature + share * pooled)
    # A region that the surface does not reach (flagged no-surface) has its voxels alone.
    layer = np.where(layer > 0, layer, harmonic[index])
    table = pd.DataFrame(
        {
            "region": atlas.regions["key"],
            "hemisphere": atlas.regions["hemisphere"],
            "structure": atlas.regions["structure"],
            "index": index,
            "voxels": voxels[index],
            "thickness_mm": np.where(cortex, harmonic[index] ** (1 - share) * layer**share, np.nan),
            "thicknessvoxels_mm": np.where(cortex, mean[index], np.nan),
            "thicknessstd_mm": np.where(cortex, deviation[index], np.nan),
            "volume_mm3": volume,
            "area_mm2": np.where(cortex, area, np.nan),
        }
    )
    return _flag(table, tissues.voxel_volume)


def share_of_layer(spacing: NDArray) -> float:
    """Weight of what a region holds as a whole beside what single voxels say; a half at voxels of `COARSE_MM`.

    The error of a thickness read off single voxels grows with their size, that of integrals over a region hardly does:
    weights by the inverse of both variances.
    """
    square = float(np.mean(np.square(spacing)))
    return square / (square + COARSE_MM**2)


def layer_thickness(volume: NDArray, area: NDArray, curvature: NDArray) -> NDArray:
    """Thickness (mm) of a layer of some volume (mm3) that lies on a surface; NaN where there is no surface.

    A layer of thickness t on an area A whose integral of the mean curvature is M (mm) has the volume A t + M t^2, but
    for a term of t^3 that a closed surface of a cortex's size has too little of to count (Steiner's formula).

    Parameters
    ----------
    volume, area, curvature : ndarray of shape (N,)
        Of each region.
    """
    area = np.where(area > 0, area, np.nan)
    root = np.sqrt(np.maximum(area**2 + 4 * curvature * volume, 0))
    return 2 * volume / (area + root)


def _of_hemisphere(curvature: NDArray, area: NDArray, atlas: Atlas) -> NDArray:
    """Each region's share, by area, of the curvature of all cortex of its hemisphere.

    On coarse voxels the curvature of a single region is too noisy.
    """
    table = atlas.regions.assign(curvature=curvature, area=area)
    cortical = table["structure"] == "cortex"
    total = table[cortical].groupby("hemisphere")[["curvature", "area"]].sum()
    ratio = table["hemisphere"].map(total["curvature"] / total["area"].where(total["area"] > 0))
    return (ratio * table["area"]).fillna(0).to_numpy()


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


def harmonic_mean(labels: NDArray, values: NDArray, size: int) -> NDArray:
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
