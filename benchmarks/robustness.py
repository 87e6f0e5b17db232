"""How much the masks suffer from what scanners and people do to a scan, and whether QC sees it.

Seeded scans of a dataset with reference labels are changed: the header turned by 180 degrees, the axes stored in
another order, a fifth of the field of view cut off at the top or at the bottom, a strong bias field, three times the
noise. Each is bias-corrected, stripped, and its affine alone is compared with the template::

    python -m benchmarks.robustness --bids ../shared/data/ixi_hh_2mm --labels derivatives/dlmuse \
        --suffix desc-dlmuse_dseg --scans 8 --room <folder> --out docs/results/robustness

The figure is the Dice of ``desc-icv_mask`` with the reference (above 0) carried along, and its drop from the unchanged
scan's. ``caught`` means that a step refused the scan, or that a number left its limits. Finished rows are kept: run it
again to go on.
"""

from __future__ import annotations

import argparse
import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
from scipy import ndimage

from anatcl.base.files import read_json, write_json, write_text
from anatcl.images import Volume, load, save
from anatcl.preprocess.limits import broken_limits
from anatcl.spec.config import Preprocess
from benchmarks.preprocess_common import Scan, about, dice, make_template, say

Pair = tuple[Volume, Volume]  # scan and reference, on one grid
# Below this, a mask is a failure that QC should see (the bar of the worst scan is 0.94).
FAILURE = 0.90


def turned(pair: Pair, rng: np.random.Generator) -> Pair:
    """The header says that the head is turned by 180 degrees about its long axis: face to the back, left to right."""
    turn = np.diag([-1.0, -1.0, 1.0, 1.0])
    scan, labels = (Volume(v.data, turn @ v.affine) for v in pair)
    return scan, labels


def upside_down(pair: Pair, rng: np.random.Generator) -> Pair:
    """The header says that the head stands on its vertex."""
    turn = np.diag([1.0, -1.0, -1.0, 1.0])
    scan, labels = (Volume(v.data, turn @ v.affine) for v in pair)
    return scan, labels


def stored(codes: str, pair: Pair, rng: np.random.Generator) -> Pair:
    """The same voxels stored in another order of axes."""
    wanted = nib.orientations.axcodes2ornt(codes)

    def reorder(volume: Volume) -> Volume:
        now = nib.orientations.io_orientation(volume.affine)
        image = nib.Nifti1Image(volume.data, volume.affine).as_reoriented(nib.orientations.ornt_transform(now, wanted))
        return Volume(np.asarray(image.dataobj), image.affine)

    return reorder(pair[0]), reorder(pair[1])


def cut(top: bool, pair: Pair, rng: np.random.Generator) -> Pair:
    """A fifth of the head's height is outside the field of view, at the top (vertex) or at the bottom."""
    scan, labels = stored("RAS", pair, rng)
    rows = np.flatnonzero((scan.data > 0.15 * np.percentile(scan.data, 99)).mean(axis=(0, 1)) > 0.02)
    low, high = int(rows[0]), int(rows[-1]) + 1
    fifth = round(0.2 * (high - low))
    part = slice(0, high - fifth) if top else slice(low + fifth, scan.data.shape[2])
    affine = scan.affine.copy()
    affine[:3, 3] = (scan.affine @ [0, 0, part.start, 1])[:3]
    return Volume(scan.data[:, :, part], affine), Volume(labels.data[:, :, part], affine)


def biased(pair: Pair, rng: np.random.Generator) -> Pair:
    """A smooth field from about a half to twice the intensity (a factor of four over the head)."""
    scan, labels = pair
    field = ndimage.zoom(
        rng.normal(size=(4, 4, 4)), np.array(scan.data.shape) / 4, order=3, grid_mode=True, mode="nearest"
    )
    field = (field - field.min()) / np.ptp(field) * 2 - 1
    return scan.like((scan.data * 2.0**field).astype(np.float32)), labels


def noisy(pair: Pair, rng: np.random.Generator) -> Pair:
    """Three times the noise of the scan itself (Rician), measured in the air."""
    scan, labels = pair
    air = scan.data[scan.data <= np.percentile(scan.data, 30)]
    # In the air the noise is Rayleigh, its mean 1.25 sigma. Where the air is blanked, take 2 % of white matter.
    sigma = max(float(air.mean()) / 1.25, 0.02 * float(np.percentile(scan.data, 98)))
    extra = sigma * np.sqrt(3.0**2 - 1)
    real, imaginary = (rng.normal(0, extra, scan.data.shape) for _ in range(2))
    return scan.like(np.hypot(scan.data + real, imaginary).astype(np.float32)), labels


CHANGES: dict[str, Callable[[Pair, np.random.Generator], Pair]] = {
    "as shipped": lambda pair, rng: pair,
    "stored RAS": functools.partial(stored, "RAS"),
    "stored LIA": functools.partial(stored, "LIA"),
    "header turned 180 about z": turned,
    "header turned 180 about x": upside_down,
    "top fifth cut": functools.partial(cut, True),
    "bottom fifth cut": functools.partial(cut, False),
    "strong bias field": biased,
    "three times the noise": noisy,
}


def measure(pair: Pair, scan: Scan, limits: dict[str, Any]) -> dict[str, Any]:
    """Bias-correct and strip one scan, register it by its affine; Dice, quality numbers, and what QC says."""
    scan.folder.mkdir(parents=True, exist_ok=True)
    save(scan.raw, pair[0], np.int16, scaled=True)
    try:
        for step in ("bias_correct", "skullstrip"):
            scan.step(step)
    except RuntimeError as error:
        return {"dice": float("nan"), "caught": "refused: " + reason(str(error))}
    icv = load(scan.path("icv.nii.gz")).data > 0.5
    numbers = quick_qc(scan)
    broken = broken_limits(numbers, {k: v for k, v in limits.items() if k in numbers})
    return {"dice": dice(icv, pair[1].data > 0), "caught": "; ".join(broken)} | numbers


def reason(words: str) -> str:
    """The sentence of an error, without path and remedy."""
    lines = [line for line in words.splitlines() if "ERROR" in line] or words.splitlines()[-1:]
    return re.sub(r"\s+", " ", re.sub(r"\S*/\S*", "", lines[-1].partition("ERROR:")[2] or lines[-1]))[:160].strip()


def quick_qc(scan: Scan) -> dict[str, float]:
    """The numbers of the step ``qc`` that need no deformable registration: volume, and agreement under the affine."""
    from anatcl.preprocess.ants import workspace
    from anatcl.preprocess.mask_numbers import cut_area
    from anatcl.preprocess.qc import agreement
    from anatcl.preprocess.template import Template

    template = Template(scan.template)
    image, brain, icv = (load(scan.path(f"{n}.nii.gz")) for n in ("preproc", "brain", "icv"))
    with workspace() as room:
        room.put("scan.nii", image.like(image.data * (brain.data > 0.5)))
        room.put("mask.nii", brain)
        room.link("template.nii.gz", template.path("brain"))
        room.link("head.txt", scan.path("head.txt"))
        warped = room.apply("scan.nii", "template.nii.gz", ["head.txt"], "warped.nii")
        mask = room.apply("mask.nii", "template.nii.gz", ["head.txt"], "mask-warped.nii").data > 0.5
    numbers = {"icv_ml": float((icv.data > 0.5).sum() * icv.voxel_volume / 1000), "cut_cm2": cut_area(image, icv)}
    return numbers | {k: float(v) for k, v in agreement(warped.data, mask, template).items()}


def choose(bids: Path, labels: Path, suffix: str, count: int, seed: int) -> list[tuple[Path, Path]]:
    """Seeded scans and their reference labels."""
    scans = sorted(bids.glob("sub-*/**/anat/*_T1w.nii.gz"))
    picked = sorted(np.random.default_rng(seed).choice(len(scans), min(count, len(scans)), replace=False))
    found = []
    for scan in (scans[k] for k in picked):
        stem = scan.relative_to(bids).as_posix().removesuffix("_T1w.nii.gz")
        found.append((scan, labels / f"{stem}_{suffix}.nii.gz"))
    return found


def summary(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Per change: how many, Dice, drop from the unchanged scan, failures and how many of them were caught."""
    table = pd.DataFrame(rows)
    base = table[table["change"] == "as shipped"].set_index("scan")["dice"]
    table["drop"] = table["scan"].map(base) - table["dice"]
    table["failed"] = ~(table["dice"] >= FAILURE)
    table["seen"] = table["caught"] != ""
    grouped = table.groupby("change", sort=False)
    return pd.DataFrame(
        {
            "scans": grouped.size(),
            "median_dice": grouped["dice"].median(),
            "worst_dice": grouped["dice"].min(),
            "median_drop": grouped["drop"].median(),
            "worst_drop": grouped["drop"].max(),
            "refused": grouped["dice"].apply(lambda d: int(d.isna().sum())),
            "failed": grouped["failed"].sum(),
            "failed_and_caught": (table["failed"] & table["seen"]).groupby(table["change"], sort=False).sum(),
            "good_but_caught": (~table["failed"] & table["seen"]).groupby(table["change"], sort=False).sum(),
        }
    )


def page(rows: list[dict[str, Any]], facts: dict[str, Any]) -> str:
    """Table of the changes, and every scan that QC caught or that failed."""
    table = pd.DataFrame(rows)
    odd = table[(table["caught"] != "") | ~(table["dice"] >= FAILURE)][["scan", "change", "dice", "caught"]]
    text = ["# Robustness of the masks", f"Made by `{facts['command']}`. Failure: Dice below {FAILURE}."]
    text += [summary(rows).round(4).reset_index().to_markdown(index=False), "## Failed or caught"]
    return "\n\n".join([*text, odd.round(4).to_markdown(index=False) if len(odd) else "None."]) + "\n"


def main() -> None:
    """Run what is not there yet; write after every row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bids", type=Path, required=True, help="dataset")
    parser.add_argument(
        "--labels", type=Path, required=True, help="folder of reference labels, relative to the dataset"
    )
    parser.add_argument("--suffix", default="dseg", help="what follows the scan's name in the label images' names")
    parser.add_argument("--scans", type=int, default=8, help="how many seeded scans")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--changes", nargs="+", default=list(CHANGES), choices=list(CHANGES), metavar="CHANGE")
    parser.add_argument("--recipe", default="fast")
    parser.add_argument("--room", type=Path, required=True, help="folder for intermediate files")
    parser.add_argument("--out", type=Path, required=True, help="results without suffix: .json and .md are written")
    args = parser.parse_args()
    path = args.out.with_suffix(".json")
    rows: list[dict[str, Any]] = read_json(path)["rows"] if path.exists() else []
    facts = about(f"python -m benchmarks.robustness --bids <dataset> --scans {args.scans} --recipe {args.recipe}")
    args.room.mkdir(parents=True, exist_ok=True)
    limits = Preprocess().qc
    template = make_template(args.recipe, args.room / "template")
    # Scan by scan, so that an interrupted run has whole scans.
    for image, labels in choose(args.bids, args.bids / args.labels, args.suffix, args.scans, args.seed):
        name = image.name.removesuffix("_T1w.nii.gz")
        for number, (change, function) in enumerate(CHANGES.items()):
            key = {"scan": name, "change": change}
            if change not in args.changes or any(key.items() <= row.items() for row in rows):
                continue
            folder = args.room / name / str(number)
            scan = Scan(folder / "raw.nii.gz", folder, template, args.recipe)
            pair = function((load(image), load(labels)), np.random.default_rng([args.seed, number]))
            rows.append(key | measure(pair, scan, dict(limits)))
            write_json(path, facts | {"failure_below": FAILURE, "rows": rows})
            write_text(args.out.with_suffix(".md"), page(rows, facts))
    total = summary(rows)
    say({"median_drop_worst_change": float(total["median_drop"].max()), "failed": int(total["failed"].sum())}
        | {"failed_and_caught": int(total["failed_and_caught"].sum()), "rows": len(rows)})  # fmt: skip


if __name__ == "__main__":
    main()
