"""Pictures of the cohort page: forest plots, brain age, brain-masked slices, attribution maps; small, without dates."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import sheet

from anatcl.report.drawing import figures
from anatcl.report.drawing.interpretation import interpretations
from anatcl.report.page.page import brain_age_figures
from anatcl.report.records import results
from anatcl.report.tables import vocabulary as words
from anatcl.report.tables.build import build_table
from anatcl.report.tables.headline import headlines

SHOWN, TALL = 8, 150


def link(picture: Path, alt: str) -> str:
    """A picture in Markdown, relative to the page beside its folder."""
    return f"![{alt}]({picture.parent.name}/{picture.name})"


def results_figures(folder: Path, scores: pd.DataFrame, pictures: Path) -> str:
    """Forest plots of the headline metrics, and predicted against true age."""
    found = [forests(scores, pictures / "forest.svg"), ages(folder, scores, pictures / "brain_age.svg")]
    return "\n\n".join(text for text in found if text)


def forests(scores: pd.DataFrame, out: Path) -> str:
    """One panel per task: value and interval of every method."""
    plots = []
    for headline in headlines(scores):
        drawn = figures.forests(build_table(scores, headline.group))
        plots += [one for one in drawn if (one.task, one.protocol) == (headline.task, headline.protocol)]
    alt = "Value and 95 % interval of every method"
    if not plots:
        return ""
    sheet.write_forests(plots, out, alt)
    return link(out, alt)


def ages(folder: Path, scores: pd.DataFrame, out: Path) -> str:
    """Predicted against true age, one panel per method and brain-age task."""
    panels = brain_age_figures(scores, results.predictions(folder / "evaluate"))
    alt = "Predicted against true age, each scan by a probe that never saw its participant"
    if not panels:
        return ""
    sheet.write_panels(panels, out, alt)
    return link(out, alt)


def brains(folder: Path, scans: pd.DataFrame, pictures: Path) -> str:
    """Middle axial slices of some people from young to old, stripped, in template space."""
    import nibabel as nib

    ordered = scans.sort_values("age") if "age" in scans else scans
    chosen = ordered.iloc[np.linspace(0, len(ordered) - 1, min(SHOWN, len(ordered))).round().astype(int)]
    tiles, told = [], []
    for row in chosen.to_dict("records"):
        file = next((folder / "preprocess").glob(f"{row['scan']}_space-*_desc-affine_T1w.nii.gz"), None)
        if file is None:
            continue
        image: Any = nib.as_closest_canonical(nib.load(file))
        slab = np.asarray(image.dataobj[:, :, image.shape[2] * 9 // 20], dtype=float).T[::-1]
        bright = np.percentile(slab[slab > 0], 99) if (slab > 0).any() else 1.0
        tiles.append(np.clip(slab / bright, 0, 1) * 255)
        told.append(f"{float(row['age']):.0f}" if "age" in row else str(row["participant_id"]))
    if not tiles:
        return ""
    out = pictures / "brains.png"
    _png(np.concatenate(tiles, axis=1), out)
    ages_told = f", aged {', '.join(told)}" if "age" in scans else ""
    text = f"Inside the brain mask, affine to the template{ages_told}."
    return f"{link(out, 'Axial slices inside the brain mask')}\n\n{text}"


def attributions(folder: Path, pictures: Path) -> str:
    """Attribution maps of the encoders, as they stand in the report."""
    lines = []
    for one in interpretations(folder / "evaluate" / "interpretation"):
        for item in one.encoders:
            name = f"map_{one.task}_{item.title}".lower()
            out = pictures / ("".join(c if c.isalnum() else "_" for c in name) + ".png")
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_bytes(base64.b64decode(item.picture.partition(",")[2]))
            lines.append(f"{link(out, f'{item.title}, {one.task}')}\n\n{item.title}, {one.task}: {item.note}.")
        if one.strongest:
            listed = ", ".join(f"{region} {value}" for region, value in one.strongest[:5])
            lines.append(f"{words.method_label('regional-measures')}, {one.task}, strongest regions: {listed}.")
    page = "../stages/evaluate.md#attribution-maps"
    reading = f"[How to read these maps]({page}). The brightest locations change predictions most."
    head = f"### Attribution maps\n\n{reading}"
    return "\n\n".join([head, *lines]) if lines else ""


def _png(pixels: np.ndarray, out: Path) -> None:
    from PIL import Image

    picture = Image.fromarray(pixels.round().astype(np.uint8))
    width = round(picture.width * TALL / picture.height)
    out.parent.mkdir(parents=True, exist_ok=True)
    picture.resize((width, TALL), Image.Resampling.LANCZOS).save(out, "PNG", optimize=True)
