"""One run at a time in a folder; a lock of a dead run holds nobody up."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from anatcl.base import failures
from anatcl.base.errors import InputError
from anatcl.plan.cohort import LEAVE_OUT
from anatcl.run.runner import alone

HOLD = "import sys, time; from pathlib import Path; from anatcl.run.runner import alone\n"
HOLD += "with alone(Path(sys.argv[1])): print('held', flush=True); time.sleep(float(sys.argv[2]))"


def hold(folder: Path, seconds: float) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", HOLD, folder, str(seconds)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


def test_a_second_run_waits_for_the_first(tmp_path, caplog):
    process = hold(tmp_path, 1)
    with alone(tmp_path):
        assert process.wait(10) == 0
    assert "waiting for it to end" in caplog.text


def test_a_killed_run_leaves_no_lock(tmp_path):
    process = hold(tmp_path, 60)
    process.kill()
    process.wait()
    locks = tmp_path / ".snakemake" / "locks"
    locks.mkdir()
    (locks / "0.input.lock").touch()
    with alone(tmp_path) as start:
        assert not list(locks.iterdir())
        assert abs(start - time.time()) < 5


def test_a_folder_that_cannot_be_written_is_a_sentence(tmp_path):
    (tmp_path / ".snakemake").write_text("a file where the folder should be")
    with pytest.raises(InputError, match="--directory"), alone(tmp_path):
        pass


@pytest.mark.parametrize("content", ["", "{", "[]", '{"scan": 3}', "\x00"])
def test_a_damaged_marker_still_names_its_scan(tmp_path, content):
    marker = failures.marker_path(tmp_path, "sub-01/anat/sub-01")
    marker.parent.mkdir(parents=True)
    marker.write_text(content)
    (row,) = failures.failed(tmp_path).to_dict("records")
    assert row["scan"] == "sub-01/anat/sub-01" and "marker" in row["reason"] and row["remedy"]
    failures.clear(tmp_path, "sub-01/anat/sub-01", "preprocess qc")
    assert failures.failed(tmp_path).empty


def test_the_second_pass_leaves_out_what_the_first_retried(monkeypatch):
    from anatcl.plan import Plan

    plan = Plan({"failures": {"retry": True}})
    assert plan.cohort.retries
    monkeypatch.setenv(LEAVE_OUT, "1")
    assert not plan.cohort.retries


def test_jobs_find_the_configuration_of_a_target_that_needs_no_index(tmp_path, monkeypatch):
    from anatcl.plan import Plan

    monkeypatch.chdir(tmp_path)
    Plan({"seed": 7}).record()
    assert Plan.of_job().config.seed == 7
