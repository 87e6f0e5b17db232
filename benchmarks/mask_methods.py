"""Methods of the masks side by side, each with its cost, beside a silver segmentation and beside FreeSurfer.

One command runs what is not there yet and writes ``<out>.json`` and ``<out>.md``::

    python -m benchmarks.mask_methods --bids ../shared/data/ixi_hh_2mm \
        --labels ../shared/data/ixi_hh_2mm/derivatives/dlmuse --suffix desc-dlmuse_dseg --csf 1 4 11 46 49 50 51 52 \
        --mri ../shared/data/aomic_sub-0001/mri --tuned-every 4 --methods ants deepbet --room work \
        --out docs/results/masks_ixi

The figures are those of ``benchmarks.masks``; the cost is that of the step ``skullstrip`` (processor seconds, MiB).
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from anatcl.base.files import write_json, write_text
from anatcl.images import load
from benchmarks.masks import against
from benchmarks.preprocess_common import Scan, about, as_nifti, make_template, say

GREY_WHITE = (2, 3, 7, 8, 10, 11, 12, 13, 16, 17, 18, 26, 28, 41, 42, 46, 47, 49, 50, 51, 52, 53, 54, 58, 60, 77)


@dataclasses.dataclass(frozen=True)
class Reference:
    """One scan and what it is compared with.

    Attributes
    ----------
    name, group : str
    raw : Path
    cranium, tissue : ndarray of bool, shape (X, Y, Z)
        On the scan's grid.
    """

    name: str
    group: str
    raw: Path
    cranium: NDArray
    tissue: NDArray


def silver(args: argparse.Namespace) -> Iterator[Reference]:
    """Scans with a label image."""
    raws = sorted(args.bids.glob("sub-*/**/*_T1w.nii.gz")) if args.bids else []
    for number, raw in enumerate(raws):
        stem = str(raw.relative_to(args.bids)).removesuffix("_T1w.nii.gz")
        labels = load(args.labels / f"{stem}_{args.suffix}.nii.gz").data
        tuned = args.tuned_every and number % args.tuned_every == 0
        group = "tuned on" if tuned else "held out"
        yield Reference(Path(stem).name, group, raw, labels > 0, (labels > 0) & ~np.isin(labels, args.csf))


def freesurfer(mri: Path, room: Path) -> Reference:
    """A head with FreeSurfer's result."""
    raw, mask, labels = (
        as_nifti(mri / f"{n}.mgz", room / f"freesurfer-{n}.nii.gz") for n in ("orig", "brainmask", "aparc+aseg")
    )
    found = load(labels).data
    tissue = np.isin(found, GREY_WHITE) | (found >= 1000)
    return Reference("freesurfer", "beside FreeSurfer", raw, load(mask).data > 0, tissue)


def row(reference: Reference, method: str, room: Path, recipe: str) -> dict[str, Any]:
    """Make the masks of one scan by one method, unless they are there, and compare them."""
    scan = Scan(reference.raw, room / method / reference.name, room / "template", recipe, method=method)
    if method != "ants":
        first = dataclasses.replace(scan, folder=room / "ants" / reference.name, method="ants")
        first.step("bias_correct")
        scan.share(first, ("bias_correct",))
    scan.step("bias_correct")
    cost = scan.step("skullstrip")
    icv, brain = (load(scan.path(f"{name}.nii.gz")) for name in ("icv", "brain"))
    figures = against(icv.data > 0, brain.data > 0, reference.cranium, reference.tissue, icv.affine)
    keys = {"scan": reference.name, "group": reference.group, "method": method}
    return keys | figures | {"cpu_s": cost.cpu_s, "peak_mb": cost.peak_mb}


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Mean, least and largest value of every column, by group and method."""
    numbers = table.drop(columns="scan").groupby(["group", "method"])
    whole = pd.concat({"mean": numbers.mean(), "least": numbers.min(), "largest": numbers.max()}, names=["figure"])
    return whole.round(4).reset_index()


def markdown(table: pd.DataFrame, command: str) -> str:
    """Both tables as a page."""
    note = "`icv_volume`: intracranial volume over the reference's. `tissue_in_brain`: share of its tissue in our mask."
    tables = [summary(table).to_markdown(index=False), "## Every scan", table.round(4).to_markdown(index=False)]
    return "\n\n".join(["# Masks beside their reference", f"Made by `{command}`.", note, *tables]) + "\n"


def main() -> None:
    """Run what is not there yet; write after every scan."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bids", type=Path, help="dataset of T1w scans")
    parser.add_argument("--labels", type=Path, help="folder of its reference label images, laid out as the dataset")
    parser.add_argument("--suffix", default="dseg", help="what follows the scan's name in the label images' names")
    parser.add_argument("--csf", type=int, nargs="*", default=[], help="labels that are CSF, not tissue")
    parser.add_argument("--mri", type=Path, help="folder of a head's orig.mgz, brainmask.mgz and aparc+aseg.mgz")
    parser.add_argument("--tuned-every", type=int, default=0, help="each n-th scan, from the first, was tuned on")
    parser.add_argument("--methods", nargs="+", default=["ants", "deepbet"], choices=["ants", "deepbet"])
    parser.add_argument("--recipe", default="fast")
    parser.add_argument(
        "--room", type=Path, required=True, help="folder for masks, kept: what is there is not made again"
    )
    parser.add_argument("--out", type=Path, required=True, help="results without suffix: .json and .md are written")
    args = parser.parse_args()
    if bool(args.bids) != bool(args.labels) or not (args.bids or args.mri):
        parser.error("give --bids with --labels, or --mri, or all")
    args.room.mkdir(parents=True, exist_ok=True)
    make_template(args.recipe, args.room / "template")
    facts = about("python -m benchmarks.mask_methods --methods " + " ".join(args.methods))
    rows: list[dict[str, Any]] = []
    heads = [freesurfer(args.mri, args.room)] if args.mri else []
    for reference in (*heads, *silver(args)):
        rows += [row(reference, method, args.room, args.recipe) for method in args.methods]
        table = pd.DataFrame(rows)
        write_json(args.out.with_suffix(".json"), facts | {"rows": table.round(5).to_dict(orient="records")})
        write_text(args.out.with_suffix(".md"), markdown(table, facts["command"]))
    say(facts | {"summary": summary(pd.DataFrame(rows)).to_dict(orient="records")})


if __name__ == "__main__":
    main()
