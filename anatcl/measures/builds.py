"""Which FreeSurfer or FastSurfer made a subject, whether it was finished, and whether its numbers can be a brain's."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from anatcl.base.errors import InputError

FINISH = "Finish FreeSurfer or FastSurfer for the subject, or remove its folder to use the workflow's own measures."
BYTES = 200_000  # read of each log
# Where a version stands, most trustworthy first.
LOGS = (
    "scripts/build-stamp.txt", "scripts/BUILD.info", "scripts/build.log", "scripts/deep-seg.log",
    "scripts/recon-surf.log", "stats/aseg+DKT.stats", "stats/aseg.stats", "scripts/recon-all.log",
)  # fmt: skip
NUMBER = r"v?(\d+\.\d+(?:\.\d+)?)(?![\d.]*/)"
VERSION = {
    "fastsurfer": (rf"(?i)fastsurfer[^\n\d]{{0,40}}{NUMBER}", rf"(?i)^\W*(?:version\W+(?:tag\W+)?)?{NUMBER}"),
    "freesurfer": (rf"(?i)freesurfer[^\n]{{0,80}}?[-_ v]{NUMBER}", rf"(?im)^# cvs_version +{NUMBER}\s*$"),
}
# Revision of mri_segstats in the statistics of versions that name no number of their own.
REVISIONS = {"1.33": "4.5", "1.75": "5", "1.121": "6.0"}
# FastSurfer could collapse surfaces: its release notes of 2.6.1.
BAD = {"fastsurfer": ((2, 5, 0), (2, 6, 0))}
# What a human brain's table can hold: both hemispheres' cortex (ml, mm2), mean thickness (mm), head (ml).
PLAUSIBLE = {"cortex_ml": (90, 1000), "area_mm2": (40_000, 400_000), "thickness_mm": (1.2, 5), "tiv_ml": (400, 3000)}
FEWEST_REGIONS = 25  # of a hemisphere; FreeSurfer has 34, FastSurfer 31
FEWEST_STRUCTURES = 16  # below the cortex; both programs have 20


def made_by(subject: Path) -> tuple[str, str]:
    """Program and version of a subject's statistics.

    Returns
    -------
    program : {'freesurfer', 'fastsurfer'}
    version : str
        Such as ``7.4.1``; empty when no file says it.
    """
    fast = (subject / "stats" / "aseg+DKT.stats").exists() or (subject / "scripts" / "deep-seg.log").exists()
    program = "fastsurfer" if fast else "freesurfer"
    for name in LOGS:
        if (subject / name).is_file() and (found := _version(program, _head(subject / name))):
            return program, found
    return program, ""


def _head(file: Path) -> str:
    with open(file, "rb") as stream:
        return stream.read(BYTES).decode("utf-8", "replace")


def _version(program: str, text: str) -> str:
    for pattern in VERSION[program]:
        if found := re.search(pattern, text):
            return str(found[1])
    revision = re.search(r"mri_segstats\.c,v (\d+\.\d+)", text) if program == "freesurfer" else None
    return REVISIONS.get(revision[1], "") if revision else ""


def known_bad(program: str, version: str) -> bool:
    """Whether a version is known to have made wrong surfaces."""
    parts = tuple(int(n) for n in version.split(".")) if version else ()
    if program not in BAD or not parts:
        return False
    low, high = BAD[program]
    return low <= (*parts, 0, 0)[:3] <= high


def refuse_unfinished(subject: Path) -> None:
    """Raise where a subject's folder holds no finished surfaces.

    Raises
    ------
    InputError
        It has no statistics, is still at work, or was only segmented.
    """
    stats, scripts = subject / "stats", subject / "scripts"
    if not stats.is_dir() or not any(stats.iterdir()):
        raise InputError("it has no statistics: it is not finished.", subject, FINISH)
    running = sorted(scripts.glob("IsRunning*")) if scripts.is_dir() else []
    if running and not (scripts / "recon-all.done").exists():
        raise InputError("it is still running, or was stopped.", running[0], FINISH)
    if not list(stats.glob("?h.aparc*.stats")) and (stats / "aseg+DKT.stats").exists():
        reason = "it holds a segmentation without surfaces (FastSurfer --seg_only)."
        cure = "Run FastSurfer's surface part for it, or remove its folder to use the workflow's own measures."
        raise InputError(reason, stats, cure)


def refuse_implausible(table: pd.DataFrame, subject: Path) -> None:
    """Raise where a table of regions cannot be a human brain's.

    Parameters
    ----------
    table : DataFrame
        A row per region, as :func:`anatcl.measures.freesurfer.read` makes it.

    Raises
    ------
    InputError
        Regions are missing, or cortex, thickness or head are far too small or too large.
    """
    cortex = table[table["structure"] == "cortex"]
    counts = cortex.groupby("hemisphere").size().reindex(["L", "R"], fill_value=0)
    if counts.min() < FEWEST_REGIONS:
        reason = f"its tables have {counts['L']} and {counts['R']} cortical regions of 34: they are incomplete."
        raise InputError(reason, subject / "stats", FINISH)
    deep = int((table["structure"] == "subcortex").sum())
    if deep < FEWEST_STRUCTURES:
        reason = f"its tables have {deep} of 20 subcortical structures: they are incomplete."
        raise InputError(reason, subject / "stats", FINISH)
    tiv = table.loc[table["region"] == "tiv", "volume_mm3"]
    found = {
        "cortex_ml": cortex["volume_mm3"].sum() / 1000,
        "area_mm2": cortex["area_mm2"].sum(),
        "thickness_mm": cortex["thickness_mm"].mean(),
        "tiv_ml": tiv.iloc[0] / 1000 if len(tiv) else float("nan"),
    }
    for name, value in found.items():
        low, high = PLAUSIBLE[name]
        if value < low or value > high or (name != "tiv_ml" and value != value):
            what, unit = name.rsplit("_", 1)
            reason = f"its {what} measures {value:.4g} {unit}; {low:g} to {high:g} are plausible."
            raise InputError(reason, subject / "stats", FINISH)
