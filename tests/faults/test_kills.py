"""A run that is killed at any moment goes on by itself and ends in the same tables; so does one whose clocks disagree.

Five moments by default; ``ANATCL_KILLS=20 python -m pytest tests/faults/test_kills.py`` tries twenty.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
KILLS = int(os.environ.get("ANATCL_KILLS", "5"))

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("kills")]


def start(bids: Path, folder: Path, *config: str, options: Sequence[str] = ()) -> subprocess.Popen[bytes]:
    """Start the workflow to the cohort's measures, in a process group of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "anatcl", "run", "--", "measures", "--cores", "2", "--quiet", "rules"]
    command += ["--configfile", str(ROOT / "tests" / "configs" / "tiny.yaml"), "--config", f"bids_dir={bids}"]
    command += ["evaluate={tasks: [age]}", *config, *options]  # there is one diagnosis
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with open(folder / "printed.txt", "ab") as log:
        return subprocess.Popen(
            command, cwd=folder, env=environment, start_new_session=True, stdout=log, stderr=subprocess.STDOUT
        )


def finish(bids: Path, folder: Path, *config: str) -> None:
    """Run the workflow to its end."""
    assert start(bids, folder, *config).wait() == 0, (folder / "printed.txt").read_text()[-4000:]


def files(folder: Path) -> list[Path]:
    """What a run has written so far: logs, results and Snakemake's own records."""
    return [p for part in ("logs", "results", ".snakemake") for p in (folder / part).rglob("*")]


def digests(folder: Path) -> dict[str, str]:
    """Every image and table of the results, but the times that steps took."""
    found = sorted(p for end in ("*.tsv", "*.csv", "*.nii.gz") for p in (folder / "results").rglob(end))
    kept = (p for p in found if "benchmarks" not in p.parts)
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in kept}


@pytest.fixture(scope="module")
def bids(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One simulated participant in two sessions, at 6 mm."""
    folder = tmp_path_factory.mktemp("data") / "bids"
    command = [sys.executable, "-m", "anatcl", "simulate", str(folder), "--participants", "1", "--voxel-mm", "6"]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def straight(bids: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nobody disturbed."""
    folder = tmp_path_factory.mktemp("straight")
    finish(bids, folder)
    return folder


@pytest.mark.parametrize("moment", range(KILLS))
def test_a_killed_run_goes_on_and_ends_alike(moment, bids, straight, tmp_path, see):
    """The moment is a number of files, so that it is as random on a slow machine as on a fast one."""
    share = (moment + np.random.default_rng(moment).random()) / KILLS
    wanted = int(share * len(files(straight)))
    process = start(bids, tmp_path)
    while process.poll() is None and len(files(tmp_path)) < wanted:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    sys.stdout.write(f"killed with {len(files(tmp_path))} of {len(files(straight))} files written\n")
    finish(bids, tmp_path)
    assert digests(tmp_path) == digests(straight)
    see("the same tables and images")
    shutil.rmtree(tmp_path)


def disagree(bids: Path, straight: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A finished run and its dataset, to set the clocks of."""
    folder, data = tmp_path / "run", tmp_path / "bids"
    shutil.copytree(straight, folder, symlinks=True)
    shutil.copytree(bids, data)
    return folder, data


def set_back(paths: Iterable[Path], seconds: float) -> None:
    """Date files so many seconds back (a negative number: ahead)."""
    for path in paths:
        os.utime(path, (time.time() - seconds,) * 2)


def same_results(folder: Path, straight: Path, may_lack: str = "") -> bool:
    """Whether every table and image is there and alike; images whose names end in `may_lack` may be missing."""
    before, after = digests(straight), digests(folder)
    names = [n for n in before if not n.startswith("results/bids")]  # the index holds absolute paths
    return all(after[n] == before[n] for n in names if n in after or not may_lack or not n.endswith(may_lack))


def test_small_scans_dated_an_hour_ahead_are_not_redone(bids, straight, tmp_path, see):
    """Snakemake compares the content of files below a megabyte, whatever their dates."""
    folder, data = disagree(bids, straight, tmp_path)
    set_back(data.rglob("*_T1w.nii.gz"), -3600)
    finish(data, folder)
    assert same_results(folder, straight)
    assert "Nothing to be done" in (folder / "printed.txt").read_text()
    see("the same tables and images")


def test_scans_dated_an_hour_ahead(bids, straight, tmp_path, see):
    """No output can be newer than its input: that is said; once the dates are right, the run ends as it should."""
    folder, data = disagree(bids, straight, tmp_path)
    set_back(data.rglob("*_T1w.nii.gz"), -3600)
    by_date = ("--max-checksum-file-size", "0")  # as for scans above a megabyte
    assert start(data, folder, options=by_date).wait() != 0
    assert "clock skew" in (folder / "printed.txt").read_text()
    see("This could indicate a clock skew problem in your network")
    set_back(data.rglob("*_T1w.nii.gz"), 0)
    finish(data, folder, "failures={retry: true}")
    # Of the step that failed Snakemake removed the image; it is made again when its content or a setting changes.
    assert same_results(folder, straight, may_lack="_desc-preproc_T1w.nii.gz")


def test_files_of_one_step_dated_an_hour_back(bids, straight, tmp_path, see):
    folder, data = disagree(bids, straight, tmp_path)
    set_back((folder / "results").rglob("*_xfm.*"), 3600)
    finish(data, folder)
    assert same_results(folder, straight)
    see("the same tables and images")
