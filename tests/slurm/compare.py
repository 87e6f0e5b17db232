"""Time six short rules per scan on a SLURM of one node: as single jobs, in groups, as job arrays, and without SLURM.

``python -m tests.slurm.compare --scans 4`` prints one JSON object per way. The rules only sleep, so that what differs
is what submitting, starting and watching jobs takes. docs/cluster.md cites the figures.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.slurm.cluster import Cluster

STEPS = "abcdef"
RULE = """
rule {step}:
    input:
        {input},
    output:
        "{step}/{{scan}}",
    resources:
        mem_mb=600,
        runtime=10,
    shell:
        "sleep {seconds}; touch {{output}}"
"""
SLURM = ["--executor", "slurm", "--jobs", "100", "--latency-wait", "10", "--default-resources", "slurm_account=lab"]
SLURM += ["slurm_partition=main", "lane=1", "--slurm-init-seconds-before-status-checks", "5"]
LANE = ["--resources", "lane=1", "--set-resource-scopes", "lane=local"]
WAYS = {
    "local": ["--cores", "2"],
    "groups": [*SLURM, *LANE, "--groups", *(f"{step}=scan" for step in STEPS), "--group-components", "scan=1"],
    "arrays": [*SLURM, "--slurm-array-jobs", "all"],
    "single": SLURM,
}


def snakefile(folder: Path, scans: int, seconds: float) -> Path:
    """Write the six rules."""
    text = f'rule all:\n    input:\n        expand("{STEPS[-1]}/{{scan}}", scan=range({scans})),\n'
    for before, step in zip(" " + STEPS, STEPS, strict=False):
        given = f'"{before}/{{scan}}"' if before.strip() else "[]"
        text += RULE.format(step=step, input=given, seconds=seconds)
    path = folder / "Snakefile"
    path.write_text(text)
    return path


def measure(way: str, scans: int, seconds: float, cluster: Cluster, folder: Path) -> dict[str, object]:
    """Run the rules in one way."""
    folder.mkdir()
    known = {j["JobIDRaw"] for j in cluster.jobs()}
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(snakefile(folder, scans, seconds)), *WAYS[way]]
    with open(folder / "printed.txt", "w") as log:
        start, before = time.monotonic(), os.times()
        subprocess.run(command, cwd=folder, env=cluster.environment, stdout=log, stderr=log, check=True)
        wall, after = time.monotonic() - start, os.times()
    jobs = [j for j in cluster.jobs() if j["JobIDRaw"] not in known]
    return {
        "way": way,
        "scans": scans,
        "seconds_per_rule": seconds,
        "wall_s": round(wall, 1),
        "own_cpu_s": round(after.children_user + after.children_system - before.children_user, 1),
        "sbatch_calls": len({j["JobID"].partition("_")[0] for j in jobs}),
        "jobs": len(jobs),
        "held_s": sum(_seconds(j["Elapsed"]) for j in jobs),
    }


def _seconds(elapsed: str) -> int:
    hours, minutes, seconds = elapsed.rpartition("-")[2].split(":")
    return 3600 * int(hours) + 60 * int(minutes) + int(seconds)


def main() -> None:
    """Print one line per way."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scans", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=2, help="how long each rule sleeps (s)")
    parser.add_argument("--cpus", type=int, default=8, help="processors that the node claims to have")
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=WAYS)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary, Cluster(Path(temporary) / "slurm", cpus=args.cpus) as cluster:
        for way in args.ways:
            found = measure(way, args.scans, args.seconds, cluster, Path(temporary) / way)
            sys.stdout.write(json.dumps(found) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
