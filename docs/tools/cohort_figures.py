"""Pictures of the cohort page: forest plots, brain age, brain-masked slices, attribution maps; small, without dates."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anatcl.report.drawing.interpretation import interpretations
from anatcl.report.records import results
from anatcl.report.tables import vocabulary as words
from anatcl.report.tables.build import build_table
from anatcl.report.tables.headline import Headline, headlines
from anatcl.report.tables.table import Row

INK, TRAINED, BASELINE = "#22302e", "#1f7a6c", "#9a6a2f"
SHOWN, TALL = 8, 150
STYLE = {"svg.hashsalt": "anatcl", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}


def link(picture: Path, alt: str) -> str:
    """A picture in Markdown, relative to the page beside its folder."""
    return f"![{alt}]({picture.parent.name}/{picture.name})"


def results_figures(folder: Path, scores: pd.DataFrame, pictures: Path) -> str:
    """Forest plots of the headline metrics, and predicted against true age."""
    found = [forests(scores, pictures / "forest.svg"), ages(folder, scores, pictures / "brain_age.svg")]
    return "\n\n".join(text for text in found if text)


def forests(scores: pd.DataFrame, out: Path) -> str:
    """One panel per task: value and interval of every method."""
    tasks = headlines(scores)
    if not tasks:
        return ""
    plt = _pyplot()
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, len(tasks), figsize=(3.6 * len(tasks) + 1.2, 3.6), squeeze=False, sharey=False)
        for axis, headline in zip(axes[0], tasks, strict=True):
            _forest(axis, headline, scores)
        figure.tight_layout()
        _save(figure, out)
    return link(out, "Value and 95 % interval of every method")


def _forest(axis: Any, headline: Headline, scores: pd.DataFrame) -> None:
    table = build_table(scores, headline.group)
    place = next(i for i, c in enumerate(table.columns) if (c.task, c.metric) == (headline.task, headline.metric_name))
    rows = [row for row in table.rows if row.protocol == headline.protocol and row.cells[place] is not None]
    for at, row in enumerate(reversed(rows)):
        cell = row.cells[place]
        assert cell is not None
        colour = BASELINE if row.is_baseline else TRAINED
        axis.plot([cell.low, cell.high], [at, at], color=colour, linewidth=1.6)
        axis.plot(cell.value, at, "o", color=colour, markersize=5)
    axis.set_yticks(range(len(rows)), [row.label for row in reversed(rows)])
    if headline.metric.chance is not None:
        axis.axvline(headline.metric.chance, color=INK, linestyle=":", linewidth=0.8)
    axis.set_title(f"{headline.task}: {headline.metric.label} {headline.metric.arrow}", loc="left")


def ages(folder: Path, scores: pd.DataFrame, out: Path) -> str:
    """Predicted against true age, one panel per method of the first brain-age task."""
    table = build_table(scores, "brain_age")
    found = results.predictions(folder / "evaluate")
    task = table.tasks[0] if table.rows else ""
    rows = [row for row in table.rows if (row.method, task) in found and row.protocol == table.protocols[0]]
    rows = [row for row in rows if row.method != "majority-median" and len(found[row.method, task])]
    if not rows:
        return ""
    plt = _pyplot()
    wide = min(4, len(rows))
    tall = math.ceil(len(rows) / wide)
    with plt.rc_context(STYLE):
        size = (2.3 * wide, 2.5 * tall)
        figure, axes = plt.subplots(tall, wide, figsize=size, squeeze=False, sharex=True, sharey=True)
        _age_panels(axes.ravel().tolist(), rows, {row.method: found[row.method, task] for row in rows})
        figure.supxlabel("age (years)", fontsize=9)
        figure.supylabel("predicted (years)", fontsize=9)
        figure.tight_layout()
        _save(figure, out)
    return link(out, "Predicted against true age, each scan by a probe that never saw its person")


def _age_panels(axes: list[Any], rows: Sequence[Row], predictions: dict[str, pd.DataFrame]) -> None:
    for axis, row in zip(axes, rows, strict=False):
        points = results.by_scan(predictions[row.method])
        low, high = points[["y_true", "y_pred"]].to_numpy().min(), points[["y_true", "y_pred"]].to_numpy().max()
        axis.plot([low, high], [low, high], color=INK, linestyle="--", linewidth=0.8)
        axis.plot(points["y_true"], points["y_pred"], "o", markersize=3, color=BASELINE if row.is_baseline else TRAINED)
        axis.set_title(row.label, fontsize=9)
    for axis in axes[len(rows) :]:
        axis.set_visible(False)


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
    for one in interpretations(folder / "report" / "interpretation"):
        for item in one.encoders:
            name = f"map_{one.task}_{item.title}".lower()
            out = pictures / ("".join(c if c.isalnum() else "_" for c in name) + ".png")
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_bytes(base64.b64decode(item.picture.partition(",")[2]))
            lines.append(f"{link(out, f'{item.title}, {one.task}')}\n\n{item.title}, {one.task}: {item.note}.")
        if one.strongest:
            listed = ", ".join(f"{region} {value}" for region, value in one.strongest[:5])
            lines.append(f"{words.method_label('regional-measures')}, {one.task}, strongest regions: {listed}.")
    reading = "[How to read these maps](../stages/report.md#interpretation). The brightest places move them most."
    head = f"### Where predictions come from\n\n{reading}"
    return "\n\n".join([head, *lines]) if lines else ""


def _png(pixels: np.ndarray, out: Path) -> None:
    from PIL import Image

    picture = Image.fromarray(pixels.round().astype(np.uint8))
    width = round(picture.width * TALL / picture.height)
    out.parent.mkdir(parents=True, exist_ok=True)
    picture.resize((width, TALL), Image.Resampling.LANCZOS).save(out, "PNG", optimize=True)


def _pyplot() -> Any:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    return plt


def _save(figure: Any, out: Path) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, metadata={"Date": None}, facecolor="white")
    _pyplot().close(figure)
