"""Preprocessing of one scan, ours beside plain ANTs: time, memory, and how well the labels fit afterwards.

Both start from the same raw scan and the same template, each step in a process of its own, one thread each::

    python -m benchmarks.preprocess --quick                       # a simulated head, 3 mm grids, recipe testing
    python -m benchmarks.preprocess --mri ../shared/data/aomic_sub-0001/mri --out benchmarks/results/preprocess
    python -m benchmarks.preprocess --mri ../shared/data/aomic_sub-0001/mri --voxel-mm 2 --room <folder> --out ...

Ours is the whole of preprocess (bias_correct, skullstrip, register, segment, qc). The rival is N4 at shrink 4, brain
extraction as antsBrainExtraction.sh does it, and antsRegistrationSyN.sh's SyN (CC radius 4, 100x70x50x20, full
resolution) by antspyx; it writes no tissue or VBM maps. ``ratio`` is the rival's processor seconds over ours (with one
thread that is the wall time of an idle machine), ``ratio_wall`` what the clock said. The ``dice_*`` are mean Dice of
the 68 cortical labels carried to the template, on the atlas' 1 mm grid. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import dataclasses
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anatcl.base.files import read_json, write_json, write_text
from anatcl.images import Volume, load
from anatcl.preprocess.geometry import coarsen
from benchmarks.preprocess_common import (
    NOTHING,
    Cost,
    Scan,
    about,
    as_nifti,
    cortical,
    dice,
    head,
    label_overlap,
    make_template,
    say,
    timed,
)

OURS = ("bias_correct", "skullstrip", "register", "segment", "qc")
RIVAL = ("bias_correct", "brain_extraction", "register")


@dataclasses.dataclass(frozen=True)
class Problem:
    """What both are given: a raw scan, its cortical labels (numbered as the atlas'), its true brain mask."""

    raw: Path
    labels: Path
    brain: Volume


def simulated(room: Path, voxel_mm: float) -> Problem:
    """One simulated head with its truth."""
    bids = room / "bids"
    command = [sys.executable, "-m", "anatcl", "simulate", str(bids), "--participants", "1"]
    subprocess.run([*command, "--voxel-mm", str(voxel_mm)], check=True, capture_output=True)
    raw = next(bids.glob("sub-*/**/*_T1w.nii.gz"))
    stem = raw.relative_to(bids).as_posix().removesuffix("_T1w.nii.gz")
    truth = bids / "sourcedata" / "truth"
    brain = load(truth / f"{stem}_desc-brain_mask.nii.gz")
    return Problem(raw, truth / f"{stem}_atlas-DesikanKilliany_dseg.nii.gz", brain)


def measured(mri: Path, room: Path, voxel_mm: float) -> Problem:
    """A real head with FreeSurfer's result; scan and mask averaged to `voxel_mm`, the labels as they are."""
    labels = cortical(as_nifti(mri / "aparc+aseg.mgz", room / "aparc.nii.gz"), room / "cortex.nii.gz")
    brain = load(as_nifti(mri / "brainmask.mgz", room / "brainmask.nii.gz"))
    inside = coarsen(brain.like((brain.data > 0).astype(np.float32)), voxel_mm)
    return Problem(head(mri, voxel_mm, room), labels, inside.like(inside.data > 0.5))


def run_ours(problem: Problem, room: Path, recipe: str, threads: int) -> dict[str, Any]:
    """All steps of preprocess."""
    scan = Scan(problem.raw, room / "ours", make_template(recipe, room / f"template-{recipe}"), recipe, threads)
    costs = {step: scan.step(step) for step in OURS}
    found = label_overlap(problem.labels, [scan.path("forward.h5")], [], scan.folder)
    mask = dice(load(scan.path("brain.nii.gz")).data > 0.5, problem.brain.data > 0)
    return summary("ours", costs, found["labels_to_template"], mask)


def run_rival(problem: Problem, room: Path, recipe: str, threads: int) -> dict[str, Any]:
    """N4, brain extraction and SyN by antspyx; steps that were finished before are kept."""
    folder = room / "rival"
    folder.mkdir(exist_ok=True)
    template = make_template(recipe, room / f"template-{recipe}")
    for name in ("head", "brain", "brain_mask"):
        shutil.copy(template / f"{name}.nii.gz", folder / f"{name}.nii.gz")
    if not (folder / "raw.nii.gz").exists():
        shutil.copy(problem.raw, folder / "raw.nii.gz")
    costs = {}
    for step in RIVAL:
        done = folder / f"{step}.cost.json"
        if not done.exists():
            command = [sys.executable, "-m", "benchmarks.rival_ants", step, str(folder)]
            write_json(done, dataclasses.asdict(timed(command, folder / f"{step}.log", threads)))
        costs[step] = Cost(**read_json(done))
    found = label_overlap(problem.labels, [folder / "warp.nii.gz", folder / "affine.mat"], [], folder)
    mask = dice(load(folder / "brain-found.nii.gz").data > 0.5, problem.brain.data > 0)
    return summary("rival", costs, found["labels_to_template"], mask)


def summary(name: str, costs: dict[str, Cost], labels: float, mask: float) -> dict[str, Any]:
    """One side's figures."""
    total = sum(costs.values(), NOTHING)
    steps = {step: cost.rounded() for step, cost in costs.items()}
    return {"name": name, "label_dice": labels, "mask_dice": mask, **total.rounded(), "steps": steps}


def compare(ours: dict[str, Any], rival: dict[str, Any]) -> dict[str, Any]:
    """The last line."""
    return {
        "ratio": round(rival["cpu_s"] / ours["cpu_s"], 2),
        "ratio_wall": round(rival["wall_s"] / ours["wall_s"], 2),
        "dice_ours": round(ours["label_dice"], 4),
        "dice_rival": round(rival["label_dice"], 4),
        "mask_dice_ours": round(ours["mask_dice"], 4),
        "mask_dice_rival": round(rival["mask_dice"], 4),
        "peak_mb": round(ours["peak_mb"]),
        "peak_mb_rival": round(rival["peak_mb"]),
    }


def page(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    rows = [
        {"who": side["name"], "step": step, **cost}
        for side in result["sides"]
        for step, cost in [*side["steps"].items(), ("all", {k: side[k] for k in ("wall_s", "cpu_s", "peak_mb")})]
    ]
    machine, last = result["hardware"], result["result"]
    return "\n\n".join(
        [
            "# Preprocessing beside plain ANTs",
            f"Made by `{result['command']}` on {machine.get('cores')} shared cores ({machine.get('processor')}), "
            f"{result['problem']}, {result['threads']} thread(s).",
            pd.DataFrame([last]).to_markdown(index=False),
            pd.DataFrame(rows).to_markdown(index=False),
        ]
    ) + "\n"  # fmt: skip


def main() -> None:
    """Run both, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a simulated head on 3 mm grids, minutes")
    parser.add_argument("--mri", type=Path, help="folder of orig.mgz, aparc+aseg.mgz, brainmask.mgz; else simulated")
    parser.add_argument("--voxel-mm", type=float, default=1.0, help="1 is the real head as it is; 2 averages it first")
    parser.add_argument("--recipe", default="fast", help="of ours")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--room", type=Path, help="folder for intermediate files, kept; finished steps stay finished")
    parser.add_argument("--out", type=Path, help="results without suffix: .json and .md are written")
    args = parser.parse_args()
    voxel_mm = 3.0 if args.quick else args.voxel_mm
    recipe = "testing" if args.quick else args.recipe
    # The rival registers to a template of the scan's own resolution, or the nearest that a recipe has.
    rival_recipe = "precise" if voxel_mm < 1.5 else "fast" if voxel_mm < 2.5 else "testing"
    with tempfile.TemporaryDirectory() as temporary:
        room = args.room or Path(temporary)
        room.mkdir(parents=True, exist_ok=True)
        if args.mri and not args.quick:
            problem = measured(args.mri, room, voxel_mm)
            words = f"a real head with FreeSurfer's labels, {voxel_mm:g} mm"
        else:
            problem, words = simulated(room, voxel_mm), f"a simulated {voxel_mm:g} mm head"
        sides = [run_ours(problem, room, recipe, args.threads), run_rival(problem, room, rival_recipe, args.threads)]
    result = about(
        f"python -m benchmarks.preprocess{' --quick' if args.quick else f' --mri <folder> --voxel-mm {voxel_mm:g}'}"
    )
    result |= {"problem": f"{words}, recipe {recipe}", "threads": args.threads, "sides": sides}
    result["result"] = compare(*sides)
    if args.out:
        write_json(args.out.with_suffix(".json"), result)
        write_text(args.out.with_suffix(".md"), page(result))
    say(result["result"])


if __name__ == "__main__":
    main()
