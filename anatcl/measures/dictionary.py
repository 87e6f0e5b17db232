"""What each column of the tables means, and its unit."""

from __future__ import annotations

import re
from typing import Any

MEASURES: dict[str, tuple[str, str]] = {
    "thickness": (
        "Mean cortical thickness of the region over its surface (engine volume: geometric mean of the "
        "harmonic mean over voxels and of the thickness that volume, area and curvature imply)",
        "mm",
    ),
    "thicknessvoxels": ("Arithmetic mean of thickness over the region's voxels (thick patches count more often)", "mm"),
    "thicknessstd": ("Standard deviation of cortical thickness inside the region", "mm"),
    "volume": ("Volume of the region's tissue (sum of its tissue map; grey matter for cortex)", "mm3"),
    "area": ("Area of the grey/white interface that belongs to the region", "mm2"),
    "meancurv": ("Integrated rectified mean curvature (engine surface, FreeSurfer)", "mm^-1"),
    "gauscurv": ("Integrated rectified Gaussian curvature (engine surface, FreeSurfer)", "mm^-2"),
    "curvind": ("Intrinsic curvature index (engine surface, FreeSurfer)", "1"),
    "foldind": ("Folding index (engine surface)", "1"),
    "volumeprop": ("Volume of the region divided by TIV", "1"),
    "volumeres": ("Volume of the region, TIV regressed out over this cohort, at the cohort's mean TIV", "mm3"),
}
GLOBALS: dict[str, tuple[str, str]] = {
    "tiv_mm3": ("Total intracranial volume (volume of the intracranial mask; eTIV for FreeSurfer rows)", "mm3"),
    "gm_mm3": ("Grey matter volume of the whole brain (sum of its tissue map)", "mm3"),
    "wm_mm3": ("White matter volume of the whole brain (sum of its tissue map)", "mm3"),
    "csf_mm3": ("Cerebrospinal fluid volume inside the skull (sum of its tissue map)", "mm3"),
}
TEXT: dict[str, str] = {
    "scan": "BIDS path stem of the scan",
    "participant_id": "Participant, with sub-",
    "session_id": "Session, with ses-, or n/a",
    "thickness_method": "distance (grey matter summed along normals), direct (DiReCT, own solver), kelly_kapowski "
    "(DiReCT, ANTs) or surface (measures: engine: surface, FreeSurfer, FastSurfer)",
    "thickness_trust": "fine, or coarse when voxels exceed 1.5 mm: read thickness as a rank then, not in mm",
    "source": "Program that the row comes from: anatcl, or freesurfer or fastsurfer with its version if known",
    "flags": "Regions that are empty, tiny or without a surface, outlying measures, rows of another source than "
    "most, separated by ;",
    "n_outliers": "Number of outlying measures of the scan (robust z beyond 5 against its own site)",
}
REGION_TABLE: dict[str, Any] = {
    "region": {"Description": "FreeSurfer's name of the region with its hemisphere, or a global volume"},
    "hemisphere": {"Description": "Side", "Levels": {"L": "left", "R": "right", "B": "both"}},
    "structure": {"Description": "Kind of region: global, cortex, subcortex, ..."},
    "index": {"Description": "Value of the region in the label image"},
    "voxels": {"Description": "Voxels of the region in the label image"},
    "thickness_mm": {"Description": MEASURES["thickness"][0], "Units": "mm"},
    "thicknessvoxels_mm": {"Description": MEASURES["thicknessvoxels"][0], "Units": "mm"},
    "thicknessstd_mm": {"Description": MEASURES["thicknessstd"][0], "Units": "mm"},
    "volume_mm3": {"Description": MEASURES["volume"][0], "Units": "mm3"},
    "area_mm2": {"Description": MEASURES["area"][0], "Units": "mm2"},
    "meancurv": {"Description": MEASURES["meancurv"][0], "Units": "mm^-1"},
    "gauscurv": {"Description": MEASURES["gauscurv"][0], "Units": "mm^-2"},
    "curvind": {"Description": MEASURES["curvind"][0], "Units": "1"},
    "foldind": {"Description": MEASURES["foldind"][0], "Units": "1"},
    "excluded": {"Description": "Which limits the surfaces of the scan break (measures: surface_qc)"},
    "flags": {"Description": "empty, tiny or no-surface; empty when all is well"},
} | {name: {"Description": TEXT[name]} for name in ("scan", "thickness_method", "thickness_trust", "source")}

_COLUMN = re.compile(r"^([a-z]+)_(?:(lh|rh)_)?(.+)$")


def split_column(name: str) -> tuple[str, str, str] | None:
    """Split ``thickness_lh_bankssts`` into measure, hemisphere and region; None when it is not such a column."""
    match = _COLUMN.match(name)
    if not match or match[1] not in MEASURES or name in TEXT:
        return None
    return match[1], match[2] or "", match[3]


def describe(columns: list[str]) -> dict[str, dict[str, str]]:
    """Data dictionary (BIDS style: Description, Units) of the given columns, in their order."""
    return {name: _describe(name) for name in columns}


def _describe(name: str) -> dict[str, str]:
    if name in GLOBALS:
        text, unit = GLOBALS[name]
        return {"Description": text, "Units": unit}
    if name in TEXT:
        return {"Description": TEXT[name]}
    parts = split_column(name)
    if parts is None:
        return {"Description": name}
    measure, side, region = parts
    text, unit = MEASURES[measure]
    where = {"lh": "left ", "rh": "right "}.get(side, "") + region
    return {"Description": f"{text}: {where}", "Units": unit}
