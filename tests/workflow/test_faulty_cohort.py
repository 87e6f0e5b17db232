"""Ten scans with eight different faults: one command ends at the page, and every fault is listed with a remedy."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from anatcl.base.files import read_tsv

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("faulty-cohort")]

CONFIGS = Path(__file__).resolve().parents[1] / "configs"


def header(path: Path, **fields: object) -> None:
    raw = gzip.decompress(path.read_bytes())
    changed = nib.Nifti1Header(raw[:348], check=False)
    for name, value in fields.items():
        changed[name] = value
    path.write_bytes(gzip.compress(changed.binaryblock + raw[348:], mtime=0))


def voxels(path: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
    image = nib.load(path)
    nib.save(nib.Nifti1Image(change(image.get_fdata()).astype(np.float32), image.affine), path)


def pointer(path: Path) -> None:
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 9\n")


def scaled_sform(path: Path) -> None:
    header(path, sform_code=4, qform_code=2, srow_x=[6, 0, 0, 0], srow_y=[0, 6, 0, 0], srow_z=[0, 0, 6, 0])


def dotted(path: Path) -> None:
    person = path.name.split("_")[0]
    target = path.parents[2] / person / "ses-1.5T" / "anat" / f"{person}_ses-1.5T_T1w.nii.gz"
    target.parent.mkdir(parents=True)
    path.rename(target)


def unoriented(path: Path) -> None:
    header(path, sform_code=0, qform_code=0)


def early(path: Path) -> None:
    header(path, vox_offset=64)


def stripped(path: Path) -> None:
    def change(data: np.ndarray) -> np.ndarray:
        centre = [(n - 1) / 2 for n in data.shape]
        x, y, z = np.meshgrid(*(np.arange(n) - c for n, c in zip(data.shape, centre, strict=True)), indexing="ij")
        inside = (x / 14) ** 2 + (y / 17) ** 2 + (z / 13) ** 2 < 1
        return np.where(inside, (data - data[inside].mean()) / data[inside].std(), np.nan)

    voxels(path, change)


def lost(path: Path) -> None:
    def change(data: np.ndarray) -> np.ndarray:
        middle = data.shape[1] // 2
        data[:, middle - 2 : middle + 2] = 0
        return data

    voxels(path, change)


def bottle(path: Path) -> None:
    def change(data: np.ndarray) -> np.ndarray:
        rng = np.random.default_rng(0)
        x, y, z = np.meshgrid(*(np.arange(n) - n / 2 for n in data.shape), indexing="ij")
        return np.abs(500 * (x**2 + y**2 + z**2 < 18**2) + rng.normal(0, 4, data.shape))

    voxels(path, change)


# fault, words of the reason, words of the remedy
FAULTS: dict[str, tuple[Callable[[Path], None], str, str]] = {
    "sub-001": (pointer, "not fetched", "git lfs pull"),
    "sub-002": (scaled_sform, "its sform says voxels of", "header"),
    "sub-003": (dotted, "not a BIDS name", "Rename"),
    "sub-004": (unoriented, "left and right are a guess", "unoriented: accept"),
    "sub-005": (early, "inside the header", "header"),
    "sub-006": (stripped, "skull-stripped already", "corrections"),
    "sub-007": (lost, "slices amid the head are empty", "DICOM"),
    "sub-008": (bottle, "no plausible brain", "corrections"),
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """Folder of the run, and what the command said."""
    root = tmp_path_factory.mktemp("faulty")
    make = [sys.executable, "-m", "anatcl", "simulate", str(root / "bids"), "--participants", "10", "--voxel-mm", "5"]
    subprocess.run(make, check=True, capture_output=True)
    for name, (spoil, _, _) in FAULTS.items():
        first, *others = sorted((root / "bids" / name).rglob("*_T1w.nii.gz"))
        for other in others:
            other.unlink()
        spoil(first)
    own = root / "own.yaml"
    values = {"bids_dir": str(root / "bids"), "pretrain": {"methods": []}, "evaluate": {"untrained": False}}
    own.write_text(json.dumps(values))
    command = [sys.executable, "-m", "anatcl", "run", "--", "--cores", "2", "--directory", str(root / "run")]
    command += ["--configfile", str(CONFIGS / "tiny.yaml"), str(own)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=dict(os.environ))
    return root / "run", done


def test_the_page_is_there(finished: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, done = finished
    assert done.returncode == 0, done.stderr[-3000:]
    assert (folder / "results" / "report" / "index.html").is_file()
    people = set(read_tsv(folder / "results" / "measures" / "measures.tsv")["participant_id"])
    assert people == {"sub-009", "sub-010"}


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_is_listed(name: str, finished: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    _, reason, remedy = FAULTS[name]
    table = read_tsv(finished[0] / "results" / "report" / "excluded.tsv")
    rows = table[table["participant_id"] == name]
    assert len(rows) == 1 and rows["file"].notna().all()
    assert reason in rows["reason"].iloc[0] and remedy in rows["remedy"].iloc[0]
