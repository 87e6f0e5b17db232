"""Attribution maps of the page."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd

from anatcl.report.drawing import cortex
from anatcl.report.drawing.anatomy import Map, sequential
from anatcl.report.drawing.slices import brightest, mosaic
from anatcl.report.drawing.svg import short
from anatcl.report.records.results import PathLike, table
from anatcl.report.tables import vocabulary as words

BASELINE = "regional-measures"


@dataclasses.dataclass(frozen=True)
class Slices:
    """One encoder's map: heading, a picture (data URI, pixels), a line below, the value of the brightest colour."""

    title: str
    picture: str
    width: int
    height: int
    note: str
    top: str


@dataclasses.dataclass(frozen=True)
class Interpretation:
    """All maps of one task.

    Parameters
    ----------
    task : str
    encoders : list of Slices
    regions : Map or None
        The measures baseline on the cortex.
    strongest : list of (region, attribution)
        Its strongest regions.
    skipped : list of (method, reason)
        Maps that the cohort cannot answer.
    """

    task: str
    encoders: list[Slices]
    regions: Map | None
    strongest: list[tuple[str, str]]
    skipped: list[tuple[str, str]]


def interpretations(folder: PathLike) -> list[Interpretation]:
    """Maps found in ``{method}_{task}.npz`` and ``regional-measures_{task}.tsv``."""
    if folder is None or not Path(folder).is_dir():
        return []
    files = sorted([*Path(folder).glob("*_*.npz"), *Path(folder).glob(f"{BASELINE}_*.tsv")])
    tasks = sorted({path.stem.partition("_")[2] for path in files})
    return [_interpretation(Path(folder), task) for task in tasks]


def _interpretation(folder: Path, task: str) -> Interpretation:
    methods = {path.stem.partition("_")[0] for path in folder.glob(f"*_{task}.npz")}
    encoders, skipped = [], []
    for name in words.order_methods(methods):
        found = _slices(folder / f"{name}_{task}.npz", name)
        if isinstance(found, Slices):
            encoders.append(found)
        else:
            skipped.append((words.method_label(name), found))
    regions = table(folder / f"{BASELINE}_{task}.tsv")
    return Interpretation(task, encoders, _regions(regions), _strongest(regions), skipped)


def _slices(path: Path, method: str) -> Slices | str:
    """A method's picture, or why there is none."""
    with np.load(path, allow_pickle=False) as found:
        if "skipped" in found.files:
            return str(found["skipped"])
        picture, width, height = mosaic(found["average"], found["attribution"])
        people, unit, top = int(found["people"]), str(found["unit"]), float(found["attribution"].max())
        bright = brightest(found["average"], found["attribution"])
    note = f"{people} unseen scans; maximum {short(top)} {unit} per cm³"
    return Slices(words.method_label(method), picture, width, height, note, f"{short(bright)} {unit} per cm³ and more")


def _regions(regions: pd.DataFrame) -> Map | None:
    if regions.empty or not cortex.views():
        return None
    unit, people = str(regions["unit"].iloc[0]), int(regions["people"].iloc[0])
    surface = regions["thickness"].notna() if "thickness" in regions else pd.Series(True, regions.index)
    shown = regions[surface] if surface.any() else regions  # the hippocampus has no place on the cortex
    values = shown.set_index("region")["attribution"]
    return sequential(words.method_label(BASELINE), f"{people} unseen scans", values, unit)


def _strongest(regions: pd.DataFrame, count: int = 10) -> list[tuple[str, str]]:
    if regions.empty:
        return []
    top = regions.sort_values("attribution", ascending=False, kind="stable").head(count)
    return [(str(row["region"]), f"{short(row['attribution'])} {row['unit']}") for _, row in top.iterrows()]
