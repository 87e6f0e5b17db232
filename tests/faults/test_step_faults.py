"""A step that cannot write, a run that cannot begin: a sentence, nothing half-written, and well again afterwards."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from anatcl.base.failures import failed
from anatcl.base.files import read_json, write_json

ROOT = Path(__file__).resolve().parents[2]
SCAN = "sub-01/anat/sub-01"


@pytest.fixture
def head(tmp_path: Path, rng: np.random.Generator) -> Path:
    """A noisy ball in a box of 5 mm voxels."""
    grid = np.indices((30, 34, 38)) - np.array([15, 17, 19])[:, None, None, None]
    ball = np.linalg.norm(grid, axis=0) < 14
    data = (ball * (400 + 40 * rng.standard_normal(ball.shape))).astype(np.float32)
    nib.Nifti1Image(data, np.diag([5.0, 5, 5, 1])).to_filename(tmp_path / "t1.nii.gz")
    return tmp_path / "t1.nii.gz"


def bias_correct(head: Path, out: Path, file_limit: int | None = None) -> subprocess.CompletedProcess[str]:
    """Run the step, with a limit on the size of the files that it may write (bytes), as on a full disk."""
    options = ["--scan", SCAN, "--failures", str(out / "failures"), "--recipe", "testing", "--image", str(head)]
    command = [sys.executable, "-m", "anatcl", "preprocess", "bias_correct", *options]

    def limit() -> None:
        if file_limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit))

    return subprocess.run(
        [*command, "--out", str(out / f"{SCAN}_desc-preproc_T1w.nii.gz")],
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        preexec_fn=limit,
        check=False,
    )


@pytest.mark.slow
def test_a_full_disk_leaves_no_half_written_image(head, tmp_path, see):
    out = tmp_path / "results"
    done = bias_correct(head, out, file_limit=20_000)
    assert done.returncode == 1
    assert not list(out.rglob("*_T1w.nii.gz")) and not list(out.rglob("*.tmp.*"))
    (row,) = failed(out / "failures").to_dict("records")
    assert row["scan"] == SCAN and row["reason"] and row["remedy"]
    see(f"{row['reason']} {row['remedy']}")
    assert bias_correct(head, out).returncode == 0
    assert failed(out / "failures").empty
    assert len(list(out.rglob("*_T1w.nii.gz"))) == 1


def test_a_full_disk_keeps_the_existing_file(tmp_path, see):
    file = tmp_path / "table.json"
    write_json(file, {"old": 1})
    code = "import sys; from anatcl.base.files import write_json; write_json(sys.argv[1], list(range(10000)))"

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

    command = [sys.executable, "-c", code, str(file)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, preexec_fn=limit, check=False)
    assert done.returncode != 0 and read_json(file) == {"old": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["table.json"]
    see(done.stderr.splitlines()[-1])


@pytest.mark.skipif(
    os.geteuid() == 0, reason="root may write everywhere, so a folder without permission cannot be made"
)
def test_a_folder_that_cannot_be_written(tmp_path, see):
    folder = tmp_path / "run"
    folder.mkdir(mode=0o555)
    command = [sys.executable, "-m", "anatcl", "run", "--", "-n", "--directory", str(folder)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    see(done.stderr.splitlines()[-1].partition("ERROR: ")[2])


def test_a_run_where_a_file_blocks_a_folder(tmp_path, see):
    (tmp_path / ".snakemake").write_text("")
    command = [sys.executable, "-m", "anatcl", "run", "--", "-n", "--directory", str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    see(done.stderr.splitlines()[-1].partition("ERROR: ")[2])
