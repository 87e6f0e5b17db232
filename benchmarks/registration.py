"""Registration of one labelled head per recipe, engine and thread count: label overlap, Jacobian, masks, cost.

The head comes with FreeSurfer's result: ``orig.mgz``, ``aparc+aseg.mgz`` and ``brainmask.mgz`` in one folder::

    python -m benchmarks.registration --mri ../shared/data/aomic_sub-0001/mri --recipes testing fast \
        --out docs/results/registration

Label overlap is the mean Dice of the 68 cortical Desikan-Killiany labels, on 1 mm grids, nearest neighbour: the scan's
aparc carried to the template against the atlas there, and the atlas carried to the scan against its aparc. Finished
rows are kept in ``<out>.json``: run it again to go on. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anatcl.base.files import read_json, write_json, write_text
from anatcl.images import load
from anatcl.preprocess.geometry import coarsen
from benchmarks.preprocess_common import (
    NOTHING,
    Scan,
    about,
    as_nifti,
    cortical,
    dice,
    head,
    jacobian,
    label_overlap,
    make_template,
    say,
    tissue_overlap,
)

STEPS = ("bias_correct", "skullstrip", "register", "segment", "qc")


def measure(scan: Scan, mri: Path, room: Path, voxel_mm: float) -> dict[str, Any]:
    """Run every step of one scan and compare with what FreeSurfer says."""
    costs = {name: scan.step(name) for name in STEPS}
    brain = load(as_nifti(mri / "brainmask.mgz", room / "brainmask.nii.gz"))
    inside = coarsen(brain.like((brain.data > 0).astype(np.float32)), voxel_mm).data > 0.5
    masks = {f"{k}_dice": dice(load(scan.path(f"{k}.nii.gz")).data > 0.5, inside) for k in ("brain", "icv")}
    aparc = cortical(as_nifti(mri / "aparc+aseg.mgz", room / "aparc.nii.gz"), room / "cortex.nii.gz")
    forward, inverse = scan.path("forward.h5"), scan.path("inverse.h5")
    found = label_overlap(aparc, [forward], [inverse], scan.folder, scan.threads)
    found |= tissue_overlap(scan.path("GM.nii.gz"), scan.path("WM.nii.gz"), forward, scan.template, scan.folder)
    total = sum(costs.values(), NOTHING)
    seconds = {f"{name}_cpu_s": round(cost.cpu_s, 1) for name, cost in costs.items()}
    return masks | found | jacobian(forward, scan.template) | total.rounded() | seconds


def markdown(rows: list[dict[str, Any]], facts: dict[str, Any]) -> str:
    """Both tables as a page."""
    table = pd.DataFrame(rows)
    cost = [c for c in table if c.endswith(("_s", "_mb"))]
    keys = ["recipe", "engine", "voxel_mm", "threads"]
    quality = [c for c in table if c not in cost]
    parts = [table[quality].round(3), table[keys + cost].round(1)]
    machine = facts["hardware"]
    note = f"Made by `{facts['command']}` on {machine.get('cores')} shared cores ({machine.get('processor')})."
    return (
        "\n\n".join(["# Registration of one labelled head", note, *(p.to_markdown(index=False) for p in parts)]) + "\n"
    )


def main() -> None:
    """Run what is not there yet; write after every row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mri", type=Path, required=True, help="folder of orig.mgz, aparc+aseg.mgz, brainmask.mgz")
    parser.add_argument("--recipes", nargs="+", default=["testing", "fast"])
    parser.add_argument("--engines", nargs="+", default=["ants"], choices=["ants", "greedy"])
    parser.add_argument("--voxel-mm", nargs="+", type=float, default=[1.0], help="1 is the scan as it is; 2 averages")
    parser.add_argument("--threads", nargs="+", type=int, default=[1])
    parser.add_argument("--room", type=Path, help="folder for intermediate files, kept (default: temporary)")
    parser.add_argument("--out", type=Path, required=True, help="results without suffix: .json and .md are written")
    args = parser.parse_args()
    path = args.out.with_suffix(".json")
    rows: list[dict[str, Any]] = read_json(path)["rows"] if path.exists() else []
    facts = about("python -m benchmarks.registration --mri <folder> --recipes " + " ".join(args.recipes))
    with tempfile.TemporaryDirectory() as temporary:
        room = args.room or Path(temporary)
        room.mkdir(parents=True, exist_ok=True)
        combinations = itertools.product(args.recipes, args.engines, args.voxel_mm, args.threads)
        for recipe, engine, voxel_mm, threads in combinations:
            key = {"recipe": Path(recipe).stem, "engine": engine, "voxel_mm": voxel_mm, "threads": threads}
            if any(key.items() <= row.items() for row in rows):
                continue
            raw = head(args.mri, voxel_mm, room)
            folder = room / "-".join(str(v) for v in key.values())
            scan = Scan(raw, folder, make_template(recipe, room / f"template-{key['recipe']}"), recipe, threads, engine)
            if engine != "ants":
                folder = room / "-".join(str(v) for v in (key | {"engine": "ants"}).values())
                scan.share(dataclasses.replace(scan, folder=folder), ("bias_correct", "skullstrip"))
            rows.append(key | measure(scan, args.mri, room, voxel_mm))
            write_json(path, facts | {"rows": rows})
            write_text(args.out.with_suffix(".md"), markdown(rows, facts))
    say(rows[-1] if rows else {})


if __name__ == "__main__":
    main()
