"""Small datasets on disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

Write = Callable[..., Path]


@pytest.fixture
def write_scan(tmp_path: Path, rng: np.random.Generator) -> Write:
    """Return a function that writes a small valid image under ``tmp_path/data``."""

    def write(name: str, shape: tuple[int, ...] = (17, 18, 19), voxel: float = 6.0, dtype: str = "uint8") -> Path:
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data = rng.integers(0, 100, shape).astype(dtype)
        nib.Nifti1Image(data, np.diag([voxel, voxel, voxel, 1])).to_filename(path)
        return path

    return write


@pytest.fixture
def dataset(tmp_path: Path, write_scan: Write) -> Path:
    """Four participants with mixed entities: sessions, acq-, run-, and one with neither."""
    for name in (
        "sub-01/anat/sub-01_T1w.nii.gz",
        "sub-02/ses-1/anat/sub-02_ses-1_run-1_T1w.nii.gz",
        "sub-02/ses-1/anat/sub-02_ses-1_run-2_T1w.nii.gz",
        "sub-02/ses-2/anat/sub-02_ses-2_T1w.nii.gz",
        "sub-03/anat/sub-03_acq-mprage_T1w.nii.gz",
        "sub-04/ses-a/anat/sub-04_ses-a_acq-flash_run-01_T1w.nii",
    ):
        write_scan(name)
    folder = tmp_path / "data"
    (folder / "dataset_description.json").write_text('{"Name": "test", "BIDSVersion": "1.9.0"}')
    rows = ["participant_id\tage\tsex\tsite", "sub-01\t31.5\tM\tA", "sub-02\t62\tF\tB", "sub-03\t45\tF\tA"]
    (folder / "participants.tsv").write_text("\n".join(rows) + "\n")
    return folder
