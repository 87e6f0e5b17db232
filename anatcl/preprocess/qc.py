"""Quality of one scan: numbers, and one picture with a row per step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anatcl.base.files import read_json, write_json
from anatcl.images import Volume, load
from anatcl.preprocess.ants import workspace
from anatcl.preprocess.mask_numbers import cut_area, second_opinion
from anatcl.preprocess.pictures import brightest, canonical, cuts, save_small
from anatcl.preprocess.sidecar import sidecar_path
from anatcl.preprocess.template import Template
from anatcl.spec.names import QUALITY


def qc(
    image: Path,
    brain: Path,
    icv: Path,
    *,
    dseg: Path,
    forward: Path,
    vbm: Path,
    template: Template,
    out_json: Path,
    out_png: Path,
    threads: int = 1,
    seed: int = 0,
) -> dict[str, float]:
    """Measure and picture the steps of one scan.

    Returns
    -------
    dict
        ``brain_ml``, ``icv_ml``, ``csf_ml``, ``gm_ml``, ``wm_ml``; ``template_correlation`` and ``template_dice`` (of
        the warped brain); ``cjv`` (coefficient of joint variation of GM and WM, lower is better); ``cnr`` (contrast
        of WM and GM over the noise); ``jacobian_min``, ``jacobian_max``, ``jacobian_nonpositive_share``;
        ``modulation_ratio`` (sum of the VBM map over native GM volume); ``cut_cm2`` (how much of the intracranial
        mask lies on a face of the field of view: a brain stem is some 10 cm2, a vertex that was not scanned 100);
        ``mask_dice`` where deepbet gave a second opinion on the intracranial mask.
    """
    scan, mask, skull, tissue = load(image), load(brain), load(icv), load(dseg)
    with workspace(threads, seed) as room:
        room.put("scan.nii", scan.like(scan.data * (mask.data > 0.5)))
        room.put("mask.nii", mask)
        room.link("template.nii.gz", template.path("brain"))
        room.link("forward.h5", forward)
        warped = room.apply("scan.nii", "template.nii.gz", ["forward.h5"], "warped.nii")
        warped_mask = room.apply("mask.nii", "template.nii.gz", ["forward.h5"], "warped-mask.nii").data > 0.5
    numbers = volumes(mask, skull, tissue) | contrast(scan.data, tissue.data)
    numbers["cut_cm2"] = cut_area(scan, skull)
    numbers |= agreement(warped.data, warped_mask, template)
    facts = read_json(sidecar_path(vbm))
    numbers |= second_opinion(read_json(sidecar_path(icv)) if sidecar_path(icv).is_file() else {})
    numbers |= {
        "jacobian_min": facts["JacobianMin"],
        "jacobian_max": facts["JacobianMax"],
        "jacobian_nonpositive_share": facts["JacobianNonPositiveShare"],
        "modulation_ratio": facts["ModulatedToNativeVolume"],
    }
    numbers = {key: round(float(numbers[key]), 5) for key in QUALITY if key in numbers}
    picture(scan, mask, skull, tissue, warped, template.volume("gm"), out=out_png)
    write_json(out_json, numbers)
    return numbers


def volumes(mask: Volume, icv: Volume, tissue: Volume) -> dict[str, float]:
    """Volumes of masks and tissues in millilitres."""
    unit = mask.voxel_volume / 1000
    found = {"brain_ml": (mask.data > 0.5).sum() * unit, "icv_ml": (icv.data > 0.5).sum() * unit}
    return found | {f"{k}_ml": (tissue.data == n).sum() * unit for n, k in enumerate(("csf", "gm", "wm"), 1)}


def contrast(data: NDArray, tissue: NDArray) -> dict[str, float]:
    """Coefficient of joint variation and contrast-to-noise ratio of grey and white matter (MRIQC's definitions)."""
    gm, wm = data[tissue == 2], data[tissue == 3]
    if gm.size < 2 or wm.size < 2:
        return {"cjv": np.nan, "cnr": np.nan}
    gap = abs(wm.mean() - gm.mean())
    return {
        "cjv": (gm.std() + wm.std()) / max(gap, 1e-6),
        "cnr": gap / max(float(np.hypot(gm.std(), wm.std())), 1e-6),
    }


def agreement(warped: NDArray, mask: NDArray, template: Template) -> dict[str, float]:
    """How well the warped brain fits the template: intensity correlation and overlap of the masks."""
    fixed, inside = template.volume("brain").data, template.volume("brain_mask").data > 0.5
    both = inside | mask
    return {
        "template_correlation": np.corrcoef(warped[both], fixed[both])[0, 1],
        "template_dice": 2 * (inside & mask).sum() / (inside.sum() + mask.sum()),
    }


def picture(
    scan: Volume, mask: Volume, icv: Volume, tissue: Volume, warped: Volume, grey: Volume, *, out: Path, axial: int = 5
) -> None:
    """Draw three rows of slices: masks on the scan, tissue borders, and the template's cortex on the warped scan.

    Each row has `axial` axial slices, a coronal and a sagittal one. The picture shows the brain only where the masks
    are right: nothing is hidden, so that a bad mask is seen.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    head, there, borders = canonical(scan), canonical(warped), canonical(tissue)
    masks = [(canonical(mask), 0.5, "#e4572e"), (canonical(icv), 0.5, "#3fa7d6")]
    top = brightest(scan.data[mask.data > 0.5])
    rows = [
        ("masks", head, masks, mask, top),
        ("tissues", head, [(borders, 1.5, "#59cd90"), (borders, 2.5, "#fac05e")], mask, top),
        ("registration", there, [(canonical(grey), 0.5, "#e4572e")], warped, brightest(there.data[there.data > 0])),
    ]
    figure, axes = plt.subplots(3, axial + 2, figsize=((axial + 2) * 1.5, 3 * 1.75), facecolor="black", dpi=80)
    for line, (title, base, contours, extent, white) in zip(axes, rows, strict=True):
        for axis, cut in zip(line, cuts(canonical(extent), axial), strict=True):
            _slice(axis, base, contours, cut, white)
        _mark(line[0], 0.02, 0.98, title, va="top", fontsize=10)
    figure.subplots_adjust(0, 0, 1, 1, 0.01, 0.01)
    from anatcl.base.files import atomic_path

    with atomic_path(out) as temporary:
        save_small(figure, temporary)
    plt.close(figure)


def _slice(
    axis: Any, base: Volume, contours: list[tuple[Volume, float, str]], cut: tuple[int, int], top: float
) -> None:
    """One slice with its outlines and the sides of the head: axes to the right and up are those left by the cut."""
    across, index = cut
    right, up = (a for a in range(3) if a != across)
    axis.set_axis_off()
    plane = np.take(base.data, index, axis=across).T
    axis.imshow(plane, cmap="gray", origin="lower", vmin=0, vmax=top, aspect=base.spacing[up] / base.spacing[right])
    for volume, level, colour in contours:
        outlined = np.take(volume.data, index, axis=across).T
        if outlined.min() < level < outlined.max():
            axis.contour(outlined, [level], colors=[colour], linewidths=0.7)
    first, last = ("P", "A") if across == 0 else ("L", "R")
    _mark(axis, 0.02, 0.02, first)
    _mark(axis, 0.98, 0.02, last, ha="right")


def _mark(axis: Any, x: float, y: float, text: str, **style: Any) -> None:
    """A word on a slice that is read in a small picture, on black and on white."""
    from matplotlib.patheffects import withStroke

    outline = [withStroke(linewidth=2, foreground="black")]
    axis.text(x, y, text, transform=axis.transAxes, color="white", path_effects=outline, **({"fontsize": 9} | style))
