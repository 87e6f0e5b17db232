"""Ten scans with eight different faults: one command ends at the page, and every fault is listed with a remedy."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
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
    rows = 1.2 * nib.load(path).affine
    header(path, sform_code=4, qform_code=2, srow_x=rows[0], srow_y=rows[1], srow_z=rows[2])


def dotted(path: Path) -> None:
    person = path.name.split("_")[0]
    target = path.parents[2] / "ses-1.5T" / "anat" / f"{person}_ses-1.5T_T1w.nii.gz"
    target.parent.mkdir(parents=True)
    path.rename(target)


def unoriented(path: Path) -> None:
    header(path, sform_code=0, qform_code=0)


def early(path: Path) -> None:
    header(path, vox_offset=64)


def brain(shape: tuple[int, ...]) -> np.ndarray:
    """Voxels of an ellipsoid of 1.6 l amid the grid."""
    x, y, z = np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in shape), indexing="ij")
    return (x / 14) ** 2 + (y / 17) ** 2 + (z / 13) ** 2 < 1


def stripped(path: Path) -> None:
    def change(data: np.ndarray) -> np.ndarray:
        inside = brain(data.shape)
        return np.where(inside, (data - data[inside].mean()) / data[inside].std(), np.nan)

    voxels(path, change)


def lost(path: Path) -> None:
    def change(data: np.ndarray) -> np.ndarray:
        middle = data.shape[1] // 2
        data[:, middle - 2 : middle + 2] = 0
        return data

    voxels(path, change)


def nobody(path: Path) -> None:
    voxels(path, lambda data: np.abs(np.random.default_rng(0).normal(0, 50, data.shape)))


# fault, words of the reason, words of the remedy
FAULTS: dict[str, tuple[Callable[[Path], None], str, str]] = {
    "sub-001": (pointer, "not fetched", "git lfs pull"),
    "sub-002": (scaled_sform, "its sform says voxels of", "header"),
    "sub-003": (dotted, "not a BIDS name", "Rename"),
    "sub-004": (unoriented, "left and right are a guess", "unoriented: accept"),
    "sub-005": (early, "inside the header", "header"),
    "sub-006": (stripped, "skull-stripped already", "corrections"),
    "sub-007": (lost, "slices inside the head are empty", "DICOM"),
    "sub-008": (nobody, "no plausible brain was found", "participants: exclude"),
}


class Study:
    """Ten scans, eight of them spoilt, and the folder in which they are run."""

    def __init__(self, root: Path) -> None:
        self.root, self.run, self.scans = root, root / "run", dict[str, Path]()
        make = ["simulate", str(root / "bids"), "--participants", "10", "--voxel-mm", "5"]
        subprocess.run([sys.executable, "-m", "anatcl", *make], check=True, capture_output=True)
        for name, (spoil, _, _) in FAULTS.items():
            self.scans[name], *others = sorted((root / "bids" / name).rglob("*_T1w.nii.gz"))
            for other in others:
                other.unlink()
            shutil.copy(self.scans[name], root / f"{name}.nii.gz")
            spoil(self.scans[name])
        self.values = {"pretrain": {"methods": []}, "evaluate": {"untrained": False}, "bids_dir": str(root / "bids")}
        self.said = self.start()

    def start(self, *words: str, **values: object) -> subprocess.CompletedProcess[str]:
        """Run the workflow, with some values changed."""
        own = self.root / "own.yaml"
        own.write_text(json.dumps(self.values | values))
        command = [sys.executable, "-m", "anatcl", "run", "--", *words, "--cores", "2", "--directory", str(self.run)]
        command += ["--configfile", str(CONFIGS / "tiny.yaml"), str(own)]
        return subprocess.run(command, capture_output=True, text=True, check=False, env=dict(os.environ))

    def excluded(self, name: str) -> pd.DataFrame:
        """What the report says of a participant."""
        table = read_tsv(self.run / "results" / "report" / "excluded.tsv")
        return table[table["participant_id"] == name]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """The study after one command."""
    return Study(tmp_path_factory.mktemp("faulty"))


def test_the_page_is_there(finished: Study) -> None:
    assert finished.said.returncode == 0, finished.said.stderr[-3000:]
    assert (finished.run / "results" / "report" / "index.html").is_file()
    people = set(read_tsv(finished.run / "results" / "measures" / "measures.tsv")["participant_id"])
    assert people == {"sub-009", "sub-010"}


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_is_listed(name: str, finished: Study) -> None:
    _, reason, remedy = FAULTS[name]
    rows = finished.excluded(name)
    assert len(rows) == 1 and rows["file"].notna().all()
    assert reason in rows["reason"].iloc[0] and remedy in rows["remedy"].iloc[0]


def test_the_remedies_work(finished: Study) -> None:
    """Followed in the same folder, each lets its scan pass the step that refused it."""
    root, files = finished.root, finished.scans
    for name in ("sub-001", "sub-002", "sub-005", "sub-007"):  # fetched, header corrected, converted again
        shutil.copy(root / f"{name}.nii.gz", files[name])
    (dotted,) = (root / "bids" / "sub-003").rglob("*_T1w.nii.gz")
    files["sub-003"] = root / "bids" / "sub-003" / "ses-15T" / "anat" / dotted.name.replace("1.5T", "15T")
    files["sub-003"].parent.mkdir(parents=True)
    dotted.rename(files["sub-003"])
    image = nib.load(files["sub-006"])
    nib.save(nib.Nifti1Image(brain(image.shape).astype(np.uint8), image.affine), root / "mask.nii.gz")
    scans = {
        name: path.relative_to(root / "bids").as_posix().removesuffix("_T1w.nii.gz") for name, path in files.items()
    }
    (root / "corrections.tsv").write_text(f"scan\tmask\n{scans['sub-006']}\t{root / 'mask.nii.gz'}\n")
    ends = {"sub-006": "desc-qc.json", "sub-007": "desc-brain_mask.nii.gz"}
    asked = {name: ends.get(name, "desc-preproc_T1w.nii.gz") for name in sorted(set(FAULTS) - {"sub-008"})}
    done = finished.start(
        *(f"results/preprocess/{scans[name]}_{end}" for name, end in asked.items()),
        bids={"unoriented": "accept"},
        participants={"exclude": ["sub-008"]},
        preprocess={"recipe": str(CONFIGS / "tiny.json"), "corrections": str(root / "corrections.tsv")},
        failures={"retry": True},
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    still = read_tsv(finished.run / "results" / "bids" / "excluded.tsv")
    assert set(still["participant_id"]) == {"sub-008"}
    left = {path.name for path in (finished.run / "results" / "failures").rglob("*.json")}
    assert {name for name in left if not name.startswith("sub-008")} == set()
