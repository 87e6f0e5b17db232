"""Small images, good and bad, that the tests of faults write into datasets."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np

SCAN = "sub-01/anat/sub-01_T1w.nii.gz"
# Indexes a dataset into a folder, by options or without; returns the one row that is left out.
Exclusion = Callable[..., dict[str, str]]


def image(shape: tuple[int, ...] = (17, 18, 19), dtype: str = "uint8", voxel: float = 6.0) -> nib.Nifti1Image:
    """A small image of noise."""
    data = np.random.default_rng(0).integers(1, 100, shape).astype(dtype)
    return nib.Nifti1Image(data, np.diag([voxel, voxel, voxel, 1]))


def packed(raw: bytes) -> bytes:
    return gzip.compress(raw, mtime=0)


def edited(**fields: object) -> bytes:
    """An image with fields of its header overwritten."""
    raw = image().to_bytes()
    header = nib.Nifti1Header(raw[:348], check=False)
    for name, value in fields.items():
        header[name] = value
    return header.binaryblock + raw[348:]


def rotated(**rows: list[float]) -> bytes:
    return edited(sform_code=1, qform_code=0, **rows)


def constant(value: float, dtype: str = "uint8", shape: tuple[int, ...] = (17, 18, 19)) -> bytes:
    return nib.Nifti1Image(np.full(shape, value, dtype), np.diag([6.0, 6, 6, 1])).to_bytes()


def of(data: np.ndarray, header: nib.Nifti1Header | None = None) -> bytes:
    kind = nib.Nifti2Image if isinstance(header, nib.Nifti2Header) else nib.Nifti1Image
    return kind(data, np.diag([6.0, 6, 6, 1]), header).to_bytes()


def rgb() -> bytes:
    data = np.zeros((17, 18, 19), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    return nib.Nifti1Image(data, np.eye(4)).to_bytes()


GOOD = image().to_bytes()
MIDDLE = packed(GOOD)
DAMAGED = MIDDLE[: len(MIDDLE) // 2] + bytes(16) + MIDDLE[len(MIDDLE) // 2 + 16 :]


def write(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path
