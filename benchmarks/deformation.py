"""Recovered deformation of a finished simulated cohort beside the one that made each head.

A simulated dataset holds every scan's true displacement field (``sourcedata/truth``)::

    python -m benchmarks.deformation --results results/preprocess --truth demo/bids/sourcedata/truth \
        --out docs/results/deformation.md

At every voxel that is mostly grey or white matter the template point that the registration assigns is compared with
the true one: ``affine_mm`` and ``warp_mm`` are the medians of the distance, with the affine alone and with the whole
transform, ``warp_p95_mm`` its 95th percentile; ``cortex_mm`` is ``warp_mm`` in the cortical labels. ``log_jacobian_r``
is the correlation of the logarithm of the local change of volume, smoothed as much on both sides (`SMOOTH_MM`), with
the true one. Along white matter and along the folds of the cortex an image says little of what lies where, so that no
method comes to zero. The last line is one JSON object of medians over scans.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage

from anatcl.base.files import write_text
from anatcl.images import Volume, load
from anatcl.preprocess.ants import Workspace, workspace
from anatcl.simulate.dataset import FIELD
from anatcl.simulate.deform import jacobian
from anatcl.simulate.effects import regions
from benchmarks.masks import scans
from benchmarks.preprocess_common import say

SMOOTH_MM = 6.0
WARP, AFFINE = FIELD.replace(".nii.gz", ".h5"), "_from-T1w_to-MNI152NLin2009aSym_desc-affine_xfm.mat"


def template_points(room: Workspace, transform: str, inverted: bool = False) -> NDArray:
    """Template coordinates (RAS+ mm), shape (3, X, Y, Z), that a transform assigns to the voxels of ``scan.nii.gz``."""
    found = [
        room.apply(f"axis{k}.nii", "scan.nii.gz", [transform], f"at{k}.nii", invert_transform_flags=[inverted]).data
        for k in range(3)
    ]
    return np.stack(found)


def put_coordinates(room: Workspace, reach_mm: float = 300.0) -> None:
    """Write images whose values are their own x, y and z; linear, so that two voxels an axis hold all there is."""
    affine = nib.affines.from_matvec(np.eye(3) * 2 * reach_mm, [-reach_mm] * 3)
    grid = np.stack(np.meshgrid(*[[-reach_mm, reach_mm]] * 3, indexing="ij"))
    for k in range(3):
        room.put(f"axis{k}.nii", Volume(grid[k].astype(np.float32), affine), np.float32)


def log_jacobian(points: NDArray, scan: Volume) -> NDArray:
    """Smoothed logarithm of the change of volume."""
    change = np.log(np.maximum(jacobian(points, scan.affine), 1e-3))
    return ndimage.gaussian_filter(change, SMOOTH_MM / scan.spacing)


def compare(results: Path, truth: Path, stem: str) -> dict[str, Any]:
    """One scan's registration beside its truth."""
    grey, white = (load(truth / f"{stem}_label-{t}_probseg.nii.gz") for t in ("GM", "WM"))
    tissue = grey.data + white.data > 0.5
    labels = load(truth / f"{stem}_atlas-DesikanKilliany_dseg.nii.gz", np.int32).data
    cortex = tissue & np.isin(labels, [region.label for region in regions() if region.cortical])
    with workspace() as room:
        room.link("scan.nii.gz", truth / f"{stem}_desc-brain_mask.nii.gz")
        put_coordinates(room)
        true = template_points(room, room.link("truth.nii.gz", truth / f"{stem}{FIELD}"))
        affine = template_points(room, room.link("affine.mat", results / f"{stem}{AFFINE}"), inverted=True)
        warp = template_points(room, room.link("warp.h5", results / f"{stem}{WARP}"))
    before, after = (np.linalg.norm(found - true, axis=0) for found in (affine, warp))
    inner = ndimage.binary_erosion(tissue)
    return {
        "affine_mm": float(np.median(before[tissue])),
        "warp_mm": float(np.median(after[tissue])),
        "warp_p95_mm": float(np.percentile(after[tissue], 95)),
        "cortex_mm": float(np.median(after[cortex])),
        "log_jacobian_r": float(np.corrcoef(log_jacobian(warp, grey)[inner], log_jacobian(true, grey)[inner])[0, 1]),
    }


def main() -> None:
    """Compare, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, required=True, help="folder results/preprocess")
    parser.add_argument("--truth", type=Path, required=True, help="folder sourcedata/truth of the simulated dataset")
    parser.add_argument("--out", type=Path, help="Markdown page to write")
    args = parser.parse_args()
    rows = [{"scan": Path(stem).name} | compare(args.results, args.truth, stem) for stem in scans(args.results)]
    table = pd.DataFrame(rows)
    medians = table.drop(columns="scan").median()
    if args.out:
        text = "# Recovered deformation beside the truth\n\nMade by `python -m benchmarks.deformation`.\n\n"
        whole = table.drop(columns="scan").agg(["median", "min", "max"])
        text += f"{whole.round(3).to_markdown()}\n\n## Every scan\n\n{table.round(3).to_markdown(index=False)}\n"
        write_text(args.out, text)
    say(medians.to_dict() | {"scans": len(table)})


if __name__ == "__main__":
    main()
