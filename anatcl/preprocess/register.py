"""Registration of one scan's brain to the template: affine, then deformable by SyN or by greedy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from anatcl.images import Volume, load
from anatcl.preprocess import greedy, registration
from anatcl.preprocess.alignment import read_itk, read_matrix, write_itk, write_matrix
from anatcl.preprocess.ants import engine_version, workspace
from anatcl.preprocess.geometry import bounding_box, coarsen, crop, dilate_mm
from anatcl.preprocess.person_start import Carried
from anatcl.preprocess.template import Template
from anatcl.spec.recipe import load_recipe

FROM_PERSON = "the participant's template"
METRIC_MM = 8.0  # the metric is computed this far around the template's brain


def register(
    image: str | Path,
    mask: str | Path,
    start: str | Path,
    template: Template,
    *,
    out_affine: str | Path,
    out_forward: str | Path,
    out_inverse: str | Path,
    settings: dict[str, Any],
    engine: str = "auto",
    threads: int = 1,
    seed: int = 0,
) -> dict[str, Any]:
    """Register the masked scan and write the affine and both composite transforms.

    Parameters
    ----------
    image, mask : path
        Bias-corrected scan and its brain mask.
    start : path
        Affine (template to scan) found by the skull-strip.
    out_affine : path
        ITK affine from scan to template (``.mat``).
    out_forward, out_inverse : path
        Composite transforms ``.h5``: scan to template, template to scan.
    settings : dict
        The recipe's ``register``; with ``margin_mm`` the warp's grid ends so far around the template's brain.
    engine : str
        What does the deformable part: ``ants``, ``greedy``, or ``auto`` for what `settings` say.
    """
    engine = settings.get("engine", "ants") if engine == "auto" else engine
    version = greedy.version() if engine == "greedy" else engine_version()
    scan, brain = load(image), load(mask)
    box = bounding_box(dilate_mm(brain.data > 0.5, brain, 10.0))
    masked = crop(scan.like(scan.data * (brain.data > 0.5)), box)
    fixed, near = _target(template, settings.get("margin_mm"))
    # Finer than the template's grid the scan holds nothing that the metric sees.
    moving = coarsen(masked, 0.75 * float(fixed.spacing.min()))
    with workspace(threads, seed) as room:
        room.put("fixed.nii", fixed)
        room.put("moving.nii", moving)
        room.put("near.nii", near)
        room.link("start.txt", start)
        affine = registration.linear(room, "fixed.nii", "moving.nii", "start.txt", settings, "affine_", "near.nii")
        if engine == "greedy":
            deform, settings = greedy.deformable, settings.get("greedy") or load_recipe("fast", "register")["greedy"]
        else:
            deform = registration.deformable
        forward, inverse = deform(room, "fixed.nii", "moving.nii", affine, settings, "syn_", "near.nii")
        room.take(forward, out_forward)
        room.take(inverse, out_inverse)
        room.take(affine, out_affine)
        return {"Calls": room.calls, "DeformableEngine": version}


def _target(template: Template, margin_mm: float | None) -> tuple[Volume, Volume]:
    """The template's brain and where the metric is computed, cut to a box around the brain if a margin is given.

    Transforms act on points, so a smaller grid fits every reference; beyond it they are the affine alone, which is what
    SyN holds its fields to at the border of any grid.
    """
    fixed, mask = template.volume("brain"), template.volume("brain_mask").data > 0.5
    near = Volume(dilate_mm(mask, fixed, METRIC_MM).astype(np.uint8), fixed.affine)
    if margin_mm is None:
        return fixed, near
    box = bounding_box(dilate_mm(mask, fixed, max(margin_mm, METRIC_MM)))
    return crop(fixed, box), crop(near, box)


def carry_over(
    image: str | Path,
    person: Carried,
    template: Template,
    *,
    out_affine: str | Path,
    out_forward: str | Path,
    out_inverse: str | Path,
    threads: int = 1,
    seed: int = 0,
) -> dict[str, Any]:
    """Write the transforms of a scan from those of its participant's mean scan and its rigid transform.

    Parameters
    ----------
    image : path
        Bias-corrected scan.
    person : Carried
        Transforms of the participant's template.
    out_affine, out_forward, out_inverse : path
        As :func:`register` writes them.
    """
    align = read_itk(person.align)
    with workspace(threads, seed) as room:
        room.put("scan.nii", load(image))
        room.put("template.nii", template.volume("brain"))
        room.link("forward.h5", person.forward)
        room.link("inverse.h5", person.inverse)
        room.link("affine.mat", person.affine)
        write_itk(room.folder / "align.txt", align)
        write_itk(room.folder / "back.txt", np.linalg.inv(align))
        forward = registration.composite(room, "template.nii", "scan.nii", ["forward.h5", "align.txt"], "forward_")
        inverse = registration.composite(room, "scan.nii", "template.nii", ["back.txt", "inverse.h5"], "inverse_")
        write_matrix(room.folder / "moved.mat", align @ read_matrix(room.folder / "affine.mat"))
        room.take(forward, out_forward)
        room.take(inverse, out_inverse)
        room.take("moved.mat", out_affine)
        return {"Calls": room.calls, "DeformableEngine": FROM_PERSON}
