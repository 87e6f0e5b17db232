"""The workflow on a real SLURM: through sbatch to the measures, killed, short of memory, cancelled, resumed, trained.

One cluster serves all tests; they stand in the order in which they happen.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from anatcl.base.files import read_tsv
from tests.slurm.cluster import Cluster, missing

pytestmark = [
    pytest.mark.slow,
    pytest.mark.slurm,
    pytest.mark.xdist_group("slurm"),
    pytest.mark.skipif(bool(missing()), reason=f"no SLURM: {missing()}"),
    pytest.mark.skipif("ANATCL_SLURM" not in os.environ, reason="takes minutes: set ANATCL_SLURM=1 to run it"),
]

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "tests" / "configs"
PATIENCE = float(os.environ.get("ANATCL_PATIENCE", "1"))  # factor of every wait, for a machine that does much else
# Short waits, and less memory for one rule than it needs at its first attempt.
SHORT = shlex.split("""
--slurm-init-seconds-before-status-checks 1 --seconds-between-status-checks 2 --latency-wait 5 --retries 3 --jobs 8
--set-resources template:mem_mb=attempt*attempt*150 train:gpu=1
--default-resources slurm_account=lab slurm_partition=main mem_mb=1000 runtime=30 lane=1
""")
SCAN = "rule_scan"  # how the comment of a job begins that runs the rules of one scan


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
        command += [*options, "--workflow-profile", str(ROOT / "workflow" / "profiles" / "slurm"), *SHORT]
        command += ["--configfile", str(CONFIGS / "tiny.yaml"), "--config", f"bids_dir={study / 'bids'}"]
        environment = cluster.environment | {"OMP_NUM_THREADS": "1"}
        self.study, self.cluster = study, cluster
        self.log = study / f"run-{time.time_ns()}.log"
        with open(self.log, "w") as stream:
            self.process = subprocess.Popen(
                command, cwd=study, env=environment, stdout=stream, stderr=stream, preexec_fn=_heed_interrupts
            )

    def until(self, condition: Callable[[], object], seconds: float, what: str) -> None:
        """Wait until `condition()` is true, while Snakemake runs."""

        def met() -> bool:
            assert self.process.poll() is None, self.log.read_text()[-4000:]
            return bool(condition())

        self.cluster.until(met, seconds * PATIENCE, what)

    def scan_at_work(self) -> dict[str, str]:
        """Wait until a step of a scan has begun to write its log; return the job of a scan that runs."""
        running: list[dict[str, str]] = []

        def there() -> bool:
            running[:] = [j for j in self.cluster.queue() if j["Comment"].startswith(SCAN) and j["State"] == "RUNNING"]
            return bool(running) and any((self.study / "logs" / "bias_correct").rglob("*.log"))

        self.until(there, 300, "a scan to be at work")
        return running[0]

    def scan_done(self) -> bool:
        """Whether the job of a scan has been completed."""
        return any(j["Comment"].startswith(SCAN) and j["State"] == "COMPLETED" for j in self.cluster.jobs())

    def finish(self, seconds: float = 600) -> str:
        """Wait for the end; return what Snakemake printed."""
        try:
            self.process.wait(seconds * PATIENCE)
        finally:
            if self.process.poll() is None:
                os.kill(self.process.pid, signal.SIGKILL)
        return self.log.read_text()


def _heed_interrupts() -> None:
    """Ctrl-C is heeded also where the tests run in the background of a shell, which makes its children ignore it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture(scope="module")
def story(cluster: Cluster, study: Path) -> dict[str, Any]:
    """Kill a job, let one run out of memory, cancel the workflow, resume it to the measures."""
    first = Run(cluster, study, "--until", "measures")
    victim = first.scan_at_work()["JobID"]
    cluster.run("scancel", "--full", "--signal=KILL", victim)
    noticed = re.compile(rf"Error in group scan\n +log: \S+/{victim}\.log.*Trying to restart job", re.DOTALL)
    first.until(lambda: noticed.search(first.log.read_text()), 300, "the killed job to be noticed and tried again")
    first.until(first.scan_done, 300, "a scan to be done")
    first.process.send_signal(signal.SIGINT)
    cancelled = first.finish(300)
    cluster.until(lambda: not cluster.queue(), 60 * PATIENCE, "the queue to be empty")
    done = {p: p.stat().st_mtime_ns for p in (study / "results" / "preprocess").rglob("*_desc-qc.json")}
    whole = len(list((study / "results" / "measures").rglob("sub-*_measures.tsv")))
    whole = min(whole, len(done))  # both ends of a scan's steps are there
    second = Run(cluster, study, "--until", "measures")
    resumed = second.finish()
    assert second.process.returncode == 0, resumed[-6000:]
    told = {"victim": victim, "cancelled": cancelled, "resumed": resumed, "done": done, "whole": whole}
    return told | {"jobs": cluster.jobs()}


def test_every_job_went_through_sbatch(story, study):
    jobs = [j for j in story["jobs"] if j["State"] == "COMPLETED"]
    of_scans = sum(j["Comment"].startswith(SCAN) for j in jobs)
    scans = len(read_tsv(study / "results" / "bids" / "scans.tsv"))
    # One for each scan, and at most one more for each whose steps were half done when the workflow was cancelled.
    assert scans <= of_scans <= 2 * scans - story["whole"]
    for rule in ("template", "preprocess_chunk", "preprocess", "measures_chunk", "measures"):
        once = [j["Comment"] for j in jobs if j["Comment"].partition("_wildcards_")[0] == f"rule_{rule}"]
        assert once and len(set(once)) == len(once), (rule, jobs)  # of a chunk's rule one for each chunk
    assert all(j["Account"] == "lab" and j["Partition"] == "main" for j in jobs)
    assert len(read_tsv(study / "results" / "measures" / "measures.tsv")) >= 4


def test_a_job_of_one_scan_asks_for_one_processor_and_the_largest_memory_of_its_rules(story):
    asked = [j["ReqTRES"] for j in story["jobs"] if j["Comment"].startswith(SCAN)]
    assert all("cpu=1," in text for text in asked), asked
    # The largest at the first attempt; what is left of a scan that was half done may ask for less.
    assert "mem=4000M" in asked[0], asked


def test_a_killed_job_was_tried_again(story):
    (victim,) = [j for j in story["jobs"] if j["JobID"] == story["victim"]]
    assert victim["State"].split()[0] in ("FAILED", "CANCELLED")
    retried = [j for j in story["jobs"] if j["Comment"] == victim["Comment"] and "mem=8000M" in j["ReqTRES"]]
    assert len(retried) == 1, "at the second attempt a job asks for twice as much"


def test_a_job_out_of_memory_was_tried_again_with_more(story, study):
    attempts = [j for j in story["jobs"] if j["Comment"] == "rule_template"]
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
    assert list((study / "results" / "efficiency").glob("*.csv"))


def test_training_asks_for_a_gpu(story, study, cluster):
    # The encoder without training: the same rule. Without fold 1, three of the four scans are left.
    run = Run(cluster, study, "results/pretrain/untrained/fold-1/encoder.safetensors")
    text = run.finish()
    assert run.process.returncode == 0, text[-6000:]
    (job,) = [j for j in cluster.jobs() if "rule_train" in j["Comment"]]
    assert "gres/gpu=1" in job["ReqTRES"] and job["State"] == "COMPLETED"


def test_what_outlives_its_job_is_found_and_nothing_else(tmp_path):
    cluster = Cluster(tmp_path)
    beside = {k: v for k, v in cluster.environment.items() if k != "SLURM_JOB_ID"}
    with (
        subprocess.Popen(["sleep", "60"], env=beside | {"SLURM_JOB_ID": "1"}) as orphan,
        subprocess.Popen(["sleep", "60"], env=beside) as user,
    ):
        try:
            assert [process.pid for process in cluster.left()] == [orphan.pid]
        finally:
            orphan.kill()
            user.kill()
    assert not cluster.left()
