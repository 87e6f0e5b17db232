"""What surrounds a run: an unwritable home, braces in a path, Ctrl-C, trainings that cannot be."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from faulty import MIDDLE, write

from anatcl.base.errors import InputError
from anatcl.base.files import write_text
from anatcl.plan import Plan
from anatcl.plan.methods import WITHOUT_TRAINING
from anatcl.run import failed, runner

Say = Callable[[object], None]
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def cohort(data: Path) -> Path:
    """Twenty people of known age and sex: enough for every default task and fold."""
    rows = ["participant_id\tage\tsex"]
    for number in range(20):
        write(data, f"sub-{number:02}/anat/sub-{number:02}_T1w.nii.gz", MIDDLE + bytes(number))
        rows.append(f"sub-{number:02}\t{20 + 3 * number}\t{'FM'[number % 2]}")
    (data / "participants.tsv").write_text("\n".join(rows) + "\n")
    return data


@pytest.mark.slow
@pytest.mark.parametrize("home", ["/dev/null/x", "/proc/nowhere"])
def test_a_home_that_cannot_be_written(home: str, cohort: Path, tmp_path: Path, see: Say) -> None:
    command = [sys.executable, "-m", "anatcl", "run", "--", "-n", "--quiet", "all"]
    command += ["--directory", str(tmp_path / "run"), "--config", f"bids_dir={cohort}"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("XDG")} | {"HOME": home}
    environment["PYTHONPATH"] = str(ROOT)
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "Traceback" not in done.stderr and "caches are kept in" in done.stderr
    see("The home folder cannot be written; caches are kept in the run's folder.")


@pytest.mark.parametrize("name", ["a{b}c", "{scan}", "x}", "my {study"])
def test_braces_in_the_datasets_path(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, see: Say) -> None:
    write(tmp_path / name, "sub-01/anat/sub-01_T1w.nii.gz", MIDDLE)
    monkeypatch.chdir(tmp_path)
    plan = Plan({"bids_dir": str(tmp_path / name)}).through_links()
    assert list(plan.cohort.images.values()) == ["results/given/dataset/sub-01/anat/sub-01_T1w.nii.gz"]
    see("Folders with braces work: everything goes through links below results/given.")


@pytest.mark.parametrize("name", ["a{b}c.csv", "{scan}.csv"])
def test_braces_in_the_name_of_a_file(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, see: Say) -> None:
    (tmp_path / name).write_text("scan,f\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="braces") as caught:
        Plan({"evaluate": {"features": {"mine": {"table": str(tmp_path / name)}}}}).through_links()
    see(caught.value)


@pytest.fixture
def unstopped(monkeypatch: pytest.MonkeyPatch) -> None:
    # A shell makes what it runs in the background ignore Ctrl-C.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    monkeypatch.setattr(failed, "_asked_to_stop", threading.Event())
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("unstopped")
def test_ctrl_c_is_not_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: Path, see: Say) -> None:
    monkeypatch.chdir(tmp_path)
    plan = Plan({"bids_dir": str(data)})
    assert "A job failed" in failed.report_failed(plan)
    failed.watch_for_stop()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    signal.raise_signal(signal.SIGINT)  # the echo of the same key
    assert failed.report_failed(plan) == failed.STOPPED
    see(failed.STOPPED)


def test_a_mask_that_is_absent_costs_its_scan(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(data, "sub-01/anat/sub-01_T1w.nii.gz", MIDDLE + bytes(1))
    write(tmp_path, "masks/sub-99/anat/sub-99.nii.gz", MIDDLE)
    strip = {"method": "mask", "masks": str(tmp_path / "masks" / "{scan}.nii.gz")}
    plan = Plan({"bids_dir": str(data), "preprocess": {"skullstrip": strip}})
    assert plan.cohort.given_mask("sub-99/anat/sub-99") and plan.cohort.given_mask("sub-01/anat/sub-01") == []


def test_a_stopped_training_is_found_from_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, see: Say) -> None:
    monkeypatch.chdir(tmp_path)
    line = "2026-01-01 00:00:00,0 anatcl ERROR: results/pretrain/arrays: 0 scans are left to train on.\n"
    write_text("logs/train/y-aware/fold-0.log", "INFO: starts\n" + line)
    write_text("logs/measures.log", "INFO: fine\n")
    write_text("logs/qc/sub-1/anat/sub-1.log", line)
    assert [rule for rule, _ in failed.stopped_steps(0)] == ["train"]
    assert "0 scans are left to train on" in failed.stopped_steps(0)[0][1]
    assert failed.stopped_steps(4e9) == []
    see(failed.stopped_steps(0)[0][1])


def test_a_run_whose_training_fails_still_asks_for_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    passes: list[dict[str, str]] = []

    def snakemake(options: list[str], environment: dict[str, str] | None, folder: Path) -> int:
        passes.append(environment or {})
        if environment:
            return 0
        write_text(tmp_path / "logs" / "train" / "x.log", "t anatcl ERROR: 0 scans are left to train on.\n")
        return 1

    monkeypatch.setattr(runner, "watched", snakemake)
    monkeypatch.chdir(tmp_path)
    assert runner.run(["--cores", "1"]) == 1
    assert passes == [{}, {WITHOUT_TRAINING: "1"}]


def test_without_training_there_are_only_baselines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(WITHOUT_TRAINING, "1")
    plan = Plan({"evaluate": {"tasks": ["age"]}})
    assert plan.methods.encoders == [] and plan.methods.all == plan.methods.tables and plan.methods.all
