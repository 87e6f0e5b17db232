"""Cortical thickness by this project's DiReCT beside ANTs' KellyKapowski, on the same input in one run.

The input is a simulated head (whose thickness is known) on a grid of ``--voxel-mm``, or a preprocessed scan of yours;
with ``--quick`` the left hemisphere at 2 mm. Each solver runs in a process of its own, on the same number of threads:

- rival: KellyKapowski as nipype calls it (50 iterations, gradient step .025), whose seconds make ``ratio``;
- ours: `anatcl.measures.direct` as it is, stopping on convergence;
- for agreement, both at matched, converged settings: KellyKapowski with 90 iterations and gradient step .05, and our
  solver reading thickness off the flow in the same way (`MATCHED`), compared over the regions.

Run from the root of the repository::

    python -m benchmarks.measures [--quick] [--speed] [--threads 2] [--voxel-mm 2]
    python -m benchmarks.measures --scan sub-01/anat/sub-01 --results results

The last line is one JSON object: ``ratio`` (rival seconds / our seconds), ``cpu_ratio`` (the same of processor time,
which other load on the machine does not touch), ``agreement_r``, ``mean_abs_diff_mm``, ``peak_mb`` (ours) and details.
``benchmarks.measures_phantoms`` has the errors of all solvers on known shapes.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measures_phantoms import NIPYPE_DEFAULT

Case = dict[str, np.ndarray]


def simulated_case(voxel_mm: float) -> Case:
    """The first simulated person: true tissue maps and labels, and the true thickness of each label."""
    from anatcl.measures.atlas import load_atlas
    from anatcl.simulate.anatomy import anatomy
    from anatcl.simulate.people import person, scans
    from anatcl.simulate.render import make_truth
    from benchmarks.measures_simulated import true_labels

    who = person(0, 0)
    truth = make_truth(anatomy(), who, scans(who)[0], voxel_mm)
    maps = np.stack([truth.csf, truth.gm, truth.wm])
    dseg = np.where(maps.sum(axis=0) > 0.5, maps.argmax(axis=0) + 1, 0)
    spacing = np.linalg.norm(truth.affine[:3, :3], axis=0)
    atlas = load_atlas("desikan-killiany")
    labels = true_labels(truth.labels, dseg, spacing, atlas)
    case = _case(atlas, truth.gm, truth.wm, labels, dseg, spacing)
    thickness = np.full(100, np.nan)
    thickness[truth.table["label"]] = truth.table["thickness_mm"]
    return case | {"true_mm": thickness}


def scan_case(results: Path, scan: str) -> Case:
    """The same of a preprocessed scan; its true thickness is not known."""
    from anatcl.measures import labels as labelling
    from anatcl.measures.atlas import load_atlas
    from anatcl.measures.tissues import load_tissues

    stem = results / "preprocess" / scan
    path = {k: stem.with_name(f"{stem.name}_label-{k.upper()}_probseg.nii.gz") for k in ("gm", "wm", "csf")}
    dseg = stem.with_name(f"{stem.name}_dseg.nii.gz")
    tissues = load_tissues(**path, dseg=dseg, icv=stem.with_name(f"{stem.name}_desc-icv_mask.nii.gz"))
    atlas = load_atlas("desikan-killiany")
    transform = next(stem.parent.glob(f"{stem.name}_from-MNI*_to-T1w_mode-image_xfm.h5"))
    warped = labelling.warp(atlas, dseg, transform).data[tissues.box]
    labels = labelling.fit(warped, tissues.dseg, tissues.spacing, atlas)
    return _case(atlas, tissues.gm, tissues.wm, labels, tissues.dseg, tissues.spacing)


def _case(atlas: Any, grey: np.ndarray, white: np.ndarray, labels: Any, dseg: np.ndarray, spacing: np.ndarray) -> Case:
    """What either solver gets, cut to the cortex: both pay for the same box."""
    from anatcl.preprocess.geometry import bounding_box

    regions = atlas.regions
    index = regions.loc[regions["structure"] == "cortex", "index"].to_numpy()
    cortex = np.isin(labels.nearest, index)
    filled = np.isin(labels.nearest, regions.loc[regions["fill"], "index"]) & (dseg > 0)
    box = bounding_box(cortex & (labels.fitted > 0), margin=4)
    return {
        "grey": np.where(cortex, grey, 0)[box].astype(np.float32),
        "white": np.where(filled, 1, white)[box].astype(np.float32),
        "labels": np.where(cortex, labels.fitted, 0)[box].astype(np.int16),
        "spacing": np.asarray(spacing, float),
    }


def left_half(case: Case) -> Case:
    """The box of the left hemisphere's cortex (labels 1 to 34), with a margin."""
    from anatcl.preprocess.geometry import bounding_box

    left = (case["labels"] > 0) & (case["labels"] < 35)
    box = bounding_box(left, margin=3)
    cut = {k: v[box] if v.ndim == 3 else v for k, v in case.items()}
    return cut | {"labels": np.where(left, case["labels"], 0)[box]}


def solve(file: Path, solver: str, options: dict[str, Any], threads: int) -> None:
    """Child process: read a case, solve it, write the map, print what it took."""
    case = np.load(file)
    start, before = time.perf_counter(), _cpu()
    if solver == "ours":
        from anatcl.measures.direct import direct as function
    else:
        from anatcl.measures.kelly_kapowski import kelly_kapowski as function
    found = function(case["grey"], case["white"], case["spacing"], threads=threads, **options)
    seconds, cpu = time.perf_counter() - start, _cpu() - before
    np.save(file.with_name(f"{solver}.npy"), found)
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 1024
    print(json.dumps({"seconds": seconds, "cpu_seconds": cpu, "peak_mb": round(peak, 1)}))


def _cpu() -> float:
    """Processor seconds of this process and of its children that ended."""
    usage = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(u.ru_utime + u.ru_stime for u in usage)


def run(folder: Path, case: Case, solver: str, options: dict[str, Any], threads: int) -> dict[str, Any]:
    """Solve a case in a process of its own; returns its seconds, memory and map."""
    file = folder / "case.npz"
    np.savez(file, **case)
    command = [sys.executable, "-m", "benchmarks.measures", "--child", str(file), solver, json.dumps(options)]
    result = subprocess.run([*command, "--threads", str(threads)], capture_output=True, text=True, check=False)
    if result.returncode:
        raise SystemExit(result.stderr)
    return json.loads(result.stdout.splitlines()[-1]) | {"map": np.load(folder / f"{solver}.npy")}


def regional(found: np.ndarray, labels: np.ndarray, fewest: int = 30) -> np.ndarray:
    """Mean thickness by label, NaN for those of fewer than `fewest` voxels, shape (100,)."""
    use = (found > 0) & (labels > 0)
    count = np.bincount(labels[use], minlength=100)
    mean = np.bincount(labels[use], found[use], minlength=100) / np.maximum(count, 1)
    return np.where(np.bincount(labels[labels > 0], minlength=100) >= fewest, mean, np.nan)


def agreement(ours: np.ndarray, theirs: np.ndarray) -> dict[str, float]:
    """How alike two columns of regional means are."""
    r, difference = np.corrcoef(ours, theirs)[0, 1], np.abs(ours - theirs).mean()
    return {"agreement_r": round(float(r), 4), "mean_abs_diff_mm": round(float(difference), 4)}


def compare(args: argparse.Namespace) -> dict[str, Any]:
    """Run everything; returns the last line."""
    from anatcl.base.provenance import hardware, versions
    from anatcl.measures.direct import MATCHED
    from anatcl.spec.thickness import KellyKapowski

    case = scan_case(args.results, args.scan) if args.scan else simulated_case(2 if args.quick else args.voxel_mm)
    case = left_half(case) if args.quick else case
    jobs = {"ours": ("ours", {}), "rival": ("rival", NIPYPE_DEFAULT)}
    if not args.speed:
        jobs |= {
            "ours_matched": ("ours", MATCHED),
            "rival_converged": ("rival", KellyKapowski().model_dump(exclude_none=True)),
        }
    with tempfile.TemporaryDirectory() as name:
        found = {job: run(Path(name), case, solver, options, args.threads) for job, (solver, options) in jobs.items()}
    mean = {job: regional(r["map"], case["labels"]) for job, r in found.items()}
    use = np.isfinite(mean["ours"])
    ours, rival = found["ours"], found["rival"]
    result = {
        "ratio": round(rival["seconds"] / ours["seconds"], 2),
        "cpu_ratio": round(rival["cpu_seconds"] / ours["cpu_seconds"], 2),
        **({} if args.speed else agreement(mean["ours_matched"][use], mean["rival_converged"][use])),
        "peak_mb": ours["peak_mb"],
        "rival_peak_mb": rival["peak_mb"],
        "seconds": {job: round(r["seconds"], 1) for job, r in found.items()},
        "cpu_seconds": {job: round(r["cpu_seconds"], 1) for job, r in found.items()},
        "mean_mm": {job: round(float(m[use].mean()), 3) for job, m in mean.items()},
        "regions": int(use.sum()),
        "input": {"scan": args.scan or "simulated", "shape": case["grey"].shape, "voxel_mm": case["spacing"].tolist()},
        "threads": args.threads,
        "versions": versions(),
        "hardware": hardware(),
    }
    if "true_mm" in case:
        true = case["true_mm"][use]
        result["true_mean_mm"] = round(float(true.mean()), 3)
        result["r_with_truth"] = {job: round(float(np.corrcoef(m[use], true)[0, 1]), 3) for job, m in mean.items()}
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="left hemisphere at 2 mm: a few minutes")
    parser.add_argument("--speed", action="store_true", help="leave out the agreement at converged settings")
    parser.add_argument("--threads", type=int, default=2, help="of either solver")
    parser.add_argument("--voxel-mm", type=float, default=2.0, help="of the simulated head")
    parser.add_argument("--scan", default="", help="a preprocessed scan instead of the simulated head")
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder of its results")
    parser.add_argument("--out", type=Path, help="write the result there too (.json)")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        file, solver, options = args.child
        solve(Path(file), solver, json.loads(options), args.threads)
        return
    result = compare(args)
    if args.out:
        from anatcl.base.files import write_json

        write_json(args.out, result)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
