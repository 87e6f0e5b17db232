"""An unbiased template of one participant: the mean of the scans, halfway between them, and their rigid transforms.

Masks and registration are made once, on the template, and moved to every scan by a rigid transform: what then differs
between two scans is the scans, not two searches for the skull and two warps. No scan is the reference, and each is
interpolated once, so none is smoother than the others (Reuter M et al., *Within-subject template estimation for
unbiased longitudinal image analysis*, NeuroImage 61, 2012; the alignment here is by ANTs and mutual information).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import expm, logm

from anatcl.base.errors import InputError
from anatcl.base.files import read_json
from anatcl.images import Volume, load, save
from anatcl.preprocess import registration
from anatcl.preprocess.alignment import SCALP_MM, find_pose, read_matrix, write_itk
from anatcl.preprocess.ants import Workspace, workspace
from anatcl.preprocess.bias_correct import head_mask
from anatcl.preprocess.geometry import coarsen, coordinates, dilate_mm
from anatcl.preprocess.template import Template

ROUNDS = 2  # of aligning to the mean of the round before
MARGIN_MM = 10.0  # of the template's grid around the heads
# Positions are found on voxels of this size: mutual information places a head to a tenth of them.
WORK_MM, ALIGN_MM = 2.0, 1.5
NEAR_MM = 6.0  # scans are aligned by what lies so near to the brain
TURNED = 150.0  # degrees between two scans of a person beyond which the mean of their positions is no place


def person_template(
    images: Sequence[str | Path],
    template: Template,
    out: str | Path,
    settings: dict[str, Any],
    threads: int = 1,
    seed: int = 0,
) -> dict[str, Any]:
    """Write the mean of a participant's scans in the middle of their positions.

    Parameters
    ----------
    images : sequence of path
        Two or more bias-corrected scans, each with a median of 100 inside the head.
    template : Template
        Where the search for a rough pose of each scan starts.
    out : path
        The mean; voxels are cubes as small as the smallest edge of a scan's voxels.
    settings : dict
        The recipe's ``register``: ``linear``, iterations of the levels.

    Returns
    -------
    dict
        Facts for the sidecar: ``Alignments``, for each image's name the matrix (4 x 4, RAS, mm) from the mean's points
        to its own.

    Raises
    ------
    InputError
        Two scans are turned against each other by more than `TURNED` degrees.
    """
    scans = [load(path) for path in images]
    masks = [head_mask(scan) for scan in scans]
    heads = [coordinates(scan, np.argwhere(mask)) for scan, mask in zip(scans, masks, strict=True)]
    with workspace(threads, seed) as room:
        for i, scan in enumerate(scans):
            room.put(f"scan-{i}.nii", scan)
            room.put(f"coarse-{i}.nii", coarsen(scan, WORK_MM))
        moves = _to_middle(_first(scans, masks, template), images)
        for _ in range(ROUNDS + 1):
            room.put("mean.nii", coarsen(_mean(room, scans, heads, moves), WORK_MM))
            moves = [rigid(room, "mean.nii", f"coarse-{i}.nii", move, settings) for i, move in enumerate(moves)]
            moves = _to_middle(moves, images)
        mean = _mean(room, scans, heads, moves)
        save(out, mean, np.int16, scaled=True)
        named = {Path(path).name: move.round(8).tolist() for path, move in zip(images, moves, strict=True)}
        return {"Alignments": named, "Calls": room.calls}


def person_align(
    image: str | Path,
    mean: str | Path,
    brain: str | Path,
    about: str | Path,
    out: str | Path,
    settings: dict[str, Any],
    threads: int = 1,
    seed: int = 0,
) -> dict[str, Any]:
    """Write the rigid transform between a scan and its participant's template, from the brain alone.

    Parameters
    ----------
    image, mean, brain : path
        The scan; the person's template and its brain mask.
    about : path
        The template's sidecar, which knows where the scan lies roughly.
    out : path
        ITK text: rigid, from points of the template to points of the scan.
    """
    start = np.array(read_json(about)["Alignments"][Path(image).name])
    mask = load(brain)
    near = coarsen(mask.like(dilate_mm(mask.data > 0.5, mask, NEAR_MM).astype(np.float32)), ALIGN_MM)
    with workspace(threads, seed) as room:
        room.put("mean.nii", coarsen(load(mean), ALIGN_MM))
        room.put("scan.nii", coarsen(load(image), ALIGN_MM))
        room.put("near.nii", near.like((near.data > 0.5).astype(np.uint8)))
        write_itk(out, rigid(room, "mean.nii", "scan.nii", start, settings, "near.nii"))
        return {"Calls": room.calls}


def rigid(
    room: Workspace, fixed: str, moving: str, start: NDArray, settings: dict[str, Any], mask: str = ""
) -> NDArray:
    """The rigid RAS matrix, points of `fixed` to points of `moving`, that mutual information finds from `start`."""
    write_itk(room.folder / "start.txt", start)
    file = registration.linear(room, fixed, moving, "start.txt", settings, "rigid_", mask, stages=("Rigid",))
    return _rigid_part(read_matrix(room.folder / file))


def _first(scans: Sequence[Volume], masks: Sequence[NDArray], template: Template) -> list[NDArray]:
    """Rough rigid positions, points of the first scan to points of each, by the cohort's template."""
    head, icv = template.volume("head"), template.volume("icv_mask")
    both = zip(scans, masks, strict=True)
    poses = [find_pose(scan, mask, head, icv.data > 0.5, SCALP_MM) for scan, mask in both]
    return [_rigid_part(pose @ np.linalg.inv(poses[0])) for pose in poses]


def _rigid_part(matrix: NDArray) -> NDArray:
    """The nearest rotation of a matrix; the middle of the head (RAS origin's image) stays where it was moved."""
    u, _, v = np.linalg.svd(matrix[:3, :3])
    found = matrix.copy()
    found[:3, :3] = u @ np.diag([1, 1, np.sign(np.linalg.det(u @ v))]) @ v
    return found


def _to_middle(moves: Sequence[NDArray], images: Sequence[str | Path]) -> list[NDArray]:
    """The same relative positions seen from their mean (of logarithms, so that no scan counts more than another)."""
    for move, image in zip(moves, images, strict=True):
        relative = move[:3, :3] @ moves[0][:3, :3].T
        if np.degrees(np.arccos(np.clip((np.trace(relative) - 1) / 2, -1, 1))) > TURNED:
            raise InputError(
                f"its head is turned by more than {TURNED:g} degrees relative to another scan of the same participant.",
                image,
                "Correct the header of that scan, or write measures: longitudinal: false.",
            )
    moves = [move @ np.linalg.inv(moves[0]) for move in moves]
    for _ in range(10):
        middle = np.mean([np.real(logm(move)) for move in moves], axis=0)
        back = np.linalg.inv(expm(middle))
        moves = [_rigid_part(move @ back) for move in moves]
    return moves


def _mean(room: Workspace, scans: Sequence[Volume], heads: Sequence[NDArray], moves: Sequence[NDArray]) -> Volume:
    """Mean of the scans on a common grid; where some do not reach, of those that do."""
    grid = _grid(scans, heads, moves)
    room.put("grid.nii", grid)
    total, weight = np.zeros(grid.data.shape), np.zeros(grid.data.shape)
    for i, (scan, move) in enumerate(zip(scans, moves, strict=True)):
        write_itk(room.folder / f"move-{i}.txt", move)
        room.put("covered.nii", scan.like(np.ones(scan.data.shape, np.float32)))
        covered = room.apply("covered.nii", "grid.nii", [f"move-{i}.txt"], "covered-here.nii").data
        total += room.apply(f"scan-{i}.nii", "grid.nii", [f"move-{i}.txt"], f"here-{i}.nii").data * (covered > 0.5)
        weight += covered > 0.5
    return grid.like((total / np.maximum(weight, 1)).astype(np.float32))


def _grid(scans: Sequence[Volume], heads: Sequence[NDArray], moves: Sequence[NDArray]) -> Volume:
    """An empty grid of cubes around all heads (RAS points of each) in the middle position."""
    edge = float(min(scan.spacing.min() for scan in scans))
    corners = []
    for points, move in zip(heads, moves, strict=True):
        here = (points - move[:3, 3]) @ move[:3, :3]  # the inverse of a rotation is its transpose
        corners += [here.min(axis=0), here.max(axis=0)]
    low, high = np.min(corners, axis=0) - MARGIN_MM, np.max(corners, axis=0) + MARGIN_MM
    affine = np.diag([edge, edge, edge, 1.0])
    affine[:3, 3] = low
    shape = tuple(int(n) for n in np.ceil((high - low) / edge))
    return Volume(np.zeros(shape, np.float32), affine)
