"""A container may run for a user id that has no name and no home: the run starts all the same."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

UID = "54321"
BOX = ["unshare", f"--map-user={UID}", f"--map-group={UID}", "env", "-i", "HOME=/proc/no-home", "OMP_NUM_THREADS=1"]


@pytest.fixture(scope="module")
def box() -> list[str]:
    """Words that start a command for a user who is in no table of users."""
    if shutil.which("unshare") is None:
        pytest.skip("no program 'unshare'")
    if (tried := subprocess.run([*BOX, "true"], capture_output=True, text=True)).returncode:
        pytest.skip(f"user namespaces are not allowed here: {tried.stderr.strip()}")
    return BOX


@pytest.mark.slow
def test_a_bids_app_runs_for_a_user_without_a_name(box, repository, heads, tmp_path):
    paths = [f"PYTHONPATH={repository}", f"PATH={Path(sys.executable).parent}:/usr/bin:/bin"]
    start = [*box, *paths, sys.executable, "-m"]
    alone = [*start, "snakemake", "--snakefile", str(repository / "workflow" / "Snakefile"), "-n"]
    refused = subprocess.run([*alone, "--config", f"bids_dir={heads}"], cwd=tmp_path, capture_output=True, text=True)
    assert refused.returncode, "Snakemake has learnt it: the surroundings may go"
    app = [*start, "anatcl", "run", str(heads), "out", "participant", "--participant_label", "003", "--n_cpus", "1"]
    options = ["--mem", "8G", "-w", "temporary", "--", "--until", "template", "bias_correct"]
    done = subprocess.run([*app, *options], cwd=tmp_path, capture_output=True, text=True)
    text = done.stdout + done.stderr
    assert done.returncode == 0, text[-3000:]
    assert "all " in text and "jobs are done" in text, text[-3000:]
    assert re.search(r"bias_correct +1", (tmp_path / "out" / "logs" / "run.txt").read_text())
    made = tmp_path / "out" / "results" / "preprocess"
    assert (made / "template" / "template.json").is_file()
    assert (made / "sub-003" / "anat" / "sub-003_desc-preproc_T1w.nii.gz").is_file()
    assert (tmp_path / "out" / ".snakemake" / "home").is_dir()
