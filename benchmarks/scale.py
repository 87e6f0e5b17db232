"""Time and memory of planning and indexing large cohorts of empty-but-valid scans.

Run from the root of the repository::

    python -m benchmarks.scale --quick                     # 10,000 scans: index, dry run, batch (minutes)
    python -m benchmarks.scale --scans 1000 10000 50000    # all of it; finished cohorts up to --finish scans
    python -m benchmarks.scale --weigh results             # bytes and files per scan of a real run

Each line is one JSON object of a size; the last line is the summary for 10,000 scans. Wall seconds depend on what else
the machine does; ``*_cpu_s`` beside them are the seconds of processor time that the same process took.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SNAKEFILE = ROOT / "workflow" / "Snakefile"
PEOPLE = "participant_id\tage\tsex\tsite\n"
BATCHES = 20
CHUNKS = 5  # tables of a hundred scans each that are recorded at a time
REFRESH = """
import sys
from anatcl.bids.index import refresh
from anatcl.spec.bids import Options
scans = refresh(sys.argv[1], sys.argv[2], Options())
assert not {"torch", "ants", "nipype", "snakemake"} & set(sys.modules)
print(len(scans))
"""
# Snakemake waits a tenth of a second before it touches the files of a job, and looks at all its jobs after every few.
TOUCH = """
import sys
from snakemake.cli import main
from snakemake.executors.touch import Executor
Executor.SLEEPING_TIME = 0
main([*sys.argv[1:], "--touch", "--cores", "128", "--quiet", "all"])
"""
# A rival, not a dependency: pip install bids2table
LIST = """
import pathlib, sys
import bids2table
import bids2table._indexing as indexing
indexing.as_path = pathlib.Path  # as shipped it fails on Python 3.11 without cloudpathlib (AnyPath has no _flavour)
print(len(bids2table.index_dataset(sys.argv[1])))
"""


def make_tree(folder: Path, scans: int) -> Path:
    """Write `scans` tiny valid T1w images: a third without sessions, the rest in two, some with acq- or run-."""
    import nibabel as nib
    import numpy as np

    folder.mkdir(parents=True, exist_ok=True)
    header = nib.Nifti1Image(np.zeros((16, 17, 18), np.uint8), np.diag([6.0, 6, 6, 1])).to_bytes()[:352]
    (folder / "dataset_description.json").write_text('{"Name": "scale", "BIDSVersion": "1.9.0"}\n')
    people: list[str] = []
    made = 0
    while made < scans:
        person = f"sub-{len(people):06d}"
        visits = ([""] if len(people) % 2 else ["ses-1", "ses-2"])[: scans - made]
        for visit in visits:
            extra = ("", "_acq-mprage", "_run-1", "_acq-flash_run-02")[made % 4]
            anat = folder / person / visit / "anat"
            anat.mkdir(parents=True)
            stem = "_".join(filter(None, (person, visit))) + extra
            voxels = made.to_bytes(8, "little") + bytes(16 * 17 * 18 - 8 - 1) + b"\1"
            (anat / f"{stem}_T1w.nii.gz").write_bytes(gzip.compress(header + voxels, 1, mtime=0))
            made += 1
        people.append(f"{person}\t{20 + len(people) % 60}.5\t{'MF'[len(people) % 2]}\t{len(people) % 5}")
    (folder / "participants.tsv").write_text(PEOPLE + "\n".join(people) + "\n")
    return folder


class Timed:
    """One command in a process of its own: seconds, processor seconds, peak memory and what it printed.

    Parameters
    ----------
    command : sequence of str
        Program and arguments.
    folder : Path
        Where it runs.
    """

    def __init__(self, command: Sequence[str], folder: Path) -> None:
        environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        start = time.monotonic()
        with tempfile.TemporaryFile("w+") as stream:
            process = subprocess.Popen(command, cwd=folder, env=environment, stdout=stream, stderr=subprocess.STDOUT)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            stream.seek(0)
            self.text = stream.read()
        self.seconds = round(time.monotonic() - start, 2)
        self.cpu = round(usage.ru_utime + usage.ru_stime, 2)
        self.memory = round(usage.ru_maxrss / 1024)
        if process.returncode:
            raise RuntimeError(f"{command} ended with {process.returncode}:\n{self.text[-3000:]}")

    def as_dict(self, name: str) -> dict[str, float]:
        """Figures as ``<name>_s``, ``<name>_cpu_s`` and ``<name>_mb``."""
        return {f"{name}_s": self.seconds, f"{name}_cpu_s": self.cpu, f"{name}_mb": self.memory}


def python(code: str, *arguments: object) -> Timed:
    """Run a piece of Python."""
    return Timed([sys.executable, "-c", code, *map(str, arguments)], ROOT)


def snakemake(folder: Path, tree: Path, *options: str) -> Timed:
    """Run Snakemake on `tree` in `folder`."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(SNAKEFILE), "--cores", "2", *options]
    return Timed([*command, "--config", f"bids_dir={tree}"], folder)


def jobs(text: str) -> dict[str, int]:
    """The table of job counts that a dry run prints."""
    rows = (line.split() for line in text.splitlines())
    return {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].isdigit() and row[0].isidentifier()}


def index(tree: Path, out: Path, scans: int, rival: bool) -> dict[str, float]:
    """Time the index: cold, warm, after one file changed; bids2table alone where `rival`."""
    cold = python(REFRESH, tree, out)
    if int(cold.text.split()[-1]) != scans:
        raise RuntimeError(f"{cold.text} of {scans} scans were indexed")
    before = {p.name: p.stat().st_mtime_ns for p in out.iterdir()}
    warm = python(REFRESH, tree, out)
    if before != {p.name: p.stat().st_mtime_ns for p in out.iterdir()}:
        raise RuntimeError("an unchanged dataset was written again")
    next(tree.rglob("*_T1w.nii.gz")).touch()
    changed = python(REFRESH, tree, out)
    found = cold.as_dict("index") | {"index_warm_s": warm.seconds, "index_one_changed_s": changed.seconds}
    return found | ({"bids2table_s": python(LIST, tree).seconds} if rival else {})


def plan(tree: Path, folder: Path, scans: int) -> dict[str, float]:
    """Time a dry run of everything and one of a batch of a twentieth."""
    whole = snakemake(folder, tree, "-n", "--quiet", "rules")
    planned = jobs(whole.text)
    if planned["measure"] != scans or planned["qc"] != scans:
        raise RuntimeError(f"a plan of {scans} scans has {planned}")
    batch = snakemake(folder, tree, "measures", "-n", "--quiet", "rules", "--batch", f"measures=2/{BATCHES}")
    counts = jobs(batch.text)
    found = {"jobs": planned["total"], "batch_scans": counts["measure"], "batch_jobs": counts["total"]}
    return whole.as_dict("dry_run") | batch.as_dict("batch") | found


def finish(tree: Path, folder: Path) -> None:
    """Make the cohort look finished: every output as an empty file, then Snakemake's own records of them."""
    listed = snakemake(folder, tree, "--summary").text.splitlines()
    start = next(n for n, line in enumerate(listed) if line.startswith("output_file\t")) + 1
    for line in listed[start:]:
        name, _, rule, *_ = line.split("\t")
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if rule in ("tables", "measures") and not path.suffix:
            path.mkdir(exist_ok=True)
        else:
            path.touch()
    # Part by part: in a small plan many more jobs are recorded a second. First what all parts need, last what follows.
    touch(folder, tree, ["results/preprocess/template/template.json"], "template")
    tables = (folder / "results" / "measures" / "chunks").glob("*_measures.tsv")
    chunks = sorted(str(path.relative_to(folder)) for path in tables)
    for first in range(0, len(chunks), CHUNKS):
        touch(folder, tree, chunks[first : first + CHUNKS], "bias_correct")
    touch(folder, tree, ["all"], "preprocess", "folds", "baseline")


def touch(folder: Path, tree: Path, targets: Sequence[str], *rules: str) -> None:
    """Let Snakemake record the jobs of `rules`, and of all that follows up to `targets`, without running them."""
    place = ["--snakefile", str(SNAKEFILE), "--config", f"bids_dir={tree}"]
    Timed([sys.executable, "-c", TOUCH, *targets, *place, "--forcerun", *rules], folder)


def finished(tree: Path, folder: Path) -> dict[str, float]:
    """Time the check of a finished cohort, and one target in it."""
    finish(tree, folder)
    check = snakemake(folder, tree, "-n")
    if "Nothing to be done" not in check.text:
        raise RuntimeError(f"the finished cohort is not up to date: {jobs(check.text)}")
    target = next(p for p in (folder / "results" / "preprocess").rglob("*_desc-qc.json"))
    single = snakemake(folder, tree, "-n", str(target.relative_to(folder)))
    return check.as_dict("up_to_date") | single.as_dict("single_target")


def measure(scans: int, quick: bool, finish_up_to: int) -> dict[str, float]:
    """All figures of one size."""
    with tempfile.TemporaryDirectory() as temporary:
        tree, folder = Path(temporary) / "tree", Path(temporary) / "run"
        folder.mkdir()
        start = time.monotonic()
        make_tree(tree, scans)
        found: dict[str, float] = {"scans": scans, "tree_s": round(time.monotonic() - start, 1)}
        found |= index(tree, folder / "results" / "bids", scans, rival=not quick)
        found |= plan(tree, folder, scans)
        return found | (finished(tree, folder) if not quick and scans <= finish_up_to else {})


def weigh(results: Path) -> dict[str, object]:
    """Bytes and files per scan of a finished run, by stage, and what 10,000 scans need."""
    scans = max(1, len((results / "bids" / "scans.tsv").read_text().splitlines()) - 1)
    size: Counter[str] = Counter()
    files: Counter[str] = Counter()
    folders = {stage: results / stage for stage in ("preprocess", "measures", "benchmarks")}
    for stage, folder in (folders | {"logs": results.parent / "logs"}).items():
        # What belongs to one scan lies below a folder of its participant.
        for path in (p for p in folder.rglob("sub-*") if p.is_file()):
            size[stage] += path.stat().st_size
            files[stage] += 1
    arrays = sum(p.stat().st_size for p in (results / "pretrain" / "arrays").rglob("*") if p.is_file())
    total = sum(size.values())
    return {
        "scans": scans,
        "mb_per_scan": {stage: round(n / scans / 1e6, 3) for stage, n in size.items()},
        "files_per_scan": {stage: round(n / scans, 1) for stage, n in files.items()},
        "arrays_mb_per_scan": round(arrays / scans / 1e6, 3),
        "gb_10k": round((total + arrays) / scans * 10_000 / 1e9, 1),
        "files_10k": round(sum(files.values()) / scans * 10_000),
    }


def summary(results: Sequence[dict[str, float]]) -> dict[str, float]:
    """The last line: figures of the size nearest to 10,000 scans."""
    near = min(results, key=lambda found: abs(found["scans"] - 10_000))
    keys = ("dry_run", "batch", "index", "up_to_date", "single_target")
    named = {f"{k}_10k_{unit}": near[f"{k}_{unit}"] for k in keys for unit in ("s", "cpu_s", "mb") if f"{k}_s" in near}
    batch = {name.replace("batch_10k", "batch_500"): value for name, value in named.items()}
    return batch | {"scans": near["scans"]}


def main() -> None:
    """Print one line per size, then the summary."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scans", type=int, nargs="+", default=[1000, 10_000, 50_000], help="sizes of the cohorts")
    parser.add_argument("--quick", action="store_true", help="10,000 scans alone, without a finished cohort")
    parser.add_argument("--finish", type=int, default=10_000, metavar="N", help="largest size to check as finished")
    parser.add_argument("--weigh", type=Path, metavar="RESULTS", help="only weigh the results of a real run")
    args = parser.parse_args()
    if args.weigh:
        sys.stdout.write(json.dumps(weigh(args.weigh)) + "\n")
        return
    results = []
    for scans in [10_000] if args.quick else args.scans:
        results.append(measure(scans, args.quick, args.finish))
        sys.stdout.write(json.dumps(results[-1]) + "\n")
        sys.stdout.flush()
    sys.stdout.write(json.dumps(summary(results)) + "\n")


if __name__ == "__main__":
    main()
