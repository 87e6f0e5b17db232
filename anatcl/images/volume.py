"""A 3-D array with its affine, read from and written to NIfTI (or MGZ)."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from anatcl.base.errors import InputError
from anatcl.base.files import atomic_path
from anatcl.base.nifti import affine_of
from anatcl.base.words import plural


@dataclasses.dataclass(frozen=True)
class Volume:
    """A volume and its affine.

    Attributes
    ----------
    data : ndarray of shape (X, Y, Z)
    affine : ndarray of shape (4, 4)
        Voxel index to RAS+ coordinate in mm.
    """

    data: NDArray
    affine: NDArray

    @property
    def spacing(self) -> NDArray:
        """Voxel size along each array axis, in mm."""
        return np.sqrt(np.sum(self.affine[:3, :3] ** 2, axis=0))

    @property
    def voxel_volume(self) -> float:
        """Volume of one voxel, in mm3."""
        return float(abs(np.linalg.det(self.affine[:3, :3])))

    def like(self, data: NDArray) -> Volume:
        """Return `data` on the grid of this volume."""
        if data.shape != self.data.shape:
            raise ValueError(f"shape {data.shape} does not fit the grid {self.data.shape}")
        return Volume(data, self.affine)


def load(path: str | Path, dtype: DTypeLike = np.float32) -> Volume:
    """Read a 3-D image, scaled as its header says.

    Raises
    ------
    InputError
        The file cannot be read, or is not 3-D (a fourth axis of length one is dropped).
    """
    import nibabel as nib  # in functions, so that arrays can be worked on without it

    unreadable = (nib.filebasedimages.ImageFileError, nib.spatialimages.HeaderDataError)
    try:
        image = _open(path)
        data = np.asarray(image.get_fdata(dtype=np.float32), dtype=dtype)
        affine = _affine(image)
    except InputError as error:
        raise InputError(error.reason, path, error.remedy) from error
    except (OSError, EOFError, ValueError, *unreadable) as error:
        raise InputError(
            f"the image cannot be read ({error}).", path, "Copy the file again from its source."
        ) from error
    if data.ndim > 3 and all(n == 1 for n in data.shape[3:]):
        data = data.reshape(data.shape[:3])
    if data.ndim != 3:
        raise InputError(
            f"the image has {plural(data.ndim, 'axis')} of shape {data.shape}, not 3.", path, "Give a 3-D T1w image."
        )
    return Volume(data, affine)


def _open(path: str | Path) -> Any:
    """An image as nibabel reads it; a header that it refuses and the standard does not is read unchecked."""
    import nibabel as nib

    try:
        return nib.load(path)
    except (nib.spatialimages.HeaderDataError, ValueError):
        with nib.openers.ImageOpener(str(path)) as stream:
            kind = nib.Nifti2Image if stream.read(4) in (b"\x1c\x02\0\0", b"\0\0\x02\x1c") else nib.Nifti1Image
            stream.seek(0)
            header = kind.header_class.from_fileobj(stream, check=False)
        _shorten(header)
        return kind(nib.arrayproxy.ArrayProxy(str(path), header), affine_of(header)[0], header)


def _shorten(header: Any) -> None:
    """Bring a quaternion that is longer than one by rounding to length one, as the standard says."""
    names = [f"quatern_{letter}" for letter in "bcd"]
    length = float(np.linalg.norm([float(header[name]) for name in names]))
    if length > 1:
        for name in names:
            header[name] = float(header[name]) / length * (1 - 1e-7)


def _affine(image: Any) -> NDArray:
    """Where an image lies: settled from all its header says where it is NIfTI."""
    import nibabel as nib

    if not isinstance(image.header, nib.Nifti1Header):
        return np.asarray(image.affine, dtype=np.float64)
    affine, _ = affine_of(image.header)
    same = np.allclose(affine, image.affine, rtol=1e-6, atol=1e-4)
    return np.asarray(image.affine if same else affine, dtype=np.float64)


def save(path: str | Path, volume: Volume, dtype: DTypeLike | None = None, scaled: bool = False) -> None:
    """Write a volume as NIfTI, atomically, with equal sform and qform and no time stamp.

    Parameters
    ----------
    path : path
        ``.nii`` or ``.nii.gz``.
    volume : Volume
    dtype : dtype, optional
        Type on disk; that of the array by default (booleans become uint8).
    scaled : bool
        Spread float values over the whole range of an integer type (scl_slope) instead of rounding them.
    """
    target = np.dtype(dtype or volume.data.dtype)
    if target.kind == "b":
        target = np.dtype(np.uint8)
    data = volume.data if scaled else volume.data.astype(target)
    import nibabel as nib

    image = nib.Nifti1Image(data, volume.affine)
    image.set_data_dtype(target)
    image.set_sform(volume.affine, code=1)
    image.set_qform(volume.affine, code=1)
    image.header.set_xyzt_units("mm", "sec")
    with atomic_path(path) as temporary:
        nib.save(image, temporary)
