"""The one run of the whole workflow that several test files ask questions of; each worker makes it once.

Files that use it stand in one xdist group, so that one worker makes it once for all of them.
"""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

GROUP = "end-to-end"
CONFIGS = Path(__file__).resolve().parents[1] / "configs"
HOSTILE = "it's $(touch pwned) \"a; name`\nof two lines"
BROKEN = {
    "sub-901": "truncated",
    "sub-902": "all zeros",
    "sub-903": "NaN affine",
    "sub-904": "broken link",
    "sub-905": "passes the index, fails in a step",
}


def break_scans(bids: Path, whole: Path) -> None:
    """Add five participants whose scans cannot be used; one of them is found out only when it is worked on."""
    paths = {name: bids / name / "anat" / f"{name}_T1w.nii.gz" for name in BROKEN}
    for path in paths.values():
        path.parent.mkdir(parents=True)
    paths["sub-901"].write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    image = nib.load(whole)
    zeros = nib.Nifti1Image(np.zeros(image.shape, np.int16), image.affine)
    nib.save(zeros, paths["sub-902"])
    content = bytearray(gzip.decompress(whole.read_bytes()))
    content[280:328] = np.full(12, np.nan, "<f4").tobytes()  # srow_x, srow_y, srow_z
    content[252:256] = np.array([0, 1], "<i2").tobytes()  # qform_code, sform_code
    paths["sub-903"].write_bytes(gzip.compress(bytes(content), mtime=0))
    paths["sub-904"].symlink_to("nowhere.nii.gz")
    noise = np.abs(np.random.default_rng(0).normal(0, 50, image.shape)).astype(np.float32)
    nib.save(nib.Nifti1Image(noise, image.affine), paths["sub-905"])


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine simulated people at 5 mm, one of them without an age, and four whose scans are broken."""
    bids = tmp_path_factory.mktemp("data") / HOSTILE / "bids"
    bids.parent.mkdir()
    command = [sys.executable, "-m", "anatcl", "simulate", str(bids), "--participants", "9", "--voxel-mm", "5"]
    subprocess.run(command, check=True, capture_output=True)
    table = pd.read_csv(bids / "participants.tsv", sep="\t", dtype=str, keep_default_na=False)
    table.loc[table["participant_id"] == "sub-002", "age"] = "n/a"
    table.to_csv(bids / "participants.tsv", sep="\t", index=False)
    for file in bids.glob("sub-002/*_sessions.tsv"):
        text = pd.read_csv(file, sep="\t", dtype=str, keep_default_na=False)
        text.drop(columns=[c for c in text if c.startswith("age")]).to_csv(file, sep="\t", index=False)
    break_scans(bids, next(bids.glob("sub-001/**/*_T1w.nii.gz")))
    return bids


@pytest.fixture(scope="session")
def options(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    own = tmp_path_factory.mktemp("config") / "own.yaml"
    own.write_text(f"bids_dir: {json.dumps(str(dataset))}\n")
    return ["--cores", "2", "--configfile", str(CONFIGS / "tiny.yaml"), str(own), "--config", "seed=0"]


@pytest.fixture(scope="session")
def finished(dataset, options, snakemake, tmp_path_factory) -> Path:
    """Folder of the finished run."""
    folder = tmp_path_factory.mktemp("run") / "a $(touch pwned) 'folder'"
    folder.mkdir()
    done = snakemake(folder, "run", "--", *options, module=("anatcl",))
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-6000:]
    (folder / "said.txt").write_text(done.stderr + done.stdout)
    return folder


def with_file(options: list[str], file: Path) -> list[str]:
    """Options of a run with one more configuration file, over the others."""
    place = options.index("--config")
    return [*options[:place], str(file), *options[place:]]
