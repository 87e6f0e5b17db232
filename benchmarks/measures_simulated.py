"""What the measures find of what the simulation put in: thinning per region, and regional volumes.

Each simulated person is made twice, as it is (age, disease and own variation thin the cortex by known factors) and
without any of these effects; what a region lost between the two is its measured change.

- ``--people N --voxel-mm 1``: on the true tissue maps and labels, so that nothing but the measures is judged;
- ``--write DIR``: write both heads of each person as a BIDS dataset (session 1 without, session 2 with the effects);
- ``--dataset DIR --results DIR``: the same comparison on what the whole workflow made of that dataset, or of one of
  ``python -m anatcl simulate`` (volumes alone: it has no heads without effects).

Run from the root of the repository::

    python -m benchmarks.measures_simulated --people 4 --voxel-mm 1 --method direct --method distance

The last line is one JSON object: ``change_r`` (measured change with true factor, over regions and people) and
``volume_r`` (measured with true volume) by method.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.measures_common import correlation, last_line, write

TRUTH = Path("sourcedata") / "truth"


def without_effects(who: Any) -> Any:
    """The same person, in size and shape, with the template's own cortex."""
    from anatcl.simulate.effects import REFERENCE_AGE

    return dataclasses.replace(who, age=REFERENCE_AGE, severity=0.0, own=np.ones_like(who.own), ventricle_mm=0.0)


def pair(seed: int, index: int, voxel_mm: float) -> list[tuple[str, Any, Any, Any]]:
    """Both heads of a person: session, person, scan, truth."""
    from anatcl.simulate.anatomy import anatomy
    from anatcl.simulate.people import Scan, person
    from anatcl.simulate.render import make_truth

    who = person(seed, index)
    found = []
    for number, (session, someone) in enumerate((("1", without_effects(who)), ("2", who))):
        scan = Scan(session, (), 0.0, number)
        found.append((session, someone, scan, make_truth(anatomy(), someone, scan, voxel_mm)))
    return found


def measure_truth(truth: Any, scan: str, methods: list[str]) -> dict[str, pd.DataFrame]:
    """Our measures on the true tissue maps and labels, by thickness method."""
    from anatcl.images import Volume
    from anatcl.measures.atlas import load_atlas
    from anatcl.measures.scan import measure
    from anatcl.measures.tissues import Tissues
    from anatcl.preprocess.geometry import bounding_box

    maps = np.stack([truth.csf, truth.gm, truth.wm])
    dseg = np.where(maps.sum(axis=0) > 0.5, maps.argmax(axis=0) + 1, 0).astype(np.int16)
    box = bounding_box(truth.icv, margin=2)
    spacing = np.linalg.norm(truth.affine[:3, :3], axis=0)
    gm, wm, csf, dseg, icv, labels = (
        np.ascontiguousarray(m[box]) for m in (truth.gm, truth.wm, truth.csf, dseg, truth.icv, truth.labels)
    )
    grid = Volume(truth.gm, truth.affine)
    tissues = Tissues(gm=gm, wm=wm, csf=csf, dseg=dseg, icv=icv, spacing=spacing, grid=grid, box=box)
    atlas = load_atlas("desikan-killiany")
    fitted = true_labels(labels, dseg, spacing, atlas)
    return {m: measure(scan, tissues, fitted, atlas, m)[0] for m in methods}


def true_labels(labels: np.ndarray, dseg: np.ndarray, spacing: np.ndarray, atlas: Any) -> Any:
    """The simulation's labels, and one voxel more: partly filled voxels around a region belong to it, no cerebellum."""
    from scipy import ndimage

    from anatcl.measures.labels import Labels, fit

    found = fit(labels.astype(np.int32), dseg, spacing, atlas)
    near = ndimage.distance_transform_edt(labels == 0, sampling=spacing) < 1.8 * float(spacing.max())
    return Labels(np.where(near, found.nearest, 0), np.where(near, found.fitted, 0))


def rows_of(table: pd.DataFrame, truth: pd.DataFrame, scan: str, session: str) -> pd.DataFrame:
    """Cortical regions of one scan, measured and true."""
    joined = table[table["structure"] == "cortex"].merge(truth, on="region", suffixes=("", "_true"))
    return pd.DataFrame({
        "scan": scan, "person": scan.split("/")[0], "session": session, "region": joined["region"],
        "thickness": joined["thickness_mm"], "volume": joined["volume_mm3"], "factor": joined["factor"],
        "thickness_true": joined["thickness_mm_true"], "volume_true": joined["volume_mm3_true"],
    })  # fmt: skip


def judge(rows: pd.DataFrame) -> dict[str, Any]:
    """Correlations over regions and people: change with factor (pairs), volume and thickness with the truth."""
    result = {"scans": rows["scan"].nunique()}
    result |= {k: correlation(rows[k], rows[f"{k}_true"])[0] for k in ("volume", "thickness")}
    result["thickness_bias_percent"] = 100 * (rows["thickness"].mean() / rows["thickness_true"].mean() - 1)
    result["volume_bias_percent"] = 100 * (rows["volume"].mean() / rows["volume_true"].mean() - 1)
    first, second = (rows[rows["session"] == s].set_index(["person", "region"]) for s in ("1", "2"))
    both = first.join(second, lsuffix="_before", rsuffix="_after", how="inner")
    unaffected = first["factor"].round(6).nunique() == 1
    if len(both) and unaffected:
        true = both["factor_after"] / both["factor_before"]
        for name in ("thickness", "volume"):
            change = both[f"{name}_after"] / both[f"{name}_before"]
            use = np.isfinite(change)
            r, low, high, n = correlation(change, true)
            people = [correlation(c, true.loc[c.index])[0] for _, c in change.groupby(level="person")]
            result |= {f"{name}_change_r": r, f"{name}_change_low": low, f"{name}_change_high": high, "pairs": n,
                       f"{name}_change_slope": np.polyfit(true[use], change[use], 1)[0],
                       f"{name}_change_r_lowest_person": min(people)}  # fmt: skip
    return result


def on_truth(args: argparse.Namespace) -> dict[str, pd.DataFrame]:
    """Measure both heads of each person on the true maps."""
    found: dict[str, list[pd.DataFrame]] = {m: [] for m in args.method}
    for index in range(args.people):
        for session, who, scan, truth in pair(args.seed, index, args.voxel_mm):
            name = scan.stem(who.participant_id)
            for method, table in measure_truth(truth, name, args.method).items():
                found[method].append(rows_of(table, truth.table, name, session))
    return {m: pd.concat(tables, ignore_index=True) for m, tables in found.items()}


def on_results(dataset: Path, results: Path) -> dict[str, pd.DataFrame]:
    """What the workflow measured, beside the truth that lies in the dataset."""
    from anatcl.base.files import read_tsv

    found = []
    method = ""
    for file in sorted((results / "measures").rglob("*_atlas-*_measures.tsv")):
        scan = str(file.relative_to(results / "measures")).rpartition("_atlas-")[0]
        truth = dataset / TRUTH / f"{scan}_regions.tsv"
        table = read_tsv(file)
        method = str(table["thickness_method"].iloc[0])
        session = next((p[4:] for p in scan.split("/") if p.startswith("ses-")), "1")
        found.append(rows_of(table, read_tsv(truth), scan, session))
    return {method: pd.concat(found, ignore_index=True)}


def write_dataset(folder: Path, people: int, voxel_mm: float, seed: int) -> None:
    """Write both heads of each person as BIDS, with the regional truth."""
    from anatcl.base.files import write_json, write_tsv
    from anatcl.simulate.dataset import _write_image
    from anatcl.simulate.render import make_image

    write_json(folder / "dataset_description.json", {"Name": "Pairs of simulated heads", "BIDSVersion": "1.9.0"})
    for index in range(people):
        for _, who, scan, truth in pair(seed, index, voxel_mm):
            stem = scan.stem(who.participant_id)
            write_tsv(folder / TRUTH / f"{stem}_regions.tsv", truth.table, "%.6g")
            image = folder / f"{stem}_T1w.nii.gz"
            image.parent.mkdir(parents=True, exist_ok=True)
            _write_image(image, make_image(truth, who, scan), truth.affine, who)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=4, help="simulated people")
    parser.add_argument("--voxel-mm", type=float, default=1.0, help="voxel size, mm")
    parser.add_argument("--seed", type=int, default=0, help="seed of the simulation")
    parser.add_argument("--method", action="append", help="of thickness (default: direct)")
    parser.add_argument("--write", type=Path, help="write the heads as a BIDS dataset and stop")
    parser.add_argument("--dataset", type=Path, help="simulated dataset that the workflow ran on")
    parser.add_argument("--results", type=Path, help="the workflow's results on it")
    parser.add_argument("--out", type=Path, help="folder for the summary")
    parser.add_argument("--name", default="simulated", help="names the files")
    args = parser.parse_args()
    args.method = args.method or ["direct"]
    if args.write:
        write_dataset(args.write, args.people, args.voxel_mm, args.seed)
        return
    found = on_results(args.dataset, args.results) if args.dataset else on_truth(args)
    source = "workflow output" if args.dataset else "true maps"
    summary = pd.DataFrame([{"input": source, "method": m} | judge(rows) for m, rows in found.items()])
    if args.out:
        about = {"command": "python -m benchmarks.measures_simulated", "voxel_mm": args.voxel_mm, "seed": args.seed}
        write(args.out, args.name, summary, about, "Simulated heads: what was measured against what was put in.")
    keys = {"change_r": "thickness_change_r", "volume_r": "volume"}
    print(last_line({k: dict(zip(summary["method"], summary.get(v, np.nan), strict=False)) if v in summary else None
                     for k, v in keys.items()} | {"rows": summary.to_dict("records")}))  # fmt: skip


if __name__ == "__main__":
    main()
