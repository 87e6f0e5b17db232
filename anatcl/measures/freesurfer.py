"""Measures that FreeSurfer or FastSurfer has already made, as the same table."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anatcl.base.errors import InputError
from anatcl.base.joins import compare, some
from anatcl.base.pointers import refuse_pointer, refuse_unfetched
from anatcl.base.words import does, plural
from anatcl.measures import builds
from anatcl.measures.tables import EXCLUDED, widen

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
# Names of the same measure in FreeSurfer 5.1, 5.3, 6 and later, and in FastSurfer.
TIV = ("eTIV", "EstimatedTotalIntraCranialVol", "ICV", "IntraCranialVol")
GREY = ("TotalGrayVol", "TotalGray")
CEREBRAL = ("CerebralWhiteMatterVol", "CorticalWhiteMatterVol", "CerebralWhiteMatter", "CorticalWhiteMatter")
WHITE = ("Left-Cerebellum-White-Matter", "Right-Cerebellum-White-Matter")


def replace_rows(table: pd.DataFrame, scans: pd.DataFrame, folder: str | Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Take the rows of scans that `folder` holds statistics of from there, and keep ours, flagged, for the others.

    Parameters
    ----------
    table : DataFrame
        Wide table, a row per scan, as :func:`anatcl.measures.tables.chunk` makes it.
    scans : DataFrame
        Index of scans: ``scan, participant_id, session_id``.
    folder : path
        ``SUBJECTS_DIR`` or a derivatives folder.

    Returns
    -------
    table : DataFrame
        Without the scans whose subject there is unusable.
    excluded : DataFrame
        These, with columns :data:`anatcl.measures.tables.EXCLUDED`.
    """
    rows, lost, used = [], [], set()
    for scan in scans.itertuples():
        subject = find(folder, str(scan.scan), str(scan.participant_id), getattr(scan, "session_id", None))
        if subject is None:
            continue
        used.add(subject)
        try:
            rows.append(_row(subject, str(scan.scan)))
        except InputError as error:
            lost.append(_lost(scan, subject, error))
        except (OSError, ValueError, KeyError, IndexError) as error:  # a damaged file of this subject only
            reason = f"its statistics cannot be read ({type(error).__name__}: {error})."
            lost.append(_lost(scan, subject, InputError(reason, subject / "stats", builds.FINISH)))
    log.info("FreeSurfer statistics of %d of %s in %s", len(rows), plural(len(scans), "scan"), folder)
    _say_unused(Path(folder), scans, used)
    excluded = pd.DataFrame(lost, columns=EXCLUDED)
    ours = table[~table["scan"].isin([row["scan"] for row in rows] + list(excluded["scan"]))]
    return _joined(table, rows, ours), excluded


def _row(subject: Path, scan: str) -> pd.Series:
    """A scan's row from its subject's folder, if that is finished and plausible."""
    builds.refuse_unfinished(subject)
    regions = read(subject, scan)
    builds.refuse_implausible(regions, subject)
    row = widen(regions)
    program, version = builds.made_by(subject)
    if builds.known_bad(program, version):
        log.warning("%s: %s %s can make collapsed surfaces: inspect them.", scan, program, version)
        row["flags"] = _flagged(row["flags"], "known-bad-version")
    return row


def _lost(scan: Any, subject: Path, error: InputError) -> dict[str, str]:
    reason = f"FreeSurfer subject {subject.name}: {error.reason}"
    log.warning("%s is left out: %s", scan.scan, reason)
    return {
        "scan": str(scan.scan),
        "participant_id": str(scan.participant_id),
        "stage": "measures freesurfer",
        "reason": reason,
        "file": error.file or str(subject),
        "remedy": error.remedy or builds.FINISH,
    }


def _joined(table: pd.DataFrame, rows: list[pd.Series], ours: pd.DataFrame) -> pd.DataFrame:
    """Their rows and ours; each row that is not like most others says so in ``flags``."""
    parts = [pd.DataFrame(rows)] if rows else []
    if len(ours):
        before = ours["flags"] if "flags" in ours else pd.Series("", index=ours.index)
        parts.append(ours.assign(flags=[_flagged(text, "not-from-freesurfer") for text in before]))
    if not parts:
        return table.iloc[:0]
    joined = pd.concat(parts, ignore_index=True)
    if rows:
        usual = joined["source"].head(len(rows)).mode().iloc[0]
        other = (joined["source"] != usual) & (joined.index < len(rows))
        joined.loc[other, "flags"] = [_flagged(text, "other-version") for text in joined.loc[other, "flags"]]
        counts = joined["source"].value_counts()
        if len(counts) > 1:
            log.warning("measures of several sources: %s", ", ".join(f"{k} ({n})" for k, n in counts.items()))
    columns = [c for c in [*table.columns, *(rows[0].index if rows else []), "flags"] if c in joined]
    return joined[list(dict.fromkeys(columns))]


def _flagged(flags: object, more: str) -> str:
    return ";".join([*([str(flags)] if isinstance(flags, str) and flags else []), more])


def _say_unused(folder: Path, scans: pd.DataFrame, used: set[Path]) -> None:
    """Name the subjects that no scan has taken, with the likely repair."""
    there = {p.name for p in folder.iterdir() if (p / "stats").is_dir() and not p.name.startswith("fsaverage")}
    taken = {path.relative_to(folder).parts[0] for path in used}
    wanted = set(map(str, scans["participant_id"])) | {str(s).rpartition("/")[2] for s in scans["scan"]}
    found = compare(there - taken, wanted - taken)
    if found.left:
        many = (
            f"{plural(len(found.left), 'subject')} in {folder} {does(len(found.left), 'belongs', 'belong')} to no scan"
        )
        log.warning("%s: %s.%s", many, some(found.left), found.hint())


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
    return next((folder / n for n in names if _is_subject(folder / n)), None)


def _is_subject(folder: Path) -> bool:
    """Whether a folder is a subject's, finished or not."""
    return any((folder / name).is_dir() for name in ("stats", "mri", "surf", "scripts"))


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
    source = " ".join(builds.made_by(subject)).strip()
    empty = (table["structure"] == "cortex") & ~(table["volume_mm3"] > 0)
    table.loc[empty, list(COLUMNS.values())] = np.nan
    flags = np.where(empty, "empty", "")
    return table.assign(scan=scan, thickness_method="surface", thickness_trust="fine", source=source, flags=flags)


def cortex(file: Path, side: str) -> pd.DataFrame:
    """Read one ``aparc.stats`` file; regions are named with `side` (``lh`` or ``rh``)."""
    lines = _text(file).splitlines()
    header = next((line.split()[2:] for line in lines if line.startswith("# ColHeaders")), None)
    rows = [line.split() for line in lines if line.strip() and not line.startswith("#")]
    if not header or not rows or any(len(r) != len(header) for r in rows):
        raise InputError(
            "this table of cortical statistics is incomplete.", file, "Run FreeSurfer again for the subject."
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
    measures: dict[str, float] = {}
    structures: dict[str, float] = {}
    for line in _text(file).splitlines():
        if line.startswith("# Measure"):
            fields = [f.strip() for f in line[len("# Measure") :].split(",")]
            measures |= dict.fromkeys(fields[:2], float(fields[-2]))
        elif line.strip() and not line.startswith("#"):
            fields = line.split()
            structures[fields[4]] = float(fields[3])
    lengths = {len(line.split()) for line in _text(file).splitlines() if line.strip() and not line.startswith("#")}
    if len(lengths) > 1:
        raise InputError("one of its rows is cut off.", file, builds.FINISH)
    if not structures:
        raise InputError("this is not a table of segmented structures.", file, "Run FreeSurfer again for the subject.")
    return measures, structures


def _globals(measures: dict[str, float], structures: dict[str, float]) -> pd.DataFrame:
    """TIV, grey and white matter; FreeSurfer has no measure of all CSF."""
    white = _named(measures, CEREBRAL) + sum(structures.get(n, np.nan) for n in WHITE)
    values = {"tiv": _named(measures, TIV), "gm": _named(measures, GREY), "wm": white}
    values["csf"] = np.nan
    return pd.DataFrame(
        {"region": list(values), "hemisphere": "B", "structure": "global", "volume_mm3": list(values.values())}
    )


def _named(measures: dict[str, float], names: tuple[str, ...]) -> float:
    """A measure by the first of its names that is there, or the sum of both sides'; NaN without one."""
    for name in names:
        if name in measures:
            return measures[name]
        if f"lh{name}" in measures and f"rh{name}" in measures:
            return measures[f"lh{name}"] + measures[f"rh{name}"]
    return float("nan")


def _text(file: Path) -> str:
    """Content of a table of statistics."""
    raw = file.read_bytes()
    refuse_pointer(file, raw[:512], len(raw))
    return raw.decode("utf-8", "replace")


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
        refuse_unfetched(folder / name)
        if (folder / name).is_file():
            return folder / name
    raise InputError(f"there is none of {list(names)}.", folder, "Finish FreeSurfer or FastSurfer for the subject.")
