"""The cohort table in the layouts that other programs read."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from anatcl.base.files import write_text
from anatcl.measures.dictionary import split_column

# Channel order of OpenBHB's desikan_roi (7 x 68): FreeSurfer's words for the measures.
OPENBHB = {
    "area": "surfarea", "volume": "grayvol", "thickness": "thickavg", "thicknessstd": "thickstd",
    "meancurv": "meancurv", "gauscurv": "gauscurv", "curvind": "curvind",
}  # fmt: skip
# ENIGMA's subcortical columns.
SUBCORTICAL = {
    "LatVent": "lateralventricle", "thal": "thalamus", "caud": "caudate", "put": "putamen", "pal": "pallidum",
    "hippo": "hippocampus", "amyg": "amygdala", "accumb": "accumbens",
}  # fmt: skip


def cortical_regions(table: pd.DataFrame) -> list[str]:
    """Regions with a thickness column, ``lh_`` first, in the order of the table."""
    found = [p for c in table.columns if (p := split_column(str(c))) and p[0] == "thickness"]
    return [f"{s}_{r}" for side in ("lh", "rh") for _, s, r in found if s == side]


def openbhb(table: pd.DataFrame) -> pd.DataFrame:
    """Channel-major layout: all regions of the first measure, then of the next; what is unknown stays empty.

    Returns
    -------
    DataFrame
        ``participant_id, session_id, scan`` and 7 x R columns ``<hemisphere>_<region>_<measure>`` (476 for 68 regions).
    """
    regions = cortical_regions(table)
    wanted = {f"{r}_{word}": f"{measure}_{r}" for measure, word in OPENBHB.items() for r in regions}
    data = table.reindex(columns=list(wanted.values())).set_axis(list(wanted), axis=1)
    return pd.concat([table[["participant_id", "session_id", "scan"]], data], axis=1)


def enigma(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """ENIGMA's three tables: ``metr1_SubVol``, ``metr2_CortThick``, ``metr3_CortSurf`` (mm3, mm, mm2).

    ``SubjID`` is the participant, with session and run where a participant has several scans.
    """
    subject = subject_names(table)
    regions = cortical_regions(table)
    whole = _hemispheres(table, regions)
    volumes = {
        f"{s}{word}": f"volume_{h}_{n}" for word, n in SUBCORTICAL.items() for s, h in (("L", "lh"), ("R", "rh"))
    }
    result = {"metr1_SubVol": table.reindex(columns=list(volumes.values())).set_axis(list(volumes), axis=1)}
    result["metr1_SubVol"] = result["metr1_SubVol"].assign(ICV=table["tiv_mm3"])
    for name, measure, suffix in (("metr2_CortThick", "thickness", "thickavg"), ("metr3_CortSurf", "area", "surfavg")):
        data = table[[f"{measure}_{r}" for r in regions]]
        data = data.set_axis([f"{'LR'[r[0] == 'r']}_{r[3:]}_{suffix}" for r in regions], axis=1)
        result[name] = pd.concat([data, whole], axis=1)
    return {name: pd.concat([subject.rename("SubjID"), data], axis=1) for name, data in result.items()}


def subject_names(table: pd.DataFrame) -> pd.Series:
    """`participant_id` where it is unique in the table, else the scan's file name without a folder."""
    repeated = table["participant_id"].duplicated(keep=False) | table["participant_id"].isna()
    return table["participant_id"].where(~repeated, table["scan"].str.rpartition("/")[2])


def _hemispheres(table: pd.DataFrame, regions: list[str]) -> pd.DataFrame:
    """Area and area-weighted thickness of each hemisphere, and ICV."""
    columns: dict[str, pd.Series] = {}
    for side, letter in (("lh", "L"), ("rh", "R")):
        mine = [r for r in regions if r.startswith(side)]
        area = table[[f"area_{r}" for r in mine]].set_axis(mine, axis=1)
        thickness = table[[f"thickness_{r}" for r in mine]].set_axis(mine, axis=1)
        weight = area.where(thickness.notna())
        columns[f"{letter}Thickness"] = (thickness * weight).sum(axis=1, min_count=1) / weight.sum(axis=1, min_count=1)
        columns[f"{letter}SurfArea"] = area.sum(axis=1, min_count=1)
    order = ["LThickness", "RThickness", "LSurfArea", "RSurfArea"]
    return pd.DataFrame(columns)[order].assign(ICV=table["tiv_mm3"])


def write_csv(path: str | Path, table: pd.DataFrame) -> None:
    """Write a comma-separated table, empty where a value is missing, atomically."""
    write_text(path, table.to_csv(index=False, float_format="%.6g", lineterminator="\n"))
