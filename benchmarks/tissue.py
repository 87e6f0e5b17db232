"""Posteriors against fractions, and warped labels against followed ones, beside a reference segmentation.

The tissue maps and labels of a finished cohort as they are, by whatever recipe, with ``--as-made``::

    python -m benchmarks.tissue --results results/preprocess --labels ../shared/data/ixi_hh_2mm/derivatives/dlmuse \
        --suffix desc-dlmuse_dseg --scheme dlmuse --as-made --out docs/results/tissue_ixi.md

Both ways side by side:

Run on a cohort whose tissue maps are Atropos' posteriors (a recipe with ``segment: {"method": "posterior"}``)::

    python -m benchmarks.tissue --results results/preprocess --labels ../shared/data/ixi_hh_2mm/derivatives/dlmuse \
        --suffix desc-dlmuse_dseg --scheme dlmuse --out docs/results/tissue_ixi.md
    python -m benchmarks.tissue --results results/preprocess --truth demo/bids/sourcedata/truth --out tissue_demo.md

The fractions are made anew from the scan (bias-corrected inside the mask), the mask and the posteriors. Figures, for
both methods: Dice of grey and white matter, their volumes (percent of the reference's), processor seconds; for both
label images the Dice and the volume of deep structures. The brain stem and the ventral diencephalon are white matter
here; DLMUSE's own sums count the brain stem as neither. Over at least five scans also r of the volumes over scans. The
last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from anatcl.base.errors import InputError
from anatcl.base.files import read_json
from anatcl.images import Volume, load
from anatcl.preprocess.ants import workspace
from anatcl.preprocess.bias_correct import n4
from anatcl.preprocess.fractions import fractions
from anatcl.preprocess.segment import TISSUES, carry_nuclei, hard
from anatcl.preprocess.template import Template
from anatcl.spec.recipe import load_recipe
from benchmarks.preprocess_common import dice

# What is white matter and CSF in each scheme (grey is the rest), and left and right of each deep structure.
WHITE = {
    "dlmuse": [35, 40, 41, 61, 62, *range(81, 96)],
    "freesurfer": [2, 7, 16, 28, 41, 46, 60, 77, 85, *range(251, 256)],
}
CSF = {
    "dlmuse": [1, 4, 11, 46, 49, 50, 51, 52],
    "freesurfer": [4, 5, 14, 15, 24, 30, 31, 43, 44, 62, 63, 72],
}
DEEP = {
    "dlmuse": {"thalamus": (60, 59), "caudate": (37, 36), "putamen": (58, 57), "pallidum": (56, 55),
               "hippocampus": (48, 47), "amygdala": (32, 31)},
    "freesurfer": {"thalamus": (10, 49), "caudate": (11, 50), "putamen": (12, 51), "pallidum": (13, 52),
                   "hippocampus": (17, 53), "amygdala": (18, 54)},
}  # fmt: skip
TISSUE = "_label-WM_probseg.nii.gz"
T1W = "_desc-preproc_T1w.nii.gz"
ATLAS = "desikankilliany"  # as file names have it
FEWEST = 5


def scans(results: Path) -> Iterator[str]:
    """Stems, relative to the results, of all scans that have tissue maps."""
    for path in sorted(results.glob(f"sub-*/**/*{TISSUE}")):
        yield str(path.relative_to(results))[: -len(TISSUE)]


def posteriors(results: Path, stem: str) -> NDArray:
    """The tissue maps of a scan, shape (3, X, Y, Z), which must be posteriors."""
    paths = [results / f"{stem}_label-{tissue}_probseg.nii.gz" for tissue in TISSUES]
    sidecar = paths[0].with_name(paths[0].name.replace(".nii.gz", ".json"))
    if sidecar.is_file() and read_json(sidecar).get("TissueMethod", "posterior") != "posterior":
        cure = 'Run `segment` with a recipe that says "method": "posterior".'
        raise InputError("the tissue maps are no posteriors.", paths[0], cure)
    return np.stack([load(path).data for path in paths])


def transform(results: Path, stem: str) -> Path:
    """The composite that carries images from the template to the scan."""
    return next(iter((results / stem).parent.glob(f"{Path(stem).name}_from-*_to-T1w_mode-image_xfm.h5")))


def made_anew(results: Path, stem: str, template: Template) -> tuple[dict[str, NDArray], float]:
    """Both tissue segmentations of a scan, and the processor seconds of the fractions."""
    scan, brain = load(results / f"{stem}{T1W}"), load(results / f"{stem}_desc-brain_mask.nii.gz").data > 0.5
    given = posteriors(results, stem) * brain
    with workspace() as room:
        room.link("inverse.h5", transform(results, stem))
        room.put("scan.nii", scan)
        room.put("brain.nii", scan.like(brain.astype(np.uint8)))
        nuclei = carry_nuclei(room, template)
        n4(room, "scan.nii", "again.nii", load_recipe("fast", "segment")["n4"], scan.spacing, "brain.nii")
        scan = room.get("again.nii")
    start = time.process_time()
    found, _ = fractions(scan.data, brain, given, scan.spacing, nuclei)
    return {"posterior": given, "fractions": found}, time.process_time() - start


def reference(args: argparse.Namespace, stem: str) -> tuple[NDArray, NDArray, NDArray | None]:
    """Fractions of grey and of white matter of the reference, and its labels where it has any."""
    if args.truth:
        grey, white = (load(args.truth / f"{stem}_label-{t}_probseg.nii.gz").data for t in ("GM", "WM"))
        return grey, white, None
    labels = load(args.labels / f"{stem}_{args.suffix}.nii.gz").data.round().astype(int)
    white = np.isin(labels, WHITE[args.scheme])
    grey = (labels > 0) & ~white & ~np.isin(labels, CSF[args.scheme])
    return grey.astype(np.float32), white.astype(np.float32), labels


def as_made(results: Path, stem: str) -> NDArray:
    """The tissue maps of a scan as the workflow left them, shape (3, X, Y, Z)."""
    return np.stack([load(results / f"{stem}_label-{tissue}_probseg.nii.gz").data for tissue in TISSUES])


def tissue_row(maps: NDArray, grey: NDArray, white: NDArray, unit: float) -> dict[str, float]:
    """Overlaps and volumes of one segmentation."""
    labels = hard(dict(zip(TISSUES, maps, strict=True)))
    row = {"grey_dice": dice(labels == 2, grey > 0.5), "white_dice": dice(labels == 3, white > 0.5)}
    for name, ours, true in (("grey", maps[1], grey), ("white", maps[2], white)):
        row |= {f"{name}_ml": float(ours.sum() * unit), f"{name}_reference_ml": float(true.sum() * unit)}
        row[f"{name}_percent"] = 100 * (row[f"{name}_ml"] / row[f"{name}_reference_ml"] - 1)
    return row


def label_images(results: Path, stem: str, maps: NDArray, made: bool) -> dict[str, NDArray]:
    """Label images of a scan by method: the measures' own, or as warped and as followed."""
    from anatcl.measures.atlas import load_atlas
    from anatcl.measures.labels import warp
    from anatcl.measures.structures import follow

    if made:
        path = results.parent / "measures" / f"{stem}_atlas-{ATLAS}_dseg.nii.gz"
        return {"this workflow": load(path).data.round().astype(int)} if path.is_file() else {}
    atlas, scan = load_atlas("desikan-killiany"), load(results / f"{stem}{T1W}")
    warped = warp(atlas, results / f"{stem}{T1W}", transform(results, stem)).data
    return {"warped": warped, "followed": follow(warped, scan.data, maps, scan.spacing, atlas)}


def deep_rows(
    results: Path, stem: str, images: dict[str, NDArray], labels: NDArray, scheme: str
) -> list[dict[str, Any]]:
    """Overlap and volume of each deep structure, both sides together, by method."""
    from anatcl.measures.atlas import load_atlas

    atlas, scan = load_atlas("desikan-killiany"), load(results / f"{stem}{T1W}")
    index = dict(zip(atlas.regions["key"], atlas.regions["index"], strict=True))
    rows = []
    for structure, sides in DEEP[scheme].items():
        keys = [index[f"{side}_{structure}"] for side in ("lh", "rh")]
        for method, image in images.items():
            pairs = [(image == key, labels == side) for key, side in zip(keys, sides, strict=True)]
            volumes = np.array([[mine.sum(), true.sum()] for mine, true in pairs]).sum(0) * scan.voxel_volume
            rows.append({"structure": structure, "method": method, "dice": np.mean([dice(*p) for p in pairs]),
                         "mm3": volumes[0], "reference_mm3": volumes[1]})  # fmt: skip
    return rows


def compare(args: argparse.Namespace) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Tissues and deep structures of every scan by every method."""
    tissues, deep = [], []
    for stem in scans(args.results):
        grey, white, labels = reference(args, stem)
        both, seconds = {"this workflow": as_made(args.results, stem)}, float("nan")
        if not args.as_made:
            both, seconds = made_anew(args.results, stem, Template(args.template))
        grid: Volume = load(args.results / f"{stem}{T1W}")
        name = {"scan": Path(stem).name}
        for method, maps in both.items():
            row = tissue_row(maps, grey, white, grid.voxel_volume / 1000)
            cost = seconds if method == "fractions" else float("nan")
            tissues.append({"scan": Path(stem).name, "method": method, **row, "cpu_s": cost})
        if labels is not None:
            images = label_images(args.results, stem, list(both.values())[-1], args.as_made)
            rows = deep_rows(args.results, stem, images, labels, args.scheme)
            deep += [name | row for row in rows]
        print(pd.DataFrame(tissues[-len(both) :]).round(3).to_string(index=False), flush=True)
    return pd.DataFrame(tissues), pd.DataFrame(deep)


def tissue_summary(table: pd.DataFrame) -> pd.DataFrame:
    """Median Dice, mean volumes and r over scans, a row per method."""
    chosen = {"grey_dice": "median", "white_dice": "median", "grey_percent": "mean", "white_percent": "mean"}
    found = table.groupby("method", sort=False).agg(chosen | {"cpu_s": "mean"})
    for tissue in ("grey", "white"):
        found[f"{tissue}_r"] = _over_scans(table, ["method"], f"{tissue}_ml", f"{tissue}_reference_ml", _r)
    return found.round(4).reset_index()


def deep_summary(table: pd.DataFrame) -> pd.DataFrame:
    """Mean Dice, mean ratio of volumes, its spread and r over scans, a row per structure and method."""
    table = table.assign(ratio=table["mm3"] / table["reference_mm3"])
    groups = ["structure", "method"]
    found = table.groupby(groups, sort=False).agg(dice=("dice", "mean"), ratio=("ratio", "mean"))
    found["spread"] = table.assign(log=np.log(table["ratio"])).groupby(groups)["log"].std()
    found["r"] = _over_scans(table, groups, "mm3", "reference_mm3", _r)
    return found.round(4).reset_index()


def _r(one: pd.Series, other: pd.Series) -> float:
    return float(np.corrcoef(one, other)[0, 1]) if len(one) >= FEWEST else float("nan")


def _over_scans(table: pd.DataFrame, by: list[str], one: str, other: str, function: Callable[..., float]) -> pd.Series:
    return pd.Series({key if len(by) > 1 else key[0]: function(g[one], g[other]) for key, g in table.groupby(by)})


def main() -> None:
    """Compare, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, required=True, help="folder results/preprocess")
    parser.add_argument("--template", type=Path, help="folder of the step template (default: template in the results)")
    parser.add_argument("--labels", type=Path, help="folder of reference label images, laid out as the dataset")
    parser.add_argument("--suffix", default="dseg", help="what follows the scan's name in the label images' names")
    parser.add_argument("--scheme", choices=sorted(WHITE), default="dlmuse", help="what the labels mean")
    parser.add_argument("--truth", type=Path, help="folder sourcedata/truth of a simulated dataset")
    parser.add_argument("--as-made", action="store_true", help="take maps and labels as they are; make nothing anew")
    parser.add_argument("--out", type=Path, help="Markdown page to write; the JSON goes beside it")
    args = parser.parse_args()
    if bool(args.labels) == bool(args.truth):
        parser.error("give --labels or --truth")
    args.template = args.template or args.results / "template"
    tissues, deep = compare(args)
    if tissues.empty:
        parser.error(f"no scan in {args.results}")
    pages = {"Tissues": tissue_summary(tissues)} | ({"Deep structures": deep_summary(deep)} if len(deep) else {})
    pages["Every scan"] = tissues.round(3)
    text = "".join(f"\n## {title}\n\n{page.to_markdown(index=False)}\n" for title, page in pages.items())
    print(text)
    result = {title: page.to_dict(orient="records") for title, page in pages.items()}
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        title = "Tissue maps and deep structures" if args.as_made else "Posteriors against fractions"
        head = f"# {title}\n\n{tissues['scan'].nunique()} scans, by `python -m benchmarks.tissue`.\n"
        args.out.write_text(head + text, encoding="utf-8")
        args.out.with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps({k: v for k, v in result.items() if k != "Every scan"}))


if __name__ == "__main__":
    main()
