"""Measures that FreeSurfer or FastSurfer has already made, as the same table."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import numpy as np
import pandas as pd

from anatcl.base.errors import InputError
from anatcl.measures.tables import widen

log = logging.getLogger(__name__)

# First file found wins; FastSurfer's has no bankssts, frontalpole and temporalpole, which stay empty.
APARC = ("{}.aparc.stats", "{}.aparc.DKTatlas.mapped.stats", "{}.aparc.DKTatlas.stats")
ASEG = ("aseg.stats", "aseg+DKT.stats")
COLUMNS = {
    "SurfArea": "area_mm2", "GrayVol": "volume_mm3", "ThickAvg": "thickness_mm", "ThickStd": "thicknessstd_mm",
    "MeanCurv": "meancurv", "GausCurv": "gauscurv", "CurvInd": "curvind",
}  # fmt: skip
STRUCTURES = {
    "Thalamus-Proper": "thalamus", "Thalamus": "thalamus", "Caudate": "caudate", "Putamen": "putamen",
    "Pallidum": "pallidum", "Hippocampus": "hippocampus", "Amygdala": "amygdala", "Accumbens-area": "accumbens",
    "Lateral-Ventricle": "lateralventricle", "Cerebellum-Cortex": "cerebellum",
}  # fmt: skip
MIDDLE = {"Brain-Stem": "brainstem", "3rd-Ventricle": "thirdventricle"}
WHITE = ("Left-Cerebellum-White-Matter", "Right-Cerebellum-White-Matter")


def replace_rows(table: pd.DataFrame, scans: pd.DataFrame, folder: str | Path) -> pd.DataFrame:
    """Take the rows of scans that `folder` holds statistics of from there, and keep ours for the others.

    Parameters
    ----------
    table : DataFrame
        Wide table, a row per scan, as :func:`anatcl.measures.tables.chunk` makes it.
    scans : DataFrame
        Index of scans: ``scan, participant_id, session_id``.
    folder : path
        ``SUBJECTS_DIR`` or a derivatives folder.
    """
    rows = []
    for scan in scans.itertuples():
        subject = find(folder, str(scan.scan), str(scan.participant_id), getattr(scan, "session_id", None))
        if subject is not None:
            rows.append(widen(read(subject, str(scan.scan))))
    log.info("%d of %d scans have FreeSurfer statistics in %s", len(rows), len(scans), folder)
    if not rows:
        return table
    theirs = pd.DataFrame(rows)
    ours = table[~table["scan"].isin(theirs["scan"])]
    joined = pd.concat([theirs, ours], ignore_index=True) if len(ours) else theirs
    columns = [c for c in [*table.columns, *theirs.columns] if c in joined]
    return joined[list(dict.fromkeys(columns))]


def find(folder: str | Path, scan: str, participant: str, session: object = None) -> Path | None:
    """Folder of a scan's subject inside `folder`: ``<file stem>``, ``sub-1_ses-1``, ``sub-1/ses-1`` or ``sub-1``."""
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError("the derivatives folder does not exist.", folder, "Correct `measures: freesurfer`.")
    names = [scan.rpartition("/")[2]]
    if isinstance(session, str) and session not in ("", "n/a"):
        names += [f"{participant}_{session}", f"{participant}/{session}"]
    else:
        names.append(str(participant))
    return next((folder / n for n in names if (folder / n / "stats").is_dir()), None)


def read(subject: Path, scan: str) -> pd.DataFrame:
    """Read ``stats/{lh,rh}.aparc.stats`` and ``aseg.stats`` of one subject as a table of regions.

    Parameters
    ----------
    subject : path
        Folder that holds ``stats/``.
    scan : str
        Name that goes into the table.

    Returns
    -------
    DataFrame
        As :func:`anatcl.measures.scan.measure` gives, with ``meancurv``, ``gauscurv`` and ``curvind`` added.
    """
    stats = subject / "stats"
    parts = [cortex(_first(stats, [n.format(side) for n in APARC]), side) for side in ("lh", "rh")]
    segmentation = _first(stats, ASEG)
    values, structures = _aseg(segmentation)
    parts.insert(0, _globals(values, structures))
    parts.append(_deep(structures))
    table = pd.concat(parts, ignore_index=True)
    fast = (stats / "aseg+DKT.stats").exists() or (subject / "scripts" / "deep-seg.log").exists()
    source = "fastsurfer" if fast else "freesurfer"
    empty = (table["structure"] == "cortex") & ~(table["volume_mm3"] > 0)
    table.loc[empty, list(COLUMNS.values())] = np.nan
    flags = np.where(empty, "empty", "")
    return table.assign(scan=scan, thickness_method="surface", thickness_trust="fine", source=source, flags=flags)


def cortex(file: Path, side: str) -> pd.DataFrame:
    """Read one ``aparc.stats`` file; regions are named with `side` (``lh`` or ``rh``)."""
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    header = next((line.split()[2:] for line in lines if line.startswith("# ColHeaders")), None)
    rows = [line.split() for line in lines if line.strip() and not line.startswith("#")]
    if not header or not rows or any(len(r) != len(header) for r in rows):
        raise InputError(
            "this is no whole table of cortical statistics.", file, "Run FreeSurfer again for the subject."
        )
    table = pd.DataFrame(rows, columns=header).set_index("StructName")
    missing = [c for c in COLUMNS if c not in table]
    if missing:
        raise InputError(f"the columns {missing} are missing.", file, "Run FreeSurfer again for the subject.")
    values = table[list(COLUMNS)].astype(float).rename(columns=COLUMNS).reset_index()
    names = values.pop("StructName")
    return values.assign(region=side + "_" + names, hemisphere=side[0].upper(), structure="cortex")


def _aseg(file: Path) -> tuple[dict[str, float], dict[str, float]]:
    """Values of the ``# Measure`` lines, and volumes of the structures, in mm3."""
    measures, structures = {}, {}
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith("# Measure"):
            fields = [f.strip() for f in line[len("# Measure") :].split(",")]
            measures[fields[1]] = float(fields[-2])
        elif line.strip() and not line.startswith("#"):
            fields = line.split()
            structures[fields[4]] = float(fields[3])
    if not structures:
        raise InputError("this is no table of segmented structures.", file, "Run FreeSurfer again for the subject.")
    return measures, structures


def _globals(measures: dict[str, float], structures: dict[str, float]) -> pd.DataFrame:
    """TIV, grey and white matter; FreeSurfer has no measure of all CSF."""
    white = measures.get("CerebralWhiteMatterVol", np.nan) + sum(structures.get(n, np.nan) for n in WHITE)
    values = {"tiv": measures.get("eTIV", np.nan), "gm": measures.get("TotalGrayVol", np.nan), "wm": white}
    values["csf"] = np.nan
    return pd.DataFrame(
        {"region": list(values), "hemisphere": "B", "structure": "global", "volume_mm3": list(values.values())}
    )


def _deep(structures: dict[str, float]) -> pd.DataFrame:
    """Deep grey matter, brain stem and ventricles."""
    rows = []
    for name, volume in structures.items():
        match = re.match(r"(Left|Right)-(.+)$", name)
        if match and match[2] in STRUCTURES:
            letter = match[1][0]
            rows.append((f"{letter.lower()}h_{STRUCTURES[match[2]]}", letter, "subcortex", volume))
        elif name in MIDDLE:
            rows.append((MIDDLE[name], "B", "subcortex", volume))
    return pd.DataFrame(rows, columns=["region", "hemisphere", "structure", "volume_mm3"])


def _first(folder: Path, names: tuple[str, ...] | list[str]) -> Path:
    """First of `names` that lies in `folder`."""
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise InputError(f"there is none of {list(names)}.", folder, "Finish FreeSurfer or FastSurfer for the subject.")
