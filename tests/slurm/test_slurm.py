"""The workflow on a real SLURM: through sbatch to the measures, killed, short of memory, cancelled, resumed, trained.

One cluster serves all tests; they stand in the order in which they happen.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from anatcl.base.files import read_tsv
from tests.slurm.cluster import Cluster, missing

pytestmark = [
    pytest.mark.slow,
    pytest.mark.slurm,
    pytest.mark.xdist_group("slurm"),
    pytest.mark.skipif(bool(missing()), reason=f"no SLURM: {missing()}"),
    # The parts were seen to work one by one, the whole not yet.
    pytest.mark.skipif("ANATCL_SLURM" not in os.environ, reason="takes long: set ANATCL_SLURM=1 to run it"),
]

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "tests" / "configs"
# Short waits, and less memory for one rule than it needs at its first attempt.
SHORT = [
    "--slurm-init-seconds-before-status-checks",
    "1",
    "--seconds-between-status-checks",
    "2",
    "--latency-wait",
    "5",
]
SHORT += ["--set-resources", "template:mem_mb=attempt*attempt*150", "--retries", "3", "--jobs", "8"]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("slurm")) as running:
        yield running


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with four simulated people at 6 mm."""
    folder = tmp_path_factory.mktemp("study")
    simulate = ["simulate", str(folder / "bids"), "--participants", "4", "--voxel-mm", "6"]
    subprocess.run([sys.executable, "-m", "anatcl", *simulate], cwd=ROOT, check=True, capture_output=True)
    return folder


class Run:
    """Snakemake on the cluster, started and left to run."""

    def __init__(self, cluster: Cluster, study: Path, *options: str) -> None:
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "workflow" / "Snakefile")]
        command += ["--workflow-profile", str(ROOT / "workflow" / "profiles" / "slurm"), *SHORT, *options]
        command += ["--default-resources", "slurm_account=lab", "slurm_partition=main", "mem_mb=1000", "runtime=10"]
        command += ["--configfile", str(CONFIGS / "tiny.yaml"), "--config", f"bids_dir={study / 'bids'}"]
        environment = cluster.environment | {"OMP_NUM_THREADS": "1"}
        self.log = study / f"run-{time.time_ns()}.log"
        with open(self.log, "w") as stream:
            self.process = subprocess.Popen(command, cwd=study, env=environment, stdout=stream, stderr=stream)
        self.cluster = cluster

    def wait_for(self, state: str, rule: str) -> dict[str, str]:
        """Wait until a job of `rule` (or of a group that holds it) is in `state`; return it."""
        found: list[dict[str, str]] = []

        def there() -> bool:
            assert self.process.poll() is None, self.log.read_text()[-4000:]
            known = self.cluster.queue() + self.cluster.jobs()  # the accounting learns a job's comment at its end
            found[:] = [j for j in known if rule in j["Comment"] and j["State"].startswith(state)]
            return bool(found)

        self.cluster.until(there, 600, f"a job of {rule} to be {state}")
        return found[0]

    def finish(self, seconds: float = 1500) -> str:
        """Wait for the end; return what Snakemake printed."""
        try:
            self.process.wait(seconds)
        finally:
            if self.process.poll() is None:
                os.kill(self.process.pid, signal.SIGKILL)
        return self.log.read_text()


@pytest.fixture(scope="module")
def story(cluster: Cluster, study: Path) -> dict[str, object]:
    """Kill a job, let one run out of memory, cancel the workflow, resume it to the measures."""
    first = Run(cluster, study, "--until", "measures")
    victim = first.wait_for("RUNNING", "scan")
    cluster.run("scancel", "--full", "--signal=KILL", victim["JobID"])
    first.wait_for("COMPLETED", "scan")
    first.process.send_signal(signal.SIGINT)
    cancelled = first.finish(300)
    cluster.until(lambda: not cluster.run("squeue", "--noheader"), 120, "the queue to be empty")
    done = {p: p.stat().st_mtime_ns for p in (study / "results" / "preprocess").rglob("*_dseg.nii.gz")}
    second = Run(cluster, study, "--until", "measures")
    resumed = second.finish()
    assert second.process.returncode == 0, resumed[-6000:]
    return {"victim": victim, "cancelled": cancelled, "resumed": resumed, "done": done, "jobs": cluster.jobs()}


def test_every_job_went_through_sbatch(story, study):
    jobs = [j for j in story["jobs"] if j["State"] == "COMPLETED"]
    assert len({j["Comment"] for j in jobs}) >= 8, jobs
    assert all(j["Account"] == "lab" and j["Partition"] == "main" for j in jobs)
    assert len(read_tsv(study / "results" / "measures" / "measures.tsv")) >= 4
    assert "SLURM run ID" in story["resumed"]


def test_a_killed_job_was_tried_again(story):
    again = [j for j in story["jobs"] if j["Comment"] == story["victim"]["Comment"]]
    assert len(again) >= 2 and "COMPLETED" in {j["State"] for j in again}
    assert {j["State"].split()[0] for j in again} & {"FAILED", "CANCELLED"}


def test_a_job_out_of_memory_was_tried_again_with_more(story, study):
    attempts = [j for j in story["jobs"] if "template" in j["Comment"]]
    assert "COMPLETED" in {j["State"] for j in attempts} and len(attempts) >= 2, attempts
    logs = (study / "logs" / "slurm" / "rule_template").rglob("*.log")
    assert any("exceeded memory limit" in log.read_text() for log in logs)
    asked = [int(re.match(r"\d+", j["ReqMem"])[0]) for j in attempts]
    assert asked == sorted(asked) and asked[-1] > asked[0]


def test_a_cancelled_workflow_left_no_job_and_was_resumed(story):
    assert story["done"], "nothing was finished before the workflow was cancelled"
    assert all(path.stat().st_mtime_ns == when for path, when in story["done"].items())
    assert "unlock" not in story["resumed"]


def test_logs_and_the_efficiency_report_are_where_they_are_said_to_be(story, study):
    assert list((study / "logs" / "bias_correct").rglob("*.log"))
    assert (study / "logs" / "slurm").is_dir()
    assert list((study / "results").glob("*efficiency*"))


def test_training_asks_for_a_gpu(story, study, cluster):
    run = Run(cluster, study, "results/pretrain/anatcl-local/fold-0/encoder.safetensors")
    text = run.finish()
    assert run.process.returncode == 0, text[-6000:]
    (job,) = [j for j in cluster.jobs() if "rule_train" in j["Comment"]]
    assert "gpu" in job["ReqTRES"] and job["State"] == "COMPLETED"
