"""Orientation and size of a NIfTI image: what the standard defines is repaired, contradictions are resolved or refused.

The order is the standard's: the sform where its code says so and it is usable, else the qform, else the voxel sizes
alone. Where sform and qform disagree about the size of a voxel or about left and right, that of the scanner (code 1)
is taken: an sform scaled to a template makes a head of 1.5 litres one of 2.2.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from anatcl.base.errors import InputError

HEADER_WRONG = "Correct its header or convert it again from DICOM."
ROUNDING = 0.01  # relative difference of two lengths of a voxel's side
QUATERNION = 0.02  # how much longer than one a quaternion may be by rounding
SCANNER = 1
UNITS = {1: ("metres", 1e3), 3: ("micrometres", 1e-3)}  # NIfTI's codes, with how many mm they are
SIDES = 0.05, 20.0  # sides of voxels of any head (mm)
GUESS = "its header does not say how it is oriented: left and right are a guess."


def affine_of(header: Any) -> tuple[NDArray, list[str]]:
    """Affine of an image and what should be known of it.

    Parameters
    ----------
    header : mapping
        Fields of a NIfTI-1 or NIfTI-2 header, unchecked.

    Returns
    -------
    affine : ndarray of shape (4, 4)
        Voxel index to RAS+ coordinate, in mm: metres and micrometres are converted, if voxels of such a size can be.
    notes : list of str
        Sentences about what was repaired or settled.

    Raises
    ------
    InputError
        No affine is usable, or sform and qform contradict each other and neither or both are the scanner's.
    """
    affine, notes = _in_its_unit(header)
    name, factor = UNITS.get(int(header["xyzt_units"]) & 7, ("", 1.0))
    lengths = factor * _lengths(affine)
    if factor != 1.0 and SIDES[0] <= lengths.min() and lengths.max() <= SIDES[1]:
        affine[:3] *= factor
        notes.append(f"its sizes are in {name} and were converted to mm.")
    elif factor != 1.0:
        notes.append(f"its header says that sizes are in {name}, which is impossible: they are read as mm.")
    return affine, notes


def _in_its_unit(header: Any) -> tuple[NDArray, list[str]]:
    """As `affine_of`, in the header's own unit."""
    notes: list[str] = []
    sides = np.asarray(header["pixdim"][1:4], float)
    if not np.isfinite(sides).all():
        raise InputError("its voxel size is not a finite number (pixdim).", None, HEADER_WRONG)
    sides = np.abs(sides)
    codes = int(header["sform_code"]), int(header["qform_code"])
    sform = _sform(header, notes, codes[1] > 0) if codes[0] > 0 else None
    qform = _qform(header, sides, notes, sform is not None) if codes[1] > 0 else None
    if sform is None and qform is None:
        if max(codes) > 0:
            raise InputError("its affine is singular.", None, HEADER_WRONG)
        notes.append(GUESS)
        return _sizes_alone(header, sides), notes
    if sform is None or qform is None:
        found = qform if sform is None else sform
        if sform is not None and sides.all() and codes[0] != SCANNER and _longer(_lengths(sform), sides):
            raise InputError(_disagreement("sform", _lengths(sform), "pixdim", sides), None, HEADER_WRONG)
        assert found is not None
        return found, notes
    return _settled(sform, qform, codes, notes), notes


def _sform(header: Any, notes: list[str], other: bool) -> NDArray | None:
    """The affine of the three rows; ``None`` where they are zero, or unusable beside a qform."""
    affine = np.eye(4)
    affine[:3] = [np.asarray(header[f"srow_{axis}"], float) for axis in "xyz"]
    reason = _unusable(affine)
    if reason and not other:
        raise InputError(reason, None, HEADER_WRONG)
    if reason:
        notes.append("its sform is not usable (zero, singular or not finite): the qform is used.")
    return None if reason else affine


def _unusable(affine: NDArray) -> str:
    if not np.isfinite(affine).all():
        return "its affine has NaN or infinite numbers."
    lengths = _lengths(affine)
    singular = not lengths.all() or abs(np.linalg.det(affine[:3, :3] / lengths)) < 1e-3
    return "its affine is singular." if singular else ""


def _qform(header: Any, sides: NDArray, notes: list[str], other: bool) -> NDArray | None:
    """The affine of quaternion and voxel sizes; ``None`` where it is unusable beside an sform."""
    part = np.array([float(header[f"quatern_{letter}"]) for letter in "bcd"])
    offset = np.array([float(header[f"qoffset_{axis}"]) for axis in "xyz"])
    length = float(np.linalg.norm(part))
    fault = ""
    if not (np.isfinite(part).all() and np.isfinite(offset).all()):
        fault = "its affine has NaN or infinite numbers (qform)."
    elif length > 1 + QUATERNION:
        fault = f"its affine is not usable (its quaternion is {length:.3g} long, at most 1 is possible)."
    elif not sides.all():
        fault = "its affine is singular."
    if fault and not other:
        raise InputError(fault, None, HEADER_WRONG)
    if fault:
        return None
    if length > 1:  # the standard's rule for rounding
        part = part / length
    factor = float(header["pixdim"][0])
    affine = np.eye(4)
    affine[:3, :3] = _rotation(part) * sides * [1, 1, -1 if factor < 0 else 1]  # 0 is read as 1
    affine[:3, 3] = offset
    return affine


def _rotation(part: NDArray) -> NDArray:
    """Rotation of a unit quaternion by its vector part, shape (3, 3)."""
    b, c, d = part
    a = np.sqrt(max(0.0, 1 - b * b - c * c - d * d))
    return np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - c * c - b * b],
        ]
    )


def _sizes_alone(header: Any, sides: NDArray) -> NDArray:
    """Axes along the grid, the first from right to left, centred: how ANALYZE images are read."""
    if not sides.all():
        raise InputError("its affine is singular.", None, HEADER_WRONG)
    lengths = sides * [-1, 1, 1]
    affine = np.diag([*lengths, 1.0])
    affine[:3, 3] = -lengths * (np.asarray([int(n) for n in header["dim"][1:4]]) - 1) / 2
    return affine


def _settled(sform: NDArray, qform: NDArray, codes: tuple[int, int], notes: list[str]) -> NDArray:
    """Which of two affines is taken."""
    lengths = _lengths(sform), _lengths(qform)
    mirrored = np.linalg.det(sform[:3, :3]) * np.linalg.det(qform[:3, :3]) < 0
    if not mirrored and not _longer(*lengths):
        if not np.allclose(sform, qform, atol=0.01):
            notes.append("its sform and qform differ: the sform is used.")
        return sform
    what = _disagreement("sform", lengths[0], "qform", lengths[1])
    if mirrored:
        what = "its sform and qform disagree about left and right."
    if (codes[0] == SCANNER) == (codes[1] == SCANNER):
        raise InputError(what, None, HEADER_WRONG)
    taken = "sform" if codes[0] == SCANNER else "qform"
    notes.append(f"{what} The {taken} is the scanner's (code 1) and is used.")
    return sform if taken == "sform" else qform


def _lengths(affine: NDArray) -> NDArray:
    return np.linalg.norm(affine[:3, :3], axis=0)


def _longer(one: NDArray, other: NDArray) -> bool:
    return bool(np.abs(one / other - 1).max() > ROUNDING)


def _disagreement(one: str, lengths: NDArray, other: str, others: NDArray) -> str:
    texts = (" x ".join(f"{n:.4g}" for n in side) for side in (lengths, others))
    ours, theirs = texts
    return f"its {one} says voxels of {ours} mm, its {other} of {theirs} mm."
