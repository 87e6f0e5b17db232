"""Tissue maps of one scan, and its two maps in template space.

Each output is interpolated once, from the scan's own grid.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anatcl.images import Volume, load, save
from anatcl.preprocess.ants import Workspace, workspace
from anatcl.preprocess.bias_correct import n4
from anatcl.preprocess.fractions import fractions
from anatcl.preprocess.geometry import bounding_box, crop, paste
from anatcl.preprocess.template import NUCLEI, Template

TISSUES = ("CSF", "GM", "WM")

# The 1.5 mm grid that CAT12 wrote for OpenBHB: 121 x 145 x 121, RAS+.
VBM_SHAPE = (121, 145, 121)
VBM_AFFINE = np.array([[1.5, 0, 0, -90], [0, 1.5, 0, -126], [0, 0, 1.5, -72], [0, 0, 0, 1.0]])
# The 1 mm MNI152 grid of OpenBHB's quasi-raw maps, 182 x 218 x 182, its first axis turned to RAS+.
RAW_SHAPE = (182, 218, 182)
RAW_AFFINE = np.array([[1.0, 0, 0, -91], [0, 1, 0, -126], [0, 0, 1, -72], [0, 0, 0, 1]])


@dataclasses.dataclass(frozen=True)
class Paths:
    """Where the outputs of :func:`segment` go."""

    dseg: Path
    csf: Path
    gm: Path
    wm: Path
    vbm: Path
    quasi_raw: Path


def segment(
    image: str | Path,
    brain: str | Path,
    icv: str | Path,
    *,
    affine: str | Path,
    forward: str | Path,
    inverse: str | Path,
    template: Template,
    out: Paths,
    settings: dict[str, Any],
    threads: int = 1,
    seed: int = 0,
) -> dict[str, Any]:
    """Classify the tissues with Atropos under the template's priors; write tissue, VBM and quasi-raw maps.

    By ``method: fractions``, the default, the maps say how much of each voxel a tissue is
    (:mod:`anatcl.preprocess.fractions`, started from Atropos' posteriors); by ``method: posterior`` how probable it is.

    Parameters
    ----------
    image, brain, icv : path
        Bias-corrected scan, brain mask and intracranial mask on its grid.
    affine, forward, inverse : path
        Transforms of :func:`anatcl.preprocess.register.register`.
    settings : dict
        ``method``; ``iterations``, ``rounds`` (N4 and Atropos by turns), ``prior_weight``, ``mrf``; ``n4`` (settings of
        `bias_correct.n4`) for the rounds after the first, inside the brain mask: what the whole head's correction
        leaves at the vertex turns white matter into grey.

    Returns
    -------
    dict
        Tissue volumes in mm3, how the tissue maps were made, the share of non-positive Jacobians, and how well the VBM
        map keeps the GM volume.
    """
    scan, inside, skull = load(image), load(brain).data > 0.5, load(icv).data > 0.5
    box = bounding_box(skull, margin=3)
    cut = crop(scan, box)
    with workspace(threads, seed) as room:
        room.put("scan.nii", cut)
        room.link("forward.h5", forward)
        room.link("inverse.h5", inverse)
        room.link("affine.mat", affine)
        posteriors, corrected = classify(room, cut, inside[box], template, settings)
        found, made = tissue_maps(room, corrected, inside[box], posteriors, template, settings)
        whole = {k: paste(v, scan.data.shape, box) for k, v in found.items()}
        # What lies between brain and skull is CSF by the meaning of the two masks.
        whole["CSF"] = np.where(skull & ~inside, 1.0, whole["CSF"]).astype(np.float32)
        for tissue, path in zip(TISSUES, (out.csf, out.gm, out.wm), strict=True):
            save(path, scan.like(whole[tissue]), np.float32)
        save(out.dseg, scan.like(hard(whole)), np.uint8)
        facts = modulated_map(room, cut.like(found["GM"]), out.vbm)
        quasi_raw_map(room, cut.like(cut.data * inside[box]), out.quasi_raw)
        volumes = {k: float(v.sum() * scan.voxel_volume) for k, v in whole.items()}
        return {"Calls": room.calls, "TissueVolumesMm3": volumes, **made, **facts}


def classify(
    room: Workspace,
    scan: Volume,
    brain: NDArray,
    template: Template,
    settings: dict[str, Any],
) -> tuple[dict[str, NDArray], Volume]:
    """Posterior maps of CSF, GM and WM inside the brain mask, adding up to one; and the scan they were made from."""
    room.put("brain.nii", scan.like(brain.astype(np.uint8)))
    priors = carry_priors(room, template)
    for number, prior in enumerate(priors, 1):
        room.put(f"prior{number:02d}.nii.gz", scan.like(prior))
    image = "scan.nii"
    for turn in range(settings["rounds"]):
        if turn:
            n4(room, image, "again.nii", settings["n4"], scan.spacing, "brain.nii")
            image = "again.nii"
        room.run(
            "Atropos",
            dimension=3,
            intensity_images=[image],
            mask_image="brain.nii",
            initialization="PriorProbabilityImages",
            number_of_tissue_classes=3,
            prior_image="prior%02d.nii.gz",
            prior_weighting=settings["prior_weight"],
            likelihood_model="Gaussian",
            mrf_smoothing_factor=settings["mrf"],
            mrf_radius=[1, 1, 1],
            n_iterations=settings["iterations"],
            convergence_threshold=0.0,
            posterior_formulation="Socrates",
            use_mixture_model_proportions=True,
            use_random_seed=False,
            out_classified_image_name="dseg.nii.gz",
            save_posteriors=True,
            output_posteriors_name_template="posterior%02d.nii.gz",
        )
    found = [np.where(brain, room.get(f"posterior{k:02d}.nii.gz").data, 0) for k in (1, 2, 3)]
    total = np.maximum(sum(found), 1e-6)
    maps = {k: (v / total * brain).astype(np.float32) for k, v in zip(TISSUES, found, strict=True)}
    return maps, room.get(image)


def tissue_maps(
    room: Workspace,
    scan: Volume,
    brain: NDArray,
    posteriors: dict[str, NDArray],
    template: Template,
    settings: dict[str, Any],
) -> tuple[dict[str, NDArray], dict[str, Any]]:
    """The maps for ``method``, and their sidecar entries."""
    if settings.get("method", "fractions") == "posterior":
        return posteriors, {"TissueMethod": "posterior"}
    if settings["rounds"] == 1 and settings.get("n4"):
        n4(room, "scan.nii", "again.nii", settings["n4"], scan.spacing, "brain.nii")
        scan = room.get("again.nii")
    stack = np.stack([posteriors[k] for k in TISSUES])
    found, facts = fractions(scan.data, brain, stack, scan.spacing, carry_nuclei(room, template))
    return dict(zip(TISSUES, found, strict=True)), facts


def carry_nuclei(room: Workspace, template: Template) -> NDArray | None:
    """Probability of a deep nucleus on the scan's grid; None where the template has no map of them."""
    if not template.path(NUCLEI).is_file():
        return None
    name = room.link("template-nuclei.nii.gz", template.path(NUCLEI))
    return np.clip(room.apply(name, "scan.nii", ["inverse.h5"], "warped-nuclei.nii").data, 0, 1)


def carry_priors(room: Workspace, template: Template) -> list[NDArray]:
    """The template's CSF, GM and WM fractions on the scan's grid, adding up to one and never zero."""
    maps = []
    for tissue in TISSUES:
        name = room.link(f"template-{tissue}.nii.gz", template.path(tissue.lower()))
        maps.append(np.clip(room.apply(name, "scan.nii", ["inverse.h5"], f"warped-{tissue}.nii").data, 0, 1))
    # Outside the template's brain no tissue is known: the rim of the mask is mostly CSF, but may be anything.
    maps[0] = np.maximum(maps[0], 1 - sum(maps))
    floored = [np.maximum(m, 0.01) for m in maps]
    total = sum(floored)
    return [(m / total).astype(np.float32) for m in floored]


def hard(posteriors: dict[str, NDArray]) -> NDArray:
    """Labels 0 (outside), 1 (CSF), 2 (GM), 3 (WM) of the largest fraction (or posterior)."""
    stack = np.stack([posteriors[k] for k in TISSUES])
    return np.where(stack.sum(0) > 0.5, stack.argmax(0) + 1, 0).astype(np.uint8)


def modulated_map(room: Workspace, gm: Volume, out: Path) -> dict[str, float]:
    """Write the VBM map: the grey-matter map in template space times the Jacobian determinant.

    The Jacobian is that of the whole composite (affine and warp), so that the map's sum is the native volume.
    """
    room.put("gm.nii", gm)
    grid = Volume(np.zeros(VBM_SHAPE, np.float32), VBM_AFFINE)
    room.put("vbm-grid.nii", grid)
    warped = np.clip(room.apply("gm.nii", "vbm-grid.nii", ["forward.h5"], "gm-warped.nii").data, 0, 1)
    jacobian = jacobian_map(room, "gm.nii", "vbm-grid.nii", "forward.h5")
    modulated = (warped * np.maximum(jacobian, 0)).astype(np.float32)
    save(out, Volume(modulated, VBM_AFFINE), np.float32)
    brain = warped > 0.05
    inside = jacobian[brain] if brain.any() else jacobian
    native = gm.data.sum() * gm.voxel_volume
    return {
        "ModulatedToNativeVolume": float(modulated.sum() * grid.voxel_volume / max(native, 1.0)),
        "JacobianMin": float(inside.min()),
        "JacobianMax": float(inside.max()),
        "JacobianNonPositiveShare": float((inside <= 0).mean()),
    }


def jacobian_map(room: Workspace, moving: str, grid: str, transform: str) -> NDArray:
    """Jacobian determinant of a whole composite transform (affine and warp) at every voxel of `grid`.

    Parameters
    ----------
    room : Workspace
    moving, grid, transform : str
        Names in the workspace: an image to warp, the grid to warp it to, the transform.
    """
    room.run(
        "ApplyTransforms",
        dimension=3,
        input_image=moving,
        reference_image=grid,
        transforms=[transform],
        invert_transform_flags=[False],
        output_image="field.nii.gz",
        print_out_composite_warp_file=True,
        float=True,
    )
    room.run(
        "CreateJacobianDeterminantImage",
        imageDimension=3,
        deformationField="field.nii.gz",
        outputImage="jacobian.nii.gz",
        doLogJacobian=0,
        useGeometric=0,
    )
    return room.get("jacobian.nii.gz").data


def quasi_raw_map(room: Workspace, brain: Volume, out: Path) -> None:
    """Write the stripped scan in template space by the affine alone ("quasi-raw")."""
    room.put("stripped.nii", brain)
    room.put("raw-grid.nii", Volume(np.zeros(RAW_SHAPE, np.uint8), RAW_AFFINE))
    moved = room.apply("stripped.nii", "raw-grid.nii", ["affine.mat"], "quasi-raw.nii")
    save(out, Volume(np.maximum(moved.data, 0), RAW_AFFINE), np.float32)
