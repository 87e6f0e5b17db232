"""What `anatcl run` shows of a run: read from Snakemake's words and from recorded times."""

from __future__ import annotations

import io
import json
import shutil
from collections import namedtuple
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from anatcl.base.errors import InputError
from anatcl.run import costs, display
from anatcl.run.progress import Progress

STEPS = ("bias_correct", "skullstrip", "register", "segment", "qc", "measure")


def plan(scans: int) -> list[str]:
    """Snakemake's first lines."""
    rows = [f"{rule:<16} {scans:>8}" for rule in STEPS] + [f"{'measures':<16} {1:>8}"]
    first = [
        "Using workflow specific profile /a/b for setting default command line arguments.",
        "",
        "SNAKEMAKE",
        "=========",
    ]
    first += ["  Date: 2026-11-26 21:17:10", "  Host: vm", "Building DAG of jobs...", "Provided cores: 2", "Job stats:"]
    return [*first, "job                count", "---------------- --------", *rows, f"total {6 * scans + 1:>20}", ""]


def job(rule: str, number: int, scan: str) -> list[str]:
    """What is printed of one job that ends well."""
    begun = [
        "[Thu Nov 26 21:16:56 2026]",
        f"rule {rule}:",
        "    input: a b",
        f"    jobid: {number}",
        f"    wildcards: scan={scan}",
    ]
    return [
        *begun,
        "",
        "[Thu Nov 26 21:16:59 2026]",
        f"Finished jobid: {number} (Rule: {rule})",
        f"{number} of 61 steps (3%) done",
    ]


FAILED = """Error in rule skullstrip:
    message: None
    jobid: 7
    log: logs/skullstrip/sub-2.log (check log file(s) for error details)
    shell: python -m anatcl
""".splitlines()


def test_jobs_are_counted_by_rule() -> None:
    progress = Progress()
    said = [progress.feed(line) for line in [*plan(10), *job("bias_correct", 1, "sub-1"), *job("register", 2, "sub-1")]]
    assert not any(said)
    assert progress.planned == {**dict.fromkeys(STEPS, 10), "measures": 1}
    assert progress.finished == {"bias_correct": 1, "register": 1} and progress.left["register"] == 9
    assert not progress.complaints


def test_what_is_said_before_the_plan_is_shown_and_the_usual_is_not() -> None:
    progress = Progress()
    lines = [
        *plan(1)[:4],
        "evaluate.tasks[0]: task age will be skipped: 2 participants with a target, 8 needed.",
        *plan(1)[4:],
    ]
    assert [said for line in lines if (said := progress.feed(line))] == [lines[4]]


def test_what_goes_wrong_is_kept() -> None:
    progress = Progress()
    for line in [
        *plan(2),
        *job("bias_correct", 1, "sub-1"),
        *FAILED,
        *job("register", 3, "sub-1"),
        "WorkflowError:",
        "no space",
    ]:
        assert not progress.feed(line)
    assert progress.errors == 1
    assert progress.complaints[0] == "Error in rule skullstrip:" and progress.complaints[-2:] == [
        "WorkflowError:",
        "no space",
    ]
    assert progress.finished == {"bias_correct": 1, "register": 1}


def test_nothing_to_be_done_is_noticed() -> None:
    progress = Progress()
    progress.feed("Nothing to be done (all requested files are present and up to date).")
    assert progress.nothing and not progress.known


def record(folder: Path, rule: str, scan: str, seconds: float) -> None:
    file = folder / rule / f"{scan}.tsv"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"s\th:m:s\tmax_rss\tcpu_time\n{seconds}\t0:00:01\t100\t{seconds}\n")


def test_times_are_those_of_finished_jobs(tmp_path: Path) -> None:
    for scan in range(5):
        record(tmp_path, "bias_correct", f"sub-{scan}", 10.0)
        record(tmp_path, "register", f"sub-{scan}", 90.0 + 5 * scan)
    found = costs.expected({"bias_correct": 4, "register": 2}, costs.durations(tmp_path))
    assert found.seconds == pytest.approx(40 + 2 * 100) and not found.unknown
    assert 0.1 <= found.spread < 0.2


def test_a_rule_without_a_record_takes_its_share_on_this_machine(tmp_path: Path) -> None:
    for scan in range(3):
        record(tmp_path, "register", f"sub-{scan}", 3 * costs.SHARES["register"])
    found = costs.expected({"segment": 2}, costs.durations(tmp_path))
    assert found.seconds == pytest.approx(6 * costs.SHARES["segment"]) and found.spread == 0.5


def test_what_is_not_known_is_said_and_not_counted(tmp_path: Path) -> None:
    found = costs.expected({"train": 5, "qc": 1}, costs.durations(tmp_path))
    assert found.unknown == ("train",) and found.seconds == costs.SHARES["qc"]
    assert costs.left_in_words(found, 1) == "at least 10 s left, without training"
    found = costs.expected({"train": 5, "probe": 1, "rival": 2, "tables": 1}, costs.durations(tmp_path))
    assert costs.not_counted(found) == "training and evaluation" and found.seconds == costs.COHORT_S


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(4, "10 s"), (61, "70 s"), (600, "10 min"), (5399, "90 min"), (7200, "2.0 h"), (864000, "10.0 days")],
)
def test_times_in_words(seconds: float, words: str) -> None:
    assert costs.in_words(seconds) == words


def test_a_doubt_is_a_range() -> None:
    assert costs.left_in_words(costs.Expected(2400, 0.2), 2) == "16 to 24 min left"
    assert costs.left_in_words(costs.Expected(5000, 0.5), 1) == "42 min to 2.1 h left"


Usage = namedtuple("Usage", "total used free")


class FakePlan:
    """As much of a plan as the disk's check asks for."""

    def __init__(self, images: list[str], check: bool) -> None:
        part = namedtuple("Part", "check_disk recipe")(check, "fast")
        self.config = namedtuple("Config", "failures preprocess")(part, part)
        self.imaging, self.source = namedtuple("Imaging", "template atlas")("T", "A"), ""
        self.cohort, self.engine = self, "volume"
        self.scans = [f"sub-{n}/anat/sub-{n}" for n in range(len(images))]
        self.images = dict(zip(self.scans, images, strict=True))

    def image(self, scan: str) -> str:
        return self.images[scan]


def test_a_disk_that_is_too_small_is_refused_unless_asked(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(1e12, 0, 1e9))
    with pytest.raises(InputError, match=r"need about \d+\.\d GB, and 1\.0 GB are free"):
        costs.check_disk(FakePlan(["absent.nii.gz"] * 100, True))
    assert "GB on disk (1 GB are free)" in costs.check_disk(FakePlan(["absent.nii.gz"] * 100, False))


def test_surfaces_take_their_share_of_the_disk(monkeypatch) -> None:
    plan = FakePlan(["absent.nii.gz"] * 100, False)
    before = costs.gigabytes(plan)
    plan.engine = "surface"
    assert costs.gigabytes(plan) - before == pytest.approx(100 * costs.BYTES_SURFACES / 1e9)


def test_finished_scans_say_what_a_scan_takes(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    scans = FakePlan(["absent.nii.gz"] * 4, True)
    for scan in scans.scans[:2]:
        for folder, name, size in (
            ("preprocess", "dseg.nii.gz", 300_000),
            ("measures", "atlas-A_measures.tsv", 200_000),
        ):
            file = tmp_path / "results" / folder / f"{scan}_{name}"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(b"0" * size)
    assert costs.gigabytes(scans) == pytest.approx(2 * 500_000 / 1e9)


def fail(folder: Path, scan: str, reason: str) -> None:
    file = folder / "results" / "failures" / f"{scan}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    row = dict.fromkeys(("file", "remedy"), "") | {"scan": scan, "stage": "preprocess skullstrip", "reason": reason}
    file.write_text(json.dumps(row | {"log": "logs/skullstrip/x.log"}))


def test_ten_scans_take_few_lines_and_a_failure_is_said_at_once(tmp_path: Path) -> None:
    out = io.StringIO()
    shown = display.Display(tmp_path, 2, lambda: [], out)
    for line in plan(10):
        shown.feed(line)
    shown.tick()
    for number, rule in enumerate(rule for rule in STEPS for _ in range(10)):
        for line in job(rule, number, "sub-1"):
            shown.feed(line)
        if number == 12:
            fail(tmp_path, "sub-2/anat/sub-2", "no plausible brain was found.")
        shown.tick()
        if number == 12:
            assert "failed: sub-2/anat/sub-2: preprocess skullstrip: no plausible brain was found." in out.getvalue()
    shown.close()
    lines = out.getvalue().splitlines()
    assert 5 <= len(lines) <= 12 and shown.failures == 1
    assert "preprocess 50 of 50, measures 10 of 11" in lines[-1] and " so far" in lines[-1]


def test_the_last_line_of_a_finished_run_counts_its_jobs(tmp_path: Path) -> None:
    out = io.StringIO()
    shown = display.Display(tmp_path, 1, lambda: [], out)
    for line in [*plan(1), *(line for rule in [*STEPS, "measures"] for line in job(rule, 1, "sub-1"))]:
        shown.feed(line)
    shown.tick()
    shown.close()
    assert [f"  all {len(STEPS) + 1} jobs are done; " in line for line in out.getvalue().splitlines()] == [True]


def test_jobs_side_by_side_shorten_the_time_left(tmp_path: Path) -> None:
    shown = display.Display(tmp_path, 4, lambda: [], io.StringIO())
    shown.recorded = pd.DataFrame({"mean": [10.0], "count": [9], "spread": [0.0]}, index=["measure"])
    for line in plan(10):
        shown.feed(line)
    shown.progress.finished = {"measure": 2}
    shown.start -= 100
    assert shown.at_a_time() == 2, "never less than half of what may run"
    shown.start += 95
    assert 2 <= shown.at_a_time() <= 4


# Processor seconds of the steps of one head of the demo (recipe `testing`), as recorded.
RECORDED = dict(zip(STEPS, (1.5, 12.1, 8.0, 9.1, 2.1, 2.1), strict=True))


@pytest.mark.parametrize("cores", [1, 2, 4])
def test_after_five_of_twenty_scans_the_estimate_is_within_thirty_per_cent(tmp_path, monkeypatch, cores):
    """Jobs of uneven length, scan by scan as Snakemake takes them, on a clock of our own."""
    now, scans = [1000.0], [f"sub-{n}" for n in range(20)]
    clock = namedtuple("Clock", "monotonic strftime")(lambda: now[0], lambda _: "12:00")
    monkeypatch.setattr(display, "time", clock)
    random = np.random.default_rng(0)
    pace = dict(zip(scans, random.normal(1, 0.15, 20), strict=True))  # large heads are slow in all steps
    jobs = [(scan, rule) for scan in scans for rule in STEPS]
    shown = display.Display(tmp_path, cores, lambda: [], io.StringIO())
    for line in plan(20):
        shown.feed(line)
    workers = [now[0]] * cores
    for number, (scan, rule) in enumerate(jobs, start=1):
        seconds = RECORDED[rule] * pace[scan] * random.normal(1, 0.05)
        first = workers.index(min(workers))
        workers[first] += seconds
        now[0] = max(now[0], workers[first])
        record(tmp_path / "results" / "benchmarks", rule, scan, seconds)
        for line in job(rule, number, scan):
            shown.feed(line)
        if number == len(jobs) // 4:
            said = now[0] + shown.expected().seconds / shown.at_a_time()
    took = max(workers) - 1000
    assert said - 1000 == pytest.approx(took, rel=0.3)
