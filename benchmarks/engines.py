"""Deformable registration by ANTs and by greedy on the same scans of a finished cohort: fit, overlap, warp, cost.

Masks, tissue maps and the first affine are the cohort's; the step ``register`` alone is run anew, once per engine, one
thread each::

    python -m benchmarks.engines --results results/preprocess --labels ../shared/data/ixi_hh_2mm/derivatives/dlmuse \
        --suffix desc-dlmuse_dseg --scans 8 --room <folder> --out docs/results/engines

``gm`` and ``wm`` are the Dice of a scan's grey and white matter, carried to the template, with the template's.
``labels_between`` asks no template: every scan's labels (any label image of any tool) are carried to the template's
grid, nearest neighbour, and the mean Dice over labels and over the pairs a scan is part of is what is shown. Finished
rows are kept: run it again to go on. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import itertools
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from anatcl.base.files import read_json, write_json, write_text
from anatcl.images import load
from anatcl.preprocess.ants import apply_transforms
from benchmarks.preprocess_common import Scan, about, jacobian, make_template, say, tissue_overlap

TAKEN = {"desc-preproc_T1w": "preproc", "desc-brain_mask": "brain", "desc-icv_mask": "icv"}
TAKEN |= {"label-GM_probseg": "GM", "label-WM_probseg": "WM"}
ENGINES = ("ants", "greedy")
FIGURES = ["gm", "wm", "labels_between", "jacobian_min", "jacobian_max", "jacobian_nonpositive_share", "cpu_s"]


def taken(results: Path, stem: str, folder: Path) -> None:
    """Copy what the cohort has of a scan into the folder of a benchmark's scan."""
    folder.mkdir(parents=True, exist_ok=True)
    for suffix, name in TAKEN.items():
        shutil.copy(results / f"{stem}_{suffix}.nii.gz", folder / f"{name}.nii.gz")
    start = next((results / stem).parent.glob(f"{Path(stem).name}_from-*_desc-head_xfm.txt"))
    shutil.copy(start, folder / "head.txt")


def measure(scan: Scan, labels: Path) -> dict[str, Any]:
    """Register one scan; its fit, and its labels on the template's grid beside the transform."""
    cost = scan.step("register")
    forward = scan.path("forward.h5")
    found = tissue_overlap(scan.path("GM.nii.gz"), scan.path("WM.nii.gz"), forward, scan.template, scan.folder)
    grid = scan.template / "brain.nii.gz"
    apply_transforms(labels, grid, [forward], scan.path("labels.nii.gz"), "NearestNeighbor")
    return found | jacobian(forward, scan.template) | cost.rounded()


def overlaps(carried: dict[str, NDArray]) -> dict[str, float]:
    """Per scan the mean, over the other scans and over the labels, of the Dice of its labels with theirs."""
    count = 1 + max(int(v.max()) for v in carried.values())
    sizes = {scan: np.bincount(v.ravel(), minlength=count) for scan, v in carried.items()}
    names = [k for k in range(1, count) if all(size[k] for size in sizes.values())]
    between: dict[str, list[float]] = {scan: [] for scan in carried}
    for one, other in itertools.combinations(carried, 2):
        same = carried[one] == carried[other]
        shared = np.bincount(carried[one][same], minlength=count)[names]
        value = float(np.mean(2 * shared / (sizes[one] + sizes[other])[names]))
        between[one].append(value)
        between[other].append(value)
    return {scan: float(np.mean(values)) for scan, values in between.items()}


def add_overlaps(rows: list[dict[str, Any]], room: Path) -> pd.DataFrame:
    """All rows as a table, with the overlap of labels between scans."""
    table = pd.DataFrame(rows).assign(labels_between=np.nan)
    for engine, group in table.groupby("engine"):
        carried = {scan: load(room / scan / str(engine) / "labels.nii.gz", np.int32).data for scan in group["scan"]}
        if len(carried) > 1:
            table.loc[group.index, "labels_between"] = group["scan"].map(overlaps(carried))
    return table


def page(table: pd.DataFrame, facts: dict[str, Any]) -> str:
    """Medians per engine, the paired difference with its test, and every scan."""
    medians = table.groupby("engine")[FIGURES].median().round(4)
    wide = table.pivot(index="scan", columns="engine", values=FIGURES)
    rows = []
    for figure in [f for f in FIGURES if len(wide) > 1 and set(ENGINES) <= set(wide[f])]:
        change = (wide[figure]["greedy"] - wide[figure]["ants"]).dropna()
        p = float(stats.wilcoxon(change).pvalue) if change.abs().sum() else 1.0
        rows.append({"figure": figure, "greedy minus ants, median": change.median(), "Wilcoxon p": p})
    text = ["# Two engines on the same scans", f"Made by `{facts['command']}`; one thread, two shared x86-64 cores."]
    text += [medians.to_markdown(), pd.DataFrame(rows).round(4).to_markdown(index=False), "## Every scan"]
    return "\n\n".join([*text, table[["scan", "engine", *FIGURES]].round(4).to_markdown(index=False)]) + "\n"


def main() -> None:
    """Run what is not there yet; write after every scan."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, required=True, help="folder of the finished step preprocess")
    parser.add_argument("--labels", type=Path, required=True, help="folder of label images in native space")
    parser.add_argument("--suffix", default="dseg", help="what follows the scan's name in the label images' names")
    parser.add_argument("--scans", type=int, default=8, help="how many seeded scans")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--engines", nargs="+", default=list(ENGINES), choices=ENGINES)
    parser.add_argument("--recipe", default="fast")
    parser.add_argument("--room", type=Path, required=True, help="folder for intermediate files, kept")
    parser.add_argument("--out", type=Path, required=True, help="results without suffix: .json and .md are written")
    args = parser.parse_args()
    path = args.out.with_suffix(".json")
    rows: list[dict[str, Any]] = read_json(path)["rows"] if path.exists() else []
    facts = about(f"python -m benchmarks.engines --results <folder> --scans {args.scans} --recipe {args.recipe}")
    template = make_template(args.recipe, args.room / "template")
    stems = sorted(
        p.relative_to(args.results).as_posix().removesuffix("_desc-brain_mask.nii.gz")
        for p in args.results.glob("sub-*/**/*_desc-brain_mask.nii.gz")
    )
    picked = np.random.default_rng(args.seed).choice(len(stems), min(args.scans, len(stems)), replace=False)
    for number, engine in itertools.product(sorted(picked), args.engines):
        key = {"scan": Path(stems[number]).name, "engine": engine}
        if any(key.items() <= row.items() for row in rows):
            continue
        scan = Scan(Path(), args.room / key["scan"] / engine, template, args.recipe, 1, engine)
        taken(args.results, stems[number], scan.folder)
        rows.append(key | measure(scan, args.labels / f"{stems[number]}_{args.suffix}.nii.gz"))
        write_json(path, facts | {"rows": rows})
        write_text(args.out.with_suffix(".md"), page(add_overlaps(rows, args.room), facts))
    table = add_overlaps(rows, args.room)
    say({f"{e}_{f}": float(v) for e, part in table.groupby("engine") for f, v in part[FIGURES].median().items()})


if __name__ == "__main__":
    main()
