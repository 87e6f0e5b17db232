"""Is an image usable: what its header and length say, without reading its voxels where that can be avoided.

Reading every voxel of 10,000 scans takes an hour; reading 8 kB of each takes seconds. A gzip file ends with the length
of what it holds, so a truncated one shows without decompressing it. Only where that length disagrees, or where a file
is suspiciously small for its grid, are the voxels read.
"""

from __future__ import annotations

import gzip
import stat
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from anatcl.base.errors import InputError
from anatcl.base.nifti import GUESS, HEADER_WRONG, affine_of
from anatcl.base.pointers import beginning, refuse_pointer

if TYPE_CHECKING:
    from nibabel.nifti1 import Nifti1Header

HEAD = 8192  # bytes read of each file
HEADER = 540  # of a NIfTI-2 file; NIfTI-1 has 348
CHUNK = 1 << 20
MAX_SIDE = 1024
SHEAR = 0.01  # cosine between two axes, as in preprocess
ROUNDED = 1e-3  # share by which a length may miss its limit: 6.0000002 mm are 6 mm
DENSE = 0.005  # compressed / raw size below which an image is likely to be empty

COPY = "Copy the file again from its source or convert it again from DICOM."
CONVERT = "Convert it again from DICOM (dcm2niix), or leave it out."
UNORIENTED = "Convert it again from DICOM (dcm2niix), or accept such scans with bids: {unoriented: accept}."
PERMIT = "Give read permission (chmod u+r) or leave the participant out."


def check(path: Path, limits: list[Any]) -> dict[str, Any]:
    """Check one image.

    Parameters
    ----------
    path : Path
        A file that exists.
    limits : list
        `Options.limits`: how far to verify, smallest and largest voxel side (mm), smallest field of view (mm), what
        becomes of scans without orientation.

    Returns
    -------
    dict
        ``notes``: list of sentences about what was accepted; ``print``: length and checksum of the voxels, equal for
        copies of one image (gzip only, else empty).

    Raises
    ------
    InputError
        The image is unusable.
    OSError
        The file cannot be read.
    """
    verify, smallest, largest, extent, unoriented = limits
    if not stat.S_ISREG(path.stat().st_mode):
        raise InputError("it is not a file.", path, "Replace it by an image, or remove it.")
    size = path.stat().st_size
    if size == 0:
        raise InputError("the file is empty (zero bytes).", path, COPY)
    with open(path, "rb") as stream:
        head = stream.read(HEAD)
        stream.seek(max(0, size - 8))
        tail = stream.read(8)
    refuse_pointer(path, head, size)
    zipped = path.name.endswith(".gz")
    header = _header(path, _inflated(path, head) if zipped else head)
    notes: list[str] = []
    _shape(path, header, notes)
    _datatype(path, header, notes)
    _geometry(path, header, (smallest, largest), extent, notes)
    if GUESS in notes and unoriented == "exclude":
        raise InputError(GUESS, path, UNORIENTED)
    _length(path, header, size, tail, zipped, verify)
    return {"notes": notes, "print": tail.hex() if zipped else ""}


def _inflated(path: Path, head: bytes) -> bytes:
    """The first bytes of a gzip file's content; never more than a header's, whatever the file claims."""
    if not head.startswith(b"\x1f\x8b"):
        _refuse_text(path, head)
        if _sizes(head) & {348, 540}:
            raise InputError("it is named .gz but is not compressed.", path, "Compress it with gzip, or name it .nii.")
        raise InputError("it is not a NIfTI file, compressed or not.", path, COPY)
    try:
        return zlib.decompressobj(wbits=31).decompress(head, HEADER)
    except zlib.error as error:
        raise InputError(f"its compressed data are damaged ({error}).", path, COPY) from error


def _refuse_text(path: Path, head: bytes) -> None:
    """Raise where a text stands in an image's place: an error page that was saved, a link that was written out."""
    if text := beginning(head):
        reason = f"it is a text file, not an image (it begins with {text!r})."
        raise InputError(reason, path, "Download or copy the image again from its source.")


def _sizes(head: bytes) -> set[int]:
    """The length that a header says of itself, in either order of bytes."""
    return {struct.unpack(order + "i", head[:4])[0] for order in "<>"} if len(head) >= 4 else set()


def _header(path: Path, head: bytes) -> Nifti1Header:
    from nibabel.nifti1 import Nifti1Header
    from nibabel.nifti2 import Nifti2Header

    if head.startswith(b"\x1f\x8b"):
        raise InputError("it is named .nii but is compressed.", path, "Rename it to .nii.gz.")
    _refuse_text(path, head)
    if len(head) < 348:
        raise InputError("the file ends within its header.", path, COPY)
    sizes = _sizes(head)
    kind = Nifti2Header if 540 in sizes else Nifti1Header
    if not sizes & {348, 540} or len(head) < kind.sizeof_hdr:
        raise InputError("it is not a NIfTI file.", path, "Convert it to NIfTI (dcm2niix, nib-convert).")
    header = kind(head[: kind.sizeof_hdr], check=False)  # not from_fileobj(), which reads what follows as well
    magic = bytes(header["magic"])[:3]
    if magic not in (b"n+1", b"n+2"):
        remedy = "Convert it to a single NIfTI file (.nii.gz)."
        raise InputError("it is an ANALYZE header or one half of a NIfTI pair.", path, remedy)
    return header


def _shape(path: Path, header: Nifti1Header, notes: list[str]) -> None:
    """Read ``dim`` by hand: nibabel's accessors believe what it says."""
    dim = [int(n) for n in header["dim"]]
    axes = dim[0]
    if not 1 <= axes <= 7:
        raise InputError(f"its header names {axes} axes.", path, HEADER_WRONG)
    shape = dim[1 : axes + 1]
    text = " x ".join(map(str, shape))
    if min(shape) < 1:
        raise InputError(f"its header has an impossible shape ({text}).", path, HEADER_WRONG)
    if any(n > 1 for n in shape[3:]):
        remedy = "Give one 3-D volume, for example the mean of its volumes (fslmaths -Tmean, 3dTstat)."
        raise InputError(f"it has {len(shape)} axes ({text}), not 3.", path, remedy)
    if len(shape) < 3 or min(shape[:3]) == 1:
        raise InputError(f"it is a single slice ({text}), not a volume.", path, CONVERT)
    if max(shape[:3]) > MAX_SIDE:
        raise InputError(f"its shape is implausible ({text}).", path, HEADER_WRONG)
    if len(shape) > 3:
        notes.append(f"it has {len(shape)} axes ({text}) with a single volume, and is read as 3-D.")


def _datatype(path: Path, header: Nifti1Header, notes: list[str]) -> None:
    from nibabel.spatialimages import HeaderDataError

    code = int(header["datatype"])
    names = {128: "RGB colours", 2304: "RGBA colours", 32: "complex numbers", 1792: "complex numbers"}
    if code in names:
        raise InputError(f"its voxels are {names[code]}, not grey values.", path, CONVERT)
    try:
        dtype = header.get_data_dtype()
        header.get_slope_inter()
    except (HeaderDataError, KeyError) as error:
        raise InputError(f"its voxel type or scaling is not usable ({error}).", path, HEADER_WRONG) from error
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise InputError(f"its voxel type is not usable ({dtype}).", path, CONVERT)
    if dtype == np.int8:
        notes.append("its voxels are signed 8-bit: values above 127 may have wrapped.")


def _geometry(path: Path, header: Nifti1Header, sides: tuple[float, float], extent: float, notes: list[str]) -> None:
    affine = _affine(path, header, notes)
    zooms = np.linalg.norm(affine[:3, :3], axis=0)
    shape = np.array([int(n) for n in header["dim"][1:4]])
    text = " x ".join(f"{z:.4g}" for z in zooms)
    if zooms.min() < sides[0] * (1 - ROUNDED) or zooms.max() > sides[1] * (1 + ROUNDED):
        reason = f"its voxels measure {text} mm; {sides[0]:g} to {sides[1]:g} mm are plausible."
        raise InputError(reason, path, "Correct the voxel size (and its unit) in the header, or widen bids: voxel_mm.")
    if (zooms * shape).min() < extent * (1 - ROUNDED):
        reason = f"it covers only {(zooms * shape).min():.4g} mm along one axis (at least {extent:g} mm are needed)."
        raise InputError(reason, path, "Give a scan of the whole head, or lower bids: min_extent_mm.")
    directions = affine[:3, :3] / zooms
    if np.abs(directions.T @ directions - np.eye(3)).max() > SHEAR:
        reason = "its axes are not at right angles (a sheared affine)."
        raise InputError(reason, path, "Resample it onto an orthogonal grid (mri_convert, flirt -applyisoxfm).")


def _affine(path: Path, header: Nifti1Header, notes: list[str]) -> NDArray:
    """The affine that the images are read with."""
    try:
        affine, said = affine_of(header)
    except InputError as error:
        raise InputError(error.reason, path, error.remedy) from error
    notes += said
    return affine


def _length(path: Path, header: Nifti1Header, size: int, tail: bytes, zipped: bool, verify: str) -> None:
    """Compare the length that the header asks for with what is there, then look whether it is empty."""
    start = float(header["vox_offset"])
    if not np.isfinite(start) or start < 0 or 0 < start < header.sizeof_hdr + 4:
        reason = f"its header says that the voxels start at byte {start:g}, inside the header."
        raise InputError(reason, path, HEADER_WRONG)
    offset = int(np.clip(np.nan_to_num(float(header["vox_offset"])), header.sizeof_hdr + 4, 1 << 24))
    item = header.get_data_dtype().itemsize
    wanted = offset + item * int(np.prod([int(n) for n in header["dim"][1:4]], dtype=object))
    if not zipped and size < wanted:
        raise InputError(f"the file is truncated ({size} of {wanted} bytes).", path, COPY)
    if zipped and (verify == "full" or int.from_bytes(tail[4:], "little") != wanted % 2**32):
        _decompress(path, wanted)
    if zipped and wanted > CHUNK and size > DENSE * wanted:
        return
    try:
        value = _constant(path, offset, item, wanted, zipped)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"its compressed data are damaged ({error}).", path, COPY) from error
    if value is not None:
        what = "zero" if not any(value) else "the same value"
        raise InputError(f"all its voxels are {what}.", path, CONVERT)


def _decompress(path: Path, wanted: int) -> None:
    """Read the whole file: its checksum must be right and its content long enough."""
    length = 0
    try:
        with gzip.open(path) as stream:
            while chunk := stream.read(CHUNK):
                length += len(chunk)
                if length > wanted + 64 * CHUNK:  # something else follows, which nobody will read
                    break
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        reason = f"its compressed data are truncated or damaged ({error})."
        raise InputError(reason, path, COPY) from error
    if length < wanted:
        raise InputError(f"it holds {length} bytes where its header says {wanted}.", path, COPY)


def _constant(path: Path, offset: int, item: int, wanted: int, zipped: bool) -> bytes | None:
    """Return the one value that all voxels have, or None as soon as two differ."""
    opener: Any = gzip.open if zipped else open
    with opener(path, "rb") as stream:
        if not zipped and _differs(stream, (offset + wanted) // 2, item):
            return None
        stream.seek(offset)
        first = stream.read(item)
        stream.seek(offset)
        for chunk in _chunks(stream, wanted - offset):
            if (np.frombuffer(chunk, np.uint8).reshape(-1, item) != np.frombuffer(first, np.uint8)).any():
                return None
    return bytes(first)


def _differs(stream: IO[bytes], middle: int, item: int) -> bool:
    """Whether a block amid the voxels has different values: true for any real scan, so that one read is enough."""
    stream.seek(middle)
    block = stream.read(64 * 1024)
    values = np.frombuffer(block[: len(block) // item * item], np.uint8).reshape(-1, item)
    return len(values) > 0 and bool((values != values[0]).any())


def _chunks(stream: IO[bytes], length: int) -> Iterator[bytes]:
    while length > 0:
        chunk = stream.read(min(CHUNK, length))
        if not chunk:
            raise EOFError("the voxels end early")
        length -= len(chunk)
        yield chunk


def state(path: Path) -> list[int]:
    """Return what changes when a file is written: size, times and inode of what the path leads to."""
    status = path.stat()
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
