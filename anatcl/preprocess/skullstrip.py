"""Brain mask and intracranial mask of one scan.

``ants``: a robust start, affine and a coarse SyN on the template's head inside the dilated intracranial region; the
template's two masks warped to the scan in one interpolation; the intracranial mask moved to the inner table of the
skull by intensity, the brain mask to what is brighter than the fluid around the brain, with a rim of CSF, by largest
component and closing in the manner of antsBrainExtraction. ``deepbet``: the intracranial mask by a network, the brain
mask as there. ``mask``: a mask made elsewhere. ``none``: the scan is already stripped.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from anatcl.base.errors import InputError
from anatcl.base.programs import Crashed, Killed
from anatcl.images import Volume, load, save
from anatcl.preprocess import deepbet, registration
from anatcl.preprocess.alignment import SCALP_MM, find_pose, read_matrix, write_itk
from anatcl.preprocess.ants import Workspace, workspace
from anatcl.preprocess.bias_correct import head_mask
from anatcl.preprocess.deepbet import LOOK
from anatcl.preprocess.defects import refuse_stripped
from anatcl.preprocess.geometry import bounding_box, close_mm, coarsen, crop, dilate_mm, erode_mm, largest_component
from anatcl.preprocess.person_start import Start
from anatcl.preprocess.plausible import refuse_phantom
from anatcl.preprocess.second_opinion import NOBODY, Ask, broken, overlap
from anatcl.preprocess.skull_edge import brain_within, to_inner_table
from anatcl.preprocess.template import Template

# Linear scale between two adult heads; outside it the affine has collapsed.
SCALE_LIMITS = (0.6, 1.6)
CORE_MM = 3.0  # so deep in the warped brain mask all is brain, dark lesions too
SHELL_MM = 12.0  # around the intracranial mask; more than `skull_edge` looks at
SPACE = 50_000_000  # bytes free, below which a program may have failed for want of it


@dataclasses.dataclass(frozen=True)
class Masks:
    """Boolean masks of shape (X, Y, Z) on the scan's grid, and the RAS matrix template → scan."""

    brain: NDArray
    icv: NDArray
    matrix: NDArray


def skullstrip(
    image: str | Path,
    template: Template,
    *,
    out_brain: str | Path,
    out_icv: str | Path,
    out_affine: str | Path,
    settings: dict[str, Any],
    method: str = "ants",
    given: str | Path | None = None,
    person: Start | None = None,
    ask: Ask = NOBODY,
    threads: int = 1,
    seed: int = 0,
) -> dict[str, Any]:
    """Write both masks, and the affine (template to scan) that the registration starts from.

    Parameters
    ----------
    settings : dict
        The recipe's ``skullstrip``.
    method : str
        ``ants``, ``deepbet``, ``mask``, ``none``, or ``auto`` for what `settings` say (else ``ants``).
    given : path, optional
        The mask of the method ``mask``.
    person : Start, optional
        The masks of the person's template, which then stand in for those that ``ants`` and ``deepbet`` would find.
    ask : Ask
        Whether deepbet gives a second opinion, and whether it tries again where ANTs' mask is implausible.

    Returns
    -------
    dict
        Facts for the sidecar.

    Raises
    ------
    InputError
        The scan is stripped already, the given mask does not fit, or no plausible brain was found.
    """
    scan = load(image)
    method = settings.get("method", "ants") if method == "auto" else method
    with workspace(threads, seed) as room:
        if method in ("ants", "deepbet"):
            _refuse_stripped(scan, template, image)
        make = {
            "ants": lambda: _found(room, scan, template, settings, image),
            "deepbet": lambda: by_network(room, scan, template, ask.device),
            "mask": lambda: from_mask(scan, template, given),
            "none": lambda: from_mask(scan, template, None),
        }
        if person and method in ("ants", "deepbet"):
            make[method] = lambda: Masks(*person.masks(room, scan))
        masks, facts = _twice(room, scan, make, method, ask, template, image)
        write_itk(room.folder / "affine.txt", masks.matrix)
        room.take("affine.txt", out_affine)
        calls = room.calls
    save(out_brain, scan.like(masks.brain))
    save(out_icv, scan.like(masks.icv))
    millilitres = scan.voxel_volume / 1000
    return {
        "Method": method,
        "Longitudinal": bool(person) and "Retry" not in facts,
        **facts,
        "Calls": calls,
        "BrainMl": float(masks.brain.sum() * millilitres),
        "IntracranialMl": float(masks.icv.sum() * millilitres),
    }


def _refuse_stripped(scan: Volume, template: Template, path: str | Path) -> None:
    """As `refuse_stripped`, but a bottle is not called a stripped brain."""
    try:
        refuse_stripped(scan, path)
    except InputError:
        masks = _masks(scan, template, head_mask(scan))
        refuse_phantom(scan, masks.brain, masks.matrix, template, path, LOOK)
        raise


def _twice(
    room: Workspace,
    scan: Volume,
    make: dict[str, Callable[[], Masks]],
    method: str,
    ask: Ask,
    template: Template,
    path: str | Path,
) -> tuple[Masks, dict[str, Any]]:
    """Masks by `method`, and by deepbet where they are implausible and `ask` says so; with facts for the sidecar."""
    facts: dict[str, Any] = {}
    try:
        masks = _believed(make[method](), method, scan, template, path)
        if ask.compare == "deepbet":
            dice = overlap(masks.icv, deepbet.cranium(room, scan, ask.device))
            facts["SecondOpinion"] = {"Method": deepbet.version(), "Dice": dice}
        wrong = broken(masks.brain, masks.icv, scan, facts, ask.limits)
    except InputError as error:
        if ask.retry == "none":
            raise
        wrong = error.reason
    if ask.retry != "none" and wrong:
        masks = _believed(make[ask.retry](), ask.retry, scan, template, path)
        facts["Retry"] = {"Method": deepbet.version(), "Because": wrong}
    if method == "deepbet":
        facts["Network"] = deepbet.version()
    return masks, facts


def _believed(masks: Masks, method: str, scan: Volume, template: Template, path: str | Path) -> Masks:
    """Return masks that hold a brain by their size and, but for a mask that a person gave, by what is in them."""
    check_size(masks, scan, path)
    if method != "mask":
        refuse_phantom(scan, masks.brain, masks.matrix, template, path, LOOK)
    return masks


def by_network(room: Workspace, scan: Volume, template: Template, device: str) -> Masks:
    """The inside of the skull by deepbet, the brain in it by intensity."""
    icv = deepbet.cranium(room, scan, device)
    box = _around(icv, scan)
    brain = np.zeros_like(icv)
    brain[box] = brain_within(crop(scan, box), icv[box])
    return Masks(brain, icv, _pose(scan, icv, icv, template))


def _pose(scan: Volume, shown: NDArray, icv: NDArray, template: Template) -> NDArray:
    """RAS matrix (template to scan) by which what a mask shows of a scan fits the template's brain best."""
    head, inside = template.volume("brain"), template.volume("icv_mask")
    return find_pose(scan.like(scan.data * shown), icv, head, inside.data > 0.5)


def _found(room: Workspace, scan: Volume, template: Template, settings: dict[str, Any], path: str | Path) -> Masks:
    """Masks by the template; where its programs can make nothing of the scan, there is no brain in it.

    Raises
    ------
    InputError
        No brain was found. A program that was killed, crashed, or had no space left, raises what it raised.
    """
    try:
        return by_template(room, scan, template, settings)
    except (Killed, Crashed):
        raise
    except (RuntimeError, ValueError, IndexError, np.linalg.LinAlgError) as error:
        if shutil.disk_usage(room.folder).free < SPACE:
            raise
        first = str(error).strip().splitlines()[0].split(":")[0]
        raise InputError(f"no plausible brain was found ({first}).", path, LOOK) from error


def by_template(room: Workspace, scan: Volume, template: Template, settings: dict[str, Any]) -> Masks:
    """Masks warped from the template by registration, then refined."""
    head, icv = template.volume("head"), template.volume("icv_mask")
    matrix = find_pose(scan, head_mask(scan), head, icv.data > 0.5, SCALP_MM)
    near = dilate_mm(icv.data > 0.5, icv, 12.0).astype(np.float32)
    work = settings["work_mm"]
    room.put("fixed.nii", coarsen(head, work))
    room.put("near.nii", coarsen(Volume(near, icv.affine), work))
    room.put("moving.nii", coarsen(scan, work))
    room.put("scan.nii", scan)
    write_itk(room.folder / "start.txt", matrix)
    affine = registration.linear(room, "fixed.nii", "moving.nii", "start.txt", settings, "affine_", "near.nii")
    levels = len(settings["deformable"])
    options = settings | {
        "shrink": [2**k for k in reversed(range(levels))],
        "sigmas_mm": [work * 2**k / 2 for k in reversed(range(levels))],
        "gradient_step": 0.2,
        "flow_sigma": 3.0,
    }
    _, inverse = registration.deformable(room, "fixed.nii", "moving.nii", affine, options, "syn_", "near.nii")
    icv_here, brain_here = (carry(room, template, key, inverse) for key in ("icv_mask", "brain_mask"))
    carried = ndimage.binary_fill_holes(largest_component(icv_here > 0.5))
    brain, icv_mask = refine(scan, brain_here > 0.5, carried)
    return Masks(brain, icv_mask, read_matrix(room.folder / affine))


def carry(room: Workspace, template: Template, volume: str, transform: str) -> NDArray:
    """A template volume on the grid of ``scan.nii``."""
    room.link(f"{volume}.nii.gz", template.path(volume))
    return room.apply(f"{volume}.nii.gz", "scan.nii", [transform], f"{volume}_here.nii").data


def refine(scan: Volume, brain: NDArray, icv: NDArray) -> tuple[NDArray, NDArray]:
    """Let the scan decide both rims: the skull's inner table that of the cranium, tissue that of the brain.

    Parameters
    ----------
    brain, icv : ndarray of bool, shape (X, Y, Z)
        Warped masks.

    Returns
    -------
    tuple of ndarray of bool, shape (X, Y, Z)
        Brain mask and intracranial mask.
    """
    box = _around(icv, scan)
    cut = crop(scan, box)
    cranium = to_inner_table(cut, icv[box])
    # The core of the warped mask is brain, whatever its intensity.
    core = erode_mm(brain[box], cut, CORE_MM) & cranium
    masks = np.zeros((2, *icv.shape), bool)
    masks[(slice(None), *box)] = brain_within(cut, cranium, core), cranium
    return masks[0], masks[1]


def _around(icv: NDArray, scan: Volume) -> tuple[slice, slice, slice]:
    """The box around a mask, with room for all that `skull_edge` looks at."""
    return bounding_box(icv, margin=int(np.ceil(SHELL_MM / scan.spacing.min())))


def from_mask(scan: Volume, template: Template, given: str | Path | None) -> Masks:
    """Masks from a given brain mask, or from the non-zero voxels of a stripped scan."""
    if given is None:
        brain = ndimage.binary_fill_holes(largest_component(scan.data > 0))
    else:
        mask = load(given)
        if mask.data.shape != scan.data.shape or not np.allclose(mask.affine, scan.affine, atol=1e-2):
            raise InputError("the mask's grid differs from the scan's.", given, "Resample the mask onto the scan.")
        brain = mask.data > 0.5
    return _masks(scan, template, brain)


def _masks(scan: Volume, template: Template, brain: NDArray) -> Masks:
    """A brain mask with its surroundings, and a pose of the template in it."""
    icv = close_mm(brain, scan, 7.0)
    return Masks(brain, icv, _pose(scan, brain, icv, template))


def check_size(masks: Masks, scan: Volume, path: str | Path) -> None:
    """Raise when what was found cannot be a human brain."""
    millilitres = masks.brain.sum() * scan.voxel_volume / 1000
    scale = np.linalg.det(masks.matrix[:3, :3])
    low, high = SCALE_LIMITS
    if not (400 < millilitres < 2500 and low < np.cbrt(abs(scale)) < high):
        raise InputError(
            f"no plausible brain was found (mask of {millilitres:.0f} ml, scale {np.cbrt(abs(scale)):.2f}).",
            path,
            LOOK,
        )
