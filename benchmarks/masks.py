"""Masks and tissue maps of a finished cohort beside a reference, scan by scan.

Beside a silver segmentation (any label image; above 0 = intracranial)::

    python -m benchmarks.masks --results results/preprocess --labels ../shared/data/ixi_hh_2mm/derivatives/dlmuse \
        --suffix desc-dlmuse_dseg --csf 1 4 11 46 49 50 51 52 --tuned-every 4 --out docs/results/masks_ixi.md

Beside the truth of a simulated cohort::

    python -m benchmarks.masks --results results/preprocess --truth demo/bids/sourcedata/truth --out masks_demo.md

Figures: Dice of ``desc-icv_mask`` and ``desc-brain_mask``; the share of reference brain tissue inside each mask; from
the truth also Dice of grey and white matter. A brain mask of this project holds tissue and a rim of a voxel or two,
so beside the truth it is compared with the same region made from the true mask. ``icv_volume`` and ``brain_to_icv`` are
ratios of volumes, ``tissue_of_brain`` the share of the brain mask that is tissue in the reference. The last line is one
JSON object of means and worst values. Methods side by side, with their cost: ``benchmarks.mask_methods``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from anatcl.images import load
from anatcl.preprocess.skull_edge import with_rim
from benchmarks.preprocess_common import dice

MASK = "_desc-icv_mask.nii.gz"


def share(part: NDArray, mask: NDArray) -> float:
    """Share of `part` that lies inside `mask`."""
    return float((part & mask).sum() / max(part.sum(), 1))


def read(path: Path | str) -> NDArray:
    """Voxels of an image, on the grid as stored."""
    return load(path).data


def scans(results: Path) -> Iterator[str]:
    """Stems, relative to the results, of all scans that have masks."""
    for path in sorted(results.glob(f"sub-*/**/*{MASK}")):
        yield str(path.relative_to(results))[: -len(MASK)]


def beside_labels(results: Path, stem: str, args: argparse.Namespace) -> dict[str, Any]:
    """Compare one scan's masks with a label image."""
    labels = load(args.labels / f"{stem}_{args.suffix}.nii.gz")
    icv, brain = (read(results / f"{stem}_desc-{kind}_mask.nii.gz") > 0 for kind in ("icv", "brain"))
    return against(icv, brain, labels.data > 0, (labels.data > 0) & ~np.isin(labels.data, args.csf), labels.affine)


def against(icv: NDArray, brain: NDArray, cranium: NDArray, tissue: NDArray, affine: NDArray) -> dict[str, float]:
    """Figures of two masks beside a reference: its intracranial mask and its tissue, all boolean, of one shape."""
    upper = _upper_third(affine, tissue)
    return {
        "icv_dice": dice(icv, cranium),
        "icv_volume": float(icv.sum() / cranium.sum()),
        "brain_dice": dice(brain, cranium),
        "brain_to_icv": float(brain.sum() / icv.sum()),
        "tissue_of_brain": share(brain, tissue),
        "tissue_in_icv": share(tissue, icv),
        "tissue_in_brain": share(tissue, brain),
        "vertex_tissue_in_brain": share(tissue & upper, brain),
    }


def _upper_third(affine: NDArray, mask: NDArray) -> NDArray:
    """The highest third of a mask's extent."""
    index = np.argwhere(mask)
    height = index @ affine[2, :3]
    upper = np.zeros(mask.shape, bool)
    upper[tuple(index[height > height.min() + 2 / 3 * np.ptp(height)].T)] = True
    return upper


def beside_truth(results: Path, stem: str, args: argparse.Namespace) -> dict[str, Any]:
    """Compare one simulated scan's masks and tissue maps with how it was made."""
    icv, brain, dseg = (
        read(results / f"{stem}_{name}.nii.gz") for name in ("desc-icv_mask", "desc-brain_mask", "dseg")
    )
    true_icv, true_brain, grey, white = (
        read(args.truth / f"{stem}_{name}.nii.gz") > 0.5
        for name in ("desc-icv_mask", "desc-brain_mask", "label-GM_probseg", "label-WM_probseg")
    )
    grid = load(results / f"{stem}{MASK}")
    rimmed = with_rim(true_brain, true_icv, grid)
    return {
        "icv_dice": dice(icv > 0, true_icv),
        "brain_dice": dice(brain > 0, rimmed),
        "brain_dice_without_rim": dice(brain > 0, true_brain),
        "tissue_in_brain": share(grey | white, brain > 0),
        "grey_dice": dice(dseg == 2, grey),
        "white_dice": dice(dseg == 3, white),
    }


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Mean, median and worst of every column, by group."""
    numbers = table.drop(columns="scan").groupby("group")
    return pd.concat({"mean": numbers.mean(), "median": numbers.median(), "worst": numbers.min()}, names=["figure"])


def markdown(table: pd.DataFrame, command: str) -> str:
    """Both tables as a page."""
    whole = summary(table).round(4).reset_index().to_markdown(index=False)
    each = table.round(4).to_markdown(index=False)
    return f"# Masks beside their reference\n\nMade by `{command}`.\n\n{whole}\n\n## Every scan\n\n{each}\n"


def main() -> None:
    """Compare, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, required=True, help="folder results/preprocess")
    parser.add_argument("--labels", type=Path, help="folder of reference label images, laid out as the dataset")
    parser.add_argument("--suffix", default="dseg", help="what follows the scan's name in the label images' names")
    parser.add_argument("--csf", type=int, nargs="*", default=[], help="labels that are CSF, not tissue")
    parser.add_argument("--truth", type=Path, help="folder sourcedata/truth of a simulated dataset")
    parser.add_argument("--tuned-every", type=int, default=0, help="each n-th scan, from the first, was tuned on")
    parser.add_argument("--out", type=Path, help="Markdown page to write")
    args = parser.parse_args()
    if bool(args.labels) == bool(args.truth):
        parser.error("give --labels or --truth")
    compare = beside_labels if args.labels else beside_truth
    rows = []
    for number, stem in enumerate(scans(args.results)):
        tuned = args.tuned_every and number % args.tuned_every == 0
        group = "tuned on" if tuned else "held out" if args.tuned_every else "all"
        rows.append({"scan": Path(stem).name, "group": group} | compare(args.results, stem, args))
    table = pd.DataFrame(rows)
    print(table.round(4).to_string(index=False))
    print(summary(table).round(4).to_string())
    if args.out:
        source = f"--labels {args.labels.name}" if args.labels else "--truth"
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(markdown(table, f"python -m benchmarks.masks {source}"), encoding="utf-8")
    flat = summary(table).round(4)
    flat.index = flat.index.map(" ".join)
    print(json.dumps(flat.to_dict(orient="index")))


if __name__ == "__main__":
    main()
